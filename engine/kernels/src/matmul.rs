//! Products of packed matrices with quantized activations.
//!
//! The order of the floating-point operations is the same everywhere (law 2): for each row, group after group,
//! `inner = s_0 * i_0 + s_1 * i_1 + ...` over the group's blocks (s the activations' scale, i the exact integer
//! sum), then `y = y + scale * inner`, or `y = y + (scale * inner + min * sum)` if affine, with `sum` the
//! group's activations summed block after block. Products of many tokens compute the very same.

use crate::activations::{Activations, Digit, Token};
use crate::dot::{self, Bytes, Nibbles};
use crate::isa::{Isa, Job};
use crate::layout::{BLOCK, BLOCK_WEIGHTS, Encoding, GROUPS_PER_BLOCK, Layout, Matrix, STRIP, Zero};
use crate::lookup::Lookup;
use crate::unpack::unpack_block;
use std::ops::Range;

/// The integer sums of one block of a strip, and what they need to know of the token.
pub(crate) trait BlockSums<I: Isa> {
    /// Sums of 32 rows, zero point included, in `128 / WIDTH` registers.
    ///
    /// # Safety
    /// `codes` are those of a whole block and `block` is one of the token's.
    unsafe fn sums(&self, isa: I, codes: *const u8, block: usize) -> [I::Ints; 8];
}

/// Some strips of a product. Whoever makes one vouches that the activations fit the matrix (with tables if it
/// needs them), that (tokens, rows) floats are at `out`, and that nobody else writes the strips' rows.
pub(crate) struct MatmulJob<'a> {
    pub(crate) matrix: Matrix<'a>,
    pub(crate) activations: &'a Activations,
    pub(crate) strips: Range<usize>,
    pub(crate) out: *mut f32,
}

/// From so many tokens on, unpacking a block once pays; lookup tables are for fewer.
pub(crate) const UNPACK_TOKENS: usize = 4;
/// Tokens whose sums are kept in the first-level cache.
const TOKEN_TILE: usize = 64;

impl<I: Isa> Job<I> for MatmulJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let layout = *self.matrix.layout();
        let tokens = self.activations.tokens();
        for strip in self.strips.clone() {
            if tokens >= UNPACK_TOKENS {
                match layout.encoding() {
                    Encoding::Bytes => self.many::<I, false>(isa, strip),
                    _ => self.many::<I, true>(isa, strip),
                }
                continue;
            }
            for index in 0..tokens {
                let token = self.activations.token(index);
                let codes = self.matrix.strip(strip).as_ptr();
                let layout = &layout;
                let mut rows = [0.0f32; STRIP];
                let out = rows.as_mut_ptr();
                // SAFETY: the strip and the activations fit the layout, as does `rows`.
                unsafe {
                    macro_rules! one {
                        ($sums:expr) => {
                            one(isa, layout, codes, token, $sums, out)
                        };
                    }
                    match layout.encoding() {
                        Encoding::Nibbles => one!(|digit| Nibbles { layout, digit }),
                        Encoding::Bytes => one!(|digit| Bytes { layout, digit }),
                        Encoding::Planes(1) => one!(|digit| Lookup::<1>::new(layout, digit)),
                        Encoding::Planes(2) => one!(|digit| Lookup::<2>::new(layout, digit)),
                        Encoding::Planes(3) => one!(|digit| Lookup::<3>::new(layout, digit)),
                        Encoding::Planes(_) => one!(|digit| Lookup::<4>::new(layout, digit)),
                    }
                }
                self.store(strip, index, &rows);
            }
        }
    }
}

