//! Tests that every instance of the kernels passes, run natively, under qemu and under a wasm engine.

mod attention;

use crate::layout::{Encoding, Layout, Matrix, STRIP, Zero, f32_to_f16, pack_strip};
use crate::{Activations, Kernels, Pool, Product, reference};

/// A small seeded generator (splitmix64; Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A float from -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A packed matrix of random codes and scales.
pub fn random_matrix(layout: &Layout, random: &mut Random) -> Vec<u8> {
    let mut data = vec![0; layout.total_bytes()];
    let highest = ((1u32 << layout.encoding().bits()) - 1) as u64;
    for (strip, out) in data.chunks_exact_mut(layout.strip_bytes()).enumerate() {
        let rows = STRIP.min(layout.rows() - strip * STRIP);
        // Now and then a whole matrix of the extreme code, to reach the largest sums.
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

/// All encodings that files use, and bit-planes that only tests use.
pub fn encodings() -> Vec<(Encoding, Zero)> {
    vec![
        (Encoding::Planes(1), Zero::Affine),
        (Encoding::Planes(2), Zero::Affine),
        (Encoding::Planes(2), Zero::Symmetric(1)),
        (Encoding::Planes(3), Zero::Affine),
        (Encoding::Planes(4), Zero::Symmetric(8)),
        (Encoding::Nibbles, Zero::Symmetric(8)),
        (Encoding::Nibbles, Zero::Affine),
        (Encoding::Bytes, Zero::Symmetric(128)),
        (Encoding::Bytes, Zero::Affine),
    ]
}

/// Inputs that reach the bounds of the integers: all of one sign, alternating, one large in a group, random.
fn input(kind: usize, len: usize, random: &mut Random) -> Vec<f32> {
    (0..len)
        .map(|i| match kind {
            0 => 1.0,
            1 => -1.0,
            2 if i % 2 == 0 => 1.0,
            2 => -1.0,
            3 if i % 4 == 0 => 100.0,
            4 => 0.0,
            _ => random.float() * if random.bits().is_multiple_of(50) { 40.0 } else { 1.0 },
        })
        .collect()
}

/// Compares products of all encodings, at sizes around every block boundary and for several numbers of tokens,
/// with the reference. Returns the number of comparisons.
///
/// # Panics
/// If a result differs in a single bit.
pub fn check_matmul(kernels: Kernels, pool: &Pool) -> usize {
    let mut random = Random(7);
    let mut compared = 0;
    for (encoding, zero) in encodings() {
        for (rows, cols) in
            [(1, 1), (31, 32), (32, 33), (33, 31), (64, 96), (65, 128), (97, 64), (40, 300), (128, 576)]
        {
            for group_size in [32, 64, 1 << 20] {
                let Ok(layout) = Layout::new(rows, cols, encoding, zero, group_size) else { continue };
                let data = random_matrix(&layout, &mut random);
                let Ok(matrix) = Matrix::new(layout, &data) else { continue };
                // Many tokens, more than are kept in the first-level cache, only of small matrices: emulators are slow.
                let many = if rows * cols < 7000 { 77 } else { 5 };
                for tokens in [1, 2, many] {
                    let kind = (compared / 3) % 8;
                    let x = input(kind, tokens * cols, &mut random);
                    let mut activations = Activations::default();
                    let refine_above = [f32::INFINITY, 1.0, 0.0][compared % 3];
                    kernels.quantize(&Pool::new(), &mut activations, &x, cols, true, refine_above);
                    let expected = reference::matmul(&matrix, &activations);
                    let mut actual = vec![f32::NAN; expected.len()];
                    let mut products = [Product { matrix, output: &mut actual }];
                    kernels.matmul(pool, &activations, &mut products);
                    for (i, (a, b)) in actual.iter().zip(&expected).enumerate() {
                        assert_eq!(
                            a.to_bits(),
                            b.to_bits(),
                            "{}: {layout:?}, {tokens} tokens, input {kind}, element {i}: {a} instead of {b}",
                            kernels.name()
                        );
                    }
                    compared += 1;
                }
            }
        }
    }
    compared
}

/// Checks that quantized activations keep their bounds and come close to the input, and that tables are right.
///
/// # Panics
/// If not.
pub fn check_activations(kernels: Kernels) {
    let mut random = Random(11);
    for round in 0..300 {
        let cols = 1 + (random.bits() % 200) as usize;
        let x = input(round % 8, 2 * cols, &mut random);
        let mut activations = Activations::default();
        let refine_above = [f32::INFINITY, 1.0, 0.0][round % 3];
        kernels.quantize(&Pool::new(), &mut activations, &x, cols, true, refine_above);
        for index in 0..2 {
            let token = activations.token(index);
            let blocks = cols.div_ceil(32);
            for block in 0..blocks {
                let refined = token.refined[block];
                let digits = [Some(token.coarse), refined.then_some(token.fine)];
                for digit in digits.into_iter().flatten() {
                    check_digit(&digit.values[32 * block..][..32], &digit.tables[512 * block / 4..][..128]);
                    let sum: i32 =
                        digit.values[32 * block..][..32].iter().map(|&value| i32::from(value)).sum();
                    assert_eq!(sum, digit.sums[block]);
                }
                // A 64th of the first digit's unit at the edge of what the second holds, else half its own.
                let (unit, bound) = (token.scales[block], if refined { 1.01 } else { 0.51 });
                for col in 32 * block..cols.min(32 * block + 32) {
                    let value = f32::from(token.coarse.values[col]);
                    let value =
                        if refined { 64.0 * value + f32::from(token.fine.values[col]) } else { value };
                    let (x, error) = (x[index * cols + col], value * unit - x[index * cols + col]);
                    assert!(error.abs() <= unit * bound, "{x} became {value} x {unit}");
                }
            }
            let refined = token.refined[..blocks].iter().filter(|&&refined| refined).count();
            match refine_above {
                0.0 => assert!(round % 8 == 4 || refined > 0),
                f32::INFINITY => assert_eq!(refined, 0),
                _ => assert!(refined < blocks || blocks == 1, "above the mean cannot be all"),
            }
        }
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut activations = Activations::default();
        kernels.quantize(&Pool::new(), &mut activations, &[1.0, bad, 0.0], 3, true, 1.0);
        assert!(activations.token(0).scales[0].is_nan(), "{bad} must not vanish");
    }
}

/// Checks the bound of one digit of a block, and its tables.
fn check_digit(values: &[i8], tables: &[u8]) {
    for (group, table) in values.as_chunks::<4>().0.iter().zip(tables.as_chunks::<16>().0) {
        for (subset, &entry) in table.iter().enumerate() {
            let sum: i32 = (0..4).filter(|j| subset >> j & 1 == 1).map(|j| i32::from(group[j])).sum();
            assert!((-127..=127).contains(&sum), "{group:?}");
            assert_eq!(i32::from(entry), 128 + sum, "{group:?}");
        }
    }
}

/// Hash of everything the floating-point kernels compute on seeded inputs: the same for every instance.
pub fn float_hash(kernels: Kernels) -> u64 {
    let mut random = Random(3);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |values: &[f32]| {
        for value in values {
            hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for len in [1, 15, 16, 17, 64, 100, 576, 1537] {
        let x: Vec<f32> = (0..len).map(|_| random.float() * 30.0).collect();
        let w: Vec<f32> = (0..len).map(|_| random.float()).collect();
        let mut out = vec![0.0; len];
        kernels.rms_norm(&Pool::new(), &x, &w, 1e-5, &mut out);
        add(&out);
        let mut gate = x.clone();
        kernels.silu_mul(&Pool::new(), &mut gate, &w);
        add(&gate);
        let mut activations = Activations::default();
        kernels.quantize(&Pool::new(), &mut activations, &x, len, false, 1.0);
        add(activations.token(0).scales);
        add(activations.token(0).scaled_sums);
    }
    attention::attentions(kernels, &mut random, add);
    hash
}

/// All checks of one instance; returns its [`float_hash`].
///
/// # Panics
/// If one fails.
pub fn check(kernels: Kernels, pool: &Pool) -> u64 {
    check_activations(kernels);
    let words: Vec<u64> = (0..70_001).map(|i| (i * i) << 20).collect();
    assert_eq!(kernels.stream(pool, &words), words.iter().fold(0, |sum: u64, &x| sum.wrapping_add(x)));
    assert!(check_matmul(kernels, pool) > 500);
    float_hash(kernels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::f16_to_f32;
    use crate::portable::Portable;

    #[test]
    fn portable_equals_reference() {
        check(Kernels::new(Portable), &Pool::new());
    }

    #[test]
    fn halves_round_trip() {
        for bits in 0..=u16::MAX {
            if bits & 0x7c00 == 0x7c00 {
                continue; // infinities and NaN
            }
            let value = f16_to_f32(bits);
            assert_eq!(f32_to_f16(value), bits, "{value}");
            // Halfway to the next one rounds to even.
            let next = f16_to_f32(bits + 1);
            if bits & 0x7fff < 0x7bff {
                let even = if bits & 1 == 0 { bits } else { bits + 1 };
                assert_eq!(f32_to_f16(value + (next - value) / 2.0), even, "{value}");
            }
        }
        assert_eq!(f16_to_f32(0x3c00), 1.0);
        assert_eq!(f16_to_f32(0x0001), 2f32.powi(-24));
        assert_eq!(f16_to_f32(0xfbff), -65504.0);
        assert_eq!(f32_to_f16(f32::INFINITY), 0x7bff);
        assert_eq!(f32_to_f16(f32::NAN), 0);
    }
}
