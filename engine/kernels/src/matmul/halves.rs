//! One strip of a matrix whose quantization groups are half a block, 16 columns.

use super::UNPACK_TOKENS;
use super::job::MatmulJob;
use super::memory::{Aligned, fetch_ahead};
use super::unpack::unpack_half;
use crate::activations::{BlockValues, Token};
use crate::blocks::Blocks;
use crate::isa::Job;
use crate::layout::{BLOCK, BLOCK_WEIGHTS, Encoding, GROUPS_PER_HALF, Layout, STRIP, Zero};

/// Tokens of a tile, whose sums stay in the first-level cache.
const TILE: usize = 64;

/// Strip `strip` with all tokens.
#[inline(always)]
pub(super) fn multiply_halves<I: Blocks>(isa: I, job: &MatmulJob<'_>, strip: usize) {
    let layout = job.matrix.layout();
    let affine = layout.zero() == Zero::Affine;
    let tokens = job.activations.tokens();
    if tokens >= UNPACK_TOKENS {
        return match affine {
            true => isa.enter(ManyTokens::<true>(job, strip)),
            false => isa.enter(ManyTokens::<false>(job, strip)),
        };
    }
    for index in 0..tokens {
        let mut rows = Aligned([0.0; STRIP]);
        let (bytes, token) = (job.matrix.strip(strip), job.activations.token(index));
        let one = OneToken { layout, bytes, token, out: &mut rows.0 };
        match layout.encoding() {
            Encoding::Split(2) => one.rows::<I, 2>(isa, affine),
            Encoding::Split(3) => one.rows::<I, 3>(isa, affine),
            _ => one.rows::<I, 6>(isa, affine),
        }
        job.store(strip, index, &rows.0);
    }
}

/// A strip and one token.
///
/// Whoever constructs one guarantees that `bytes` is a whole strip of the layout, and that the token has its columns.
struct OneToken<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
    token: Token<'a>,
    out: &'a mut [f32; STRIP],
}

impl OneToken<'_> {
    /// Writes the product's 32 rows; codes have `BITS` bits.
    #[inline(always)]
    fn rows<I: Blocks, const BITS: usize>(self, isa: I, affine: bool) {
        match affine {
            true => isa.enter(TokenJob::<BITS, true>(self)),
            false => isa.enter(TokenJob::<BITS, false>(self)),
        }
    }
}

struct TokenJob<'a, const BITS: usize, const AFFINE: bool>(OneToken<'a>);

impl<I: Blocks, const BITS: usize, const AFFINE: bool> Job<I> for TokenJob<'_, BITS, AFFINE> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let TokenJob(OneToken { layout, bytes, token, out }) = self;
        let registers = 128 / I::WIDTH;
        let (scale_bytes, group_bytes) = (layout.scale_bytes(), layout.scale_bytes() + 64 * BITS);
        let mut totals = [isa.splat(0.0); 8];
        let mut at = bytes.as_ptr();
        for group in 0..layout.groups() {
            let (block, half) = (group / 2, group % 2);
            fetch_ahead(isa, at, group_bytes);
            // SAFETY: the groups of a strip follow each other, each its scales and then its codes, and `bytes` has all of
            // them (see `OneToken`); `block` is one of the token's.
            unsafe {
                let values = BlockValues::half(layout, block, half, token);
                let rows = isa.split_half::<BITS>(at.add(scale_bytes), values);
                let scale = isa.splat(*token.scales.get_unchecked(block));
                let offset = isa.splat(if AFFINE { token.scaled_half_sum(block, half) } else { 0.0 });
                for (r, (total, rows)) in totals.iter_mut().zip(rows).enumerate().take(registers) {
                    let inner = isa.mul(scale, isa.to_floats(rows));
                    let mut sum = isa.mul(isa.load_halves(at.add(r * I::WIDTH / 2)), inner);
                    if AFFINE {
                        let min = isa.load_halves(at.add(2 * STRIP + r * I::WIDTH / 2));
                        sum = isa.add(sum, isa.mul(min, offset));
                    }
                    *total = isa.add(*total, sum);
                }
                at = at.add(group_bytes);
            }
        }
        for (r, total) in totals.into_iter().enumerate().take(registers) {
            // SAFETY: r < 128 / WIDTH, so the store ends at float 32 of `out` at most.
            unsafe { isa.store_floats(out.as_mut_ptr().add(r * I::WIDTH / 4), total) };
        }
    }
}