impl MatmulJob<'_> {
    /// Writes a strip's rows of one token to the output.
    #[inline(always)]
    fn store(&self, strip: usize, token: usize, rows: &[f32; STRIP]) {
        let total = self.matrix.layout().rows();
        let count = STRIP.min(total - strip * STRIP);
        // SAFETY: these rows of the output are this job's alone, see `MatmulJob`.
        unsafe {
            let to = self.out.add(token * total + strip * STRIP);
            if count == STRIP {
                to.cast::<[f32; STRIP]>().write_unaligned(*rows); // a few moves instead of a call
            } else {
                std::ptr::copy_nonoverlapping(rows.as_ptr(), to, count);
            }
        }
    }

    /// One strip with many tokens: every block is unpacked once for a tile of them, and each register of codes
    /// stays one while all tokens pass by.
    #[inline(always)]
    fn many<I: Isa, const SMALL: bool>(&self, isa: I, strip: usize) {
        let layout = self.matrix.layout();
        let (blocks, per_group) = (layout.blocks(), layout.blocks_per_group());
        let block_bytes = layout.encoding().block_bytes();
        let mut unpacked = Aligned([0u8; BLOCK_WEIGHTS]);
        let mut totals = Aligned([[0.0f32; STRIP]; TOKEN_TILE]);
        let mut inners = Aligned([[0.0f32; STRIP]; TOKEN_TILE]);
        let (unpacked, totals, inners) = (&mut unpacked.0, &mut totals.0, &mut inners.0);
        for tile in (0..self.activations.tokens()).step_by(TOKEN_TILE) {
            let count = TOKEN_TILE.min(self.activations.tokens() - tile);
            totals[..count].fill([0.0; STRIP]);
            let mut bytes = self.matrix.strip(strip);
            for first in (0..blocks).step_by(per_group) {
                let (scales, rest) = bytes.split_at(layout.scale_bytes());
                let last = blocks.min(first + per_group) - 1;
                bytes = rest;
                for block in first..=last {
                    let (codes, rest) = bytes.split_at(block_bytes);
                    bytes = rest;
                    let codes = if layout.encoding() == Encoding::Bytes {
                        codes.as_ptr()
                    } else {
                        unpack_block(isa, layout.encoding(), codes, unpacked);
                        unpacked.as_ptr()
                    };
                    let step = Step { scales: scales.as_ptr(), codes, first, block, last, tile };
                    let (totals, inners) = (&mut totals[..count], &mut inners[..count]);
                    let affine = layout.zero() == Zero::Affine;
                    // SAFETY: 1024 codes and a group's scales are there, and the tile's tokens have the block.
                    unsafe {
                        match (affine, per_group == 1) {
                            (true, true) => self.step::<I, SMALL, true, true>(isa, step, totals, inners),
                            (true, false) => self.step::<I, SMALL, true, false>(isa, step, totals, inners),
                            (false, true) => self.step::<I, SMALL, false, true>(isa, step, totals, inners),
                            (false, false) => self.step::<I, SMALL, false, false>(isa, step, totals, inners),
                        }
                    }
                }
            }
            for (index, total) in totals.iter().enumerate().take(count) {
                self.store(strip, tile + index, total);
            }
        }
    }

    /// One block with a tile of tokens. `SINGLE`: a group is one block.
    ///
    /// # Safety
    /// The step's pointers are to a group's scales and 1024 unpacked codes; `tile + totals.len()` tokens and
    /// `last` blocks are there.
    #[inline(always)]
    unsafe fn step<I: Isa, const SMALL: bool, const AFFINE: bool, const SINGLE: bool>(
        &self,
        isa: I,
        step: Step,
        totals: &mut [[f32; STRIP]],
        inners: &mut [[f32; STRIP]],
    ) {
        let Step { scales, codes, first, block, last, tile } = step;
        let layout = self.matrix.layout();
        let (lanes, blocks) = (I::WIDTH / 4, self.activations.padded_cols() / BLOCK);
        let token = self.activations.token(tile);
        // Where there are 32 registers, two rows of them: twice the independent sums.
        let rows = if I::REGISTERS == 32 { 2 } else { 1 };
        for register in (0..128 / I::WIDTH).step_by(rows) {
            // SAFETY: see above.
            unsafe {
                let second = register + rows - 1;
                let weights = [
                    RowWeights::load::<AFFINE>(isa, scales, codes, register),
                    RowWeights::load::<AFFINE>(isa, scales, codes, second),
                ];
                for index in 0..totals.len() {
                    let at = index * blocks + block;
                    let scale = isa.splat(*token.scales.get_unchecked(at));
                    let mut sums = step_sums::<I, SMALL>(isa, layout, &weights, token.coarse, at);
                    if *token.refined.get_unchecked(at) {
                        let fine = step_sums::<I, SMALL>(isa, layout, &weights, token.fine, at);
                        for (sum, fine) in sums.iter_mut().zip(fine) {
                            *sum = isa.refine(*sum, fine);
                        }
                    }
                    for row in 0..rows {
                        let RowWeights { scale: weight_scale, min: weight_min, .. } = &weights[row];
                        let to = (register + row) * lanes;
                        let mut sum = isa.mul(scale, isa.to_floats(sums[row]));
                        if !SINGLE {
                            let inner = inners.get_unchecked_mut(index).as_mut_ptr().add(to);
                            if block > first {
                                sum = isa.add(isa.load_floats(inner), sum);
                            }
                            if block < last {
                                isa.store_floats(inner, sum);
                                continue;
                            }
                        }
                        sum = isa.mul(*weight_scale, sum);
                        if AFFINE {
                            let start = at - (block - first);
                            let mut offset = *token.scaled_sums.get_unchecked(start);
                            if !SINGLE {
                                for at in start + 1..=at {
                                    offset += *token.scaled_sums.get_unchecked(at);
                                }
                            }
                            sum = isa.add(sum, isa.mul(*weight_min, isa.splat(offset)));
                        }
                        let total = totals.get_unchecked_mut(index).as_mut_ptr().add(to);
                        isa.store_floats(total, isa.add(isa.load_floats(total), sum));
                    }
                }
            }
        }
    }
}

