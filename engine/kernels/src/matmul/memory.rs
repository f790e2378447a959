//! Alignment and prefetching.
//! Measurements: docs/experiments/code-generation.md.

use crate::isa::Isa;

/// A value at a multiple of 64 bytes.
///
/// A function of AVX code should have one in its stack frame: LLVM then aligns the frame, and with it the registers that
/// it spills there. Without one, the same AVX2 code took from 14.8 to 27 microseconds for the same product, depending on
/// where the stack began, that is, on the length of the environment.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Aligned<T>(pub(super) T);

/// Prefetches weights: as many bytes as are about to be used at `at`, [`Isa::weights_ahead`] bytes further on.
#[inline(always)]
pub(crate) fn fetch_ahead<I: Isa>(isa: I, at: *const u8, bytes: usize) {
    let ahead = isa.weights_ahead();
    if ahead > 0 {
        for line in (0..bytes).step_by(64) {
            isa.prefetch_weights(at.wrapping_add(ahead + line));
        }
    }
}

/// Prefetches the header of a strip with six-bit scales, `bytes` at `at`, and that of the strip [`Isa::weights_ahead`] further on.
///
/// At once, because it is then read piece by piece beside the blocks that follow it, and hardware prefetchers lose track of two
/// places in one page: without it such a matrix took 1.7 to 2 times as long on a Zen 5 (docs/experiments/prefetching.md).
#[inline(always)]
pub(super) fn fetch_header<I: Isa>(isa: I, at: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        isa.prefetch(at.wrapping_add(line));
    }
    fetch_ahead(isa, at, bytes);
}
