//! Sums by table lookup.

use super::groups;
#[cfg(target_feature = "relaxed-simd")]
use crate::activations::TABLE_BIAS;
use crate::isa::Isa;
#[cfg(target_feature = "relaxed-simd")]
use crate::layout::GROUPS_PER_BLOCK;
use crate::simd128::vectors::Simd128;
use std::arch::wasm32::*;

/// Joins the sums of both digits.
#[inline(always)]
pub(super) fn joined(coarse: [v128; 8], fine: [v128; 8]) -> [v128; 8] {
    let mut rows = coarse;
    for (row, fine) in rows.iter_mut().zip(fine) {
        *row = Simd128.refine(*row, fine);
    }
    rows
}

/// Sums over some digits of a block of ternary codes, whose indexes are taken apart once.
///
/// # Safety
/// 256 bytes are readable at `codes`, and 128 at each digit.
#[inline(always)]
pub(super) unsafe fn ternary<const DIGITS: usize>(
    codes: *const u8,
    digits: [*const u8; DIGITS],
    starts: [i32; DIGITS],
) -> [[v128; 8]; DIGITS] {
    let isa = Simd128;
    // Of each digit the low and the high nibbles, in both registers of a tile.
    let mut sums = [[[isa.pair_zero(); 2]; 2]; DIGITS];
    for group in 0..groups() {
        for register in [0, 1] {
            // SAFETY: group < 8, so the loads end at byte 256 of the codes and at byte 128 of the tables at most.
            unsafe {
                let indexes = isa.load(codes.add(32 * group + 16 * register));
                let halves = [isa.low_nibbles(indexes), isa.high_nibbles(indexes)];
                for (sums, digit) in sums.iter_mut().zip(digits) {
                    let table = isa.load(digit.add(16 * group));
                    for (sums, indexes) in sums.iter_mut().zip(halves) {
                        sums[register] = isa.pair_add(sums[register], isa.lookup(table, indexes));
                    }
                }
            }
        }
    }
    let mut rows = [[isa.splat(0.0); 8]; DIGITS];
    for ((rows, [low, high]), start) in rows.iter_mut().zip(sums).zip(starts) {
        *rows = isa.pair_rows(low, high, start);
    }
    rows
}

/// The same for binary codes: twice what their bits select.
///
/// # Safety
/// 128 bytes are readable at `codes`, and 128 at each digit.
#[inline(always)]
pub(super) unsafe fn binary<const DIGITS: usize>(
    codes: *const u8,
    digits: [*const u8; DIGITS],
    starts: [i32; DIGITS],
) -> [[v128; 8]; DIGITS] {
    let isa = Simd128;
    let mut sums = [[isa.lookup_zero(); 2]; DIGITS];
    for group in 0..groups() {
        // SAFETY: group < 8, so the loads end at byte 128 at most.
        unsafe {
            let indexes = isa.load(codes.add(16 * group));
            let halves = [isa.low_nibbles(indexes), isa.high_nibbles(indexes)];
            for (sums, digit) in sums.iter_mut().zip(digits) {
                let table = isa.load(digit.add(16 * group));
                for (sum, indexes) in sums.iter_mut().zip(halves) {
                    *sum = isa.lookup_add(*sum, isa.lookup(table, indexes));
                }
            }
        }
    }
    let mut rows = [[isa.splat(0.0); 8]; DIGITS];
    for ((rows, [low, high]), start) in rows.iter_mut().zip(sums).zip(starts) {
        *rows = isa.lookup_rows(isa.lookup_double(low), isa.lookup_double(high), start);
    }
    rows
}

/// Sums of the table entries that `BITS` bit-planes select.
///
/// # Safety
/// As for [`Blocks::lookup_block`].
#[inline(always)]
pub(super) unsafe fn planes<const BITS: usize>(codes: *const u8, tables: *const u8, start: i32) -> [v128; 8] {
    let isa = Simd128;
    let (mut low, mut high) = (isa.lookup_zero(), isa.lookup_zero());
    for plane in (0..BITS).rev() {
        if plane + 1 < BITS {
            (low, high) = (isa.lookup_double(low), isa.lookup_double(high));
        }
        for pair in 0..groups() / 2 {
            for at in [32 * pair, 32 * pair + 16] {
                // SAFETY: at <= 112, so the loads are within the 128 bytes of the tables and of plane `plane < BITS`.
                let (table, indexes) =
                    unsafe { (isa.load(tables.add(at)), isa.load(codes.add(plane * 128 + at))) };
                low = isa.lookup_add(low, isa.lookup(table, isa.low_nibbles(indexes)));
                high = isa.lookup_add(high, isa.lookup(table, isa.high_nibbles(indexes)));
            }
        }
    }
    isa.lookup_rows(low, high, start)
}

/// Sums of the table entries that two bit-planes select. Both index the same tables, so they are interleaved, and one dot
/// product with 1 and 2 adds their entries: no widening, no doubling.
///
/// # Safety
/// As for [`Blocks::lookup_block`].
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
pub(super) unsafe fn plane_pair(codes: *const u8, tables: *const u8, start: i32) -> [v128; 8] {
    let (mask, weights) = (u8x16_splat(15), u16x8_splat(0x0201));
    // Of rows 0, 8, 1, 9, ... 11 and of rows 4, 12, ... 15; then of the rows 16 further on.
    let mut sums = [[i16x8_splat(0); 2]; 2];
    for pair in 0..groups() / 2 {
        for group in [2 * pair, 2 * pair + 1] {
            // SAFETY: group < 8, so the loads are within the 128 bytes of the tables and of each of two planes.
            let (table, planes) = unsafe {
                let table = v128_load(tables.add(16 * group).cast());
                // With their bias, entries are unsigned bytes; without, signed ones.
                let table = v128_xor(table, u8x16_splat(TABLE_BIAS as u8));
                (table, [0, 128].map(|plane| v128_load(codes.add(plane + 16 * group).cast())))
            };
            let [a, b] = planes;
            let interleaved = [
                i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b),
                i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b),
            ];
            for (i, indexes) in interleaved.into_iter().enumerate() {
                let halves = [v128_and(indexes, mask), v128_and(u16x8_shr(indexes, 4), mask)];
                for (half, indexes) in halves.into_iter().enumerate() {
                    let picked = i8x16_relaxed_swizzle(table, indexes);
                    sums[half][i] = i16x8_add(sums[half][i], i16x8_relaxed_dot_i8x16_i7x16(picked, weights));
                }
            }
        }
    }
    // `start` compensates the bias, which has been removed already.
    let start = i32x4_splat(start + 3 * TABLE_BIAS * GROUPS_PER_BLOCK as i32);
    let even = |sums| i32x4_add(i32x4_shr(i32x4_shl(sums, 16), 16), start);
    let odd = |sums| i32x4_add(i32x4_shr(sums, 16), start);
    let [[a, b], [c, d]] = sums;
    [even(a), even(b), odd(a), odd(b), even(c), even(d), odd(c), odd(d)]
}
