//! Tests of quantized activations and of products.

use super::matrix::random_matrix;
use crate::activations::Activations;
use crate::kernels::{Kernels, Lookups, Product};
use crate::layout::{Encoding, Layout, Matrix, Scales, Zero};
use crate::pool::Pool;
use crate::random::Random;
use crate::reference;

/// 16 codes up to the largest.
const TABLE: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 0, 141, 153, 166, 181, 197, 217, 255];

/// What products of any encoding read.
const ALL: Lookups = Lookups { tables: true, lanes: true };

/// All encodings that files use, and numbers of bit-planes that only tests use.
pub fn encodings() -> Vec<(Encoding, Zero)> {
    vec![
        (Encoding::Planes(1), Zero::Affine),
        (Encoding::Planes(2), Zero::Affine),
        (Encoding::Planes(2), Zero::Symmetric(1)),
        (Encoding::Planes(3), Zero::Affine),
        (Encoding::Planes(4), Zero::Symmetric(8)),
        (Encoding::Ternary, Zero::Symmetric(1)),
        (Encoding::Binary, Zero::Symmetric(1)),
        (Encoding::Nibbles, Zero::Symmetric(8)),
        (Encoding::Nibbles, Zero::Affine),
        (Encoding::Split(2), Zero::Affine),
        (Encoding::Split(3), Zero::Symmetric(4)),
        (Encoding::Split(5), Zero::Symmetric(16)),
        (Encoding::Split(5), Zero::Affine),
        (Encoding::Split(6), Zero::Symmetric(32)),
        (Encoding::Split(6), Zero::Affine),
        (Encoding::Table(TABLE), Zero::Symmetric(128)),
        (Encoding::Table(TABLE), Zero::Affine),
        (Encoding::Bytes, Zero::Symmetric(128)),
        (Encoding::Bytes, Zero::Affine),
    ]
}

/// The layouts of a size and encoding: every group size and kind of scales that it can have.
fn layouts([rows, cols]: [usize; 2], encoding: Encoding, zero: Zero) -> impl Iterator<Item = Layout> {
    [16, 32, 64, 1 << 20]
        .into_iter()
        .filter_map(move |group_size| Layout::new(rows, cols, encoding, zero, group_size).ok())
        .flat_map(|layout| [Scales::Halves, Scales::SixBits].map(|scales| layout.with_scales(scales)))
        .flatten()
}

/// Inputs that reach the bounds of the integers: all of one sign, alternating, one large value in a group, random.
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

/// Compares products of all encodings and kinds of scales, at sizes around every block boundary and for several numbers of tokens, with the
/// reference. Returns the number of comparisons.
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
            for layout in layouts([rows, cols], encoding, zero) {
                let data = random_matrix(&layout, &mut random);
                let Ok(matrix) = Matrix::new(layout, &data) else { continue };
                // More tokens than a tile has, but only for small matrices: emulators are slow. After whole runs of lanes there are
                // 13 tokens, which are a run of their own, or 5, which are not.
                let many = if rows * cols < 7000 { [77, 37][compared / 3 % 2] } else { 5 };
                for tokens in [1, 2, many] {
                    let kind = (compared / 3) % 8;
                    let x = input(kind, tokens * cols, &mut random);
                    let mut activations = Activations::default();
                    let refine_above = [f32::INFINITY, 1.0, 0.0][compared % 3];
                    kernels.quantize(&Pool::new(), &mut activations, &x, cols, ALL, refine_above);
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

/// Checks that quantized activations keep their bounds and approximate the input, and that lookup tables are right.
///
/// # Panics
/// If one is wrong.
pub fn check_activations(kernels: Kernels) {
    let mut random = Random(11);
    for round in 0..300 {
        let cols = 1 + (random.bits() % 200) as usize;
        let x = input(round % 8, 2 * cols, &mut random);
        let mut activations = Activations::default();
        let refine_above = [f32::INFINITY, 1.0, 0.0][round % 3];
        kernels.quantize(&Pool::new(), &mut activations, &x, cols, ALL, refine_above);
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
                    let sum: i32 =
                        digit.values[32 * block..][..16].iter().map(|&value| i32::from(value)).sum();
                    assert_eq!(sum, digit.half_sums[block]);
                }
                // Refined: one unit, where the fine digit is clamped. Else half a unit.
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
                _ => assert!(refined < blocks || blocks == 1, "not all blocks can exceed the mean"),
            }
        }
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut activations = Activations::default();
        kernels.quantize(&Pool::new(), &mut activations, &[1.0, bad, 0.0], 3, ALL, 1.0);
        assert!(activations.token(0).scales[0].is_nan(), "{bad} must stay visible");
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
