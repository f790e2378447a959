//! Sums of a block by table lookup: T-MAC's idea (arXiv 2407.00088, section 3) with exact integers.
//! Measurements: docs/experiments/lookup-kernels.md.

use super::dot::refine;
use crate::activations::BlockTables;
use crate::isa::Isa;

/// The sums of 32 rows, plus `start`, of the table entries that a block of `BITS` bit-planes selects.
///
/// # Safety
/// `BITS * 128` bytes are readable at `codes`, 128 at `tables`.
#[inline(always)]
pub(super) unsafe fn plane_sums<I: Isa, const BITS: usize>(
    isa: I,
    codes: *const u8,
    tables: *const u8,
    start: i32,
) -> [I::Ints; 8] {
    let (mut low, mut high) = (isa.lookup_zero(), isa.lookup_zero());
    for plane in (0..BITS).rev() {
        if plane + 1 < BITS {
            (low, high) = (isa.lookup_double(low), isa.lookup_double(high));
        }
        for at in (0..128).step_by(I::WIDTH) {
            // SAFETY: WIDTH divides 128, so `at + WIDTH <= 128`: within the tables and within plane `plane < BITS`.
            let (table, indexes) =
                unsafe { (isa.load(tables.add(at)), isa.load(codes.add(plane * 128 + at))) };
            low = isa.lookup_add(low, isa.lookup(table, isa.low_nibbles(indexes)));
            high = isa.lookup_add(high, isa.lookup(table, isa.high_nibbles(indexes)));
        }
    }
    isa.lookup_rows(low, high, start)
}

/// The sums of 32 rows over a block of binary codes: a bit stands for 2.
///
/// # Safety
/// 128 bytes are readable at `codes`, and 128 at each digit of `tables`.
#[inline(always)]
pub(super) unsafe fn binary_sums<I: Isa>(isa: I, codes: *const u8, tables: BlockTables) -> [I::Ints; 8] {
    let BlockTables { digits, starts, refined } = tables;
    // SAFETY: as much is readable by this function's contract.
    unsafe {
        if refined {
            let [mut rows, fine] = binary_digits(isa, codes, digits, starts);
            refine(isa, &mut rows, fine);
            rows
        } else {
            let [rows] = binary_digits(isa, codes, [digits[0]], [starts[0]]);
            rows
        }
    }
}

/// The sums over each of some digits, whose indexes are taken apart once.
///
/// # Safety
/// 128 bytes are readable at `codes`, and 128 at each digit.
#[inline(always)]
unsafe fn binary_digits<I: Isa, const DIGITS: usize>(
    isa: I,
    codes: *const u8,
    digits: [*const u8; DIGITS],
    starts: [i32; DIGITS],
) -> [[I::Ints; 8]; DIGITS] {
    let mut sums = [[isa.lookup_zero(); 2]; DIGITS];
    for at in (0..128).step_by(I::WIDTH) {
        // SAFETY: WIDTH divides 128, so `at + WIDTH <= 128`: within the tables and within the codes.
        unsafe {
            let indexes = isa.load(codes.add(at));
            let halves = [isa.low_nibbles(indexes), isa.high_nibbles(indexes)];
            for (sums, digit) in sums.iter_mut().zip(digits) {
                let table = isa.load(digit.add(at));
                for (sum, indexes) in sums.iter_mut().zip(halves) {
                    *sum = isa.lookup_add(*sum, isa.lookup(table, indexes));
                }
            }
        }
    }
    let [low, high] = sums[0];
    let mut rows = [isa.lookup_rows(isa.lookup_double(low), isa.lookup_double(high), starts[0]); DIGITS];
    for ((rows, [low, high]), start) in rows.iter_mut().zip(sums).zip(starts).skip(1) {
        *rows = isa.lookup_rows(isa.lookup_double(low), isa.lookup_double(high), start);
    }
    rows
}
