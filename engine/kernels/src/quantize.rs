//! Quantizing activations: see [`crate::activations`] for what comes of it.

use crate::activations::TABLE_BIAS;
use crate::isa::Isa;
use crate::layout::{BLOCK, LUT_GROUP};

/// Where quantized activations go, shared by the threads that write them.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) cols: usize,
    pub(crate) refine_above: f32,
    pub(crate) coarse: TargetDigits,
    pub(crate) fine: TargetDigits,
    pub(crate) refined: *mut bool,
    pub(crate) scales: *mut f32,
    pub(crate) scaled_sums: *mut f32,
}

// SAFETY: `Target::quantize_token` writes the rows of one token; its callers hand out each token once.
unsafe impl Sync for Target {}

#[derive(Clone, Copy)]
pub(crate) struct TargetDigits {
    pub(crate) values: *mut i8,
    pub(crate) sums: *mut i32,
    /// Null where no tables are wanted.
    pub(crate) tables: *mut u8,
}

impl TargetDigits {
    /// Writes one block, given as floats that are integers plus [`ROUND`], and returns the sum of the integers.
    ///
    /// # Safety
    /// There is room for it, which is the caller's alone.
    #[inline(always)]
    unsafe fn write<I: Isa>(self, isa: I, block: usize, rounded: &[I::Floats; 8]) -> i32 {
        // SAFETY: the caller's.
        unsafe {
            let values = self.values.add(block * BLOCK);
            isa.store_low_bytes(values, rounded);
            let mut total = isa.sub(rounded[0], isa.splat(ROUND));
            for rounded in &rounded[1..registers::<I>()] {
                total = isa.add(total, isa.sub(*rounded, isa.splat(ROUND)));
            }
            // Below 2^22, so exact, and then an integer in the low bits.
            let total = parts(isa, isa.sum_parts(total)).iter().sum::<f32>() + ROUND;
            let sum = total.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
            *self.sums.add(block) = sum;
            if !self.tables.is_null() {
                let values = &*values.cast::<[i8; BLOCK]>();
                build_tables(values, &mut *self.tables.add(4 * block * BLOCK).cast::<[u8; 4 * BLOCK]>());
            }
            sum
        }
    }
}

impl Target {
    /// Quantizes one token, (cols): its blocks to int8, and those whose largest group is over the root of
    /// `refine_above` times the token's mean square of them with 6 bits more.
    ///
    /// # Safety
    /// The activations were prepared for this token and live on; nobody else uses its rows.
    #[inline(always)]
    pub(crate) unsafe fn quantize_token<I: Isa>(&self, isa: I, token: usize, input: &[f32]) {
        let blocks = self.cols.div_ceil(BLOCK);
        let first = token * blocks;
        // SAFETY: blocks are within what `prepare` made room for, and this thread's alone.
        let scales = unsafe { std::slice::from_raw_parts_mut(self.scales.add(first), blocks) };
        let mut squares = 0.0f32;
        for (index, scale) in scales.iter_mut().enumerate() {
            *scale = largest_group(isa, &self.block(input, index));
            squares += *scale * *scale;
        }
        let threshold = self.refine_above * (squares / blocks as f32);
        for (index, scale) in scales.iter_mut().enumerate() {
            let (at, largest) = (first + index, *scale);
            let refined = largest * largest > threshold;
            let [coarse, fine] = round_block(isa, &self.block(input, index), largest);
            // Below 1e-30 the reciprocal would overflow; such a block is 0.
            *scale = if largest < 1e-30 { 0.0 } else { largest * (1.0 / 125.0) };
            // SAFETY: as above.
            unsafe {
                let mut sum = self.coarse.write(isa, at, &coarse);
                if refined {
                    *scale *= 1.0 / 64.0;
                    sum = 64 * sum + self.fine.write(isa, at, &fine);
                }
                *self.refined.add(at) = refined;
                *self.scaled_sums.add(at) = *scale * sum as f32;
            }
        }
    }

    /// One block of the input, padded with zeros.
    #[inline(always)]
    fn block(&self, input: &[f32], index: usize) -> [f32; BLOCK] {
        let source = &input[index * BLOCK..self.cols.min((index + 1) * BLOCK)];
        match source.first_chunk::<BLOCK>() {
            Some(source) => *source,
            None => {
                let mut x = [0.0; BLOCK];
                x[..source.len()].copy_from_slice(source);
                x
            }
        }
    }
}