/// A strip of a product of many tokens: half a block is unpacked once for a tile of them.
struct ManyTokens<'j, 'a, const AFFINE: bool>(&'j MatmulJob<'a>, usize);

impl<I: Blocks, const AFFINE: bool> Job<I> for ManyTokens<'_, '_, AFFINE> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let ManyTokens(job, strip) = self;
        let layout = job.matrix.layout();
        let (scale_bytes, bits) = (layout.scale_bytes(), layout.encoding().bits());
        let mut unpacked = Aligned([0u8; BLOCK_WEIGHTS / 2]);
        let mut totals = Aligned([[0.0f32; STRIP]; TILE]);
        for tile in (0..job.activations.tokens()).step_by(TILE) {
            let totals = &mut totals.0[..TILE.min(job.activations.tokens() - tile)];
            totals.fill([0.0; STRIP]);
            for (group, bytes) in job.matrix.strip(strip).chunks_exact(layout.group_bytes()).enumerate() {
                if tile == 0 {
                    fetch_ahead(isa, bytes.as_ptr(), bytes.len());
                }
                let (scales, codes) = bytes.split_at(scale_bytes);
                unpack_half(bits, codes, 0, &mut unpacked.0);
                // SAFETY: these are the scales and unpacked codes of group `group`; the tile is within the activations'
                // tokens, which have its block.
                unsafe { step::<I, AFFINE>(isa, job, group, tile, scales.as_ptr(), &unpacked.0, totals) };
            }
            for (index, total) in totals.iter().enumerate() {
                job.store(strip, tile + index, total);
            }
        }
    }
}

/// One group with a tile of tokens: each register of rows stays while all tokens are multiplied with it.
///
/// # Safety
/// `scales` points to the scales of group `group` (`Layout::scale_bytes`); the activations have at least `tile +
/// totals.len()` tokens, which have the group's block.
#[inline(always)]
unsafe fn step<I: Blocks, const AFFINE: bool>(
    isa: I,
    job: &MatmulJob<'_>,
    group: usize,
    tile: usize,
    scales: *const u8,
    codes: &[u8; BLOCK_WEIGHTS / 2],
    totals: &mut [[f32; STRIP]],
) {
    let (block, half) = (group / 2, group % 2);
    let blocks = job.activations.padded_cols() / BLOCK;
    let token = job.activations.token(tile);
    for register in 0..128 / I::WIDTH {
        let at = register * I::WIDTH;
        // SAFETY: at + WIDTH <= 128, so each load of codes is within the 128 bytes of its LUT group, each load of halves,
        // half as wide, within 64 bytes, and each of floats within 32; `block` is block `block` of token `tile + index`,
        // counted from token `tile`.
        unsafe {
            let mut loaded = [isa.load(codes.as_ptr().add(at)); GROUPS_PER_HALF];
            for (group, loaded) in loaded.iter_mut().enumerate().skip(1) {
                *loaded = isa.load(codes.as_ptr().add(group * 128 + at));
            }
            let weight = isa.load_halves(scales.add(at / 2));
            let min = if AFFINE { isa.load_halves(scales.add(2 * STRIP + at / 2)) } else { weight };
            for (index, total) in totals.iter_mut().enumerate() {
                let block = index * blocks + block;
                let values = BlockValues::half(job.matrix.layout(), block, half, token);
                let sums = isa.to_floats(isa.unpacked_half(&loaded, values));
                let inner = isa.mul(isa.splat(*token.scales.get_unchecked(block)), sums);
                let mut sum = isa.mul(weight, inner);
                if AFFINE {
                    let offset = isa.splat(token.scaled_half_sum(block, half));
                    sum = isa.add(sum, isa.mul(min, offset));
                }
                let total = total.as_mut_ptr().add(at / 4);
                isa.store_floats(total, isa.add(isa.load_floats(total), sum));
            }
        }
    }
}