/// The sums of the rows of one register, or of two if they are 64 bytes wide, over block `at` of the activations.
///
/// # Safety
/// The digit has the block.
#[inline(always)]
unsafe fn step_sums<I: Isa, const SMALL: bool>(
    isa: I,
    layout: &Layout,
    weights: &[RowWeights<I>; 2],
    digit: Digit<'_>,
    at: usize,
) -> [I::Ints; 2] {
    // SAFETY: the caller's.
    unsafe {
        let values = digit.values.as_ptr().add(at * BLOCK);
        let offset = if SMALL { 0 } else { I::BYTE_OFFSET };
        let start = dot::start(layout, offset, *digit.sums.get_unchecked(at));
        if I::REGISTERS == 32 {
            dot::pair_sums::<I, SMALL>(isa, [&weights[0].codes, &weights[1].codes], values, start)
        } else {
            [dot::register_sums::<I, SMALL>(isa, &weights[0].codes, values, start); 2]
        }
    }
}

/// At the beginning of a line of the cache, so that no register's load or store takes two.
#[repr(C, align(64))]
struct Aligned<T>(T);

/// A register's rows of an unpacked block, with their scales.
struct RowWeights<I: Isa> {
    codes: [I::Bytes; GROUPS_PER_BLOCK],
    scale: I::Floats,
    min: I::Floats,
}

impl<I: Isa> RowWeights<I> {
    /// # Safety
    /// A group's scales and 1024 codes are readable, and `register < 128 / WIDTH`.
    #[inline(always)]
    unsafe fn load<const AFFINE: bool>(isa: I, scales: *const u8, codes: *const u8, register: usize) -> Self {
        let at = register * I::WIDTH;
        // SAFETY: the caller's.
        unsafe {
            let mut loaded = [isa.load(codes.add(at)); GROUPS_PER_BLOCK];
            for (group, loaded) in loaded.iter_mut().enumerate().skip(1) {
                *loaded = isa.load(codes.add(group * 128 + at));
            }
            let scale = isa.load_halves(scales.add(at / 2));
            let min = if AFFINE { isa.load_halves(scales.add(2 * STRIP + at / 2)) } else { scale };
            RowWeights { codes: loaded, scale, min }
        }
    }
}

