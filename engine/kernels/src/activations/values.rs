//! The activations of one block, as dot products and lookups take them.

use super::tables::{TABLE_BIAS, TABLE_BYTES};
use super::token::Token;
use crate::layout::{BLOCK, GROUPS_PER_BLOCK, HALF, Layout, Zero};

/// The activations of a block of a token, or of half a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockValues {
    /// 32 values, or 16, of the coarse and of the fine digit; the fine one is only read if the block is refined.
    pub digits: [*const i8; 2],
    /// What the sums over each digit start with.
    pub starts: [i32; 2],
    /// Whether there is a fine digit.
    pub refined: bool,
}

impl BlockValues {
    /// Block `block` of a token. `offset`: what the dot product itself adds to each code, [`Isa::BYTE_OFFSET`] or 0.
    ///
    /// [`Isa::BYTE_OFFSET`]: crate::Isa::BYTE_OFFSET
    ///
    /// # Safety
    /// The token has the block.
    #[inline(always)]
    pub(crate) unsafe fn new(layout: &Layout, offset: i32, block: usize, token: Token<'_>) -> Self {
        // No closures: they are compiled without the instruction set's features.
        let Token { coarse, fine, .. } = token;
        let at = block * BLOCK;
        // SAFETY: a token has 32 values, a sum and a flag for each of its blocks.
        unsafe {
            BlockValues {
                digits: [coarse.values.as_ptr().add(at), fine.values.as_ptr().add(at)],
                starts: [
                    start(layout, offset, *coarse.sums.get_unchecked(block)),
                    start(layout, offset, *fine.sums.get_unchecked(block)),
                ],
                refined: *token.refined.get_unchecked(block),
            }
        }
    }

    /// Half `half` (0 or 1) of block `block` of a token.
    ///
    /// # Safety
    /// The token has the block.
    #[inline(always)]
    pub(crate) unsafe fn half(layout: &Layout, block: usize, half: usize, token: Token<'_>) -> Self {
        let Token { coarse, fine, .. } = token;
        let at = block * BLOCK + half * HALF;
        // SAFETY: a token has 32 values, sums and a flag for each of its blocks.
        unsafe {
            BlockValues {
                digits: [coarse.values.as_ptr().add(at), fine.values.as_ptr().add(at)],
                starts: [
                    start(layout, 0, coarse.half_sum(block, half)),
                    start(layout, 0, fine.half_sum(block, half)),
                ],
                refined: *token.refined.get_unchecked(block),
            }
        }
    }
}

/// The lookup tables of a block of a token, for codes of 0 to 2 that stand for -1 to 1.
#[derive(Clone, Copy, Debug)]
pub struct BlockTables {
    /// 128 bytes for each digit; those of the fine one are only read if the block is refined.
    pub digits: [*const u8; 2],
    /// What the sums over each digit start with: it compensates the bias of 16 entries and the zero point.
    pub starts: [i32; 2],
    /// Whether there is a fine digit.
    pub refined: bool,
}

impl BlockTables {
    /// Block `block` of a token.
    ///
    /// # Safety
    /// The token has the block, and lookup tables.
    #[inline(always)]
    pub(crate) unsafe fn new(block: usize, token: Token<'_>) -> Self {
        const BIAS: i32 = 2 * TABLE_BIAS * GROUPS_PER_BLOCK as i32;
        let Token { coarse, fine, .. } = token;
        // SAFETY: a token has tables, a sum and a flag for each of its blocks.
        unsafe {
            BlockTables {
                digits: [
                    coarse.tables.as_ptr().add(block * TABLE_BYTES),
                    fine.tables.as_ptr().add(block * TABLE_BYTES),
                ],
                starts: [-BIAS - *coarse.sums.get_unchecked(block), -BIAS - *fine.sums.get_unchecked(block)],
                refined: *token.refined.get_unchecked(block),
            }
        }
    }
}

/// The zero point's share of a dot product, whose activations sum to `sum`.
#[inline(always)]
fn start(layout: &Layout, offset: i32, sum: i32) -> i32 {
    match layout.zero() {
        Zero::Symmetric(zero) => -(i32::from(zero) + offset) * sum,
        Zero::Affine => -offset * sum,
    }
}
