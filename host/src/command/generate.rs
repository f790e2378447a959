//! `edgellm generate`.

#[cfg(feature = "plugin")]
mod plugin;
mod words;

use crate::args::{ContentArgs, ModelOptions, RunArgs, SamplingArgs, Target, TargetArgs};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::model::Choice;
use crate::output::{self, Answer, human_bytes};
use crate::{model, progress, prompt, system};
use edgellm::chat::Message;
use edgellm::sampler::Sampler;
use edgellm::{Model, Session, TokenId};
use serde::Serialize;
use std::io::Read as _;
use std::time::{Duration, Instant};

/// Generate an answer to a prompt
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "edgellm generate [OPTIONS] [[MODEL] PROMPT]",
    after_help = "\
Examples:
  edgellm generate \"Why is the sky blue?\"
  edgellm generate smollm2-135m-instruct \"Why is the sky blue?\"
  edgellm generate --model smollm2-135m-instruct --raw --prompt \"Once upon a time\" --max-tokens 50
  cat letter.txt | edgellm generate --model smollm2-135m-instruct --system \"Summarize.\" --prompt -

The answer is written to stdout as it is generated, and a line with the speed to stderr."
)]
pub(crate) struct Args {
    /// The prompt, in quotes; before it, a model in place of --model
    #[arg(value_name = "PROMPT")]
    words: Vec<String>,
    #[command(flatten)]
    model: ModelOptions,
    /// The prompt: a question, or with --raw a text to continue; `-` reads it from stdin
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// System prompt: instructions that precede the question
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Use the model's chat template [default where it has one]
    #[arg(long, conflicts_with = "raw")]
    chat: bool,
    /// Continue the prompt as it is, without a chat template
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    content: ContentArgs,
    /// Generate at most N tokens
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// Stop string, at which generation ends; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Context: the most tokens of prompt and answer together [default: the model's longest]
    #[arg(long, short, value_name = "N")]
    context: Option<usize>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// On a terminal, write control sequences in the answer too: they can clear the screen or do worse. Files and pipes
    /// always get the answer as it is
    #[arg(long, conflicts_with = "json")]
    raw_output: bool,
    /// Print one JSON object instead: text, token_ids, prompt_token_ids, finish_reason, timings,
    /// peak_rss_bytes, kernel, threads
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    text: String,
    token_ids: Vec<TokenId>,
    prompt_token_ids: Vec<TokenId>,
    finish_reason: &'static str,
    timings: Timings,
    peak_rss_bytes: Option<u64>,
    target: &'static str,
    kernel: String,
    threads: usize,
}

#[derive(Debug, Serialize)]
struct Timings {
    /// Time to first token, from the start of prefill.
    ttft_ms: f64,
    prefill_tokens_per_second: f64,
    /// Without the first token; null if it is the only one.
    decode_tokens_per_second: Option<f64>,
}

