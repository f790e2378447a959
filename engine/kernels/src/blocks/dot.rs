//! Sums of a block by dot-product instructions, for 4-bit and 8-bit codes, digit by digit.
//!
//! No closures here: the code in a closure is compiled without the instruction set's features.

use crate::activations::BlockValues;
use crate::isa::Isa;
use crate::layout::{GROUPS_PER_BLOCK, LUT_GROUP};

/// The sums of 32 rows over a block of nibbles.
///
/// # Safety
/// 512 bytes are readable at `codes`, and 32 at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn nibble_sums<I: Isa>(isa: I, codes: *const u8, values: BlockValues) -> [I::Ints; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: 512 bytes of codes by this function's contract, 32 at each digit too.
    unsafe {
        let mut rows = nibble_digit(isa, codes, coarse, coarse_start);
        if refined {
            let fine = nibble_digit(isa, codes, fine, fine_start);
            refine(isa, &mut rows, fine);
        }
        rows
    }
}

/// The sums of 32 rows over a block of bytes.
///
/// # Safety
/// 1024 bytes are readable at `codes`, and 32 at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn byte_sums<I: Isa>(isa: I, codes: *const u8, values: BlockValues) -> [I::Ints; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: 1024 bytes of codes by this function's contract, 32 at each digit too.
    unsafe {
        let mut rows = byte_digit(isa, codes, coarse, coarse_start);
        if refined {
            let fine = byte_digit(isa, codes, fine, fine_start);
            refine(isa, &mut rows, fine);
        }
        rows
    }
}

/// The sums of 32 rows over a block of nibbles that stand for the codes of a table.
///
/// # Safety
/// 512 bytes are readable at `codes`, and 32 at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn table_sums<I: Isa>(
    isa: I,
    table: &[u8; 16],
    codes: *const u8,
    values: BlockValues,
) -> [I::Ints; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: 16 bytes of the table; 512 of codes by this function's contract, 32 at each digit too.
    unsafe {
        let table = isa.load_repeated(table.as_ptr());
        let mut rows = table_digit(isa, table, codes, coarse, coarse_start);
        if refined {
            let fine = table_digit(isa, table, codes, fine, fine_start);
            refine(isa, &mut rows, fine);
        }
        rows
    }
}

/// The sums of 32 rows over an unpacked block of codes below 32.
///
/// # Safety
/// 1024 bytes are readable at `codes`, and 32 at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn small_sums<I: Isa>(isa: I, codes: *const u8, values: BlockValues) -> [I::Ints; 8] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: 1024 bytes of codes by this function's contract, 32 at each digit too.
    unsafe {
        let mut rows = small_digit(isa, codes, coarse, coarse_start);
        if refined {
            let fine = small_digit(isa, codes, fine, fine_start);
            refine(isa, &mut rows, fine);
        }
        rows
    }
}

