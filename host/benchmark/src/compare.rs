//! What changed significantly between two reports.

use crate::report::{Report, Row};
use crate::significance::{holm, mann_whitney};
use crate::statistics::percentile;
use serde::Serialize;
use std::fmt::Write as _;

/// Probability of a false alarm among all tests of a comparison.
const ALPHA: f64 = 0.01;
/// Fewest samples on each side for a test.
const FEWEST: usize = 5;

/// A figure of a row, in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Target.
    pub target: String,
    /// Format of the weights.
    pub variant: String,
    /// Threads.
    pub threads: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Name of the figure.
    pub figure: &'static str,
    /// Median in the first report.
    pub before: f64,
    /// Median in the second.
    pub after: f64,
    /// `after / before`.
    pub ratio: f64,
    /// p-value of the Mann-Whitney test, with Holm's correction over all changes; absent with too few samples.
    pub p: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
}

/// The verdict on a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Worse by more than the threshold, and significantly.
    Regression,
    /// Better by more than the threshold, and significantly.
    Improvement,
    /// Below the threshold, or not significant.
    Same,
    /// Too few samples.
    Unknown,
}

/// A row whose answer has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherAnswer {
    /// The row, for display.
    pub row: String,
    /// Hash in the first report.
    pub before: String,
    /// Hash in the second.
    pub after: String,
}

/// The comparison of two reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Figures that both reports have.
    pub changes: Vec<Change>,
    /// Rows with the same model file but different answers.
    pub other_answers: Vec<OtherAnswer>,
    /// Rows that only one of them has, and rows with a problem.
    pub unmatched: Vec<String>,
    /// Caveats: different machines, different model files.
    pub warnings: Vec<String>,
}

