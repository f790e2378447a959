//! `edgellm perplexity`, computed as llama.cpp's `llama-perplexity` does.
//!
//! The text is cut into windows of `context` tokens that do not overlap. Where the model uses a BOS token, it replaces
//! the first token of each window. The second half of each window is scored, so that every scored token has at least
//! half a window of context.

use crate::args::{ModelArgs, RunArgs};
use crate::atomic_file::AtomicFile;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::model;
use crate::output;
use crate::progress;
use edgellm::{Model, Session, SessionOptions, TokenId};
use edgellm_benchmark::quality::divergence::log_total;
use serde::Serialize;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Measure how well a model predicts a text; lower is better
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm perplexity --model smollm2-135m-instruct --text wikitext-2-test.raw --chunks 20
  edgellm perplexity --model smollm2-135m-instruct --format int8 --text book.txt --precision high --json

Computed as by llama.cpp's llama-perplexity, so that the numbers are comparable.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text file
    #[arg(long, value_name = "PATH")]
    text: PathBuf,
    /// Tokens per window
    #[arg(long, short, value_name = "N", default_value_t = 512)]
    context: usize,
    /// Number of windows, from the start [default: all]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Write the logits of all scored positions to this file: little-endian 32-bit floats, one row of
    /// vocab_size per position
    #[arg(long, value_name = "PATH")]
    save_logits: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Print one JSON object: perplexity, stderr, chunks, context, tokens (scored ones)
    #[arg(long)]
    json: bool,
}

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Report {
    /// Exponential of the mean loss.
    pub(crate) perplexity: f64,
    /// Its standard error.
    pub(crate) stderr: f64,
    chunks: usize,
    context: usize,
    tokens: usize,
}

/// Sum of negative log-likelihoods.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    sum: f64,
    squares: f64,
    count: usize,
}

impl Score {
    fn add(&mut self, logits: &[f32], token: TokenId) {
        let loss = log_total(logits) - f64::from(logits[token as usize]);
        self.sum += loss;
        self.squares += loss * loss;
        self.count += 1;
    }

    fn perplexity(&self) -> f64 {
        (self.sum / self.count as f64).exp()
    }

    /// Standard error of the perplexity.
    fn stderr(&self) -> f64 {
        let count = self.count as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        self.perplexity() * (variance / (count - 1.0).max(1.0)).sqrt()
    }
}

impl Args {
    /// Measures and prints the perplexity.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let text = Text { path: &self.text, context: self.context, chunks: self.chunks };
        text.check()?;
        let model = model::load(&self.model.choose(cache), &self.run, cache)?;
        let options = self.run.session_options(Some(self.context));
        let report = match &self.save_logits {
            None => text.perplexity(&model, options, &mut |_| Ok(()))?,
            Some(path) => {
                let mut saved = AtomicFile::create(path)?;
                let mut writer = BufWriter::with_capacity(1 << 20, saved.file());
                let report = text.perplexity(&model, options, &mut |logits| {
                    let mut values = logits.iter();
                    values
                        .try_for_each(|logit| writer.write_all(&logit.to_le_bytes()))
                        .map_err(Error::file("write", path))
                })?;
                writer.flush().map_err(Error::file("write", path))?;
                drop(writer);
                saved.commit()?;
                report
            }
        };
        if self.json {
            return output::print_json_line(&report);
        }
        let Report { perplexity, stderr, chunks, context, tokens } = report;
        output::print(&format!(
            "perplexity {perplexity:.4} +/- {stderr:.4} ({chunks} windows of {context}, {tokens} tokens scored)\n"
        ))
    }
}

/// A text, and how to cut it into windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// Path of the file.
    pub(crate) path: &'a Path,
    /// Tokens per window.
    pub(crate) context: usize,
    /// Number of windows; all if absent.
    pub(crate) chunks: Option<usize>,
}

impl Text<'_> {
    /// Checks that such windows can be scored.
    ///
    /// # Errors
    /// If they are too short.
    pub(crate) fn check(&self) -> Result<()> {
        match self.context {
            0..4 => {
                Err(Error::Usage(format!("--context {} is too small: it must be at least 4", self.context)))
            }
            _ => Ok(()),
        }
    }

    /// The model's perplexity. `each` receives the logits of every scored position in turn, (vocab_size).
    ///
    /// # Errors
    /// If the text cannot be read or is too short, or `each` fails.
    pub(crate) fn perplexity(
        &self,
        model: &Model,
        options: SessionOptions,
        each: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<Report> {
        let context = self.context;
        let text = edgellm_files::read(self.path)?;
        let text = String::from_utf8_lossy(&text);
        // llama.cpp drops the last newline, too.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let tokenizer = model.tokenizer();
        let encode = |text: &str| tokenizer.encode(text, true).map_err(edgellm::Error::from);
        // The special tokens of an empty text are those before every text.
        let bos = encode("")?.first().copied();
        let tokens = encode(text)?;
        let whole = tokens.len() / context;
        let chunks = self.chunks.map_or(whole, |chunks| chunks.min(whole));
        if chunks == 0 {
            return Err(Error::Text(format!(
                "{} has {} tokens, too few for one window of {context}: use a longer text or a smaller --context",
                self.path.display(),
                tokens.len()
            )));
        }
        let mut session = Session::new(model, options)?;
        let mut score = Score::default();
        for chunk in 0..chunks {
            let mut window = tokens[chunk * context..(chunk + 1) * context].to_vec();
            if let Some(bos) = bos {
                window[0] = bos;
            }
            score_window(&mut session, &window, &mut score, each)?;
            progress::note(&format!("[{}/{chunks}] {:.4}", chunk + 1, score.perplexity()));
        }
        let (perplexity, stderr, tokens) = (score.perplexity(), score.stderr(), score.count);
        Ok(Report { perplexity, stderr, chunks, context, tokens })
    }
}

/// Scores the second half of `window`, and passes the scored positions' logits to `each`.
fn score_window(
    session: &mut Session,
    window: &[TokenId],
    score: &mut Score,
    each: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    let first = window.len() / 2;
    session.reset();
    session.prefill(&window[..first])?;
    let mut outcome = Ok(());
    // The last token's logits would predict a token outside the window.
    session.prefill_each(&window[first..window.len() - 1], |index, logits| {
        score.add(logits, window[first + index + 1]);
        if outcome.is_ok() {
            outcome = each(logits);
        }
    })?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_give_the_vocabulary_size() {
        let mut score = Score::default();
        score.add(&[2.0; 8], 3);
        score.add(&[-1.0; 8], 0);
        assert!((score.perplexity() - 8.0).abs() < 1e-9);
        assert!(score.stderr() < 1e-6);
    }
}
