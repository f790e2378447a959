//! Quantized activations: int8 with a scale for each block of 32, such that the sum over any subset of a LUT group of 4
//! fits int8; blocks that matter more than others are refined: they get a fine digit of 6 bits.
//!
//! That bound lets one set of integers serve every kernel exactly: a lookup table of all 16 subset sums fits bytes, and
//! `maddubs` (u8 weight x i8 activation, pairs added in i16) cannot saturate even with 8-bit weights, because the
//! positive and the negative part of a pair each stay within 127 x 255 < 2^15. What the rounding costs is measured in
//! docs/quantization.md.

mod lanes;
mod quantize;
mod tables;
mod tiles;
mod token;
mod values;

use crate::layout::BLOCK;
use crate::pool::Pool;
use lanes::LaneActivations;
use quantize::TargetDigits;
use tiles::TileActivations;

pub(crate) use lanes::LANES;
pub(crate) use quantize::Target;
pub(crate) use tables::{TABLE_BIAS, TABLE_BYTES};
pub(crate) use tiles::{TILED_TOKENS, Tile};
pub use token::{Digit, Token};
pub use values::{BlockTables, BlockValues};

/// Quantized inputs of a product, shape (tokens, cols), cols padded with zeros to whole blocks.
///
/// A block is `scale * coarse`, or if it is refined `scale * (64 * coarse + fine)`.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    tokens: usize,
    padded_cols: usize,
    coarse: Digits,
    fine: Digits,
    refined: Vec<bool>,
    scales: Vec<f32>,
    scaled_sums: Vec<f32>,
    tiles: TileActivations,
    lanes: LaneActivations,
}

/// One digit of every value.
#[derive(Clone, Debug, Default)]
struct Digits {
    values: Vec<i8>,
    sums: Vec<i32>,
    half_sums: Vec<i32>,
    tables: Vec<u8>,
}

impl Digits {
    fn resize(&mut self, padded_values: usize, tables: bool) {
        self.values.resize(padded_values, 0);
        self.sums.resize(padded_values / BLOCK, 0);
        self.half_sums.resize(padded_values / BLOCK, 0);
        self.tables.resize(if tables { padded_values / BLOCK * TABLE_BYTES } else { 0 }, 0);
    }

    fn target(&mut self) -> TargetDigits {
        let tables = if self.tables.is_empty() { std::ptr::null_mut() } else { self.tables.as_mut_ptr() };
        TargetDigits {
            values: self.values.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            half_sums: self.half_sums.as_mut_ptr(),
            tables,
        }
    }

    /// From block `block` on.
    #[inline(always)]
    fn from(&self, block: usize) -> Digit<'_> {
        let tables = if self.tables.is_empty() { 0 } else { TABLE_BYTES * block };
        Digit {
            values: &self.values[block * BLOCK..],
            sums: &self.sums[block..],
            half_sums: &self.half_sums[block..],
            tables: &self.tables[tables..],
        }
    }
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

    /// The share of the blocks that are refined, from 0 to 1.
    pub fn refined_share(&self) -> f32 {
        self.refined.iter().filter(|&&refined| refined).count() as f32 / self.refined.len().max(1) as f32
    }

    /// The same activations in the order of tiles; empty unless [`Activations::arrange_tiles`] was called.
    pub(crate) fn tiles(&self) -> &TileActivations {
        &self.tiles
    }

    /// Copies the quantized activations to the order of tiles, on all threads of the pool.
    pub(crate) fn arrange_tiles(&mut self, pool: &Pool) {
        if self.tokens > 0 {
            let mut tiles = std::mem::take(&mut self.tiles);
            tiles.arrange(pool, self.tokens, self.padded_cols / BLOCK, self.token(0));
            self.tiles = tiles;
        }
    }

    /// Those activations that [`Activations::arrange_lanes`] has given a lane for each token.
    pub(crate) fn lanes(&self) -> &LaneActivations {
        &self.lanes
    }

    /// Copies the quantized activations to lanes, on all threads of the pool: those of whole runs, and those after them if they
    /// are at least `least`.
    pub(crate) fn arrange_lanes(&mut self, pool: &Pool, least: usize) {
        let rest = self.tokens % LANES;
        let tokens = if rest < least { self.tokens - rest } else { self.tokens };
        if tokens > 0 {
            let mut lanes = std::mem::take(&mut self.lanes);
            lanes.arrange(pool, tokens, self.padded_cols / BLOCK, self.token(0));
            self.lanes = lanes;
        }
    }

    /// Takes the shape of inputs of (tokens, cols), and returns where [`Target::quantize_token`] writes them.
    pub(crate) fn prepare(&mut self, tokens: usize, cols: usize, tables: bool, refine_above: f32) -> Target {
        let padded_cols = cols.next_multiple_of(BLOCK);
        let blocks = tokens * padded_cols / BLOCK;
        self.tokens = tokens;
        self.padded_cols = padded_cols;
        self.lanes.clear();
        self.coarse.resize(tokens * padded_cols, tables);
        self.fine.resize(tokens * padded_cols, tables);
        self.refined.resize(blocks, false);
        self.scales.resize(blocks, 0.0);
        self.scaled_sums.resize(blocks, 0.0);
        Target {
            cols,
            refine_above,
            coarse: self.coarse.target(),
            fine: self.fine.target(),
            refined: self.refined.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
        }
    }
}
