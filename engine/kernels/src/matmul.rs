//! Products of packed matrices with quantized activations.
//!
//! The order of the floating-point operations is the same everywhere (law 2): for each row, group after group,
//! `inner = s_0 * i_0 + s_1 * i_1 + ...` over the group's blocks (s the activations' scale, i the exact integer
//! sum), then `y = y + scale * inner`, or `y = y + (scale * inner + min * sum)` if affine, with `sum` the
//! group's activations summed block after block. Products of many tokens compute the very same.

use crate::activations::Activations;
use crate::dot::{self, Bytes, Nibbles};
use crate::isa::{Isa, Job};
use crate::layout::{BLOCK, BLOCK_WEIGHTS, Encoding, GROUPS_PER_BLOCK, Matrix, STRIP, Zero};
use crate::lookup::Lookup;
use crate::strip::{Aligned, OneStrip, fetch_ahead, group_sum};
use crate::tiles::{TILE_FROM, TileJob};
use crate::unpack::unpack_block;
use std::ops::Range;

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
        if I::TILES && tokens >= TILE_FROM {
            return isa.multiply_by_tiles(TileJob(self));
        }
        for strip in self.strips.clone() {
            if tokens >= UNPACK_TOKENS {
                match layout.encoding() {
                    Encoding::Bytes => isa.enter(ManyJob::<false>(&self, strip)),
                    _ => isa.enter(ManyJob::<true>(&self, strip)),
                }
                continue;
            }
            for index in 0..tokens {
                let (bytes, token) = (self.matrix.strip(strip), self.activations.token(index));
                let one = OneStrip { layout: &layout, bytes, token };
                let rows = match layout.encoding() {
                    Encoding::Nibbles => one.rows::<I, Nibbles>(isa),
                    Encoding::Bytes => one.rows::<I, Bytes>(isa),
                    Encoding::Planes(1) => one.rows::<I, Lookup<1>>(isa),
                    Encoding::Planes(2) => one.rows::<I, Lookup<2>>(isa),
                    Encoding::Planes(3) => one.rows::<I, Lookup<3>>(isa),
                    Encoding::Planes(_) => one.rows::<I, Lookup<4>>(isa),
                };
                self.store(strip, index, &rows);
            }
        }
    }
}

/// A strip of a product with many tokens. `SMALL`: the codes are below 16.
struct ManyJob<'j, 'a, const SMALL: bool>(&'j MatmulJob<'a>, usize);

impl<I: Isa, const SMALL: bool> Job<I> for ManyJob<'_, '_, SMALL> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        self.0.many::<I, SMALL>(isa, self.1);
    }
}

impl MatmulJob<'_> {
    /// Writes a strip's rows of one token to the output.
    #[inline(always)]
    pub(crate) fn store(&self, strip: usize, token: usize, rows: &[f32; STRIP]) {
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
                    if tile == 0 {
                        fetch_ahead(isa, codes.as_ptr(), block_bytes);
                    }
                    let codes = if layout.encoding() == Encoding::Bytes {
                        codes.as_ptr()
                    } else {
                        unpack_block(isa, layout.encoding(), codes, 0, unpacked);
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
        if SMALL && I::TOKEN_BY_TOKEN {
            // SAFETY: the caller's.
            return unsafe { self.step_by_token::<I, AFFINE, SINGLE>(isa, step, totals, inners) };
        }
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
                    let values = dot::values(layout, if SMALL { 0 } else { I::BYTE_OFFSET }, at, token);
                    let sums = isa.unpacked_block::<SMALL>([&weights[0].codes, &weights[1].codes], values);
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

impl MatmulJob<'_> {
    /// [`MatmulJob::step`] of small codes, token by token: a token's activations are spread over lanes once for all
    /// rows, and so are its scales.
    ///
    /// # Safety
    /// As for [`MatmulJob::step`].
    #[inline(always)]
    unsafe fn step_by_token<I: Isa, const AFFINE: bool, const SINGLE: bool>(
        &self,
        isa: I,
        step: Step,
        totals: &mut [[f32; STRIP]],
        inners: &mut [[f32; STRIP]],
    ) {
        let Step { scales, codes, first, block, last, tile } = step;
        let (lanes, blocks) = (I::WIDTH / 4, self.activations.padded_cols() / BLOCK);
        let token = self.activations.token(tile);
        let mut weights = Aligned([[0.0f32; STRIP]; 2]);
        // SAFETY: the caller's; rows are within the 32 of a strip.
        unsafe {
            for r in (0..STRIP).step_by(lanes) {
                isa.store_floats(weights.0[0].as_mut_ptr().add(r), isa.load_halves(scales.add(2 * r)));
                if AFFINE {
                    let min = isa.load_halves(scales.add(2 * STRIP + 2 * r));
                    isa.store_floats(weights.0[1].as_mut_ptr().add(r), min);
                }
            }
            for (index, (total, inner)) in totals.iter_mut().zip(inners).enumerate() {
                let at = index * blocks + block;
                let scale = isa.splat(*token.scales.get_unchecked(at));
                let sums = isa.small_block(codes, dot::values(self.matrix.layout(), 0, at, token));
                let offset = isa.splat(if AFFINE { group_sum(token, at - (block - first), at) } else { 0.0 });
                for (register, sums) in sums.into_iter().enumerate().take(128 / I::WIDTH) {
                    let r = register * lanes;
                    let mut sum = isa.mul(scale, isa.to_floats(sums));
                    if !SINGLE {
                        let inner = inner.as_mut_ptr().add(r);
                        if block > first {
                            sum = isa.add(isa.load_floats(inner), sum);
                        }
                        if block < last {
                            isa.store_floats(inner, sum);
                            continue;
                        }
                    }
                    sum = isa.mul(isa.load_floats(weights.0[0].as_ptr().add(r)), sum);
                    if AFFINE {
                        let min = isa.load_floats(weights.0[1].as_ptr().add(r));
                        sum = isa.add(sum, isa.mul(min, offset));
                    }
                    let total = total.as_mut_ptr().add(r);
                    isa.store_floats(total, isa.add(isa.load_floats(total), sum));
                }
            }
        }
    }
}

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
