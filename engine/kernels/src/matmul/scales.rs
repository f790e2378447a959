//! The scales and minimums of 32 rows as floats.

use crate::isa::Isa;
use crate::layout::{SIX_BITS, STRIP, six_bits};

/// The scale and the minimum of each row; minimums are not used if symmetric.
pub(super) type RowScales = [[f32; STRIP]; 2];

/// Converts halves: of a group, or of a strip's rows.
///
/// # Safety
/// 64 bytes are readable at `from`, 128 if `affine`.
#[inline(always)]
pub(super) unsafe fn load_halves<I: Isa>(isa: I, from: *const u8, affine: bool, to: &mut RowScales) {
    for (part, to) in to.iter_mut().enumerate().take(if affine { 2 } else { 1 }) {
        for r in (0..STRIP).step_by(I::WIDTH / 4) {
            // SAFETY: r + WIDTH / 4 <= 32, so each load is within its 64 bytes, each store within the 32 floats.
            unsafe {
                let halves = isa.load_halves(from.add(2 * STRIP * part + 2 * r));
                isa.store_floats(to.as_mut_ptr().add(r), halves);
            }
        }
    }
}

/// Multiplies a group's six bits with the scales and minimums of the strip's rows. The products are exact, of 11 and 6 bits.
///
/// Plain Rust, which the compiler turns into vectors of the instruction set whose function it is inlined into.
#[inline(always)]
pub(super) fn multiply_six(group: &[u8; SIX_BITS], rows: &RowScales, to: &mut RowScales) {
    let (pairs, bytes) = group.split_at(STRIP);
    let (mut scales, mut mins) = ([0; STRIP], [0; STRIP]);
    for (i, (pair, byte)) in pairs.as_chunks().0.iter().zip(bytes).enumerate() {
        let [low, high] = six_bits(*pair, *byte);
        [scales[i], mins[i]] = low;
        [scales[STRIP / 2 + i], mins[STRIP / 2 + i]] = high;
    }
    for (to, (rows, sixes)) in to.iter_mut().zip(rows.iter().zip([scales, mins])) {
        for (to, (row, six)) in to.iter_mut().zip(rows.iter().zip(sixes)) {
            *to = row * six as f32;
        }
    }
}
