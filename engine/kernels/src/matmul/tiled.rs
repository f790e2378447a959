//! Products of many tokens by matrix instructions ([`Tiles`]): integer sums of a block for 16 tokens at once, and
//! floating-point work in the same order as everywhere.
//! Measurements: docs/experiments/amx-tiles.md.

use super::job::MatmulJob;
use super::memory::{fetch_ahead, fetch_header};
use super::scales::{RowScales, load_halves, multiply_six};
use super::unpack::unpack_block;
use crate::activations::{TILED_TOKENS, Tile};
use crate::isa::{Isa, Job};
use crate::layout::{BLOCK, BLOCK_WEIGHTS, STRIP, Scales, Zero};
use crate::tiles::{TILE_TOKENS, Tiles};
use std::mem::MaybeUninit;
use std::ops::Range;

/// From this many tokens on, matrix instructions are faster.
pub(crate) const TILE_FROM: usize = 8;

/// The strips of a job with at least [`TILE_FROM`] tokens, whose activations were arranged in tiles.
#[inline(always)]
pub(crate) fn multiply_by_tiles<T: Tiles>(job: &MatmulJob<'_>, tiles: T) {
    let (layout, isa) = (job.matrix.layout(), tiles.isa());
    tiles.begin();
    match (layout.zero() == Zero::Affine, layout.blocks_per_group() == 1) {
        (true, true) => isa.enter(Strips::<T, true, true>(job, tiles)),
        (true, false) => isa.enter(Strips::<T, true, false>(job, tiles)),
        (false, true) => isa.enter(Strips::<T, false, true>(job, tiles)),
        (false, false) => isa.enter(Strips::<T, false, false>(job, tiles)),
    }
    tiles.end();
}

/// All strips, for one kind of groups. `SINGLE`: a group is one block.
struct Strips<'j, 'a, T: Tiles, const AFFINE: bool, const SINGLE: bool>(&'j MatmulJob<'a>, T);

impl<T: Tiles, const AFFINE: bool, const SINGLE: bool> Job<T::Isa> for Strips<'_, '_, T, AFFINE, SINGLE> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: T::Isa) {
        let tokens = self.0.activations.tokens();
        let mut buffers = MaybeUninit::<Buffers>::uninit();
        for strip in self.0.strips.clone() {
            for first in (0..tokens).step_by(TILED_TOKENS) {
                // SAFETY: any bits are a valid `Buffers`; strip and token are the job's, and `multiply_by_tiles` has
                // called `begin`.
                let rows = unsafe {
                    let buffers = &mut *buffers.as_mut_ptr();
                    self.tile(isa, strip, first, buffers);
                    &buffers.rows
                };
                for (index, row) in rows.iter().enumerate().take(tokens - first) {
                    self.0.store(strip, first + index, &row.total);
                }
            }
        }
    }
}

/// Working memory of a strip and a run of tokens, for the first-level cache.
#[repr(align(64))]
struct Buffers {
    /// Codes of this block and the next.
    codes: [[u8; BLOCK_WEIGHTS]; 2],
    /// Scales of the strip's rows, if those of groups have six bits.
    row_scales: RowScales,
    /// Scales of a group.
    scales: RowScales,
    rows: [Rows; TILED_TOKENS],
}

/// The working memory of a token. It is side by side because loads wait for earlier stores whose addresses differ in the
/// higher bits only, as they would in separate arrays.
#[repr(C, align(64))]
struct Rows {
    /// Sums of this block and the next.
    sums: [[i32; STRIP]; 2],
    /// Those over fine digits: element n is of the n-th token that has one.
    fine: [[i32; STRIP]; 2],
    total: [f32; STRIP],
    inner: [f32; STRIP],
}

/// Distance of two tokens' sums.
const STRIDE: usize = size_of::<Rows>();

