//! Products by table lookup, for bit-planes: T-MAC's idea (arXiv 2407.00088, section 3) in integers that are
//! exact.

use crate::activations::{Digit, TABLE_BIAS, Token};
use crate::isa::Isa;
use crate::layout::{GROUPS_PER_BLOCK, Layout, Zero};
use crate::strip::BlockSums;

/// Bytes of the tables of a block.
const TABLE_BYTES: usize = 16 * GROUPS_PER_BLOCK;

/// Sums of blocks of `BITS` bit-planes.
pub(crate) struct Lookup<const BITS: usize>;

impl<I: Isa, const BITS: usize> BlockSums<I> for Lookup<BITS> {
    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: the caller's.
        unsafe {
            let mut rows = digit_sums::<I, BITS>(isa, layout, codes, block, token.coarse);
            if *token.refined.get_unchecked(block) {
                let fine = digit_sums::<I, BITS>(isa, layout, codes, block, token.fine);
                for (row, fine) in rows.iter_mut().zip(fine).take(128 / I::WIDTH) {
                    *row = isa.refine(*row, fine);
                }
            }
            rows
        }
    }
}

/// Sums over one digit.
///
/// # Safety
/// As for [`BlockSums::sums`].
#[inline(always)]
unsafe fn digit_sums<I: Isa, const BITS: usize>(
    isa: I,
    layout: &Layout,
    codes: *const u8,
    block: usize,
    digit: Digit<'_>,
) -> [I::Ints; 8] {
    let zero = match layout.zero() {
        Zero::Symmetric(zero) => i32::from(zero),
        Zero::Affine => 0,
    };
    let bias = TABLE_BIAS * GROUPS_PER_BLOCK as i32 * ((1 << BITS) - 1);
    // SAFETY: the caller's.
    unsafe {
        let tables = digit.tables.as_ptr().add(block * TABLE_BYTES);
        isa.lookup_block::<BITS>(codes, tables, -bias - zero * *digit.sums.get_unchecked(block))
    }
}
