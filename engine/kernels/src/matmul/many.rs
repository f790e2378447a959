//! One strip with many tokens: every block is unpacked once for a tile of them.
//! Measurements: docs/experiments/prefill.md.

use super::job::MatmulJob;
use super::memory::{Aligned, fetch_ahead, fetch_header};
use super::scales::{RowScales, load_halves, multiply_six};
use super::unpack::unpack_block;
use crate::activations::BlockValues;
use crate::blocks::Blocks;
use crate::isa::{Isa, Job};
use crate::layout::{BLOCK, BLOCK_WEIGHTS, Encoding, GROUPS_PER_BLOCK, ROW_HALVES, STRIP, Zero};

/// Tokens of a tile, whose sums stay in the first-level cache.
const TILE: usize = 64;

/// One strip of a product, with the tokens from one on. `SMALL`: the codes are below 32. `SIX`: scales have six bits.
pub(super) struct ManyTokens<'j, 'a, const SMALL: bool, const SIX: bool>(
    pub(super) &'j MatmulJob<'a>,
    pub(super) usize,
    pub(super) usize,
);

impl<I: Blocks, const SMALL: bool, const SIX: bool> Job<I> for ManyTokens<'_, '_, SMALL, SIX> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        many::<I, SMALL, SIX>(self.0, isa, self.1, self.2);
    }
}

/// Strip `strip` with the tokens from `from` on.
#[inline(always)]
fn many<I: Blocks, const SMALL: bool, const SIX: bool>(
    job: &MatmulJob<'_>,
    isa: I,
    strip: usize,
    from: usize,
) {
    let layout = job.matrix.layout();
    let (blocks, per_group) = (layout.blocks(), layout.blocks_per_group());
    let block_bytes = layout.encoding().block_bytes();
    let mut unpacked = Aligned([0u8; BLOCK_WEIGHTS]);
    let mut totals = Aligned([[0.0f32; STRIP]; TILE]);
    let mut inners = Aligned([[0.0f32; STRIP]; TILE]);
    // With six-bit scales: those of the rows, and of a group.
    let (mut of_rows, mut of_group) = (Aligned([[0.0f32; STRIP]; 2]), Aligned([[0.0f32; STRIP]; 2]));
    if SIX {
        let bytes = job.matrix.strip(strip).as_ptr();
        fetch_header(isa, bytes, layout.strip_header_bytes());
        // SAFETY: the strip begins with the 128 bytes of its rows' halves.
        unsafe { load_halves(isa, bytes, true, &mut of_rows.0) };
    }
    let (unpacked, totals, inners) = (&mut unpacked.0, &mut totals.0, &mut inners.0);
    for tile in (from..job.activations.tokens()).step_by(TILE) {
        let count = TILE.min(job.activations.tokens() - tile);
        totals[..count].fill([0.0; STRIP]);
        let mut bytes = job.matrix.strip(strip);
        let mut sixes = [].iter();
        if SIX {
            sixes = bytes[ROW_HALVES..].as_chunks().0.iter();
            bytes = &bytes[layout.strip_header_bytes()..];
        }
        for first in (0..blocks).step_by(per_group) {
            let (scales, rest) = bytes.split_at(if SIX { 0 } else { layout.scale_bytes() });
            let last = blocks.min(first + per_group) - 1;
            bytes = rest;
            let mut scales = scales.as_ptr();
            if SIX && let Some(group) = sixes.next() {
                multiply_six(group, &of_rows.0, &mut of_group.0);
                scales = (&raw const of_group.0).cast();
            }
            for block in first..=last {
                let (codes, rest) = bytes.split_at(block_bytes);
                bytes = rest;
                if tile == from {
                    fetch_ahead(isa, codes.as_ptr(), block_bytes);
                }
                let codes = if layout.encoding() == Encoding::Bytes {
                    codes.as_ptr()
                } else {
                    unpack_block(isa, layout.encoding(), codes, 0, unpacked);
                    unpacked.as_ptr()
                };
                let step = Step { scales, codes, first, block, last, tile };
                let (totals, inners) = (&mut totals[..count], &mut inners[..count]);
                let affine = SIX || layout.zero() == Zero::Affine;
                // SAFETY: `scales` is a group's scales, which are floats if `SIX`; `codes` is a block of bytes, or the
                // buffer that it was unpacked to: 1024 bytes. The tile is within the activations' tokens, which have the
                // block.
                unsafe {
                    match (affine, per_group == 1) {
                        (true, true) => {
                            step_by_rows::<I, SMALL, true, true, SIX>(job, isa, step, totals, inners)
                        }
                        (true, false) => {
                            step_by_rows::<I, SMALL, true, false, SIX>(job, isa, step, totals, inners)
                        }
                        (false, true) => {
                            step_by_rows::<I, SMALL, false, true, SIX>(job, isa, step, totals, inners)
                        }
                        (false, false) => {
                            step_by_rows::<I, SMALL, false, false, SIX>(job, isa, step, totals, inners)
                        }
                    }
                }
            }
        }
        for (index, total) in totals.iter().enumerate().take(count) {
            job.store(strip, tile + index, total);
        }
    }
}

/// One block with a tile of tokens: each register of rows stays while all tokens are multiplied with it. `SINGLE`: a group
/// is one block. `SIX`: scales are floats, made of six bits.
///
/// # Safety
/// - `step.scales` points to a group's scales (`Layout::scale_bytes`), or, if `SIX`, to [`RowScales`]; `step.codes` to 1024 bytes of unpacked codes.
/// - The activations have at least `tile + totals.len()` tokens, with more than `last` blocks each.
/// - `inners` is as long as `totals`.
#[inline(always)]
unsafe fn step_by_rows<
    I: Blocks,
    const SMALL: bool,
    const AFFINE: bool,
    const SINGLE: bool,
    const SIX: bool,
