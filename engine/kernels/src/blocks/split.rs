//! Sums over split codes: fields are joined to codes of a byte, which dot-product instructions multiply.
//!
//! No closures here: the code in a closure is compiled without the instruction set's features.

use super::dot::refine;
use crate::activations::BlockValues;
use crate::isa::Isa;
use crate::layout::{GROUPS_PER_HALF, HALF, LUT_GROUP};

/// The sums of 32 rows over `HALVES` halves of a block of codes of `BITS` bits.
///
/// # Safety
/// `HALVES * BITS * 64` bytes are readable at `codes`, and `HALVES * 16` at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn split_sums<I: Isa, const BITS: usize, const HALVES: usize>(
    isa: I,
    codes: *const u8,
    values: BlockValues,
) -> [I::Ints; 8] {
    const { assert!(HALVES == 1 || BITS <= 5, "the sums would not fit 16 bits") };
    let BlockValues { digits, starts, refined } = values;
    // Both digits at once, so that fields are joined once: LLVM would keep the codes of the first for the second, in memory.
    // SAFETY: as much is readable by this function's contract.
    unsafe {
        if refined {
            let [mut rows, fine] = digit_sums::<I, BITS, HALVES, 2>(isa, codes, digits, starts);
            refine(isa, &mut rows, fine);
            rows
        } else {
            let [rows] = digit_sums::<I, BITS, HALVES, 1>(isa, codes, [digits[0]], [starts[0]]);
            rows
        }
    }
}

/// The sums of the rows of one register over half an unpacked block.
///
/// # Safety
/// 16 bytes are readable at each digit of `values`.
#[inline(always)]
pub(super) unsafe fn unpacked_half_sums<I: Isa>(
    isa: I,
    codes: &[I::Bytes; GROUPS_PER_HALF],
    values: BlockValues,
) -> I::Ints {
    let BlockValues { digits: [coarse, fine], starts: [coarse_start, fine_start], refined } = values;
    // SAFETY: 16 bytes at each digit by this function's contract.
    unsafe {
        let sum = unpacked_digit(isa, codes, coarse, coarse_start);
        if refined { isa.refine(sum, unpacked_digit(isa, codes, fine, fine_start)) } else { sum }
    }
}

/// # Safety
/// 16 bytes are readable at `values`.
#[inline(always)]
unsafe fn unpacked_digit<I: Isa>(
    isa: I,
    codes: &[I::Bytes; GROUPS_PER_HALF],
    values: *const i8,
    start: i32,
) -> I::Ints {
    let mut sum = isa.small_zero();
    for (group, &codes) in codes.iter().enumerate() {
        // SAFETY: the last of the 4 groups ends at value 16.
        sum = isa.small_dot(sum, codes, unsafe { isa.quad(values.add(group * LUT_GROUP)) });
    }
    isa.small_total(sum, start)
}

/// The sums over each of some digits.
///
/// # Safety
/// `HALVES * BITS * 64` bytes are readable at `codes`, `HALVES * 16` at each digit.
#[inline(always)]
unsafe fn digit_sums<I: Isa, const BITS: usize, const HALVES: usize, const DIGITS: usize>(
    isa: I,
    codes: *const u8,
    digits: [*const i8; DIGITS],
    starts: [i32; DIGITS],
) -> [[I::Ints; 8]; DIGITS] {
    let registers = 64 / I::WIDTH;
    let mut sums = [[[isa.small_zero(); 2]; 4]; DIGITS];
    for half in 0..HALVES {
        for group in 0..GROUPS_PER_HALF {
            // SAFETY: the last group of the last half ends at value HALVES * 16; t < 64 / WIDTH.
            unsafe {
                let at = half * HALF + group * LUT_GROUP;
                let mut quads = [isa.quad(digits[0].add(at)); DIGITS];
                for (quad, digit) in quads.iter_mut().zip(digits).skip(1) {
                    *quad = isa.quad(digit.add(at));
                }
                for t in 0..registers {
                    let [low, high] = join::<I, BITS>(isa, codes.add(half * BITS * 64 + t * I::WIDTH), group);
                    for (sums, quad) in sums.iter_mut().zip(quads) {
                        let [first, second] = &mut sums[t];
                        *first = isa.small_dot(*first, low, quad);
                        *second = isa.small_dot(*second, high, quad);
                    }
                }
            }
        }
    }
    let mut rows = [[isa.small_total(sums[0][0][0], starts[0]); 8]; DIGITS];
    for ((rows, sums), start) in rows.iter_mut().zip(sums).zip(starts) {
        for (t, [low, high]) in sums.into_iter().enumerate().take(registers) {
            rows[t] = isa.small_total(low, start);
            rows[registers + t] = isa.small_total(high, start);
        }
    }
    rows
}

/// The codes of LUT group `group` of half a block, in one register of rows and in that of the rows 16 further on.
///
/// # Safety
/// `codes` is the half's first byte plus the register's index, below 64 / WIDTH, times WIDTH; `group` is below 4.
#[inline(always)]
unsafe fn join<I: Isa, const BITS: usize>(isa: I, codes: *const u8, group: usize) -> [I::Bytes; 2] {
    // SAFETY: a field of w bits takes 64 * w bytes; group <= 3, so each load is within its field.
    unsafe {
        let mut joined = if BITS & 4 != 0 {
            let field = isa.load(codes.add(64 * group));
            [isa.low_nibbles(field), isa.high_nibbles(field)]
        } else {
            [isa.load([0; 64].as_ptr()); 2]
        };
        if BITS & 2 != 0 {
            let below = BITS & 4;
            let field = isa.load(codes.add(64 * (below + group / 2)));
            let (from, to) = (4 * (group as u32 % 2), below as u32);
            joined =
                [isa.insert(joined[0], field, from, to, 2), isa.insert(joined[1], field, from + 2, to, 2)];
        }
        if BITS & 1 != 0 {
            let below = BITS & 6;
            let field = isa.load(codes.add(64 * below));
            let (from, to) = (2 * group as u32, below as u32);
            joined =
                [isa.insert(joined[0], field, from, to, 1), isa.insert(joined[1], field, from + 1, to, 1)];
        }
        joined
    }
}
