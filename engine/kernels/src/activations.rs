//! Quantized activations: int8 with a scale per block of 32, whose sums over every subset of a LUT group of
//! 4 fit int8; where a block matters more than others, a second such digit.
//!
//! That bound is what lets one set of integers serve every kernel exactly: a lookup table of all 16 subset
//! sums fits bytes, and `maddubs` (u8 weight x i8 activation, pairs added in i16) cannot saturate even with
//! 8-bit weights, because the positive and the negative part of a pair each stay within 127 x 255 < 2^15.
//! What the rounding costs is measured in docs/quantization.md.

use crate::layout::{BLOCK, GROUPS_PER_BLOCK, LUT_GROUP};

/// Bias of the entries of a lookup table: entry = 128 + subset sum, an unsigned byte.
pub const TABLE_BIAS: i32 = 128;

/// Quantized inputs of a product, shape (tokens, cols), cols padded to whole blocks with zeros.
///
/// A block is `scale * coarse`, or where it is refined `scale * (64 * coarse + fine)`: a second digit of 6 bits.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    tokens: usize,
    padded_cols: usize,
    coarse: Digits,
    fine: Digits,
    refined: Vec<bool>,
    scales: Vec<f32>,
    scaled_sums: Vec<f32>,
}

/// One digit of every value.
#[derive(Clone, Debug, Default)]
struct Digits {
    values: Vec<i8>,
    sums: Vec<i32>,
    tables: Vec<u8>,
}

impl Digits {
    fn resize(&mut self, padded_values: usize, tables: bool) {
        self.values.resize(padded_values, 0);
        self.sums.resize(padded_values / BLOCK, 0);
        self.tables.resize(if tables { 4 * padded_values } else { 0 }, 0);
    }

    /// From block `block` on.
    #[inline(always)]
    fn from(&self, block: usize) -> Digit<'_> {
        let tables = if self.tables.is_empty() { 0 } else { 4 * BLOCK * block };
        Digit {
            values: &self.values[block * BLOCK..],
            sums: &self.sums[block..],
            tables: &self.tables[tables..],
        }
    }
}

/// One digit of the activations of a token, borrowed. All slices go on with the tokens that follow.
#[derive(Clone, Copy, Debug)]
pub struct Digit<'a> {
    /// Values, one a column: any subset of a LUT group sums to at most 127 in magnitude.
    pub values: &'a [i8],
    /// Sum of the values of each block.
    pub sums: &'a [i32],
    /// Lookup tables, 16 bytes a LUT group; empty if there are none.
    pub tables: &'a [u8],
}

/// The activations of one token, borrowed. All slices go on with the tokens that follow.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// The first digit, which every block has.
    pub coarse: Digit<'a>,
    /// The second digit; of refined blocks only, arbitrary elsewhere.
    pub fine: Digit<'a>,
    /// Which blocks are refined.
    pub refined: &'a [bool],
    /// Scale of each block, the unit of its last digit.
    pub scales: &'a [f32],
    /// `scale * sum` of each block, over both digits.
    pub scaled_sums: &'a [f32],
}

impl Activations {
    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Columns, rounded up to whole blocks.
    pub fn padded_cols(&self) -> usize {
        self.padded_cols
    }

    /// The activations of token `index`.
    ///
    /// # Panics
    /// If there is no such token.
    #[inline(always)]
    pub fn token(&self, index: usize) -> Token<'_> {
        assert!(index < self.tokens);
        let block = index * (self.padded_cols / BLOCK);
        Token {
            coarse: self.coarse.from(block),
            fine: self.fine.from(block),
            refined: &self.refined[block..],
            scales: &self.scales[block..],
            scaled_sums: &self.scaled_sums[block..],
        }
    }

    /// Share of the blocks that are refined, from 0 to 1.
    pub fn refined_share(&self) -> f32 {
        self.refined.iter().filter(|&&refined| refined).count() as f32 / self.refined.len().max(1) as f32
    }

    /// Takes the shape for inputs of (tokens, cols), see [`Target::quantize_token`].
    pub(crate) fn prepare(&mut self, tokens: usize, cols: usize, tables: bool, refine_above: f32) -> Target {
        let padded_cols = cols.next_multiple_of(BLOCK);
        let blocks = tokens * padded_cols / BLOCK;
        self.tokens = tokens;
        self.padded_cols = padded_cols;
        self.coarse.resize(tokens * padded_cols, tables);
        self.fine.resize(tokens * padded_cols, tables);
        self.refined.resize(blocks, false);
        self.scales.resize(blocks, 0.0);
        self.scaled_sums.resize(blocks, 0.0);
        Target {
            cols,
            refine_above,
            coarse: TargetDigits::new(&mut self.coarse),
            fine: TargetDigits::new(&mut self.fine),
            refined: self.refined.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
        }
    }
}

/// Where quantized activations go, shared by the threads that write them.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    cols: usize,
    refine_above: f32,
    coarse: TargetDigits,
    fine: TargetDigits,
    refined: *mut bool,
    scales: *mut f32,
    scaled_sums: *mut f32,
}