/// A row's samples of one figure, and whether more is better.
type Samples = (&'static str, bool, fn(&Row) -> &Vec<f64>);

const FIGURES: [Samples; 4] = [
    ("ttft_ms", false, |row| &row.samples.ttft_ms),
    ("prefill_tokens_per_second", true, |row| &row.samples.prefill_tokens_per_second),
    ("decode_tokens_per_second", true, |row| &row.samples.decode_tokens_per_second),
    ("cold_start_ms", false, |row| &row.samples.cold_start_ms),
];

/// Compares the rows of `after` with those of `before`. `threshold` is the smallest change that matters, 0.05 for 5 %.
pub fn compare(before: &Report, after: &Report, threshold: f64) -> Comparison {
    let mut comparison = Comparison { warnings: warnings(before, after), ..Comparison::default() };
    let mut p_values = Vec::new();
    for row in &after.rows {
        let Some(old) = before.rows.iter().find(|old| key(old) == key(row)) else {
            comparison.unmatched.push(format!("{}: only in the second report", name(row)));
            continue;
        };
        for (row, which) in [(old, "first"), (row, "second")] {
            if let Some(problem) = &row.problem {
                comparison.unmatched.push(format!("{}, in the {which} report: {problem}", name(row)));
            }
        }
        if let (Some(before_hash), Some(after_hash)) = (&old.answer_hash, &row.answer_hash)
            && before_hash != after_hash
            && before.model.sha256 == after.model.sha256
            && before.settings.generate == after.settings.generate
        {
            comparison.other_answers.push(OtherAnswer {
                row: name(row),
                before: before_hash.clone(),
                after: after_hash.clone(),
            });
        }
        for (figure, more_is_better, samples) in FIGURES {
            let (a, b) = (samples(old), samples(row));
            if let Some(change) = change(row, figure, a, b) {
                p_values.push((more_is_better, mann_whitney(a, b)));
                comparison.changes.push(change);
            }
        }
    }
    for old in before.rows.iter().filter(|old| !after.rows.iter().any(|row| key(old) == key(row))) {
        comparison.unmatched.push(format!("{}: only in the first report", name(old)));
    }
    let adjusted = holm(&p_values.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    for ((change, (more_is_better, _)), p) in comparison.changes.iter_mut().zip(&p_values).zip(adjusted) {
        if change.verdict == Verdict::Unknown {
            continue;
        }
        change.p = Some(p);
        let better = (change.ratio > 1.0) == *more_is_better;
        // A rate that fell to 1 / 1.1 and a time that grew 1.1 times count as the same change.
        change.verdict = match change.ratio.max(1.0 / change.ratio) - 1.0 > threshold && p < ALPHA {
            false => Verdict::Same,
            true if better => Verdict::Improvement,
            true => Verdict::Regression,
        };
    }
    comparison
}

fn change(row: &Row, figure: &'static str, a: &[f64], b: &[f64]) -> Option<Change> {
    let (before, after) = (median(a)?, median(b)?);
    let enough = a.len() >= FEWEST && b.len() >= FEWEST;
    Some(Change {
        target: row.target.clone(),
        variant: row.variant.clone(),
        threads: row.threads,
        prompt_tokens: row.prompt_tokens,
        figure,
        before,
        after,
        ratio: after / before,
        p: None,
        verdict: if enough { Verdict::Same } else { Verdict::Unknown },
    })
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| percentile(&sorted, 0.5))
}

fn key(row: &Row) -> (&str, &str, usize, usize) {
    (&row.target, &row.variant, row.threads, row.prompt_tokens)
}

fn name(row: &Row) -> String {
    format!("{} {}, {} thread(s), {} tokens", row.target, row.variant, row.threads, row.prompt_tokens)
}

fn warnings(before: &Report, after: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: &str, b: &str| {
        if a != b {
            warnings.push(format!("different {what}: {a}, then {b}"));
        }
    };
    let cpu = |report: &Report| report.machine.cpu.clone().unwrap_or_default();
    differ("processors", &cpu(before), &cpu(after));
    differ("model files", &before.model.sha256, &after.model.sha256);
    differ(
        "numbers of generated tokens",
        &before.settings.generate.to_string(),
        &after.settings.generate.to_string(),
    );
    warnings
}

impl Comparison {
    /// Whether anything got worse: significantly slower, or a different answer from the same file.
    pub fn is_worse(&self) -> bool {
        !self.other_answers.is_empty()
            || self.changes.iter().any(|change| change.verdict == Verdict::Regression)
    }

    /// As text: every figure, or only those that changed.
    pub fn text(&self, all: bool) -> String {
        let mut text = String::new();
        for warning in &self.warnings {
            let _ = writeln!(text, "note: {warning}");
        }
        for line in &self.unmatched {
            let _ = writeln!(text, "not compared: {line}");
        }
        for OtherAnswer { row, before, after } in &self.other_answers {
            let _ = writeln!(text, "OTHER ANSWER  {row}: {before}, now {after}");
        }
        for change in &self.changes {
            let verdict = match change.verdict {
                Verdict::Regression => "WORSE",
                Verdict::Improvement => "better",
                Verdict::Same if all => "same",
                Verdict::Unknown if all => "too few samples",
                Verdict::Same | Verdict::Unknown => continue,
            };
            let Change { target, variant, threads, prompt_tokens, figure, before, after, ratio, p, .. } =
                change;
            let p = p.map_or_else(String::new, |p| format!(", p = {p:.1e}"));
            let _ = writeln!(
                text,
                "{verdict:15} {target} {variant}, {threads} thread(s), {prompt_tokens} tokens: {figure} {before:.2} to \
                 {after:.2} (ratio {ratio:.3}{p})"
            );
        }
        let count = |verdict| self.changes.iter().filter(|change| change.verdict == verdict).count();
        let _ = writeln!(
            text,
            "{} figures compared: {} worse, {} better, {} with too few samples; {} other answers",
            self.changes.len(),
            count(Verdict::Regression),
            count(Verdict::Improvement),
            count(Verdict::Unknown),
            self.other_answers.len()
        );
        text
    }
}
