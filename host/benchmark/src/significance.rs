//! Significance of the difference between two samples.

/// Two-sided p-value of the Mann-Whitney U test: the probability of ranks at least this unequal if both samples come from
/// the same distribution. Uses the normal approximation with corrections for ties and continuity, which is good from about 8
/// samples on each side; 1 if either side is empty or all samples are equal.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|&value| (value, true)).chain(b.iter().map(|&value| (value, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut rank_sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|x, y| x.0 == y.0) {
        let size = group.len() as f64;
        // Equal values share the mean of their ranks.
        let rank = before + (size + 1.0) / 2.0;
        rank_sum += rank * group.iter().filter(|(_, of_a)| *of_a).count() as f64;
        ties += size * size * size - size;
        before += size;
    }
    let (m, n) = (a.len() as f64, b.len() as f64);
    let total = m + n;
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance.is_nan() || variance <= 0.0 {
        return 1.0;
    }
    let z = ((u - m * n / 2.0).abs() - 0.5) / variance.sqrt();
    libm::erfc(z / std::f64::consts::SQRT_2).min(1.0)
}

/// Holm's correction: adjusts the p-values of several tests so that the probability of even one false alarm among them is
/// that of a single test.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((p_values[index] * (p_values.len() - rank) as f64).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_do_not_differ() {
        assert_eq!(mann_whitney(&[1.0; 9], &[1.0; 9]), 1.0);
        assert_eq!(mann_whitney(&[], &[1.0]), 1.0);
        let same: Vec<f64> = (0..20).map(f64::from).collect();
        assert!(mann_whitney(&same, &same) > 0.9);
    }
}
