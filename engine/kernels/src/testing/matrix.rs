//! Seeded random matrices.

use crate::layout::{Encoding, Layout, STRIP, Zero, f32_to_f16, pack_strip};
use crate::random::Random;

/// A packed matrix of random codes and scales.
pub fn random_matrix(layout: &Layout, random: &mut Random) -> Vec<u8> {
    let mut data = vec![0; layout.total_bytes()];
    // Codes of a table are its entries, in any order; of other encodings they are the numbers below 2^bits.
    let count = 1 << layout.encoding().bits();
    let mut codes: Vec<u8> = (0..=255).take(count).collect();
    if let Encoding::Table(table) = layout.encoding() {
        codes.copy_from_slice(&table);
    }
    let highest = codes.iter().copied().max().unwrap_or(0);
    for (strip, out) in data.chunks_exact_mut(layout.strip_bytes()).enumerate() {
        let rows = STRIP.min(layout.rows() - strip * STRIP);
        // One strip in four of the largest code only, to reach the largest sums.
        let extreme = random.bits().is_multiple_of(4);
        let packed: Vec<u8> = (0..rows * layout.cols())
            .map(|_| if extreme { highest } else { codes[random.bits() as usize % count] })
            .collect();
        let count = rows * layout.groups();
        let mut halves = || (0..count).map(|_| f32_to_f16(random.float() * 0.1)).collect::<Vec<_>>();
        let scales = halves();
        let mins = if layout.zero() == Zero::Affine { halves() } else { Vec::new() };
        pack_strip(layout, &packed, &scales, &mins, out);
    }
    data
}
