//! Products by dot-product instructions, for 4-bit and 8-bit codes.

use crate::activations::Token;
use crate::isa::{BlockValues, Isa};
use crate::layout::{BLOCK, GROUPS_PER_BLOCK, LUT_GROUP, Layout, Zero};
use crate::strip::BlockSums;

/// What the sums of a block start with: the share of the codes' zero point, where the dot product itself
/// adds `offset` to each code.
#[inline(always)]
fn start(layout: &Layout, offset: i32, sum: i32) -> i32 {
    match layout.zero() {
        Zero::Symmetric(zero) => -(i32::from(zero) + offset) * sum,
        Zero::Affine => -offset * sum,
    }
}

/// Sums of blocks of nibbles.
pub(crate) struct Nibbles;

impl<I: Isa> BlockSums<I> for Nibbles {
    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: the caller vouches for the codes of the block and for the token's values.
        unsafe { isa.nibble_block(codes, values(layout, 0, block, token)) }
    }
}

/// Sums of blocks of bytes.
pub(crate) struct Bytes;

impl<I: Isa> BlockSums<I> for Bytes {
    #[inline(always)]
    unsafe fn sums(
        isa: I,
        layout: &Layout,
        codes: *const u8,
        block: usize,
        token: Token<'_>,
    ) -> [I::Ints; 8] {
        // SAFETY: the caller vouches for the codes of the block and for the token's values.
        unsafe { isa.byte_block(codes, values(layout, I::BYTE_OFFSET, block, token)) }
    }
}

/// The activations of a block, where the dot product itself adds `offset` to each code.
///
/// # Safety
/// The token has the block.
#[inline(always)]
pub(crate) unsafe fn values(layout: &Layout, offset: i32, block: usize, token: Token<'_>) -> BlockValues {
    let Token { coarse, fine, .. } = token;
    // SAFETY: the caller's.
    unsafe {
        BlockValues {
            digits: [coarse, fine].map(|digit| digit.values.as_ptr().add(block * BLOCK)),
            starts: [coarse, fine].map(|digit| start(layout, offset, *digit.sums.get_unchecked(block))),
            refined: *token.refined.get_unchecked(block),
        }
    }
}

/// [`Isa::nibble_block`] and [`Isa::byte_block`] digit by digit.
///
/// # Safety
/// The codes of a block are readable, and 32 values of each of its digits.
#[inline(always)]
pub(crate) unsafe fn block_sums<I: Isa, const NIBBLES: bool>(
    isa: I,
    codes: *const u8,
    values: BlockValues,
) -> [I::Ints; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: the caller's.
    unsafe {
        let mut rows = digit_sums::<I, NIBBLES>(isa, codes, coarse, coarse_start);
        if refined {
            let fine = digit_sums::<I, NIBBLES>(isa, codes, fine, fine_start);
            for (row, fine) in rows.iter_mut().zip(fine).take(128 / I::WIDTH) {
                *row = isa.refine(*row, fine);
            }
        }
        rows
    }
}

/// # Safety
/// The codes of a block and 32 values are readable.
#[inline(always)]
unsafe fn digit_sums<I: Isa, const NIBBLES: bool>(
    isa: I,
    codes: *const u8,
    values: *const i8,
    start: i32,
) -> [I::Ints; 8] {
    // SAFETY: the caller's.
    unsafe {
        if NIBBLES { nibble_sums(isa, codes, values, start) } else { byte_sums(isa, codes, values, start) }
    }
}

/// # Safety
/// 512 bytes of nibbles and 32 values are readable.
#[inline(always)]
unsafe fn nibble_sums<I: Isa>(isa: I, codes: *const u8, values: *const i8, start: i32) -> [I::Ints; 8] {
    // A tile is 64 bytes; register t holds 4-row runs of the low nibbles, and 16 rows on of the high.
    let registers = 64 / I::WIDTH;
    let mut sums = [[isa.small_zero(); 2]; 4];
    for group in 0..GROUPS_PER_BLOCK {
        // SAFETY: the caller's.
        let quad = unsafe { isa.quad(values.add(group * LUT_GROUP)) };
        for (t, sums) in sums.iter_mut().enumerate().take(registers) {
            // SAFETY: the caller's.
            let packed = unsafe { isa.load(codes.add(group * 64 + t * I::WIDTH)) };
            *sums = isa.nibble_dot(*sums, packed, quad);
        }
    }
    let mut rows = [isa.small_total(sums[0][0], start); 8];
    for (t, [low, high]) in sums.into_iter().enumerate().take(registers) {
        rows[t] = isa.small_total(low, start);
        rows[registers + t] = isa.small_total(high, start);
    }
    rows
}

/// # Safety
/// 1024 bytes of codes and 32 values are readable.
#[inline(always)]
unsafe fn byte_sums<I: Isa>(isa: I, codes: *const u8, values: *const i8, start: i32) -> [I::Ints; 8] {
    let registers = 128 / I::WIDTH;
    let mut sums = [isa.byte_zero(); 8];
    for group in (0..GROUPS_PER_BLOCK).step_by(2) {
        // SAFETY: the caller's.
        unsafe {
            let quads = quad_pair(isa, values.add(group * LUT_GROUP));
            for t in 0..registers {
                let code = codes.add(group * 128 + t * I::WIDTH);
                let pair = [isa.load(code), isa.load(code.add(128))];
                sums[t] = isa.byte_dot_pair(sums[t], pair, quads);
            }
        }
    }
    let mut rows = [isa.byte_total(sums[0], start); 8];
    for t in 1..registers {
        rows[t] = isa.byte_total(sums[t], start);
    }
    rows
}

