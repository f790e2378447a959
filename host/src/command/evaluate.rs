//! `edgellm evaluate`.

use super::perplexity::{Report as Perplexity, Text};
use crate::args::{ModelArgs, RunArgs};
use crate::cache::Cache;
use crate::compute::compute;
use crate::error::{Error, Result};
use crate::questions::{self, Question};
use crate::{checksum, interrupt, model, output, progress};
use edgellm::{Model, Session};
use edgellm_benchmark::native;
use edgellm_benchmark::quality::answers::AnswerScores;
use edgellm_benchmark::quality::choice::{Accuracy, Item, Scores};
use edgellm_benchmark::quality::divergence::{Divergence, Divergences};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Measure the quality of a model: perplexity, multiple choice, your own questions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm evaluate --model smollm2-135m-instruct --text wikitext-2-test.raw --chunks 20
  edgellm evaluate --model smollm2-135m-instruct --task hellaswag.jsonl --task piqa.jsonl --limit 200
  edgellm evaluate --model smollm2-135m-instruct --questions mine.jsonl --json

A line of a task is {\"context\": \"...\", \"choices\": [\" a\", \" b\"], \"label\": 0}, including the space between context
and choice; a single choice is a text to continue, as in LAMBADA. scripts/evaluation/fetch.py downloads HellaSwag,
ARC-Easy, PIQA and LAMBADA. A line of questions is {\"question\": \"...\", \"answer\": \"...\"},
{\"prompt\": \"...\", \"completion\": \"...\"} or {\"messages\": [...]}, whose last message is the answer.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Text for perplexity, computed as by llama.cpp's llama-perplexity
    #[arg(long, value_name = "PATH")]
    text: Option<PathBuf>,
    /// Tokens per window of the text
    #[arg(long, short, value_name = "N", default_value_t = 512)]
    context: usize,
    /// Use the first N windows [default: all]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Logits of a reference model for the same text, from `edgellm perplexity --save-logits` or
    /// scripts/reference/reference.py: adds KL divergence and top-1 agreement
    #[arg(long, value_name = "PATH", requires = "text")]
    reference_logits: Option<PathBuf>,
    /// File of multiple-choice items, scored as by lm-evaluation-harness; may be repeated
    #[arg(long, value_name = "PATH")]
    task: Vec<PathBuf>,
    /// File of questions and answers, for exact match and BLEU (as sacrebleu) of the model's answers
    #[arg(long, value_name = "PATH")]
    questions: Option<PathBuf>,
    /// Tokens of an answer to a question, at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_tokens: usize,
    /// Use the first N lines of each file [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    run: RunArgs,
    /// Print a JSON object: model, perplexity, divergence, tasks, questions
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    version: &'static str,
    model: ModelFile,
    precision: String,
    perplexity: Option<Perplexity>,
    divergence: Option<Divergences>,
    tasks: BTreeMap<String, Accuracy>,
    questions: Option<AnswerScores>,
}

#[derive(Debug, Serialize)]
struct ModelFile {
    name: String,
    format: String,
    bytes: u64,
    sha256: String,
}

impl Args {
    /// Evaluates and prints.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        if self.text.is_none() && self.task.is_empty() && self.questions.is_none() {
            return Err(Error::Usage("nothing to evaluate: give --text, --task or --questions".to_string()));
        }
        let text = self.text.as_deref().map(|path| Text { path, context: self.context, chunks: self.chunks });
        text.map_or(Ok(()), |text| text.check())?;
        // Read all files first, so that an invalid one fails early.
        let tasks: Vec<(String, Vec<Item>)> =
            self.task.iter().map(|path| Ok((stem(path), self.items(path)?))).collect::<Result<_>>()?;
        let questions: Option<Vec<Question>> =
            self.questions.as_deref().map(|path| questions::read(path, self.limit)).transpose()?;
        let path = self.model.choose(cache).prepare(cache)?;
        let model = model::open(&path, compute(&self.run)?, self.run.weights, cache)?;
        let file = edgellm_files::open(&path)?;
        let (bytes, sha256) = checksum::sha256(&file).map_err(Error::file("read", &path))?;
        let mut report = Report {
            schema: "edgellm-evaluation/1",
            version: env!("CARGO_PKG_VERSION"),
            model: ModelFile {
                name: model.metadata().name.clone(),
                format: native::variant(model.metadata()),
                bytes,
                sha256,
            },
            precision: format!("{:?}", self.run.precision).to_lowercase(),
            perplexity: None,
            divergence: None,
            tasks: BTreeMap::new(),
            questions: None,
        };
        if let Some(text) = text {
            let (perplexity, divergence) = self.perplexity(&model, text)?;
            (report.perplexity, report.divergence) = (Some(perplexity), divergence);
        }
        for (name, items) in tasks {
            if let Some(accuracy) = self.task(&model, &name, &items)? {
                report.tasks.insert(name, accuracy);
            }
        }
        if let Some(questions) = questions {
            report.questions =
                questions::ask(&model, &questions, self.max_tokens, self.run.session_options(None))?;
        }
        if self.json { output::print_json(&report) } else { output::print(&report.text()) }
    }

    fn perplexity(&self, model: &Model, text: Text<'_>) -> Result<(Perplexity, Option<Divergences>)> {
        let options = self.run.session_options(Some(self.context));
        let Some(path) = &self.reference_logits else {
            return Ok((text.perplexity(model, options, &mut |_| Ok(()))?, None));
        };
        let mut file = BufReader::with_capacity(1 << 20, edgellm_files::open(path)?);
        let mut bytes = vec![0; model.config().vocab_size * size_of::<f32>()];
        let mut divergence = Divergence::default();
        let perplexity = text.perplexity(model, options, &mut |logits| {
            file.read_exact(&mut bytes)
                .map_err(Error::file("read logits of as many positions from", path))?;
            let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            divergence.add(&values.collect::<Vec<f32>>(), logits);
            Ok(())
        })?;
        Ok((perplexity, divergence.means()))
    }

    fn task(&self, model: &Model, name: &str, items: &[Item]) -> Result<Option<Accuracy>> {
        // Items are short; a longer context would only take memory.
        let context = model.config().max_position_embeddings.min(2048);
        let mut session = Session::new(model, self.run.session_options(Some(context)))?;
        let bar = progress::share(items.len() as u64, name);
        let listening = interrupt::Listening::start();
        let mut scores = Scores::default();
        for (index, item) in items.iter().enumerate() {
            if listening.raised() {
                bar.note(&format!("{name}: interrupted after {index} of {} items", items.len()));
                break;
            }
            scores.add(&mut session, item)?;
            bar.set(index as u64 + 1);
        }
        Ok(scores.accuracy())
    }

    fn items(&self, path: &Path) -> Result<Vec<Item>> {
        let items: Vec<Item> = self.lines(path)?;
        match items.iter().position(|item| item.label >= item.choices.len()) {
            Some(index) => Err(Error::Text(format!(
                "{}, line {}: there is no choice with this label",
                path.display(),
                index + 1
            ))),
            None => Ok(items),
        }
    }

    /// The lines of a file, each a JSON object.
    fn lines<T: DeserializeOwned>(&self, path: &Path) -> Result<Vec<T>> {
        let text = edgellm_files::read_to_string(path)?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .take(self.limit.unwrap_or(usize::MAX))
            .map(|(index, line)| {
                edgellm::json::read(line.as_bytes())
                    .map_err(|error| Error::Text(format!("{}, line {}: {error}", path.display(), index + 1)))
            })
            .collect()
    }
}

