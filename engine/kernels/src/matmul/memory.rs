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
