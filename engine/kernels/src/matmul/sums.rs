//! The integer sums of one block and one token, for each encoding.

use crate::activations::{BlockTables, BlockValues, Digit, TABLE_BIAS, TABLE_BYTES, Token};
use crate::blocks::Blocks;
use crate::layout::{Encoding, GROUPS_PER_BLOCK, Layout, Zero};

/// How the sums of a block are computed.
pub(super) trait BlockSums<I: Blocks> {
    /// Whether the encoding can have six-bit scales ([`Layout::with_scales`]).
    const SIX_BIT_SCALES: bool = false;

    /// The sums of 32 rows over all digits of the block, zero point included, in `128 / WIDTH` registers.
    ///
    /// # Safety
    /// `Encoding::block_bytes` of codes are readable at `codes`, and `block` is one of the token's, which has lookup
    /// tables if the encoding is looked up ([`Encoding::by_lookup`]).
    unsafe fn sums(isa: I, layout: &Layout, codes: *const u8, block: usize, token: Token<'_>)
    -> [I::Ints; 8];
}

/// Nibbles, by dot products.
pub(super) struct Nibbles;

impl<I: Blocks> BlockSums<I> for Nibbles {
    const SIX_BIT_SCALES: bool = true;

    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: a block of nibbles is 512 bytes; the token has the block, so its values are there.
        unsafe { isa.nibble_block(codes, BlockValues::new(layout, 0, block, token)) }
    }
}

/// Split codes of `BITS` bits, by dot products.
pub(super) struct Split<const BITS: usize>;

impl<I: Blocks, const BITS: usize> BlockSums<I> for Split<BITS> {
    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: a block is `BITS * 128` bytes; the token has the block, so its values are there.
        unsafe { isa.split_block::<BITS>(codes, BlockValues::new(layout, 0, block, token)) }
    }
}

/// Nibbles that stand for codes of a table, by dot products.
pub(super) struct Table;

impl<I: Blocks> BlockSums<I> for Table {
    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        let Encoding::Table(table) = layout.encoding() else { unreachable!("a layout without a table") };
        // SAFETY: a block of nibbles is 512 bytes; the token has the block, so its values are there.
        unsafe { isa.table_block(&table, codes, BlockValues::new(layout, I::BYTE_OFFSET, block, token)) }
    }
}

/// Bytes, by dot products.
pub(super) struct Bytes;

impl<I: Blocks> BlockSums<I> for Bytes {
    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: a block of bytes is 1024 bytes; the token has the block, so its values are there.
        unsafe { isa.byte_block(codes, BlockValues::new(layout, I::BYTE_OFFSET, block, token)) }
    }
}

/// Ternary codes, by table lookup.
pub(super) struct Ternary;

impl<I: Blocks> BlockSums<I> for Ternary {
    #[inline(always)]
    unsafe fn sums(isa: I, _: &Layout, codes: *const u8, block: usize, token: Token<'_>) -> [I::Ints; 8] {
        // SAFETY: a block is 256 bytes; the token has the block and its tables.
        unsafe { isa.ternary_block(codes, BlockTables::new(block, token)) }
    }
}

/// Binary codes, by table lookup.
pub(super) struct Binary;

impl<I: Blocks> BlockSums<I> for Binary {
    #[inline(always)]
    unsafe fn sums(isa: I, _: &Layout, codes: *const u8, block: usize, token: Token<'_>) -> [I::Ints; 8] {
        // SAFETY: a block is 128 bytes; the token has the block and its tables.
        unsafe { isa.binary_block(codes, BlockTables::new(block, token)) }
    }
}

/// `BITS` bit-planes, by table lookup.
pub(super) struct Lookup<const BITS: usize>;

impl<I: Blocks, const BITS: usize> BlockSums<I> for Lookup<BITS> {
    const SIX_BIT_SCALES: bool = true;

    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: `lookup_digit` has the same contract; a token has a flag for each of its blocks.
        unsafe {
            let mut rows = lookup_digit::<I, BITS>(isa, layout, codes, block, token.coarse);
            if *token.refined.get_unchecked(block) {
                let fine = lookup_digit::<I, BITS>(isa, layout, codes, block, token.fine);
                for (row, fine) in rows.iter_mut().zip(fine).take(128 / I::WIDTH) {
                    *row = isa.refine(*row, fine);
                }
            }
            rows
        }
    }
}

/// [`Lookup`]'s sums over one digit.
///
/// # Safety
/// As for [`BlockSums::sums`]; the digit is the token's.
#[inline(always)]
unsafe fn lookup_digit<I: Blocks, const BITS: usize>(
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
    // SAFETY: a block of `BITS` planes is `BITS * 128` bytes; a digit with tables has 128 bytes of them, and a sum, for
    // each of the token's blocks.
    unsafe {
        let tables = digit.tables.as_ptr().add(block * TABLE_BYTES);
        isa.lookup_block::<BITS>(codes, tables, -bias - zero * *digit.sums.get_unchecked(block))
    }
}
