use super::super::tests::weights;
use super::{affine, binary, normalize, symmetric, ternary};
use crate::round;
use edgellm_kernels::layout::{f16_to_f32, f32_to_f16};

/// Importances over five orders of magnitude, as those of real models.
fn importance(count: usize, seed: u64) -> Vec<f32> {
    weights(count, seed).iter().map(|x| (x.abs() * 200.0).powi(3) + 1e-5).collect()
}

fn error(x: &[f32], w: &[f32], stored: impl Iterator<Item = f64>) -> f64 {
    x.iter().zip(w).zip(stored).map(|((&x, &w), y)| f64::from(w) * (f64::from(x) - y).powi(2)).sum()
}

fn affine_error(x: &[f32], w: &[f32], codes: &[u8], (scale, min): (u16, u16)) -> f64 {
    let (scale, min) = (f64::from(f16_to_f32(scale)), f64::from(f16_to_f32(min)));
    error(x, w, codes.iter().map(|&code| scale * f64::from(code) + min))
}

fn symmetric_error(x: &[f32], w: &[f32], codes: &[u8], scale: u16, zero: f64) -> f64 {
    let scale = f64::from(f16_to_f32(scale));
    error(x, w, codes.iter().map(|&code| scale * (f64::from(code) - zero)))
}

#[test]
fn affine_moves_the_error_to_columns_that_matter_less() {
    for (max_code, gain) in [(31, 0.8), (15, 0.75), (7, 0.6), (3, 0.4)] {
        let (mut weighted, mut plain) = (0.0, 0.0);
        let means = importance(64 * 400, 9);
        for (x, means) in weights(64 * 400, u64::from(max_code)).chunks(64).zip(means.chunks(64)) {
            let (mut codes, w) = (vec![0; 64], normalize(means, 64));
            let fit = affine(x, &w, max_code, &mut codes);
            weighted += affine_error(x, &w, &codes, fit);
            let fit = round::affine(x, max_code, &mut codes);
            plain += affine_error(x, &w, &codes, fit);
        }
        assert!(weighted < gain * plain, "{max_code}: {}", weighted / plain);
    }
}

#[test]
fn symmetric_moves_the_error_to_columns_that_matter_less() {
    for (zero, max_code, gain) in [(128, 255, 0.95), (32, 63, 0.9)] {
        let (mut weighted, mut plain) = (0.0, 0.0);
        let means = importance(32 * 400, 10);
        for (x, means) in weights(32 * 400, u64::from(zero)).chunks(32).zip(means.chunks(32)) {
            let (mut codes, w) = (vec![0; 32], normalize(means, 32));
            let scale = symmetric(x, &w, zero, max_code, &mut codes);
            weighted += symmetric_error(x, &w, &codes, scale, f64::from(zero));
            let scale = round::symmetric(x, zero, max_code, &mut codes);
            plain += symmetric_error(x, &w, &codes, scale, f64::from(zero));
        }
        assert!(weighted < gain * plain, "{zero}: {}", weighted / plain);
    }
}

/// All choices of `codes` codes for six elements.
fn choices(codes: u32) -> impl Iterator<Item = [f64; 6]> {
    (0..codes.pow(6))
        .map(move |choice| std::array::from_fn(|at| f64::from(choice / codes.pow(at as u32) % codes)))
}

/// The least weighted error that two bits with a scale and a minimum can have.
fn best_affine(x: &[f32], w: &[f32]) -> f64 {
    let fit = |codes: [f64; 6]| {
        let (mut n, mut q, mut qq, mut sx, mut qx) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for ((&x, &w), code) in x.iter().zip(w).zip(codes) {
            let (x, w) = (f64::from(x), f64::from(w));
            (n, q, qq) = (n + w, q + w * code, qq + w * code * code);
            (sx, qx) = (sx + w * x, qx + w * code * x);
        }
        let determinant = n * qq - q * q;
        let scale = if determinant > 1e-12 { (n * qx - q * sx) / determinant } else { 0.0 };
        let min = (sx - scale * q) / n;
        error(x, w, codes.into_iter().map(|code| scale * code + min))
    };
    choices(4).map(fit).fold(f64::INFINITY, f64::min)
}

#[test]
fn affine_is_near_the_best_of_all_choices() {
    let means = importance(6 * 40, 11);
    let (mut all, mut best, mut equal) = (0.0, 0.0, 0);
    for (x, means) in weights(6 * 40, 12).chunks(6).zip(means.chunks(6)) {
        let (mut codes, w) = ([0; 6], normalize(means, 6));
        let fit = affine(x, &w, 3, &mut codes);
        let (found, least) = (affine_error(x, &w, &codes, fit), best_affine(x, &w));
        // What storing both in half precision costs.
        let halves = 1e-8 * w.iter().map(|&w| f64::from(w)).sum::<f64>();
        assert!(found >= least - 1e-12, "{found} < {least}");
        equal += usize::from(found <= least * 1.01 + halves);
        (all, best) = (all + found, best + least);
    }
    assert!(equal >= 20 && all < 2.0 * best, "{equal} of 40 are optimal, {}", all / best);
}

