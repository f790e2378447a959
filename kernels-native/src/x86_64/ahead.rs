//! How far ahead weights are prefetched.

use std::arch::x86_64::__cpuid;

/// How many bytes ahead of the weights in use to prefetch.
///
/// The hardware's own prefetcher is too late: with 8 KiB, decoding is 1.3 to 1.7 times as fast on a Xeon with AMX and 1.2
/// to 1.5 times on AMD's Zen 3 (2, 4 and 16 KiB and other cache levels make no difference there; docs/experiments/prefetching.md).
/// Only AMD's Zen 4, their first with AVX-512, was slower with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead(u32);

impl Ahead {
    pub(super) fn detect() -> Self {
        let vendor = __cpuid(0);
        let amd =
            [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD";
        Ahead(if amd && is_x86_feature_detected!("avx512f") { 0 } else { 8192 })
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> usize {
        self.0 as usize
    }
}
