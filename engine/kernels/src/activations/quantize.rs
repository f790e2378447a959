//! Quantizing activations; [`crate::activations`] describes the result.
//! Measurements: docs/experiments/quantizing-activations.md.

use super::tables::{TABLE_BYTES, build_tables};
use crate::isa::Isa;
use crate::layout::{BLOCK, HALF};

/// Where quantized activations are written, shared by the threads that do it. The pointers are to the vectors of an
/// `Activations`: for each block of each token 32 values, a sum, tables, a flag and scales.
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

// SAFETY: `Target::quantize_token` writes the blocks of one token only, and its contract gives them to one thread.
unsafe impl Sync for Target {}

#[derive(Clone, Copy)]
pub(crate) struct TargetDigits {
    pub(crate) values: *mut i8,
    pub(crate) sums: *mut i32,
    pub(crate) half_sums: *mut i32,
    /// Null where no tables are wanted.
    pub(crate) tables: *mut u8,
}

impl TargetDigits {
    /// Writes one block, given as floats that are integers plus [`ROUND`], and returns the sum of the integers.
    ///
    /// # Safety
    /// There is room for block `block`, and no other thread accesses it.
    #[inline(always)]
    unsafe fn write<I: Isa>(self, isa: I, block: usize, rounded: &[I::Floats; 8]) -> i32 {
        // SAFETY: block `block` is 32 values, two sums and, unless the pointer is null, `TABLE_BYTES` of tables.
        unsafe {
            let values = self.values.add(block * BLOCK);
            isa.store_low_bytes(values, rounded);
            let mut total = isa.sub(rounded[0], isa.splat(ROUND));
            for rounded in &rounded[1..registers::<I>()] {
                total = isa.add(total, isa.sub(*rounded, isa.splat(ROUND)));
            }
            // Below 2^22 in magnitude, so exact; plus `ROUND` it is an integer in the low bits.
            let total = parts(isa, isa.sum_parts(total)).iter().sum::<f32>() + ROUND;
            let sum = total.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
            *self.sums.add(block) = sum;
            let first = &*values.cast::<[i8; HALF]>();
            *self.half_sums.add(block) = first.iter().map(|&value| i32::from(value)).sum();
            if !self.tables.is_null() {
                let values = &*values.cast::<[i8; BLOCK]>();
                build_tables(values, &mut *self.tables.add(block * TABLE_BYTES).cast::<[u8; TABLE_BYTES]>());
            }
            sum
        }
    }
}

impl Target {
    /// Quantizes one token, (cols), to int8. Blocks where the square of the largest group exceeds `refine_above` times
    /// the mean of these squares over the token get a fine digit, 6 bits more.
    ///
    /// # Safety
    /// `token` is below the number of tokens that `Activations::prepare` made room for, the activations outlive the
    /// call unchanged in shape, and no other thread accesses this token of them.
    #[inline(always)]
    pub(crate) unsafe fn quantize_token<I: Isa>(&self, isa: I, token: usize, input: &[f32]) {
        let blocks = self.cols.div_ceil(BLOCK);
        let first = token * blocks;
        // SAFETY: the contract gives this thread all blocks of the token, which lie side by side.
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
            // Below 1e-30 the reciprocal would overflow; such a block becomes 0.
            *scale = if largest < 1e-30 { 0.0 } else { largest * (1.0 / 125.0) };
            // SAFETY: `at` is one of the token's blocks.
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
        // SAFETY: register r ends at float (r + 1) * WIDTH / 4, which is at most BLOCK.
        *loaded = unsafe { isa.load_floats(x.as_ptr().add(r * I::WIDTH / 4)) };
    }
    loaded
}

/// The first lane of each 128-bit part; 0 for parts that a register does not have.
#[inline(always)]
fn parts<I: Isa>(isa: I, x: I::Floats) -> [f32; 4] {
    let mut lanes = [0.0; 16];
    // SAFETY: a register has at most 16 lanes.
    unsafe { isa.store_floats(lanes.as_mut_ptr(), x) };
    [lanes[0], lanes[4], lanes[8], lanes[12]]
}

/// The largest sum, over the LUT groups of a block, of the positive or of the negative values; NaN if an input is not
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

/// 1.5 * 2^23: adding it rounds a float to the nearest integer, ties to even, on every target, and leaves that integer
/// in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Both digits of one block whose largest group is known, plus [`ROUND`]; zeros if that is NaN or tiny.
///
/// The unit of the coarse digit is the largest sum divided by 125: rounding moves each of 4 values by at most a half, so no
/// subset of a group can sum to more than 127. The fine digit, in 64ths of that unit, is clamped to 31 in magnitude, so that
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
