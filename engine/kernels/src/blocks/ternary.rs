//! Sums over ternary codes by table lookup. Both bits of a code are in neighbouring bytes and weigh the same, so that one
//! operation adds what they select: no plane is doubled, and the sums of 16 bits lie in the order of the rows.

use super::dot::refine;
use crate::activations::BlockTables;
use crate::isa::Isa;

/// The sums of 32 rows over a block of ternary codes.
///
/// # Safety
/// 256 bytes are readable at `codes`, and 128 at each digit of `tables`.
#[inline(always)]
pub(super) unsafe fn ternary_sums<I: Isa>(isa: I, codes: *const u8, tables: BlockTables) -> [I::Ints; 8] {
    let BlockTables { digits, starts, refined } = tables;
    // SAFETY: as much is readable by this function's contract.
    unsafe {
        if refined {
            let [mut rows, fine] = ternary_digits(isa, codes, digits, starts);
            refine(isa, &mut rows, fine);
            rows
        } else {
            let [rows] = ternary_digits(isa, codes, [digits[0]], [starts[0]]);
            rows
        }
    }
}

/// The sums over each of some digits, whose indexes are taken apart once.
///
/// # Safety
/// 256 bytes are readable at `codes`, and 128 at each digit.
#[inline(always)]
unsafe fn ternary_digits<I: Isa, const DIGITS: usize>(
    isa: I,
    codes: *const u8,
    digits: [*const u8; DIGITS],
    starts: [i32; DIGITS],
) -> [[I::Ints; 8]; DIGITS] {
    // A tile, of 32 bytes, is two registers of 16 bytes, one of 32, or half of one of 64: of each digit the sums of low and of
    // high nibbles in both registers.
    let registers = (32 / I::WIDTH).max(1);
    let mut sums = [[[isa.pair_zero(); 2]; 2]; DIGITS];
    for tile in (0..256).step_by(registers * I::WIDTH) {
        // A loop of its own, which is unrolled, so that sums stay in registers.
        for register in 0..registers {
            let at = tile + register * I::WIDTH;
            // SAFETY: WIDTH divides 256, so the load of codes is within them; that of tables begins at table `at / 32` of 8 and
            // takes WIDTH / 32 of them.
            unsafe {
                let indexes = isa.load(codes.add(at));
                let halves = [isa.low_nibbles(indexes), isa.high_nibbles(indexes)];
                for (sums, digit) in sums.iter_mut().zip(digits) {
                    let table = isa.load_pair_tables(digit.add(at / 32 * 16));
                    for (sums, indexes) in sums.iter_mut().zip(halves) {
                        sums[register] = isa.pair_add(sums[register], isa.lookup(table, indexes));
                    }
                }
            }
        }
    }
    let mut rows = [isa.pair_rows(sums[0][0], sums[0][1], starts[0]); DIGITS];
    for ((rows, [low, high]), start) in rows.iter_mut().zip(sums).zip(starts).skip(1) {
        *rows = isa.pair_rows(low, high, start);
    }
    rows
}
