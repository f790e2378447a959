//! `edgellm perplexity`, computed as llama.cpp's `llama-perplexity` does.
//!
//! The text is cut into windows of `context` tokens that do not overlap; each begins with the BOS token where
//! the model uses one, in place of the window's first. Of each window the second half is scored, so that
//! every scored token has at least half a window before it.

use crate::args::{ModelArgs, RunArgs};
use crate::cache::Cache;
use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::output;
use crate::progress;
use edgellm::{Session, TokenId};
use serde::Serialize;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Measure how well a model predicts a text; lower is better
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm perplexity --model smollm2-135m-instruct --text wikitext-2-test.raw --chunks 20
  edgellm perplexity --model smollm2-135m-instruct --format int8 --text book.txt --precision high --json

Computed as llama.cpp's llama-perplexity does, so that the numbers compare.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The file with the text
    #[arg(long, value_name = "PATH")]
    text: PathBuf,
    /// Tokens of a window
    #[arg(long, short, value_name = "N", default_value_t = 512)]
    context: usize,
    /// Windows to use, from the start [default: all]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Write the logits of all scored positions to this file: little-endian 32-bit floats, one row of
    /// vocab_size after the other
    #[arg(long, value_name = "PATH")]
    save_logits: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Print one JSON object: perplexity, stderr, chunks, context, tokens (those scored)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    perplexity: f64,
    stderr: f64,
    chunks: usize,
    context: usize,
    tokens: usize,
}

/// Negative log-likelihoods, added up.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    sum: f64,
    squares: f64,
    count: usize,
}

impl Score {
    fn add(&mut self, logits: &[f32], token: TokenId) {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
        let loss = f64::from(max) + sum.ln() - f64::from(logits[token as usize]);
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
    /// Measures and prints.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let text = fs::read(&self.text).map_err(Error::file("read", &self.text))?;
        let text = String::from_utf8_lossy(&text);
        // As llama.cpp reads a file.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let context = self.context;
        if context < 4 {
            return Err(Error::Usage(format!("--context {context} is too small: give at least 4")));
        }
        let model = self.model.open(&self.run, cache)?;
        let tokenizer = model.tokenizer();
        let encode = |text: &str| tokenizer.encode(text, true).map_err(edgellm::Error::from);
        // What the model adds around an empty text is what it adds before every text.
        let bos = encode("")?.first().copied();
        let tokens = encode(text)?;
        let whole = tokens.len() / context;
        let chunks = self.chunks.map_or(whole, |chunks| chunks.min(whole));
        if chunks == 0 {
            return Err(Error::Text(format!(
                "{} has {} tokens, too few for one window of {context}: give a longer text or a smaller --context",
                self.text.display(),
                tokens.len()
            )));
        }
        let mut session = Session::new(&model, self.run.session_options(Some(context)))?;
        let mut saved = self.save_logits.as_deref().map(Draft::new).transpose()?;
        let mut score = Score::default();
        for chunk in 0..chunks {
            let mut window = tokens[chunk * context..(chunk + 1) * context].to_vec();
            let sink = saved.as_mut().map(Draft::file);
            score_window(&mut session, &mut window, bos, &mut score, sink)
                .map_err(|error| self.save_failed(error))?;
            progress::note(&format!("[{}/{chunks}] {:.4}", chunk + 1, score.perplexity()));
        }
        if let Some(saved) = saved {
            saved.commit()?;
        }
        let (perplexity, stderr, tokens) = (score.perplexity(), score.stderr(), score.count);
        let report = Report { perplexity, stderr, chunks, context, tokens };
        if self.json {
            return output::print_json_line(&report);
        }
        output::print(&format!(
            "perplexity {perplexity:.4} +/- {stderr:.4} ({chunks} windows of {context}, {tokens} tokens scored)\n"
        ))
    }

    fn save_failed(&self, error: WindowError) -> Error {
        match error {
            WindowError::Engine(error) => Error::Engine(error),
            WindowError::Save(error) => {
                Error::file("write", self.save_logits.as_deref().unwrap_or(&self.text))(error)
            }
        }
    }
}

enum WindowError {
    Engine(edgellm::Error),
    Save(std::io::Error),
}

impl From<edgellm::Error> for WindowError {
    fn from(error: edgellm::Error) -> Self {
        WindowError::Engine(error)
    }
}

/// Scores the second half of `window`, and writes the logits that the scores are made of to `sink`.
fn score_window(
    session: &mut Session,
    window: &mut [TokenId],
    bos: Option<TokenId>,
    score: &mut Score,
    sink: Option<&mut fs::File>,
) -> std::result::Result<(), WindowError> {
    let original = window[0];
    if let Some(bos) = bos {
        window[0] = bos;
    }
    let first = window.len() / 2;
    session.reset();
    session.prefill(&window[..first])?;
    let mut sink = sink.map(BufWriter::new);
    let mut outcome = Ok(());
    // The last token's logits would predict what the window does not hold.
    session.prefill_each(&window[first..window.len() - 1], |index, logits| {
        score.add(logits, window[first + index + 1]);
        if let Some(sink) = sink.as_mut().filter(|_| outcome.is_ok()) {
            outcome = logits.iter().try_for_each(|logit| sink.write_all(&logit.to_le_bytes()));
        }
    })?;
    window[0] = original;
    if let Some(mut sink) = sink {
        outcome = outcome.and_then(|()| sink.flush());
    }
    outcome.map_err(WindowError::Save)
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