/// Registers that hold a block of floats.
const fn registers<I: Isa>() -> usize {
    4 * BLOCK / I::WIDTH
}

/// A block of floats, in the first [`registers`].
#[inline(always)]
fn load<I: Isa>(isa: I, x: &[f32; BLOCK]) -> [I::Floats; 8] {
    let mut loaded = [isa.splat(0.0); 8];
    for (r, loaded) in loaded.iter_mut().enumerate().take(registers::<I>()) {
        // SAFETY: the registers hold BLOCK floats.
        *loaded = unsafe { isa.load_floats(x.as_ptr().add(r * I::WIDTH / 4)) };
    }
    loaded
}

/// The first lane of each 128-bit part; 0 where there is no such part.
#[inline(always)]
fn parts<I: Isa>(isa: I, x: I::Floats) -> [f32; 4] {
    let mut lanes = [0.0; 16];
    // SAFETY: a register has at most 16 lanes.
    unsafe { isa.store_floats(lanes.as_mut_ptr(), x) };
    [lanes[0], lanes[4], lanes[8], lanes[12]]
}

/// The largest sum of the positive or of the negative part of one of a block's groups; NaN if an input is not
/// finite.
#[inline(always)]
fn largest_group<I: Isa>(isa: I, x: &[f32; BLOCK]) -> f32 {
    let zero = isa.splat(0.0);
    let (mut largest, mut poison) = (zero, zero);
    for x in &load(isa, x)[..registers::<I>()] {
        let positive = isa.sum_parts(isa.max(*x, zero));
        let negative = isa.sum_parts(isa.max(isa.sub(zero, *x), zero));
        largest = isa.max(isa.max(positive, negative), largest);
        poison = isa.add(poison, isa.mul(*x, zero));
    }
    let mut highest = 0.0f32;
    for part in parts(isa, largest) {
        highest = if part > highest { part } else { highest };
    }
    let poison = parts(isa, isa.sum_parts(poison)).iter().sum::<f32>();
    if poison == 0.0 && highest < f32::INFINITY { highest } else { f32::NAN }
}

/// Added to a float, it rounds to the nearest integer, ties to even, on every target, and leaves that in the low bits:
/// 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;

/// Both digits of one block whose largest group is known, plus [`ROUND`]; zeros if that is NaN or tiny.
///
/// The unit of the first is the largest sum divided by 125: rounding moves each of 4 values by at most a half,
/// so no subset of a group can sum to more than 127. The second, in 64ths of the unit, is cut off at 31, so that
/// four of them stay below 127 as well.
#[inline(always)]
fn round_block<I: Isa>(isa: I, x: &[f32; BLOCK], largest: f32) -> [[I::Floats; 8]; 2] {
    let round = isa.splat(ROUND);
    let (mut coarse, mut fine) = ([round; 8], [round; 8]);
    if largest >= 1e-30 {
        let inverse = isa.splat(125.0 / largest);
        let x = load(isa, x);
        for r in 0..registers::<I>() {
            let exact = isa.mul(x[r], inverse);
            coarse[r] = isa.add(exact, round);
            let rest = isa.sub(exact, isa.sub(coarse[r], round));
            let rest = isa.min(isa.mul(rest, isa.splat(64.0)), isa.splat(31.0));
            fine[r] = isa.add(isa.max(rest, isa.splat(-31.0)), round);
        }
    }
    [coarse, fine]
}

/// For each of a group's 4 values, all bits set in the entries of the subsets that contain it.
const SUBSETS: [[u8; 16]; LUT_GROUP] = {
    let mut subsets = [[0; 16]; LUT_GROUP];
    let mut i = 0;
    while i < 64 {
        subsets[i / 16][i % 16] = if (i % 16) >> (i / 16) & 1 == 1 { 255 } else { 0 };
        i += 1;
    }
    subsets
};

/// Writes the 16 biased subset sums of each LUT group.
#[inline(always)]
fn build_tables(values: &[i8; BLOCK], tables: &mut [u8; 4 * BLOCK]) {
    for (table, group) in tables.as_chunks_mut::<16>().0.iter_mut().zip(values.as_chunks::<LUT_GROUP>().0) {
        // Whole vectors: masks instead of choices.
        let mut sums = [TABLE_BIAS as u8; 16];
        for (subset, &value) in SUBSETS.iter().zip(group) {
            for (sum, mask) in sums.iter_mut().zip(subset) {
                *sum = sum.wrapping_add(value as u8 & mask);
            }
        }
        *table = sums;
    }
}
