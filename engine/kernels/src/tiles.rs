//! Products of many tokens by matrix instructions ([`Tiles`]): integer sums of a block for 16 tokens at once, and
//! floating-point work in the same order as everywhere.

use crate::activations::Activations;
use crate::isa::{Job, TILE_TOKENS, Tiles};
use crate::layout::{BLOCK, BLOCK_WEIGHTS, STRIP, Zero};
use crate::matmul::MatmulJob;
use crate::pool::Pool;
use crate::strip::fetch_ahead;
use crate::unpack::unpack_block;
use std::mem::MaybeUninit;
use std::ops::Range;

/// From so many tokens on, matrix instructions are quicker.
pub(crate) const TILE_FROM: usize = 8;
/// Tokens whose sums are kept in the first-level cache.
const TOKENS: usize = 64;

/// Activations in the order in which tiles need them: for each 64 tokens, block after block, token after token.
#[derive(Clone, Debug, Default)]
pub(crate) struct TileActivations {
    /// 32 values a block of a token.
    coarse: Vec<[i8; BLOCK]>,
    /// The second digits of those tokens that have one, side by side.
    fine: Vec<[i8; BLOCK]>,
    /// Which tokens have a second digit, one bit each.
    refined: Vec<u64>,
    scales: Vec<f32>,
    scaled_sums: Vec<f32>,
}

/// Where the parts of [`TileActivations`] begin.
struct Target {
    coarse: *mut [i8; BLOCK],
    fine: *mut [i8; BLOCK],
    refined: *mut u64,
    scales: *mut f32,
    scaled_sums: *mut f32,
}
// SAFETY: `arrange` lets every thread write the blocks of its own tokens.
unsafe impl Sync for Target {}

impl TileActivations {
    /// Takes over what `activations` hold.
    pub(crate) fn arrange(&mut self, pool: &Pool, activations: &Activations) {
        let (tokens, blocks) = (activations.tokens(), activations.padded_cols() / BLOCK);
        let tiles = tokens.div_ceil(TOKENS);
        // What lies past the last token is multiplied too, and nobody looks at what comes of it.
        self.coarse.resize(tiles * blocks * TOKENS, [0; BLOCK]);
        self.fine.resize(tiles * blocks * TOKENS, [0; BLOCK]);
        self.refined.resize(tiles * blocks, 0);
        self.scales.resize(tiles * blocks * TOKENS, 0.0);
        self.scaled_sums.resize(tiles * blocks * TOKENS, 0.0);
        let target = Target {
            coarse: self.coarse.as_mut_ptr(),
            fine: self.fine.as_mut_ptr(),
            refined: self.refined.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
        };
        let target = &target;
        pool.for_each_range(tiles * blocks, &|range| {
            for index in range {
                let (first, block) = (index / blocks * TOKENS, index % blocks);
                let token = activations.token(first);
                let mut refined = 0u64;
                for at in 0..TOKENS.min(tokens - first) {
                    let (from, to) = (at * blocks + block, index * TOKENS + at);
                    let values = from * BLOCK..(from + 1) * BLOCK;
                    // SAFETY: `resize` made room, slices of 32 values are that long, and every index is handed out once.
                    unsafe {
                        *target.coarse.add(to) =
                            token.coarse.values[values.clone()].try_into().unwrap_unchecked();
                        *target.scales.add(to) = token.scales[from];
                        *target.scaled_sums.add(to) = token.scaled_sums[from];
                        if token.refined[from] {
                            let slot = index * TOKENS + refined.count_ones() as usize;
                            *target.fine.add(slot) = token.fine.values[values].try_into().unwrap_unchecked();
                            refined |= 1 << at;
                        }
                    }
                }
                // SAFETY: as above.
                unsafe { *target.refined.add(index) = refined };
            }
        });
    }
}

/// Some strips of a product with at least 8 tokens, whose activations were arranged in tiles.
pub struct TileJob<'a>(pub(crate) MatmulJob<'a>);

impl std::fmt::Debug for TileJob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TileJob({:?}, strips {:?})", self.0.matrix, self.0.strips)
    }
}

impl TileJob<'_> {
    /// Computes them.
    #[inline(always)]
    pub fn run<I: Tiles>(self, isa: I) {
        let layout = self.0.matrix.layout();
        isa.begin();
        match (layout.zero() == Zero::Affine, layout.blocks_per_group() == 1) {
            (true, true) => isa.enter(Strips::<true, true>(&self.0)),
            (true, false) => isa.enter(Strips::<true, false>(&self.0)),
            (false, true) => isa.enter(Strips::<false, true>(&self.0)),
            (false, false) => isa.enter(Strips::<false, false>(&self.0)),
        }
        isa.end();
    }
}

