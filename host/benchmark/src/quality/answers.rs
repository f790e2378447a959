//! A user's own questions: the answers generated, compared with the expected ones.

use super::bleu::Bleu;
use super::choice::Share;
use serde::Serialize;

/// Answers, compared one by one.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    n: usize,
    exact: usize,
    bleu: Bleu,
}

/// What the comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AnswerScores {
    /// Questions.
    pub n: usize,
    /// Share of answers that are the expected ones, but for white space around them.
    pub exact_match: Share,
    /// Corpus BLEU, 0 to 100, as sacrebleu's default.
    pub bleu: f64,
}

impl Answers {
    /// Adds an answer.
    pub fn add(&mut self, answer: &str, expected: &str) {
        self.n += 1;
        self.exact += usize::from(answer.trim() == expected.trim());
        self.bleu.add(answer.trim(), expected.trim());
    }

    /// The scores; `None` before the first answer.
    pub fn scores(&self) -> Option<AnswerScores> {
        let n = self.n;
        let value = self.exact as f64 / n as f64;
        let stderr = (value * (1.0 - value) / (n as f64 - 1.0).max(1.0)).sqrt();
        (n > 0).then(|| AnswerScores { n, exact_match: Share { value, stderr }, bleu: self.bleu.score() })
    }
}