impl<T: Tiles, const AFFINE: bool, const SINGLE: bool> Strips<'_, '_, T, AFFINE, SINGLE> {
    /// A strip's rows of up to 64 tokens, written to `buffers.rows`.
    ///
    /// Matrix instructions have a long latency, so those of the next block are interleaved with the floating-point
    /// operations of this one, 16 tokens at a time, and codes are unpacked a block ahead.
    ///
    /// # Safety
    /// Strip `strip` and token `first`, a multiple of 64, exist, and this thread has called [`Tiles::begin`].
    #[inline(always)]
    unsafe fn tile(&self, isa: T::Isa, strip: usize, first: usize, buffers: &mut Buffers) {
        let blocks = self.0.matrix.layout().blocks();
        let count = TILED_TOKENS.min(self.0.activations.tokens() - first);
        for row in &mut buffers.rows[..count] {
            row.total = [0.0; STRIP];
        }
        if self.0.matrix.layout().scales() == Scales::SixBits {
            let bytes = self.0.matrix.strip(strip).as_ptr();
            if first == 0 {
                fetch_header(isa, bytes, self.0.matrix.layout().strip_header_bytes());
            }
            // SAFETY: with six-bit scales a strip begins with the 128 bytes of its rows' halves.
            unsafe { load_halves(isa, bytes, true, &mut buffers.row_scales) };
        }
        // SAFETY: every block is below `blocks`; it is unpacked before its sums are computed, and these before they are
        // joined and scaled; tokens are below `count`, rounded up to whole tiles for the sums.
        unsafe {
            let mut next = self.step(strip, first, 0);
            self.unpack(isa, next, first == 0, buffers);
            let mut this: Option<Step> = None;
            for block in 0..blocks + 1 {
                let after = if block + 1 < blocks {
                    let after = self.step(strip, first, block + 1);
                    self.unpack(isa, after, first == 0, buffers);
                    after
                } else {
                    next
                };
                if block < blocks {
                    for from in (0..next.tile.refined.count_ones() as usize).step_by(TILE_TOKENS) {
                        self.sums::<true>(next, from, buffers);
                    }
                }
                if let Some(this) = this
                    && this.last
                {
                    self.load_scales(isa, this, buffers);
                }
                for from in (0..count).step_by(TILE_TOKENS) {
                    if block < blocks {
                        self.sums::<false>(next, from, buffers);
                    }
                    if let Some(this) = this {
                        let tokens = from..count.min(from + TILE_TOKENS);
                        self.refine(isa, this, tokens.clone(), buffers);
                        self.scale(isa, this, tokens, buffers);
                    }
                }
                (this, next) = (Some(next), after);
            }
        }
    }

    /// Where a block's weights and activations are, for a run of tokens.
    ///
    /// # Safety
    /// Strip `strip`, token `first`, a multiple of 64, and block `block` exist.
    #[inline(always)]
    unsafe fn step(&self, strip: usize, first: usize, block: usize) -> Step {
        let layout = self.0.matrix.layout();
        let index = first / TILED_TOKENS * layout.blocks() + block;
        let (scales, codes) = layout.offsets(block * BLOCK);
        let strip = self.0.matrix.strip(strip).as_ptr();
        let per_group = if SINGLE { 1 } else { layout.blocks_per_group() };
        let before = block % per_group;
        // SAFETY: `offsets` are within a strip, and all blocks of all runs were arranged before the product.
        unsafe {
            Step {
                scales: strip.add(scales),
                codes: strip.add(codes),
                parity: block % 2,
                before,
                last: before + 1 == per_group || block + 1 == layout.blocks(),
                tile: self.0.activations.tiles().tile(index),
            }
        }
    }

    /// Converts the scales of a block's group.
    ///
    /// # Safety
    /// `step` is from [`Self::step`]; with six-bit scales, those of its strip's rows were converted.
    #[inline(always)]
    unsafe fn load_scales(&self, isa: T::Isa, step: Step, buffers: &mut Buffers) {
        // SAFETY: `step.scales` are the group's: six bits of each row, or halves, of `Layout::scale_bytes`.
        unsafe {
            match self.0.matrix.layout().scales() {
                Scales::SixBits => {
                    multiply_six(&*step.scales.cast(), &buffers.row_scales, &mut buffers.scales);
                }
                Scales::Halves => load_halves(isa, step.scales, AFFINE, &mut buffers.scales),
            }
        }
    }

    /// Unpacks a block and subtracts its zero point.
    ///
    /// # Safety
    /// `step` is from [`Self::step`].
    #[inline(always)]
    unsafe fn unpack(&self, isa: T::Isa, step: Step, fetch: bool, buffers: &mut Buffers) {
        let layout = self.0.matrix.layout();
        let bytes = layout.encoding().block_bytes();
        // SAFETY: `step.codes` are those of a whole block.
        let codes = unsafe { std::slice::from_raw_parts(step.codes, bytes) };
        if fetch {
            fetch_ahead(isa, step.codes, bytes);
        }
        let zero = if let Zero::Symmetric(zero) = layout.zero() { zero } else { 0 };
        unpack_block(isa, layout.encoding(), codes, zero, &mut buffers.codes[step.parity]);
    }

