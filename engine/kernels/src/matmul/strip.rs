//! One strip with one token: where decoding spends its time.
//!
//! Each encoding and kind of groups is a function of its own: WebAssembly engines compile several small functions better,
//! and sooner, than a single large one.

use super::memory::{Aligned, fetch_ahead, fetch_header};
use super::scales::{load_halves, multiply_six};
use super::sums::BlockSums;
use crate::activations::Token;
use crate::blocks::Blocks;
use crate::isa::Job;
use crate::layout::{Layout, ROW_HALVES, SIX_BITS, STRIP, Scales, Zero};
use std::marker::PhantomData;

/// A strip of a matrix and a token.
///
/// Whoever constructs one guarantees that `bytes` is a whole strip of the layout, and that the token has its columns,
/// and lookup tables if it is multiplied by lookup.
#[derive(Clone, Copy)]
pub(super) struct OneStrip<'a> {
    pub(super) layout: &'a Layout,
    pub(super) bytes: &'a [u8],
    pub(super) token: Token<'a>,
}

impl OneStrip<'_> {
    /// The product's 32 rows; `B` is the layout's encoding.
    #[inline(always)]
    pub(super) fn rows<I: Blocks, B: BlockSums<I>>(self, isa: I) -> [f32; STRIP] {
        let single = I::SINGLE_BLOCK_GROUPS && self.layout.blocks_per_group() == 1;
        let mut out = Aligned([0.0; STRIP]);
        let to = &mut out.0;
        if B::SIX_BIT_SCALES && self.layout.scales() == Scales::SixBits {
            // Groups of a block have code of their own everywhere: with six-bit scales, AVX2 gains from it as well.
            match self.layout.blocks_per_group() == 1 {
                true => isa.enter(StripJob::<B, true, true, true>(self, to, PhantomData)),
                false => isa.enter(StripJob::<B, true, false, true>(self, to, PhantomData)),
            }
            return out.0;
        }
        match (self.layout.zero() == Zero::Affine, single) {
            (true, true) => isa.enter(StripJob::<B, true, true, false>(self, to, PhantomData)),
            (true, false) => isa.enter(StripJob::<B, true, false, false>(self, to, PhantomData)),
            (false, true) => isa.enter(StripJob::<B, false, true, false>(self, to, PhantomData)),
            (false, false) => isa.enter(StripJob::<B, false, false, false>(self, to, PhantomData)),
        }
        out.0
    }
}

/// [`OneStrip::rows`] for one kind of groups. `SINGLE`: a group is one block. `SIX`: scales have six bits.
struct StripJob<'a, B, const AFFINE: bool, const SINGLE: bool, const SIX: bool>(
    OneStrip<'a>,
    &'a mut [f32; STRIP],
    PhantomData<B>,
);

impl<I: Blocks, B: BlockSums<I>, const AFFINE: bool, const SINGLE: bool, const SIX: bool> Job<I>
    for StripJob<'_, B, AFFINE, SINGLE, SIX>
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
        // With six-bit scales: the scales of the rows, and those of a group, which are products.
        let (mut of_rows, mut of_group) = (Aligned([[0.0; STRIP]; 2]), Aligned([[0.0; STRIP]; 2]));
        let mut sixes = at;
        if SIX {
            fetch_header(isa, at, layout.strip_header_bytes());
            // SAFETY: the strip begins with the rows' halves; the six bits of all groups follow, and then the blocks.
            unsafe {
                load_halves(isa, at, true, &mut of_rows.0);
                sixes = at.add(ROW_HALVES);
                at = at.add(layout.strip_header_bytes());
            }
        }
        let mut first = 0;
        while first < blocks {
            let last = if SINGLE { first } else { (first + per_group).min(blocks) - 1 };
            let scales = if SIX { sixes } else { at };
            if !SIX {
                fetch_ahead(isa, scales, scale_bytes);
            }
            // SAFETY: the groups of a strip follow each other, each its scales and then its blocks, or the blocks alone while
            // their six bits follow each other elsewhere; `bytes` has all of them (see `OneStrip`), so `at` and `sixes` stay
            // within it; `block` is below the number of the token's blocks.
            unsafe {
                if SIX {
                    sixes = sixes.add(SIX_BITS);
                } else {
                    at = at.add(scale_bytes);
                }
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
                let offset = isa.splat(if AFFINE { token.group_sum(first, last) } else { 0.0 });
                if SIX {
                    multiply_six(&*scales.cast(), &of_rows.0, &mut of_group.0);
                }
                for (r, (total, inner)) in totals.iter_mut().zip(inner).enumerate().take(registers) {
                    let load = |part: usize| match SIX {
                        true => isa.load_floats(of_group.0[part].as_ptr().add(r * I::WIDTH / 4)),
                        false => isa.load_halves(scales.add(2 * STRIP * part + r * I::WIDTH / 2)),
                    };
                    let mut sum = isa.mul(load(0), inner);
                    if AFFINE {
                        let min = load(1);
                        sum = isa.add(sum, isa.mul(min, offset));
                    }
                    *total = isa.add(*total, sum);
                }
            }
            first = last + 1;
        }
        for (r, total) in totals.into_iter().enumerate().take(registers) {
            // SAFETY: r < 128 / WIDTH, so the store ends at float 32 of `out` at most.
            unsafe { isa.store_floats(out.as_mut_ptr().add(r * I::WIDTH / 4), total) };
        }
    }
}
