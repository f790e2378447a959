//! Whole blocks: the sums of 32 rows over 32 columns, which an instruction set may compute its own way.

mod dot;
mod lookup;
mod split;
mod ternary;

use crate::activations::{BlockTables, BlockValues};
use crate::isa::Isa;
use crate::layout::{GROUPS_PER_BLOCK, GROUPS_PER_HALF};

/// The operations on whole blocks. The defaults are algorithms over the vector operations of [`Isa`]; an instruction set
/// overrides those for which another order of work is faster, and nothing else.
///
/// An array of 8 registers holds the sums of 32 rows in order; only its first `128 / WIDTH` elements are used.
///
/// # Safety
/// An implementation must not access memory other than the bytes that the `# Safety` section of an operation grants.
pub unsafe trait Blocks: Isa {
    /// Whether quantization groups of a single block get their own code. With 16 registers that code spills: AVX2 takes
    /// 8 % longer for int4. WebAssembly engines spill anyway, and take 4 % less.
    const SINGLE_BLOCK_GROUPS: bool = Self::REGISTERS == 32;
    /// How many tokens share an unpacked block of codes below 32. `true`: each token in turn is multiplied with all rows
    /// ([`Blocks::small_block`]), its activations staying in registers. `false`: each register of rows stays while all
    /// tokens are multiplied with it ([`Blocks::unpacked_block`]).
    const TOKEN_BY_TOKEN: bool = false;

    /// The sums over a block of nibbles: over both digits, `64 * coarse + fine`, or over the coarse one alone if the block is
    /// not refined.
    ///
    /// # Safety
    /// 512 bytes are readable at `codes`, and 32 at each digit of `values`.
    #[inline(always)]
    unsafe fn nibble_block(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: `nibble_sums` has the same contract.
        unsafe { dot::nibble_sums(self, codes, values) }
    }
    /// [`Blocks::nibble_block`] of 8-bit codes, plus [`Isa::BYTE_OFFSET`] each.
    ///
    /// # Safety
    /// 1024 bytes are readable at `codes`, and 32 at each digit of `values`.
    #[inline(always)]
    unsafe fn byte_block(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: `byte_sums` has the same contract.
        unsafe { dot::byte_sums(self, codes, values) }
    }
    /// [`Blocks::nibble_block`] of split codes of `BITS` bits, 5 at most.
    ///
    /// # Safety
    /// `BITS * 128` bytes are readable at `codes`, and 32 at each digit of `values`.
    #[inline(always)]
    unsafe fn split_block<const BITS: usize>(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: `split_sums` has the same contract.
        unsafe { split::split_sums::<Self, BITS, 2>(self, codes, values) }
    }
    /// [`Blocks::split_block`] of half a block, whose codes may have 6 bits.
    ///
    /// # Safety
    /// `BITS * 64` bytes are readable at `codes`, and 16 at each digit of `values`.
    #[inline(always)]
    unsafe fn split_half<const BITS: usize>(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: `split_sums` has the same contract.
        unsafe { split::split_sums::<Self, BITS, 1>(self, codes, values) }
    }
    /// [`Blocks::nibble_block`] of the codes that nibbles stand for in a table, plus [`Isa::BYTE_OFFSET`] each.
    ///
    /// # Safety
    /// 512 bytes are readable at `codes`, and 32 at each digit of `values`.
    #[inline(always)]
    unsafe fn table_block(self, table: &[u8; 16], codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: `table_sums` has the same contract.
        unsafe { dot::table_sums(self, table, codes, values) }
    }
    /// The sums of the rows of one register over half an unpacked block of codes below 64.
    ///
    /// # Safety
    /// 16 bytes are readable at each digit of `values`.
    #[inline(always)]
    unsafe fn unpacked_half(self, codes: &[Self::Bytes; GROUPS_PER_HALF], values: BlockValues) -> Self::Ints {
        // SAFETY: `unpacked_half_sums` has the same contract.
        unsafe { split::unpacked_half_sums(self, codes, values) }
    }
    /// The sums of the rows of one register over an unpacked block; with 32 registers, of the rows of two. `SMALL`: the
    /// codes are below 32; else [`Isa::BYTE_OFFSET`] is added to each.
    ///
    /// # Safety
    /// 32 bytes are readable at each digit of `values`.
    #[inline(always)]
    unsafe fn unpacked_block<const SMALL: bool>(
        self,
        codes: [&[Self::Bytes; GROUPS_PER_BLOCK]; 2],
        values: BlockValues,
    ) -> [Self::Ints; 2] {
        // SAFETY: `unpacked_sums` has the same contract.
        unsafe { dot::unpacked_sums::<Self, SMALL>(self, codes, values) }
    }
    /// The sums over an unpacked block of codes below 32; called where [`Blocks::TOKEN_BY_TOKEN`].
    ///
    /// # Safety
    /// 1024 bytes are readable at `codes`, and 32 at each digit of `values`.
    #[inline(always)]
    unsafe fn small_block(self, codes: *const u8, values: BlockValues) -> [Self::Ints; 8] {
        // SAFETY: `small_sums` has the same contract.
        unsafe { dot::small_sums(self, codes, values) }
    }
    /// The sums, plus `start`, of the table entries that a block of `BITS` bit-planes selects.
    ///
    /// # Safety
    /// `BITS * 128` bytes are readable at `codes`, 128 at `tables`.
    #[inline(always)]
    unsafe fn lookup_block<const BITS: usize>(
        self,
        codes: *const u8,
        tables: *const u8,
        start: i32,
    ) -> [Self::Ints; 8] {
        // SAFETY: `plane_sums` has the same contract.
        unsafe { lookup::plane_sums::<Self, BITS>(self, codes, tables, start) }
    }
    /// The sums over a block of ternary codes, minus 1 each: over both digits, `64 * coarse + fine`, or over the coarse one
    /// alone if the block is not refined.
    ///
    /// # Safety
    /// 256 bytes are readable at `codes`, and 128 at each digit of `tables`.
    #[inline(always)]
    unsafe fn ternary_block(self, codes: *const u8, tables: BlockTables) -> [Self::Ints; 8] {
        // SAFETY: `ternary_sums` has the same contract.
        unsafe { ternary::ternary_sums(self, codes, tables) }
    }
    /// [`Blocks::ternary_block`] of binary codes.
    ///
    /// # Safety
    /// 128 bytes are readable at `codes`, and 128 at each digit of `tables`.
    #[inline(always)]
    unsafe fn binary_block(self, codes: *const u8, tables: BlockTables) -> [Self::Ints; 8] {
        // SAFETY: `binary_sums` has the same contract.
        unsafe { lookup::binary_sums(self, codes, tables) }
    }
}