// SAFETY: `Target::quantize_token` writes the rows of one token; its callers hand out each token once.
unsafe impl Sync for Target {}

#[derive(Clone, Copy)]
struct TargetDigits {
    values: *mut i8,
    sums: *mut i32,
    /// Null where no tables are wanted.
    tables: *mut u8,
}

impl TargetDigits {
    fn new(digits: &mut Digits) -> Self {
        let tables = if digits.tables.is_empty() { std::ptr::null_mut() } else { digits.tables.as_mut_ptr() };
        TargetDigits { values: digits.values.as_mut_ptr(), sums: digits.sums.as_mut_ptr(), tables }
    }

    /// Writes one block, and returns its sum.
    ///
    /// # Safety
    /// There is room for it, which is the caller's alone.
    #[inline(always)]
    unsafe fn write(self, block: usize, values: &[i8; BLOCK]) -> i32 {
        // SAFETY: the caller's.
        unsafe {
            *self.values.add(block * BLOCK).cast::<[i8; BLOCK]>() = *values;
            let sum = values.iter().map(|&value| i32::from(value)).sum();
            *self.sums.add(block) = sum;
            if !self.tables.is_null() {
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
    pub(crate) unsafe fn quantize_token(&self, token: usize, input: &[f32]) {
        let blocks = self.cols.div_ceil(BLOCK);
        let first = token * blocks;
        // SAFETY: blocks are within what `prepare` made room for, and this thread's alone.
        let scales = unsafe { std::slice::from_raw_parts_mut(self.scales.add(first), blocks) };
        let mut squares = 0.0f32;
        for (index, scale) in scales.iter_mut().enumerate() {
            *scale = largest_group(&self.block(input, index));
            squares += *scale * *scale;
        }
        let threshold = self.refine_above * (squares / blocks as f32);
        for (index, scale) in scales.iter_mut().enumerate() {
            let (at, largest) = (first + index, *scale);
            let refined = largest * largest > threshold;
            let (coarse, fine) = round_block(&self.block(input, index), largest);
            // Below 1e-30 the reciprocal would overflow; such a block is 0.
            *scale = if largest < 1e-30 { 0.0 } else { largest * (1.0 / 125.0) };
            // SAFETY: as above.
            unsafe {
                let mut sum = self.coarse.write(at, &coarse);
                if refined {
                    *scale *= 1.0 / 64.0;
                    sum = 64 * sum + self.fine.write(at, &fine);
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

/// The largest sum of the positive or of the negative part of one of a block's groups; NaN if an input is not
/// finite.
#[inline(always)]
fn largest_group(x: &[f32; BLOCK]) -> f32 {
    // Column by column over the 8 groups, so that the compiler has whole vectors to work with.
    let column = |j: usize, f: fn(f32) -> f32| -> [f32; GROUPS_PER_BLOCK] {
        std::array::from_fn(|group| f(x[LUT_GROUP * group + j]))
    };
    let totals = |f: fn(f32) -> f32| -> [f32; GROUPS_PER_BLOCK] {
        let (a, b, c, d) = (column(0, f), column(1, f), column(2, f), column(3, f));
        std::array::from_fn(|group| (a[group] + b[group]) + (c[group] + d[group]))
    };
    let positive = totals(|x| if x > 0.0 { x } else { 0.0 });
    let negative = totals(|x| if x < 0.0 { -x } else { 0.0 });
    let poison = totals(|x| x * 0.0).iter().fold(0.0, |sum, x| sum + x);
    let mut largest = 0.0f32;
    for (positive, negative) in positive.into_iter().zip(negative) {
        let larger = if positive > negative { positive } else { negative };
        largest = if larger > largest { larger } else { largest };
    }
    if poison == 0.0 && largest < f32::INFINITY { largest } else { f32::NAN }
}

/// Both digits of one block whose largest group is known; zeros if that is NaN or tiny.
///
/// The unit of the first is the largest sum divided by 125: rounding moves each of 4 values by at most a half,
/// so no subset of a group can sum to more than 127. The second, in 64ths of the unit, is cut off at 31, so that
/// four of them stay below 127 as well.
#[inline(always)]
fn round_block(x: &[f32; BLOCK], largest: f32) -> ([i8; BLOCK], [i8; BLOCK]) {
    let (mut coarse, mut fine) = ([0; BLOCK], [0; BLOCK]);
    if largest >= 1e-30 {
        /// Adding it rounds to the nearest integer, ties to even, on every target: 1.5 * 2^23.
        const ROUND: f32 = 12_582_912.0;
        let inverse = 125.0 / largest;
        for ((coarse, fine), &x) in coarse.iter_mut().zip(&mut fine).zip(x) {
            let exact = x * inverse;
            let rounded = exact + ROUND;
            *coarse = rounded.to_bits() as i8;
            let rest = (exact - (rounded - ROUND)) * 64.0;
            let rest = if rest > 31.0 { 31.0 } else { rest };
            let rest = if rest < -31.0 { -31.0 } else { rest };
            *fine = (rest + ROUND).to_bits() as i8;
        }
    }
    (coarse, fine)
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