#[test]
fn ternary_and_binary_are_the_best_of_all_choices() {
    let mut sorted = Vec::new();
    let means = importance(6 * 60, 13);
    for (x, means) in weights(6 * 60, 14).chunks(6).zip(means.chunks(6)) {
        let (mut codes, w) = ([0; 6], normalize(means, 6));
        for (levels, step) in [(3, 1.0), (2, 2.0)] {
            let scale = match levels {
                3 => ternary(x, &w, &mut codes, &mut sorted),
                _ => binary(x, &w, &mut codes),
            };
            let found = symmetric_error(x, &w, &codes, scale, 1.0);
            let least = |codes: [f64; 6]| {
                let codes = codes.map(|code| step * code - 1.0);
                let (mut qq, mut qx) = (0.0, 0.0);
                for ((&x, &w), code) in x.iter().zip(&w).zip(codes) {
                    qq += f64::from(w) * code * code;
                    qx += f64::from(w) * code * f64::from(x);
                }
                let scale = if qq > 0.0 { qx / qq } else { 0.0 };
                error(x, &w, codes.into_iter().map(|code| scale * code))
            };
            let least = choices(levels).map(least).fold(f64::INFINITY, f64::min);
            assert!(found <= least * 1.001 + 1e-9, "{levels}: {found} > {least}");
        }
    }
}

#[test]
fn one_column_that_matters_is_exact() {
    // The third is hit whatever becomes of the others, which rounding without weights spreads the error over.
    let x = [-1.0, -0.55, 0.1337, 0.4, 0.9, 1.0, 0.2, -0.7];
    let w = normalize(&[1e-6, 1e-6, 100.0, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6], 8);
    let mut codes = [0; 8];
    let (scale, min) = affine(&x, &w, 3, &mut codes);
    let stored = f16_to_f32(scale) * f32::from(codes[2]) + f16_to_f32(min);
    assert!((stored - x[2]).abs() < 2e-4, "{stored}");
    let (scale, min) = round::affine(&x, 3, &mut codes);
    let plain = f16_to_f32(scale) * f32::from(codes[2]) + f16_to_f32(min);
    assert!((plain - x[2]).abs() > 2e-2, "{plain}");
}

#[test]
fn importance_is_relative_to_the_group() {
    assert_eq!(normalize(&[1.0, 4.0, 0.0, 0.0, 1e30, 5e29, 1e-38], 2), [0.25, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0]);
    assert_eq!(normalize(&[f32::MAX, 0.0], 2), [1.0, 0.0]);
    // The same for all is none, whatever it is.
    let x = weights(32, 3);
    let (mut first, mut second) = ([0; 32], [0; 32]);
    let one = affine(&x, &normalize(&[1.0; 32], 32), 7, &mut first);
    assert_eq!(one, affine(&x, &normalize(&[3e-20; 32], 32), 7, &mut second));
    assert_eq!(first, second);
}

#[test]
fn odd_groups_stay_finite() {
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
    let mut sorted = Vec::new();
    for x in groups {
        for means in
            [vec![0.0; x.len()], importance(x.len(), 1), (0..x.len()).map(|at| (at % 2) as f32).collect()]
        {
            let (mut codes, w) = (vec![0; x.len()], normalize(&means, x.len()));
            for max_code in [3, 7, 15, 31] {
                let (scale, min) = affine(x, &w, max_code, &mut codes);
                assert!(scale & 0x7c00 != 0x7c00 && min & 0x7c00 != 0x7c00);
                assert!(codes.iter().all(|&code| code <= max_code), "{x:?}");
            }
            assert!(symmetric(x, &w, 128, 255, &mut codes) & 0x7c00 != 0x7c00);
            assert!(ternary(x, &w, &mut codes, &mut sorted) & 0x7c00 != 0x7c00);
            assert!(codes.iter().all(|&code| code <= 2), "{x:?}");
            assert!(binary(x, &w, &mut codes) & 0x7c00 != 0x7c00);
        }
    }
    let mut codes = [9; 32];
    assert_eq!(affine(&[0.25; 32], &[1.0; 32], 15, &mut codes), (0, f32_to_f16(0.25)));
    assert_eq!(codes, [0; 32]);
}
