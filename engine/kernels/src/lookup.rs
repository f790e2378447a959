//! Products by table lookup, for bit-planes: T-MAC's idea (arXiv 2407.00088, section 3) in integers that are
//! exact.

use crate::activations::{Digit, TABLE_BIAS};
use crate::isa::Isa;
use crate::layout::{GROUPS_PER_BLOCK, Layout, Zero};
use crate::matmul::BlockSums;

/// Bytes of the tables of a block.
const TABLE_BYTES: usize = 16 * GROUPS_PER_BLOCK;

/// Sums of blocks of `BITS` bit-planes.
pub(crate) struct Lookup<'a, const BITS: usize> {
    pub(crate) digit: Digit<'a>,
    pub(crate) start: i32,
    pub(crate) zero: i32,
}

impl<'a, const BITS: usize> Lookup<'a, BITS> {
    pub(crate) fn new(layout: &Layout, digit: Digit<'a>) -> Self {
        let zero = match layout.zero() {
            Zero::Symmetric(zero) => i32::from(zero),
            Zero::Affine => 0,
        };
        Lookup { digit, start: -TABLE_BIAS * GROUPS_PER_BLOCK as i32 * ((1 << BITS) - 1), zero }
    }
}

impl<I: Isa, const BITS: usize> BlockSums<I> for Lookup<'_, BITS> {
    #[inline(always)]
    unsafe fn sums(&self, isa: I, codes: *const u8, block: usize) -> [I::Ints; 8] {
        // SAFETY: the caller vouches for the codes of the block and for the digit's tables and sums.
        unsafe {
            let tables = self.digit.tables.as_ptr().add(block * TABLE_BYTES);
            let start = self.start - self.zero * *self.digit.sums.get_unchecked(block);
            isa.lookup_block::<BITS>(codes, tables, start)
        }
    }
}
