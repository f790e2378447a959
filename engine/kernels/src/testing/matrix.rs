//! Seeded random matrices.

use crate::layout::{Encoding, Layout, STRIP, Scales, Zero, f32_to_f16, pack_strip, pack_strip_six};
use crate::random::Random;

/// A packed matrix of random codes and scales.
pub fn random_matrix(layout: &Layout, random: &mut Random) -> Vec<u8> {
    let mut data = vec![0; layout.total_bytes()];
    let codes: Vec<u8> = match layout.encoding() {
        Encoding::Table(table) => table.to_vec(),
        Encoding::Ternary => vec![0, 1, 2],
        Encoding::Binary => vec![0, 2],
        encoding => (0..=255).take(1 << encoding.bits()).collect(),
    };
    let highest = codes.iter().copied().max().unwrap_or(0);
    for (strip, out) in data.chunks_exact_mut(layout.strip_bytes()).enumerate() {
        let rows = STRIP.min(layout.rows() - strip * STRIP);
        // One strip in four of the largest code only, to reach the largest sums.
        let extreme = random.bits().is_multiple_of(4);
        let packed: Vec<u8> = (0..rows * layout.cols())
            .map(|_| if extreme { highest } else { codes[(random.bits() % codes.len() as u64) as usize] })
            .collect();
        let count = rows * layout.groups();
        if layout.scales() == Scales::SixBits {
            let halves: Vec<[u16; 2]> =
                (0..rows).map(|_| [(); 2].map(|()| f32_to_f16(random.float() * 0.01))).collect();
            let sixes: Vec<[u8; 2]> =
                (0..count).map(|_| [(); 2].map(|()| (random.bits() % 64) as u8)).collect();
            pack_strip_six(layout, &packed, &halves, &sixes, out);
            continue;
        }
        let mut halves = || (0..count).map(|_| f32_to_f16(random.float() * 0.1)).collect::<Vec<_>>();
        let scales = halves();
        let mins = if layout.zero() == Zero::Affine { halves() } else { Vec::new() };
        pack_strip(layout, &packed, &scales, &mins, out);
    }
    data
}