/// The sums of the rows of one register over an unpacked block; with 32 registers, of the rows of two.
///
/// # Safety
/// 32 bytes are readable at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn unpacked_sums<I: Isa, const SMALL: bool>(
    isa: I,
    codes: [&[I::Bytes; GROUPS_PER_BLOCK]; 2],
    values: BlockValues,
) -> [I::Ints; 2] {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: 32 bytes at each digit by this function's contract.
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

/// Joins the sums of both digits.
#[inline(always)]
pub(super) fn refine<I: Isa>(isa: I, rows: &mut [I::Ints; 8], fine: [I::Ints; 8]) {
    for (row, fine) in rows.iter_mut().zip(fine).take(128 / I::WIDTH) {
        *row = isa.refine(*row, fine);
    }
}

/// # Safety
/// 512 bytes of nibbles are readable at `codes`, 32 at `values`.
#[inline(always)]
unsafe fn nibble_digit<I: Isa>(isa: I, codes: *const u8, values: *const i8, start: i32) -> [I::Ints; 8] {
    // A tile is 64 bytes; register t holds runs of 4 rows in the low nibbles, and the rows 16 further on in the high.
    let registers = 64 / I::WIDTH;
    let mut sums = [[isa.small_zero(); 2]; 4];
    for group in 0..GROUPS_PER_BLOCK {
        // SAFETY: the last of the 8 groups ends at value 32.
        let quad = unsafe { isa.quad(values.add(group * LUT_GROUP)) };
        for (t, sums) in sums.iter_mut().enumerate().take(registers) {
            // SAFETY: group <= 7 and t < 64 / WIDTH, so the load ends at byte 512 at most.
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
/// 512 bytes of nibbles are readable at `codes`, 32 at `values`.
#[inline(always)]
unsafe fn table_digit<I: Isa>(
    isa: I,
    table: I::Bytes,
    codes: *const u8,
    values: *const i8,
    start: i32,
) -> [I::Ints; 8] {
    let registers = 64 / I::WIDTH;
    let mut sums = [[isa.byte_zero(); 2]; 4];
    for group in (0..GROUPS_PER_BLOCK).step_by(2) {
        // SAFETY: group <= 6, so the pair of quads ends at value 32; t < 64 / WIDTH, so the pair of loads ends at byte
        // 6 * 64 + 64 + 64 = 512.
        unsafe {
            let quads = quad_pair(isa, values.add(group * LUT_GROUP));
            for (t, [low, high]) in sums.iter_mut().enumerate().take(registers) {
                let at = codes.add(group * 64 + t * I::WIDTH);
                let (a, b) = (isa.load(at), isa.load(at.add(64)));
                let lows = [isa.lookup(table, isa.low_nibbles(a)), isa.lookup(table, isa.low_nibbles(b))];
                let highs = [isa.lookup(table, isa.high_nibbles(a)), isa.lookup(table, isa.high_nibbles(b))];
                *low = isa.byte_dot_pair(*low, lows, quads);
                *high = isa.byte_dot_pair(*high, highs, quads);
            }
        }
    }
    let mut rows = [isa.byte_total(sums[0][0], start); 8];
    for (t, [low, high]) in sums.into_iter().enumerate().take(registers) {
        rows[t] = isa.byte_total(low, start);
        rows[registers + t] = isa.byte_total(high, start);
    }
    rows
}

/// # Safety
/// 1024 bytes are readable at `codes`, 32 at `values`.
#[inline(always)]
unsafe fn byte_digit<I: Isa>(isa: I, codes: *const u8, values: *const i8, start: i32) -> [I::Ints; 8] {
    let registers = 128 / I::WIDTH;
    let mut sums = [isa.byte_zero(); 8];
    for group in (0..GROUPS_PER_BLOCK).step_by(2) {
        // SAFETY: group <= 6, so the pair of quads ends at value 32; t < 128 / WIDTH, so the pair of loads ends at byte
        // 6 * 128 + 128 + 128 = 1024.
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

/// The activations of two neighbouring LUT groups.
///
/// # Safety
/// 8 bytes are readable at `values`.
#[inline(always)]
unsafe fn quad_pair<I: Isa>(isa: I, values: *const i8) -> [I::Quad; 2] {
    // SAFETY: 4 bytes each, of the 8 that the contract grants.
    unsafe { [isa.quad(values), isa.quad(values.add(LUT_GROUP))] }
}

/// # Safety
/// 1024 bytes are readable at `codes`, 32 at `values`.
#[inline(always)]
unsafe fn small_digit<I: Isa>(isa: I, codes: *const u8, values: *const i8, start: i32) -> [I::Ints; 8] {
    // SAFETY: the last of the 8 groups ends at value 32 and at byte 1024, since r < 128 / WIDTH.
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

/// # Safety
/// 32 bytes are readable at `values`.
#[inline(always)]
unsafe fn unpacked_digit<I: Isa, const SMALL: bool>(
    isa: I,
    codes: [&[I::Bytes; GROUPS_PER_BLOCK]; 2],
    values: *const i8,
    start: i32,
) -> [I::Ints; 2] {
    // SAFETY: both take 32 values.
    unsafe {
        if I::REGISTERS == 32 {
            pair_sums::<I, SMALL>(isa, codes, values, start)
        } else {
            [register_sums::<I, SMALL>(isa, codes[0], values, start); 2]
        }
    }
}

/// The sums of one register's rows over an unpacked block. `SMALL`: the codes are below 32.
///
/// # Safety
/// 32 bytes are readable at `values`.
#[inline(always)]
unsafe fn register_sums<I: Isa, const SMALL: bool>(
    isa: I,
    codes: &[I::Bytes; GROUPS_PER_BLOCK],
    values: *const i8,
    start: i32,
) -> I::Ints {
    let (mut small, mut wide) = (isa.small_zero(), isa.byte_zero());
    for (pair, &codes) in codes.as_chunks::<2>().0.iter().enumerate() {
        // SAFETY: the last of the 4 pairs ends at value 32.
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
/// 32 bytes are readable at `values`.
#[inline(always)]
unsafe fn pair_sums<I: Isa, const SMALL: bool>(
    isa: I,
    codes: [&[I::Bytes; GROUPS_PER_BLOCK]; 2],
    values: *const i8,
    start: i32,
) -> [I::Ints; 2] {
    let (mut small, mut wide) = ([isa.small_zero(); 2], [isa.byte_zero(); 2]);
    for group in 0..GROUPS_PER_BLOCK {
        // SAFETY: the last of the 8 groups ends at value 32.
        let quad = unsafe { isa.quad(values.add(group * LUT_GROUP)) };
        for (row, codes) in codes.iter().enumerate() {
            if SMALL {
                small[row] = isa.small_dot(small[row], codes[group], quad);
            } else {
                wide[row] = isa.byte_dot(wide[row], codes[group], quad);
            }
        }
    }
    if SMALL {
        [isa.small_total(small[0], start), isa.small_total(small[1], start)]
    } else {
        [isa.byte_total(wide[0], start), isa.byte_total(wide[1], start)]
    }
}