/// The strips of a kind of groups. `SINGLE`: a group is one block.
struct Strips<'j, 'a, const AFFINE: bool, const SINGLE: bool>(&'j MatmulJob<'a>);

impl<I: Tiles, const AFFINE: bool, const SINGLE: bool> Job<I> for Strips<'_, '_, AFFINE, SINGLE> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let tokens = self.0.activations.tokens();
        let mut buffers = MaybeUninit::<Buffers>::uninit();
        for strip in self.0.strips.clone() {
            for first in (0..tokens).step_by(TOKENS) {
                // SAFETY: whoever made the job vouches for its parts, and all of `Buffers` may hold any bits.
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

/// What a strip and a tile of tokens need in the first-level cache.
#[repr(align(64))]
struct Buffers {
    /// Codes of this block and the next.
    codes: [[u8; BLOCK_WEIGHTS]; 2],
    rows: [Rows; TOKENS],
}

/// What belongs to a token. It lies side by side because loads wait for earlier stores that differ in the higher bits of
/// the address only, which as separate arrays all of these do.
#[repr(C, align(64))]
struct Rows {
    /// Sums of this block and the next.
    sums: [[i32; STRIP]; 2],
    /// Those over second digits, of the n-th token that has one.
    fine: [[i32; STRIP]; 2],
    total: [f32; STRIP],
    inner: [f32; STRIP],
}

/// Distance of two tokens' sums.
const STRIDE: usize = size_of::<Rows>();

impl<const AFFINE: bool, const SINGLE: bool> Strips<'_, '_, AFFINE, SINGLE> {
    /// A strip's rows of up to 64 tokens, to `buffers.rows`.
    ///
    /// Matrix instructions take long to answer, so those of the next block stand between the floating-point
    /// operations of this one, 16 tokens each, and codes are unpacked a block earlier.
    ///
    /// # Safety
    /// There are such a strip and token, and [`Tiles::begin`] was called.
    #[inline(always)]
    unsafe fn tile<I: Tiles>(&self, isa: I, strip: usize, first: usize, buffers: &mut Buffers) {
        let blocks = self.0.matrix.layout().blocks();
        let count = TOKENS.min(self.0.activations.tokens() - first);
        for row in &mut buffers.rows[..count] {
            row.total = [0.0; STRIP];
        }
        // SAFETY: the caller's.
        unsafe {
            let mut next = self.step(strip, first, 0);
            self.unpack(isa, next, first == 0, buffers);
            let mut this = None;
            for block in 0..blocks + 1 {
                let after = if block + 1 < blocks {
                    let after = self.step(strip, first, block + 1);
                    self.unpack(isa, after, first == 0, buffers);
                    after
                } else {
                    next
                };
                if block < blocks {
                    for from in (0..next.refined.count_ones() as usize).step_by(TILE_TOKENS) {
                        self.sums::<I, true>(isa, next, from, buffers);
                    }
                }
                for from in (0..count).step_by(TILE_TOKENS) {
                    if block < blocks {
                        self.sums::<I, false>(isa, next, from, buffers);
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

    /// What there is to know of a block, for a tile of tokens.
    ///
    /// # Safety
    /// There are such.
    #[inline(always)]
    unsafe fn step(&self, strip: usize, first: usize, block: usize) -> Step {
        let layout = self.0.matrix.layout();
        let tiles = self.0.activations.tiles();
        let index = first / TOKENS * layout.blocks() + block;
        let (scales, codes) = layout.offsets(block);
        let strip = self.0.matrix.strip(strip).as_ptr();
        let per_group = if SINGLE { 1 } else { layout.blocks_per_group() };
        let before = block % per_group;
        // SAFETY: the caller's.
        unsafe {
            Step {
                scales: strip.add(scales),
                codes: strip.add(codes),
                parity: block % 2,
                before,
                last: before + 1 == per_group || block + 1 == layout.blocks(),
                coarse: tiles.coarse.as_ptr().add(index * TOKENS),
                fine: tiles.fine.as_ptr().add(index * TOKENS),
                refined: *tiles.refined.get_unchecked(index),
                token_scales: tiles.scales.as_ptr().add(index * TOKENS),
                scaled_sums: tiles.scaled_sums.as_ptr().add(index * TOKENS),
            }
        }
    }

    /// Unpacks a block, less its zero point.
    ///
    /// # Safety
    /// As for [`Self::tile`].
    #[inline(always)]
    unsafe fn unpack<I: Tiles>(&self, isa: I, step: Step, fetch: bool, buffers: &mut Buffers) {
        let layout = self.0.matrix.layout();
        let bytes = layout.encoding().block_bytes();
        // SAFETY: the caller's.
        let codes = unsafe { std::slice::from_raw_parts(step.codes, bytes) };
        if fetch {
            fetch_ahead(isa, step.codes, bytes);
        }
        let zero = if let Zero::Symmetric(zero) = layout.zero() { zero } else { 0 };
        unpack_block(isa, layout.encoding(), codes, zero, &mut buffers.codes[step.parity]);
    }

    /// The sums of a block over one digit of 16 tokens. `FINE`: the second digit, of those that have one.
    ///
    /// # Safety
    /// As for [`Self::tile`]; the block was unpacked.
    #[inline(always)]
    unsafe fn sums<I: Tiles, const FINE: bool>(
        &self,
        isa: I,
        step: Step,
        from: usize,
        buffers: &mut Buffers,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let values = if FINE { step.fine } else { step.coarse }.add(from).cast();
            let row = buffers.rows.as_mut_ptr().add(from);
            let sums = if FINE { &raw mut (*row).fine } else { &raw mut (*row).sums };
            let sums = sums.cast::<[i32; STRIP]>().add(step.parity).cast();
            let codes = buffers.codes[step.parity].as_ptr();
            if AFFINE {
                isa.sums::<false>(codes, values, sums, STRIDE);
            } else {
                isa.sums::<true>(codes, values, sums, STRIDE);
            }
        }
    }

    /// Joins the sums of both digits of some tokens.
    ///
    /// # Safety
    /// As for [`Self::tile`]; the sums are there.
    #[inline(always)]
    unsafe fn refine<I: Tiles>(&self, isa: I, step: Step, tokens: Range<usize>, buffers: &mut Buffers) {
        // SAFETY: the caller's; tokens with a second digit are among the tile's.
        unsafe {
            let all = step.refined;
            let mut refined = all >> tokens.start & ((1 << TILE_TOKENS) - 1);
            let mut slot = (all & ((1 << tokens.start) - 1)).count_ones() as usize;
            let rows = buffers.rows.as_mut_ptr();
            while refined != 0 {
                let token = tokens.start + refined.trailing_zeros() as usize;
                let coarse = (&raw mut (*rows.add(token)).sums[step.parity]).cast::<i32>();
                let fine = (&raw const (*rows.add(slot)).fine[step.parity]).cast::<i32>();
                for r in (0..STRIP).step_by(I::WIDTH / 4) {
                    let sum = isa.refine(isa.load_ints(coarse.add(r)), isa.load_ints(fine.add(r)));
                    isa.store_ints(coarse.add(r), sum);
                }
                slot += 1;
                refined &= refined - 1;
            }
        }
    }

    /// Multiplies the sums of a block with scales and adds them to what there is, for some tokens of a tile.
    ///
    /// # Safety
    /// As for [`Self::tile`]; the sums are there.
    #[inline(always)]
    unsafe fn scale<I: Tiles>(&self, isa: I, step: Step, tokens: Range<usize>, buffers: &mut Buffers) {
        let (lanes, scales) = (I::WIDTH / 4, step.scales);
        // SAFETY: the caller's; rows are within the 32 of a strip, and the group's scales are there.
        unsafe {
            for r in (0..STRIP).step_by(lanes) {
                let weight = isa.load_halves(scales.add(2 * r));
                let min = if AFFINE { isa.load_halves(scales.add(2 * STRIP + 2 * r)) } else { weight };
                for index in tokens.clone() {
                    let row = buffers.rows.as_mut_ptr().add(index);
                    let sums = (&raw const (*row).sums[step.parity]).cast::<i32>().add(r);
                    let scale = isa.splat(*step.token_scales.add(index));
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
                        let back = step.scaled_sums.sub(step.before * TOKENS).add(index);
                        let mut offset = *back;
                        for ahead in 1..step.before + 1 {
                            offset += *back.add(ahead * TOKENS);
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

/// A block of a strip and its activations, from the first of 64 tokens on.
#[derive(Clone, Copy)]
struct Step {
    /// Of the group.
    scales: *const u8,
    /// As they are packed.
    codes: *const u8,
    /// Which half of the buffers it has.
    parity: usize,
    /// How many blocks of its group come before it, and whether none comes after it.
    before: usize,
    last: bool,
    coarse: *const [i8; BLOCK],
    fine: *const [i8; BLOCK],
    refined: u64,
    token_scales: *const f32,
    scaled_sums: *const f32,
}
