//! Statistics of a sample: mean with a bootstrap interval, percentiles, extremes.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng as _;
use serde::{Deserialize, Serialize};

/// Resamples of the bootstrap: between seeds, the ends of the interval move by a few percent of its width.
const RESAMPLES: usize = 2_000;
/// The same samples give the same interval, whoever computes it.
const SEED: u128 = 0x0edc_e11b;

/// A measured figure. Its unit is in the name of the field that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Number of samples.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// 95 % interval of the mean: percentile bootstrap.
    pub ci95: [f64; 2],
    /// Sample standard deviation; 0 for a single sample.
    pub stddev: f64,
    /// Smallest sample.
    pub min: f64,
    /// 25th percentile. Percentiles interpolate linearly between neighbours.
    pub p25: f64,
    /// The same as `p50`.
    pub median: f64,
    /// 50th percentile.
    pub p50: f64,
    /// 75th percentile.
    pub p75: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest sample.
    pub max: f64,
}

impl Figure {
    /// The figure for these samples; `None` if there are none. NaN is ignored.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| !sample.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let n = sorted.len();
        let mean = mean(&sorted);
        let squares: f64 = sorted.iter().map(|sample| (sample - mean) * (sample - mean)).sum();
        let stddev = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
        let at = |share| percentile(&sorted, share);
        Some(Figure {
            n,
            mean,
            ci95: bootstrap(&sorted, RESAMPLES),
            stddev,
            min,
            p25: at(0.25),
            median: at(0.5),
            p50: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
            max,
        })
    }
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// The value below which `share` of the sorted samples lie, linearly interpolated, as numpy does by default.
///
/// # Panics
/// If there are no samples.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let position = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// 95 % interval of the mean: the 2.5th and 97.5th percentile of the means of `resamples` samples drawn with
/// replacement, by a generator with a fixed seed.
pub fn bootstrap(samples: &[f64], resamples: usize) -> [f64; 2] {
    if samples.iter().all(|sample| *sample == samples[0]) {
        return [samples[0]; 2];
    }
    let mut random = Pcg64Mcg::new(SEED);
    let count = samples.len() as u64;
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let sum: f64 = samples
                .iter()
                .map(|_| {
                    // The high half of a 64 x 32 bit product: a draw below `count`, biased by less than 2^-30.
                    let draw = (u64::from(random.next_u32()) * count) >> 32;
                    samples[draw as usize]
                })
                .sum();
            sum / samples.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    [percentile(&means, 0.025), percentile(&means, 0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_is_everything() {
        let figure = Figure::of(&[3.0]).expect("a sample");
        assert_eq!((figure.n, figure.mean, figure.ci95, figure.p99), (1, 3.0, [3.0; 2], 3.0));
        assert_eq!(figure.stddev, 0.0);
    }

    #[test]
    fn no_samples_are_no_figure() {
        assert_eq!(Figure::of(&[]), None);
        assert_eq!(Figure::of(&[f64::NAN]), None);
    }

    #[test]
    fn the_same_samples_give_the_same_interval() {
        let samples: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(bootstrap(&samples, 500), bootstrap(&samples, 500));
    }
}
