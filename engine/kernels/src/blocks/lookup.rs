//! Sums of a block by table lookup: T-MAC's idea (arXiv 2407.00088, section 3) with exact integers.
//! Measurements: docs/experiments/lookup-kernels.md.

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