/// Where [`MatmulJob::step`] is: the block of a group `first..=last`, and the first token of the tile.
#[derive(Clone, Copy)]
struct Step {
    scales: *const u8,
    codes: *const u8,
    first: usize,
    block: usize,
    last: usize,
    tile: usize,
}

/// The scaled sum of the activations of blocks `first..=last`.
///
/// # Safety
/// The token has these blocks.
#[inline(always)]
unsafe fn group_sum(token: Token<'_>, first: usize, last: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = *token.scaled_sums.get_unchecked(first);
        for block in first + 1..=last {
            sum += *token.scaled_sums.get_unchecked(block);
        }
        sum
    }
}

/// One strip with one token; writes 32 floats to `out`.
///
/// # Safety
/// `strip` has the layout's bytes, `token` its blocks (and tables for bit-planes), 32 floats are at `out`.
#[inline(always)]
unsafe fn one<'a, I: Isa, B: BlockSums<I>>(
    isa: I,
    layout: &Layout,
    strip: *const u8,
    token: Token<'a>,
    sums: impl Fn(Digit<'a>) -> B,
    out: *mut f32,
) {
    // With 16 registers, the code for groups of one block keeps more than they hold: AVX2 takes 8 % longer for int4.
    let single = I::REGISTERS == 32 && layout.blocks_per_group() == 1;
    let sums = [&sums(token.coarse), &sums(token.fine)];
    // SAFETY: the caller's.
    unsafe {
        match (layout.zero() == Zero::Affine, single) {
            (true, true) => one_of::<I, B, true, true>(isa, layout, strip, token, sums, out),
            (true, false) => one_of::<I, B, true, false>(isa, layout, strip, token, sums, out),
            (false, true) => one_of::<I, B, false, true>(isa, layout, strip, token, sums, out),
            (false, false) => one_of::<I, B, false, false>(isa, layout, strip, token, sums, out),
        }
    }
}

/// [`one`] of a kind of groups. `SINGLE`: a group is one block.
///
/// # Safety
/// As for [`one`].
#[inline(always)]
unsafe fn one_of<I: Isa, B: BlockSums<I>, const AFFINE: bool, const SINGLE: bool>(
    isa: I,
    layout: &Layout,
    strip: *const u8,
    token: Token<'_>,
    [coarse, fine]: [&B; 2],
    out: *mut f32,
) {
    let registers = 128 / I::WIDTH;
    let (blocks, per_group) = (layout.blocks(), if SINGLE { 1 } else { layout.blocks_per_group() });
    let (scale_bytes, block_bytes) = (layout.scale_bytes(), layout.encoding().block_bytes());
    let mut totals = [isa.splat(0.0); 8];
    let mut at = strip;
    let mut first = 0;
    while first < blocks {
        let last = if SINGLE { first } else { (first + per_group).min(blocks) - 1 };
        let scales = at;
        // SAFETY: the groups of a strip follow each other as the layout says, and blocks < layout.blocks().
        unsafe {
            at = at.add(scale_bytes);
            let mut inner = [isa.splat(0.0); 8];
            for block in first..last + 1 {
                let mut rows = coarse.sums(isa, at, block);
                if *token.refined.get_unchecked(block) {
                    for (row, fine) in rows.iter_mut().zip(fine.sums(isa, at, block)).take(registers) {
                        *row = isa.refine(*row, fine);
                    }
                }
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
        // SAFETY: 32 floats are writable at `out`.
        unsafe { isa.store_floats(out.add(r * I::WIDTH / 4), total) };
    }
}