    /// The sums of a block over one digit of 16 tokens. `FINE`: the fine digit, of those that have one.
    ///
    /// # Safety
    /// `step` is from [`Self::step`], its block was unpacked, `from` is a multiple of 16 below 64, and this thread has
    /// called [`Tiles::begin`].
    #[inline(always)]
    unsafe fn sums<const FINE: bool>(&self, step: Step, from: usize, buffers: &mut Buffers) {
        // SAFETY: `from + 16 <= 64`: as many tokens have values in a tile and sums in `buffers.rows`, `STRIDE` apart.
        unsafe {
            let values = if FINE { step.tile.fine } else { step.tile.coarse }.add(from).cast();
            let row = buffers.rows.as_mut_ptr().add(from);
            let sums = if FINE { &raw mut (*row).fine } else { &raw mut (*row).sums };
            let sums = sums.cast::<[i32; STRIP]>().add(step.parity).cast();
            let codes = buffers.codes[step.parity].as_ptr();
            if AFFINE {
                self.1.sums::<false>(codes, values, sums, STRIDE);
            } else {
                self.1.sums::<true>(codes, values, sums, STRIDE);
            }
        }
    }

    /// Joins the sums of both digits of some tokens.
    ///
    /// # Safety
    /// `step` is from [`Self::step`], its sums over both digits were computed, and `tokens` begin at a multiple of 16
    /// below 64.
    #[inline(always)]
    unsafe fn refine(&self, isa: T::Isa, step: Step, tokens: Range<usize>, buffers: &mut Buffers) {
        // SAFETY: `refined` has 64 bits, so `token` and `slot` are below 64, the number of `buffers.rows`; r + lanes <= 32.
        unsafe {
            let all = step.tile.refined;
            let mut refined = all >> tokens.start & ((1 << TILE_TOKENS) - 1);
            let mut slot = (all & ((1 << tokens.start) - 1)).count_ones() as usize;
            let rows = buffers.rows.as_mut_ptr();
            while refined != 0 {
                let token = tokens.start + refined.trailing_zeros() as usize;
                let coarse = (&raw mut (*rows.add(token)).sums[step.parity]).cast::<i32>();
                let fine = (&raw const (*rows.add(slot)).fine[step.parity]).cast::<i32>();
                for r in (0..STRIP).step_by(<T::Isa>::WIDTH / 4) {
                    let sum = isa.refine(isa.load_ints(coarse.add(r)), isa.load_ints(fine.add(r)));
                    isa.store_ints(coarse.add(r), sum);
                }
                slot += 1;
                refined &= refined - 1;
            }
        }
    }

    /// Multiplies the sums of a block with scales and adds them to the totals, for some tokens of a run.
    ///
    /// # Safety
    /// `step` is from [`Self::step`], its sums were computed and joined, its group's scales converted if it is the last of
    /// its group, and `tokens` are below 64.
    #[inline(always)]
    unsafe fn scale(&self, isa: T::Isa, step: Step, tokens: Range<usize>, buffers: &mut Buffers) {
        let lanes = <T::Isa>::WIDTH / 4;
        let [scales, mins] = [buffers.scales[0].as_ptr(), buffers.scales[1].as_ptr()];
        // SAFETY: r + lanes <= 32, so rows, scales and minimums are within their 32; a tile has 64 scales and scaled sums,
        // and `step.before` blocks of the same group precede it.
        unsafe {
            for r in (0..STRIP).step_by(lanes) {
                let weight = isa.load_floats(scales.add(r));
                let min = if AFFINE { isa.load_floats(mins.add(r)) } else { weight };
                for index in tokens.clone() {
                    let row = buffers.rows.as_mut_ptr().add(index);
                    let sums = (&raw const (*row).sums[step.parity]).cast::<i32>().add(r);
                    let scale = isa.splat(*step.tile.scales.add(index));
                    let mut sum = isa.mul(scale, isa.to_floats(isa.load_ints(sums)));
                    if !SINGLE {
                        let inner = (&raw mut (*row).inner).cast::<f32>().add(r);
                        if step.before > 0 {
                            sum = isa.add(isa.load_floats(inner), sum);
                        }
                        if !step.last {
                            isa.store_floats(inner, sum);
                            continue;
                        }
                    }
                    sum = isa.mul(weight, sum);
                    if AFFINE {
                        let back = step.tile.scaled_sums.sub(step.before * TILED_TOKENS).add(index);
                        let mut offset = *back;
                        for ahead in 1..step.before + 1 {
                            offset += *back.add(ahead * TILED_TOKENS);
                        }
                        sum = isa.add(sum, isa.mul(min, isa.splat(offset)));
                    }
                    let total = (&raw mut (*row).total).cast::<f32>().add(r);
                    isa.store_floats(total, isa.add(isa.load_floats(total), sum));
                }
            }
        }
    }
}

/// A block of a strip, and the activations of a run of tokens.
#[derive(Clone, Copy)]
struct Step {
    /// The group's scales.
    scales: *const u8,
    /// Packed codes.
    codes: *const u8,
    /// Which half of the buffers the block uses.
    parity: usize,
    /// How many blocks of its group precede it.
    before: usize,
    /// Whether it is the last of its group.
    last: bool,
    tile: Tile,
}
