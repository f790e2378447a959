//! Quantized activations: int8 with a scale per block of 32, whose sums over every subset of a LUT group of
//! 4 fit int8.
//!
//! That bound is what lets one set of integers serve every kernel exactly: a lookup table of all 16 subset
//! sums fits bytes, and `maddubs` (u8 weight x i8 activation, pairs added in i16) cannot saturate even with
//! 8-bit weights, because the positive and the negative part of a pair each stay within 127 x 255 < 2^15.
//! What the rounding costs is measured in docs/quantization.md.

use crate::layout::{BLOCK, GROUPS_PER_BLOCK, LUT_GROUP};

/// Bias of the entries of a lookup table: entry = 128 + subset sum, an unsigned byte.
pub const TABLE_BIAS: i32 = 128;

/// Quantized inputs of a product, shape (tokens, cols), cols padded to whole blocks with zeros.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    tokens: usize,
    padded_cols: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    scaled_sums: Vec<f32>,
    tables: Vec<u8>,
}

/// The activations of one token, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// Quantized values, one a column.
    pub values: &'a [i8],
    /// Scale of each block.
    pub scales: &'a [f32],
    /// Sum of the values of each block.
    pub sums: &'a [i32],
    /// `scale * sum` of each block.
    pub scaled_sums: &'a [f32],
    /// Lookup tables, 16 bytes a LUT group; empty if there are none.
    pub tables: &'a [u8],
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
    #[inline]
    pub fn token(&self, index: usize) -> Token<'_> {
        assert!(index < self.tokens);
        let (cols, blocks) = (self.padded_cols, self.padded_cols / BLOCK);
        let tables = 4 * cols;
        Token {
            values: &self.values[index * cols..][..cols],
            scales: &self.scales[index * blocks..][..blocks],
            sums: &self.sums[index * blocks..][..blocks],
            scaled_sums: &self.scaled_sums[index * blocks..][..blocks],
            tables: if self.tables.is_empty() { &[] } else { &self.tables[index * tables..][..tables] },
        }
    }

    /// The activations of all tokens from `index` on.
    #[inline(always)]
    pub(crate) fn first(&self, index: usize) -> Token<'_> {
        let (cols, blocks) = (self.padded_cols, self.padded_cols / BLOCK);
        Token {
            values: &self.values[index * cols..],
            scales: &self.scales[index * blocks..],
            sums: &self.sums[index * blocks..],
            scaled_sums: &self.scaled_sums[index * blocks..],
            tables: &[],
        }
    }

    fn resize(&mut self, tokens: usize, padded_cols: usize, tables: bool) {
        let blocks = padded_cols / BLOCK;
        self.tokens = tokens;
        self.padded_cols = padded_cols;
        self.values.resize(tokens * padded_cols, 0);
        self.scales.resize(tokens * blocks, 0.0);
        self.sums.resize(tokens * blocks, 0);
        self.scaled_sums.resize(tokens * blocks, 0.0);
        self.tables.resize(if tables { tokens * padded_cols * 4 } else { 0 }, 0);
    }

    /// Takes the shape for inputs of (tokens, cols), see [`Target::quantize_token`].
    pub(crate) fn prepare(&mut self, tokens: usize, cols: usize, tables: bool, residual: bool) -> Target {
        let rows = 1 + usize::from(residual);
        self.resize(rows * tokens, cols.next_multiple_of(BLOCK), tables);
        Target {
            cols,
            rows,
            values: self.values.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
            tables: if tables { self.tables.as_mut_ptr() } else { std::ptr::null_mut() },
        }
    }
}

/// Where quantized activations go, shared by the threads that write them.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    cols: usize,
    /// Rows a token takes: 1, or 2 with its residual.
    rows: usize,
    values: *mut i8,
    scales: *mut f32,
    sums: *mut i32,
    scaled_sums: *mut f32,
    tables: *mut u8,
}

// SAFETY: `Target::quantize_token` writes the rows of one token; its callers hand out each token once.
unsafe impl Sync for Target {}

impl Target {
    /// Quantizes one token, (cols). With a residual, it takes two rows: its values, then what their rounding
    /// lost, quantized again. The sum of the two products has about 15 bits of the input: high precision.
    ///
    /// # Safety
    /// The activations were prepared for this token and live on; nobody else uses its rows.
    #[inline(always)]
    pub(crate) unsafe fn quantize_token(&self, token: usize, input: &[f32]) {
        let (padded, blocks) = (self.cols.next_multiple_of(BLOCK), self.cols.div_ceil(BLOCK));
        for block in 0..blocks {
            let mut x = [0.0f32; BLOCK];
            let source = &input[block * BLOCK..self.cols.min((block + 1) * BLOCK)];
            match source.first_chunk::<BLOCK>() {
                Some(source) => x = *source,
                None => x[..source.len()].copy_from_slice(source),
            }
            for pass in 0..self.rows {
                let row = token * self.rows + pass;
                // SAFETY: row and block are within what `prepare` made room for, and this thread's alone.
                unsafe {
                    let at = row * padded + block * BLOCK;
                    let values = &mut *self.values.add(at).cast::<[i8; BLOCK]>();
                    let scale = quantize_block(&x, values);
                    let sum: i32 = values.iter().map(|&value| i32::from(value)).sum();
                    *self.scales.add(row * blocks + block) = scale;
                    *self.sums.add(row * blocks + block) = sum;
                    *self.scaled_sums.add(row * blocks + block) = scale * sum as f32;
                    if !self.tables.is_null() {
                        build_tables(values, &mut *self.tables.add(4 * at).cast::<[u8; 4 * BLOCK]>());
                    }
                    if pass + 1 < self.rows {
                        for (x, &value) in x.iter_mut().zip(values.iter()) {
                            *x -= scale * f32::from(value);
                        }
                    }
                }
            }
        }
    }
}

/// Quantizes one block and returns its scale: NaN, with all values 0, if an input is not finite.
///
/// The scale is the largest sum of a group's positive or negative part, divided by 125: rounding moves each
/// of 4 values by at most a half, so no subset of a group can sum to more than 127.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], values: &mut [i8; BLOCK]) -> f32 {
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
    // Below 1e-30 the reciprocal would overflow; such a block is 0.
    if poison != 0.0 || !(1e-30..f32::INFINITY).contains(&largest) {
        values.fill(0);
        return if largest < 1e-30 && poison == 0.0 { 0.0 } else { f32::NAN };
    }
    let inverse = 125.0 / largest;
    for (value, &x) in values.iter_mut().zip(x) {
        // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, on every target.
        let rounded = x * inverse + 12_582_912.0;
        *value = rounded.to_bits() as i8;
    }
    largest * (1.0 / 125.0)
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