>(
    job: &MatmulJob<'_>,
    isa: I,
    step: Step,
    totals: &mut [[f32; STRIP]],
    inners: &mut [[f32; STRIP]],
) {
    if SMALL && I::TOKEN_BY_TOKEN {
        // SAFETY: `step_by_token` has the same contract.
        return unsafe { step_by_token::<I, AFFINE, SINGLE, SIX>(job, isa, step, totals, inners) };
    }
    let Step { scales, codes, first, block, last, tile } = step;
    let layout = job.matrix.layout();
    let (lanes, blocks) = (I::WIDTH / 4, job.activations.padded_cols() / BLOCK);
    let token = job.activations.token(tile);
    // With 32 registers, two of rows: twice as many independent sums.
    let rows = if I::REGISTERS == 32 { 2 } else { 1 };
    for register in (0..128 / I::WIDTH).step_by(rows) {
        // SAFETY: register < 128 / WIDTH, so rows `to..to + lanes` are within 32. `at` is block `block` of token
        // `tile + index`, counted from token `tile`, and `at - (block - first)..=at` are blocks of the same token.
        unsafe {
            let second = register + rows - 1;
            let weights = [
                RowWeights::load::<AFFINE, SIX>(isa, scales, codes, register),
                RowWeights::load::<AFFINE, SIX>(isa, scales, codes, second),
            ];
            for index in 0..totals.len() {
                let at = index * blocks + block;
                let scale = isa.splat(*token.scales.get_unchecked(at));
                let values = BlockValues::new(layout, if SMALL { 0 } else { I::BYTE_OFFSET }, at, token);
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

/// [`step_by_rows`] of small codes, token by token: a token's activations and scale are broadcast once for all rows.
///
/// # Safety
/// As for [`step_by_rows`].
#[inline(always)]
unsafe fn step_by_token<I: Blocks, const AFFINE: bool, const SINGLE: bool, const SIX: bool>(
    job: &MatmulJob<'_>,
    isa: I,
    step: Step,
    totals: &mut [[f32; STRIP]],
    inners: &mut [[f32; STRIP]],
) {
    let Step { scales, codes, first, block, last, tile } = step;
    let (lanes, blocks) = (I::WIDTH / 4, job.activations.padded_cols() / BLOCK);
    let token = job.activations.token(tile);
    let mut converted = Aligned([[0.0f32; STRIP]; 2]);
    // SAFETY: r + lanes <= 32 everywhere, so rows, scales and minimums are within their 32; `at` is block `block` of token
    // `tile + index`, counted from token `tile`, and `at - (block - first)..=at` are blocks of the same token.
    unsafe {
        if !SIX {
            load_halves(isa, scales, AFFINE, &mut converted.0);
        }
        let weights: &RowScales = if SIX { &*scales.cast() } else { &converted.0 };
        for (index, (total, inner)) in totals.iter_mut().zip(inners).enumerate() {
            let at = index * blocks + block;
            let scale = isa.splat(*token.scales.get_unchecked(at));
            let sums = isa.small_block(codes, BlockValues::new(job.matrix.layout(), 0, at, token));
            let offset = isa.splat(if AFFINE { token.group_sum(at - (block - first), at) } else { 0.0 });
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
                sum = isa.mul(isa.load_floats(weights[0].as_ptr().add(r)), sum);
                if AFFINE {
                    let min = isa.load_floats(weights[1].as_ptr().add(r));
                    sum = isa.add(sum, isa.mul(min, offset));
                }
                let total = total.as_mut_ptr().add(r);
                isa.store_floats(total, isa.add(isa.load_floats(total), sum));
            }
        }
    }
}

/// One register's rows of an unpacked block, with their scales.
struct RowWeights<I: Isa> {
    codes: [I::Bytes; GROUPS_PER_BLOCK],
    scale: I::Floats,
    min: I::Floats,
}

impl<I: Isa> RowWeights<I> {
    /// # Safety
    /// A group's scales (64 bytes, 128 if `AFFINE`, [`RowScales`] if `SIX`) are readable at `scales`, 1024 bytes at `codes`, and
    /// `register < 128 / WIDTH`.
    #[inline(always)]
    unsafe fn load<const AFFINE: bool, const SIX: bool>(
        isa: I,
        scales: *const u8,
        codes: *const u8,
        register: usize,
    ) -> Self {
        let at = register * I::WIDTH;
        // SAFETY: at + WIDTH <= 128, so each load of codes is within the 128 bytes of its group, each load of floats
        // within 128 bytes, and each load of halves, half as wide, within 64.
        unsafe {
            let mut loaded = [isa.load(codes.add(at)); GROUPS_PER_BLOCK];
            for (group, loaded) in loaded.iter_mut().enumerate().skip(1) {
                *loaded = isa.load(codes.add(group * 128 + at));
            }
            let part = |part: usize| match SIX {
                true => isa.load_floats(scales.cast::<f32>().add(STRIP * part + at / 4)),
                false => isa.load_halves(scales.add(2 * STRIP * part + at / 2)),
            };
            let scale = part(0);
            let min = if AFFINE { part(1) } else { scale };
            RowWeights { codes: loaded, scale, min }
        }
    }
}

/// What [`step_by_rows`] works on: block `block` of the group `first..=last`, and the tile that begins with token `tile`.
#[derive(Clone, Copy)]
struct Step {
    scales: *const u8,
    codes: *const u8,
    first: usize,
    block: usize,
    last: usize,
    tile: usize,
}
