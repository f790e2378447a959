//! Seeded random matrices.

use crate::layout::{Layout, STRIP, Zero, f32_to_f16, pack_strip};
use crate::random::Random;

/// A packed matrix of random codes and scales.
pub fn random_matrix(layout: &Layout, random: &mut Random) -> Vec<u8> {
    let mut data = vec![0; layout.total_bytes()];
    let highest = ((1u32 << layout.encoding().bits()) - 1) as u64;
    for (strip, out) in data.chunks_exact_mut(layout.strip_bytes()).enumerate() {
        let rows = STRIP.min(layout.rows() - strip * STRIP);
        // One strip in four of the largest code only, to reach the largest sums.
        let extreme = random.bits().is_multiple_of(4);
        let codes: Vec<u8> = (0..rows * layout.cols())
            .map(|_| if extreme { highest as u8 } else { (random.bits() & highest) as u8 })
            .collect();
        let count = rows * layout.groups();
        let mut halves = || (0..count).map(|_| f32_to_f16(random.float() * 0.1)).collect::<Vec<_>>();
        let scales = halves();
        let mins = if layout.zero() == Zero::Affine { halves() } else { Vec::new() };
        pack_strip(layout, &codes, &scales, &mins, out);
    }
    data
}