/// The activations of two neighbouring groups.
///
/// # Safety
/// 8 values are readable.
#[inline(always)]
unsafe fn quad_pair<I: Isa>(isa: I, values: *const i8) -> [I::Quad; 2] {
    // SAFETY: the caller's.
    unsafe { [isa.quad(values), isa.quad(values.add(LUT_GROUP))] }
}

/// [`Isa::unpacked_block`] digit by digit.
///
/// # Safety
/// 32 values of each digit are readable.
#[inline(always)]
pub(crate) unsafe fn unpacked_sums<I: Isa, const SMALL: bool>(
    isa: I,
    codes: [&[I::Bytes; GROUPS_PER_BLOCK]; 2],
    values: BlockValues,
) -> [I::Ints; 2] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: the caller's.
    unsafe {
        let mut sums = unpacked_digit::<I, SMALL>(isa, codes, coarse, coarse_start);
        if refined {
            let fine = unpacked_digit::<I, SMALL>(isa, codes, fine, fine_start);
            for (sum, fine) in sums.iter_mut().zip(fine) {
                *sum = isa.refine(*sum, fine);
            }
        }
        sums
    }
}

/// # Safety
/// 32 values are readable.
#[inline(always)]
unsafe fn unpacked_digit<I: Isa, const SMALL: bool>(
    isa: I,
    codes: [&[I::Bytes; GROUPS_PER_BLOCK]; 2],
    values: *const i8,
    start: i32,
) -> [I::Ints; 2] {
    // SAFETY: the caller's.
    unsafe {
        if I::REGISTERS == 32 {
            pair_sums::<I, SMALL>(isa, codes, values, start)
        } else {
            [register_sums::<I, SMALL>(isa, codes[0], values, start); 2]
        }
    }
}

/// Sums of 32 rows over an unpacked block of codes below 16, for one token.
///
/// # Safety
/// 1024 bytes of codes are readable, and 32 values of each digit.
#[inline(always)]
pub(crate) unsafe fn small_rows<I: Isa>(isa: I, codes: *const u8, values: BlockValues) -> [I::Ints; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: the caller's.
    unsafe {
        let mut rows = small_digit(isa, codes, coarse, coarse_start);
        if refined {
            let fine = small_digit(isa, codes, fine, fine_start);
            for (row, fine) in rows.iter_mut().zip(fine).take(128 / I::WIDTH) {
                *row = isa.refine(*row, fine);
            }
        }
        rows
    }
}

/// # Safety
/// 1024 bytes of codes and 32 values are readable.
#[inline(always)]
unsafe fn small_digit<I: Isa>(isa: I, codes: *const u8, values: *const i8, start: i32) -> [I::Ints; 8] {
    // SAFETY: the caller's.
    unsafe {
        let mut quads = [isa.quad(values); GROUPS_PER_BLOCK];
        for (group, quad) in quads.iter_mut().enumerate().skip(1) {
            *quad = isa.quad(values.add(group * LUT_GROUP));
        }
        let mut rows = [isa.small_total(isa.small_zero(), start); 8];
        for (r, row) in rows.iter_mut().enumerate().take(128 / I::WIDTH) {
            let mut sum = isa.small_zero();
            for (group, quad) in quads.iter().enumerate() {
                sum = isa.small_dot(sum, isa.load(codes.add(group * 128 + r * I::WIDTH)), *quad);
            }
            *row = isa.small_total(sum, start);
        }
        rows
    }
}

/// The sums of a register's rows over an unpacked block. `SMALL`: the codes are below 16.
///
/// # Safety
/// 32 values are readable.
#[inline(always)]
unsafe fn register_sums<I: Isa, const SMALL: bool>(
    isa: I,
    codes: &[I::Bytes; GROUPS_PER_BLOCK],
    values: *const i8,
    start: i32,
) -> I::Ints {
    let (mut small, mut wide) = (isa.small_zero(), isa.byte_zero());
    for (pair, &codes) in codes.as_chunks::<2>().0.iter().enumerate() {
        // SAFETY: 8 groups of 4 values.
        let quads = unsafe { quad_pair(isa, values.add(2 * pair * LUT_GROUP)) };
        if SMALL {
            small = isa.small_dot(isa.small_dot(small, codes[0], quads[0]), codes[1], quads[1]);
        } else {
            wide = isa.byte_dot_pair(wide, codes, quads);
        }
    }
    if SMALL { isa.small_total(small, start) } else { isa.byte_total(wide, start) }
}

/// [`register_sums`] of two registers at once.
///
/// # Safety
/// 32 values are readable.
#[inline(always)]
unsafe fn pair_sums<I: Isa, const SMALL: bool>(
    isa: I,
    codes: [&[I::Bytes; GROUPS_PER_BLOCK]; 2],
    values: *const i8,
    start: i32,
) -> [I::Ints; 2] {
    let (mut small, mut wide) = ([isa.small_zero(); 2], [isa.byte_zero(); 2]);
    for group in 0..GROUPS_PER_BLOCK {
        // SAFETY: 8 groups of 4 values.
        let quad = unsafe { isa.quad(values.add(group * LUT_GROUP)) };
        for (row, codes) in codes.iter().enumerate() {
            if SMALL {
                small[row] = isa.small_dot(small[row], codes[group], quad);
            } else {
                wide[row] = isa.byte_dot(wide[row], codes[group], quad);
            }
        }
    }
    // No closures here: code in them is not compiled for the instruction set.
    if SMALL {
        [isa.small_total(small[0], start), isa.small_total(small[1], start)]
    } else {
        [isa.byte_total(wide[0], start), isa.byte_total(wide[1], start)]
    }
}
