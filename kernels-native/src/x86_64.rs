//! x86-64.

mod amx;
mod avx2;
mod avx512;

use std::arch::x86_64::__cpuid;

pub use avx2::Avx2;
pub use avx512::{Avx512, Avx512Vbmi};

/// How far ahead of the weights to ask for more, in bytes.
///
/// Hardware prefetching alone does not ask soon enough: with 8 KiB, decoding is 1.3 to 1.7 times as fast on a Xeon with AMX, 1.2 to
/// 1.5 times on AMD's Zen 3 (2, 4 and 16 KiB and other cache levels are no different there; docs/architecture.md). Only AMD's
/// Zen 4, the first of theirs with AVX-512, was slower with it.
#[derive(Clone, Copy, Debug)]
struct Ahead(u32);

impl Ahead {
    fn detect() -> Self {
        let vendor = __cpuid(0);
        let amd =
            [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD";
        Ahead(if amd && is_x86_feature_detected!("avx512f") { 0 } else { 8192 })
    }
}
