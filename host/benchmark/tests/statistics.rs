//! The statistics compared with scipy's and numpy's, on seeded samples: scripts/benchmark/statistics_fixtures.py computed
//! the numbers, and says how to recompute them.

use edgellm_benchmark::significance::{holm, mann_whitney};
use edgellm_benchmark::statistics::{Figure, bootstrap, percentile};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixtures {
    shares: Vec<f64>,
    described: Vec<Described>,
    tested: Vec<Tested>,
    holm: Holm,
}

#[derive(Deserialize)]
struct Described {
    samples: Vec<f64>,
    mean: f64,
    stddev: f64,
    percentiles: Vec<f64>,
    ci95: [f64; 2],
}

#[derive(Deserialize)]
struct Tested {
    a: Vec<f64>,
    b: Vec<f64>,
    p: f64,
}

#[derive(Deserialize)]
struct Holm {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("statistics.json")).expect("the script wrote it")
}

fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-6), "{what}: {ours}, scipy says {theirs}");
}

#[test]
fn figures_are_numpys() {
    let fixtures = fixtures();
    for described in &fixtures.described {
        let figure = Figure::of(&described.samples).expect("samples");
        assert_eq!(figure.n, described.samples.len());
        assert_close(figure.mean, described.mean, "mean");
        assert_close(figure.stddev, described.stddev, "stddev");
        let ours = [figure.p25, figure.median, figure.p75, figure.p95, figure.p99];
        let mut sorted = described.samples.clone();
        sorted.sort_by(f64::total_cmp);
        for ((ours, theirs), share) in ours.iter().zip(&described.percentiles).zip(&fixtures.shares) {
            assert_close(*ours, *theirs, "percentile");
            assert_close(percentile(&sorted, *share), *theirs, "percentile");
        }
    }
}

#[test]
fn intervals_are_scipys_but_for_the_draws() {
    for described in fixtures().described {
        let width = described.ci95[1] - described.ci95[0];
        // Of 50,000 resamples as scipy's, and of as many as reports use.
        for (resamples, tolerance) in [(50_000, 0.02), (2_000, 0.08)] {
            let ours = bootstrap(&described.samples, resamples);
            for (ours, theirs) in ours.iter().zip(described.ci95) {
                let error = (ours - theirs).abs() / width;
                assert!(
                    error < tolerance,
                    "{resamples} resamples: {ours}, scipy says {theirs}: {error:.3} of the width"
                );
            }
        }
    }
}

#[test]
fn p_values_are_scipys() {
    let fixtures = fixtures();
    for Tested { a, b, p } in &fixtures.tested {
        assert_close(mann_whitney(a, b), *p, "p");
        assert_close(mann_whitney(b, a), *p, "p, the other way round");
    }
    for (ours, theirs) in holm(&fixtures.holm.p).iter().zip(&fixtures.holm.adjusted) {
        assert_close(*ours, *theirs, "Holm's p");
    }
}