impl Args {
    /// Generates and prints the answer.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let (model, prompt) = words::meant(&self.words, self.model.model.as_deref(), self.prompt.as_deref())?;
        let text = read_prompt(prompt)?;
        let choice = Choice::of(model, self.model.format, cache);
        let report = match self.target.target {
            Target::Native => self.native(&text, &choice, cache)?,
            #[cfg(feature = "plugin")]
            Target::Plugin => plugin::generate(&self, &text, &choice, cache)?,
            #[cfg(not(feature = "plugin"))]
            Target::Plugin => return Err(Error::Usage(crate::args::NO_PLUGIN.to_string())),
        };
        if self.json {
            return output::print_json_line(&report);
        }
        if !report.text.ends_with('\n') {
            output::print("\n")?;
        }
        progress::note(&report.summary());
        Ok(())
    }

    /// Runs the model in this process.
    fn native(&self, text: &str, choice: &Choice, cache: &Cache) -> Result<Report> {
        let mut sampler = Sampler::new(self.sampling.options())?;
        let model = model::load(choice, &self.run, cache)?;
        model::remember(&choice.model, cache);
        let prompt = self.prompt_tokens(&model, &choice.model, text)?;
        let mut session = Session::new(&model, self.run.session_options(self.context))?;
        if let Some(room) = session.capacity().checked_sub(prompt.len()) {
            // All memory up front, so that decoding allocates none.
            session.reserve(prompt.len() + self.max_tokens.min(room))?;
        }

        let start = Instant::now();
        let mut generation =
            session.generate(&prompt, &mut sampler)?.max_tokens(self.max_tokens).stop(self.stop.iter())?;
        let prefill = start.elapsed();
        let (mut answer, mut first, mut output) = (String::new(), None, Answer::new(self.raw_output));
        for token in &mut generation {
            let token = token?;
            first.get_or_insert_with(|| start.elapsed());
            self.show(&mut output, &token.text)?;
            answer.push_str(&token.text);
        }
        let all = start.elapsed();
        let token_ids = generation.token_ids().to_vec();
        let finish_reason = generation.finish_reason().map_or("stop", |reason| reason.as_str());
        Ok(Report {
            timings: timings(prompt.len(), token_ids.len(), prefill, first.unwrap_or(prefill), all),
            text: answer,
            token_ids,
            prompt_token_ids: prompt,
            finish_reason,
            peak_rss_bytes: system::peak_rss_bytes(),
            target: "native",
            kernel: model.compute().kernels().name().to_string(),
            threads: model.compute().threads(),
        })
    }

    /// Prints text as it is generated, unless a report is wanted.
    fn show(&self, output: &mut Answer, text: &str) -> Result<()> {
        if self.json || text.is_empty() { Ok(()) } else { output.print(text) }
    }

    /// The prompt as a conversation.
    fn messages(&self, text: &str) -> Vec<Message> {
        let system = self.system.as_ref().map(|system| Message::new("system", system));
        system.into_iter().chain([Message::new("user", text)]).collect()
    }

    /// The tokens of the prompt for `model`, which the user calls `name`.
    fn prompt_tokens(&self, model: &Model, name: &str, text: &str) -> Result<Vec<TokenId>> {
        let template = if self.raw { None } else { prompt::template(model)? };
        match template {
            Some(template) => {
                let parse_special = self.content.parse_special_in_content;
                prompt::chat(model, &template, &self.messages(text), parse_special)
            }
            None if self.chat || self.system.is_some() => Err(no_template(name)),
            None => prompt::plain(model, text),
        }
    }
}

fn no_template(name: &str) -> Error {
    Error::Usage(format!(
        "{name} has no chat template: omit --chat and --system, or choose an instruct model"
    ))
}

fn read_prompt(prompt: &str) -> Result<String> {
    if prompt != "-" {
        return Ok(prompt.to_string());
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(Error::stream("read the prompt from the standard input"))?;
    let text = prompt::decode(&bytes);
    // The trailing newline comes from the pipe and is not part of the prompt.
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_string())
}

fn timings(prompt: usize, tokens: usize, prefill: Duration, first: Duration, all: Duration) -> Timings {
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
    Timings {
        ttft_ms: first.as_secs_f64() * 1e3,
        prefill_tokens_per_second: rate(prompt, prefill),
        decode_tokens_per_second: (tokens > 1).then(|| rate(tokens - 1, all.saturating_sub(first))),
    }
}

impl Report {
    fn summary(&self) -> String {
        let Timings { ttft_ms, prefill_tokens_per_second, decode_tokens_per_second } = &self.timings;
        let (prompt, tokens) = (self.prompt_token_ids.len(), self.token_ids.len());
        let decode =
            decode_tokens_per_second.map_or(String::new(), |rate| format!(" at {rate:.1} tokens per second"));
        let memory =
            self.peak_rss_bytes.map_or(String::new(), |bytes| format!(", {} of memory", human_bytes(bytes)));
        format!(
            "[{prompt} prompt tokens at {prefill_tokens_per_second:.1} tokens per second, TTFT {ttft_ms:.0} ms; \
             {tokens} tokens{decode} (ended by {}); {}, {} threads{memory}]",
            self.finish_reason, self.kernel, self.threads
        )
    }
}
