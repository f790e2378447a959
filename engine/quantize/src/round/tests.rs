use super::{Ternary, affine, nearest, symmetric};
use edgellm_kernels::layout::{f16_to_f32, f32_to_f16};

/// Numbers that look like weights: sums of uniform ones, with an outlier now and then.
pub(super) fn weights(count: usize, mut seed: u64) -> Vec<f32> {
    let mut uniform = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|i| (uniform() + uniform() + uniform() + uniform()) * if i % 97 == 0 { 0.3 } else { 0.05 })
        .collect()
}

fn squared_error(x: &[f32], stored: impl Iterator<Item = f32>) -> f64 {
    x.iter().zip(stored).map(|(&x, y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

fn affine_error(x: &[f32], codes: &[u8], scale: u16, min: u16) -> f64 {
    let (scale, min) = (f16_to_f32(scale), f16_to_f32(min));
    squared_error(x, codes.iter().map(|&code| scale * f32::from(code) + min))
}

#[test]
fn nearest_rounds_and_clamps() {
    let cases = [(0.4, 0.0), (0.5, 0.0), (0.6, 1.0), (1.5, 2.0), (14.9, 15.0), (99.0, 15.0), (-3.0, 0.0)];
    for (value, expected) in cases {
        assert_eq!(nearest(value, 15.0), expected, "{value}");
    }
    assert_eq!(nearest(f32::NAN, 15.0), 0.0);
}

#[test]
fn affine_search_beats_minimum_and_maximum() {
    for (max_code, gain) in [(15, 0.9), (7, 0.85), (3, 0.75)] {
        let (mut searched, mut plain) = (0.0, 0.0);
        for group in weights(64 * 400, u64::from(max_code)).chunks(64) {
            let mut codes = vec![0; group.len()];
            let (scale, min) = affine(group, max_code, &mut codes);
            let error = affine_error(group, &codes, scale, min);
            let low = group.iter().copied().fold(f32::INFINITY, f32::min);
            let high = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let (scale, min) = (f32_to_f16((high - low) / f32::from(max_code)), f32_to_f16(low));
            for (code, &x) in codes.iter_mut().zip(group) {
                *code = nearest((x - f16_to_f32(min)) / f16_to_f32(scale), f32::from(max_code)) as u8;
            }
            let plain_error = affine_error(group, &codes, scale, min);
            assert!(error <= plain_error * 1.000_01, "{error} > {plain_error}");
            searched += error;
            plain += plain_error;
        }
        assert!(searched < gain * plain, "{max_code}: {}", searched / plain);
    }
}

#[test]
fn symmetric_search_beats_the_largest_magnitude() {
    for (zero, max_code, gain) in [(128, 255, 0.97), (8, 15, 0.9)] {
        let (mut searched, mut plain) = (0.0, 0.0);
        for group in weights(32 * 400, u64::from(zero)).chunks(32) {
            let mut codes = vec![0; group.len()];
            let error_of = |codes: &[u8], scale: u16| {
                let scale = f16_to_f32(scale);
                squared_error(group, codes.iter().map(|&c| scale * (f32::from(c) - f32::from(zero))))
            };
            let scale = symmetric(group, zero, max_code, &mut codes);
            let error = error_of(&codes, scale);
            let largest = group.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let scale = f32_to_f16(largest / f32::from(max_code - zero));
            for (code, &x) in codes.iter_mut().zip(group) {
                *code = nearest(x / f16_to_f32(scale) + f32::from(zero), f32::from(max_code)) as u8;
            }
            searched += error;
            plain += error_of(&codes, scale);
        }
        assert!(searched < gain * plain, "{zero}: {}", searched / plain);
    }
}

#[test]
fn ternary_is_optimal_on_small_groups() {
    let mut ternary = Ternary::default();
    for (seed, group) in weights(7 * 60, 5).chunks(7).enumerate() {
        let mut codes = [0; 7];
        let scale = f16_to_f32(ternary.round(group, &mut codes));
        let error = squared_error(group, codes.iter().map(|&code| scale * (f32::from(code) - 1.0)));
        // Every choice of codes, each with its best scale.
        let best = (0..3_u32.pow(7))
            .map(|choice| {
                let code = |i: usize| f64::from(choice / 3_u32.pow(i as u32) % 3) - 1.0;
                let (mut product, mut square) = (0.0, 0.0);
                for (i, &x) in group.iter().enumerate() {
                    product += code(i) * f64::from(x);
                    square += code(i) * code(i);
                }
                let all: f64 = group.iter().map(|&x| f64::from(x).powi(2)).sum();
                all - if square > 0.0 { product * product / square } else { 0.0 }
            })
            .fold(f64::INFINITY, f64::min);
        assert!(error <= best * 1.001 + 1e-12, "group {seed}: {error} > {best}");
    }
}

#[test]
fn constant_tiny_huge_and_ragged_groups_stay_finite() {
    let groups: [&[f32]; 8] = [
        &[0.0; 32],
        &[0.25; 32],
        &[-1e-9, 1e-9, 0.0],
        &[1e30, -1e30, 5.0],
        &[f32::MAX, f32::MIN],
        &[3.0],
        &[1e-4, 2e-4, -3e-4, 5e-8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        &[],
    ];
    let mut ternary = Ternary::default();
    for x in groups {
        for max_code in [3, 7, 15] {
            let mut codes = vec![0; x.len()];
            let (scale, min) = affine(x, max_code, &mut codes);
            assert!(scale & 0x7c00 != 0x7c00 && min & 0x7c00 != 0x7c00);
            assert!(codes.iter().all(|&code| code <= max_code), "{x:?}");
        }
        let mut codes = vec![0; x.len()];
        assert!(symmetric(x, 128, 255, &mut codes) & 0x7c00 != 0x7c00);
        assert!(ternary.round(x, &mut codes) & 0x7c00 != 0x7c00);
        assert!(codes.iter().all(|&code| code <= 2), "{x:?}");
    }
    let mut codes = [9; 32];
    assert_eq!(affine(&[0.25; 32], 15, &mut codes), (0, f32_to_f16(0.25)));
    assert_eq!(codes, [0; 32]);
}
