//! x86-64.

mod amx;
mod avx2;
mod avx512;

use std::arch::x86_64::__cpuid;

pub use avx2::Avx2;
pub use avx512::{Avx512, Avx512Vbmi};

/// How far ahead of the weights to ask for more, in bytes.
///
/// Intel's servers fetch from far away what hardware prefetching alone does not ask for soon enough: with 8 KiB, decoding
/// is 1.3 to 1.7 times as fast on a Xeon with AMX (docs/architecture.md). AMD's Zen 4 was slower with it.
#[derive(Clone, Copy, Debug)]
struct Ahead(u32);

impl Ahead {
    fn detect() -> Self {
        let vendor = __cpuid(0);
        let intel =
            [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel";
        Ahead(if intel { 8192 } else { 0 })
    }
}