/// The name of a task: its file name without the ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!("{} {}, precision {}\n", self.model.name, self.model.format, self.precision);
        if let Some(Perplexity { perplexity, stderr, .. }) = self.perplexity {
            let _ = writeln!(text, "perplexity {perplexity:.4} +/- {stderr:.4}");
        }
        if let Some(Divergences { kl, top1, positions }) = self.divergence {
            let _ = writeln!(
                text,
                "KL divergence {kl:.6}, top-1 agreement {:.2} %, over {positions} positions",
                100.0 * top1
            );
        }
        for (name, Accuracy { n, acc, acc_norm, perplexity }) in &self.tasks {
            let _ = write!(text, "{name}: acc {:.4} +/- {:.4}", acc.value, acc.stderr);
            if let Some(share) = acc_norm {
                let _ = write!(text, ", acc_norm {:.4} +/- {:.4}", share.value, share.stderr);
            }
            if let Some(perplexity) = perplexity {
                let _ = write!(text, ", perplexity {perplexity:.4}");
            }
            let _ = writeln!(text, " ({n} items)");
        }
        if let Some(AnswerScores { n, exact_match, bleu }) = self.questions {
            let exact = exact_match.value;
            let _ = writeln!(
                text,
                "questions: exact match {exact:.4} +/- {:.4}, BLEU {bleu:.2} ({n})",
                exact_match.stderr
            );
        }
        text
    }
}
