//! One strip with one token: what decoding spends its time on.
//!
//! Each encoding and kind of groups is a function of its own: engines of WebAssembly compile small functions better,
//! and sooner, than one of them all.

use crate::activations::Token;
use crate::isa::{Isa, Job};
use crate::layout::{Layout, STRIP, Zero};
use std::marker::PhantomData;

/// A value at a multiple of 64 bytes.
///
/// A function of AVX code should have one in its frame: LLVM then aligns the frame and with it the registers that it
/// spills there. Without, the same AVX2 code took from 14.8 to 27 microseconds for the same product, as the stack's
/// beginning, so the length of the environment, had it.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// The integer sums of one block of a strip, for an encoding.
pub(crate) trait BlockSums<I: Isa> {
    /// Sums of 32 rows over all digits of the block, zero point included, in `128 / WIDTH` registers.
    ///
    /// # Safety
    /// `codes` are those of a whole block and `block` is one of the token's, which has tables if they are needed.
    unsafe fn sums(isa: I, layout: &Layout, codes: *const u8, block: usize, token: Token<'_>)
    -> [I::Ints; 8];
}

/// A strip of a matrix, and a token with as many columns, and with tables if the encoding needs them: whoever makes
/// one vouches for that.
#[derive(Clone, Copy)]
pub(crate) struct OneStrip<'a> {
    pub(crate) layout: &'a Layout,
    /// All of the strip.
    pub(crate) bytes: &'a [u8],
    pub(crate) token: Token<'a>,
}

impl OneStrip<'_> {
    /// The product's 32 rows; `B` is the layout's encoding.
    #[inline(always)]
    pub(crate) fn rows<I: Isa, B: BlockSums<I>>(self, isa: I) -> [f32; STRIP] {
        let single = I::SINGLE_BLOCK_GROUPS && self.layout.blocks_per_group() == 1;
        let mut out = Aligned([0.0; STRIP]);
        let to = &mut out.0;
        match (self.layout.zero() == Zero::Affine, single) {
            (true, true) => isa.enter(StripJob::<B, true, true>(self, to, PhantomData)),
            (true, false) => isa.enter(StripJob::<B, true, false>(self, to, PhantomData)),
            (false, true) => isa.enter(StripJob::<B, false, true>(self, to, PhantomData)),
            (false, false) => isa.enter(StripJob::<B, false, false>(self, to, PhantomData)),
        }
        out.0
    }
}

/// [`OneStrip::rows`] of a kind of groups. `SINGLE`: a group is one block.
struct StripJob<'a, B, const AFFINE: bool, const SINGLE: bool>(
    OneStrip<'a>,
    &'a mut [f32; STRIP],
    PhantomData<B>,
);

impl<I: Isa, B: BlockSums<I>, const AFFINE: bool, const SINGLE: bool> Job<I>
    for StripJob<'_, B, AFFINE, SINGLE>
{
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let StripJob(OneStrip { layout, bytes, token }, out, _) = self;
        let registers = 128 / I::WIDTH;
        let (blocks, per_group) = (layout.blocks(), if SINGLE { 1 } else { layout.blocks_per_group() });
        let (scale_bytes, block_bytes) = (layout.scale_bytes(), layout.encoding().block_bytes());
        let mut totals = [isa.splat(0.0); 8];
        let mut at = bytes.as_ptr();
        let mut first = 0;
        while first < blocks {
            let last = if SINGLE { first } else { (first + per_group).min(blocks) - 1 };
            let scales = at;
            fetch_ahead(isa, at, scale_bytes);
            // SAFETY: the groups of a strip follow each other as the layout says, and blocks < layout.blocks().
            unsafe {
                at = at.add(scale_bytes);
                let mut inner = [isa.splat(0.0); 8];
                for block in first..last + 1 {
                    fetch_ahead(isa, at, block_bytes);
                    let rows = B::sums(isa, layout, at, block, token);
                    at = at.add(block_bytes);
                    let scale = isa.splat(*token.scales.get_unchecked(block));
                    for (inner, rows) in inner.iter_mut().zip(rows).take(registers) {
                        let sum = isa.mul(scale, isa.to_floats(rows));
                        *inner = if block > first { isa.add(*inner, sum) } else { sum };
                    }
                }
                let offset = isa.splat(if AFFINE { group_sum(token, first, last) } else { 0.0 });
                for (r, (total, inner)) in totals.iter_mut().zip(inner).enumerate().take(registers) {
                    let mut sum = isa.mul(isa.load_halves(scales.add(r * I::WIDTH / 2)), inner);
                    if AFFINE {
                        let min = isa.load_halves(scales.add(2 * STRIP + r * I::WIDTH / 2));
                        sum = isa.add(sum, isa.mul(min, offset));
                    }
                    *total = isa.add(*total, sum);
                }
            }
            first = last + 1;
        }
        for (r, total) in totals.into_iter().enumerate().take(registers) {
            // SAFETY: `out` has 32 floats.
            unsafe { isa.store_floats(out.as_mut_ptr().add(r * I::WIDTH / 4), total) };
        }
    }
}

/// Asks for as many bytes of weights as are about to be used at `at`, so much further on as the CPU wants them.
#[inline(always)]
pub(crate) fn fetch_ahead<I: Isa>(isa: I, at: *const u8, bytes: usize) {
    let ahead = isa.weights_ahead();
    if ahead > 0 {
        for line in (0..bytes).step_by(64) {
            isa.prefetch_weights(at.wrapping_add(ahead + line));
        }
    }
}

/// The scaled sum of the activations of blocks `first..=last`.
///
/// # Safety
/// The token has these blocks.
#[inline(always)]
pub(crate) unsafe fn group_sum(token: Token<'_>, first: usize, last: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = *token.scaled_sums.get_unchecked(first);
        for block in first + 1..=last {
            sum += *token.scaled_sums.get_unchecked(block);
        }
        sum
    }
}
