//! `edgellm chat`: a conversation in the terminal.

mod lines;

use crate::args::{ContentArgs, ModelArgs, RunArgs, SamplingArgs};
use crate::atomic_file;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::interrupt::Listening;
use crate::model;
use crate::output::{self, Answer};
use crate::progress::note;
use crate::prompt;
use edgellm::chat::{ChatTemplate, Message};
use edgellm::sampler::Sampler;
use edgellm::{Model, Session, TokenId};
use lines::{Line, Lines};
use serde_json::json;
use std::path::Path;

/// Chat with a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm chat
  edgellm chat smollm2-135m-instruct
  edgellm chat --model qwen2.5-coder-0.5b-instruct --system \"You answer with code only.\" --temperature 0

In the chat, /help lists the commands. Ctrl-C stops an answer; Ctrl-D or /exit ends the chat. Questions may also be
piped in, one a line.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Generate at most N tokens per answer [default: until the context is full]
    #[arg(long, short = 'n', value_name = "N")]
    max_tokens: Option<usize>,
    /// Context: the most tokens of a conversation; the oldest turns are dropped [default: the model's longest]
    #[arg(long, short, value_name = "N")]
    context: Option<usize>,
    /// On a terminal, write control sequences in answers too: they can clear the screen or do worse. Files and pipes
    /// always get answers as they are
    #[arg(long)]
    raw_output: bool,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

const HELP: &str = "\
/reset         forget the conversation
/system TEXT   start over with this system prompt; without TEXT, show the current one
/save FILE     save the conversation: as JSON if FILE ends in .json, else as text
/help          show this list
/exit          end the chat (Ctrl-D does too)
Ctrl-C stops an answer.";

impl Args {
    /// Runs the conversation until the user ends it.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let sampler = Sampler::new(self.sampling.options())?;
        let choice = self.model.choose(cache);
        let model = model::load(&choice, &self.run, cache)?;
        model::remember(&choice.model, cache);
        let Some(template) = prompt::template(&model)? else {
            return Err(Error::Usage(format!(
                "{} has no chat template: use `edgellm generate --raw`, or choose an instruct model",
                choice.model
            )));
        };
        let session = Session::new(&model, self.run.session_options(self.context))?;
        let max_tokens = self.max_tokens.unwrap_or(usize::MAX);
        let mut chat = Chat {
            model,
            template,
            session,
            sampler,
            max_tokens,
            raw_output: self.raw_output,
            parse_special: self.content.parse_special_in_content,
            system: self.system,
            turns: Vec::new(),
            cached: Vec::new(),
        };
        let mut lines = Lines::new(cache)?;
        note("/help lists the commands, Ctrl-D ends the chat");
        loop {
            match lines.next()? {
                Line::Text(line) => {
                    if !chat.line(line.trim())? {
                        break;
                    }
                }
                Line::Interrupted => note("(Ctrl-D or /exit ends the chat)"),
                Line::End => break,
            }
        }
        lines.save();
        Ok(())
    }
}

struct Chat {
    model: Model,
    template: ChatTemplate,
    session: Session,
    sampler: Sampler,
    max_tokens: usize,
    raw_output: bool,
    parse_special: bool,
    system: Option<String>,
    /// Messages of user and assistant, alternating.
    turns: Vec<Message>,
    /// Tokens in the session's KV cache.
    cached: Vec<TokenId>,
}

impl Chat {
    /// Executes a line; `false` ends the chat. Errors of a line are printed and the chat continues.
    fn line(&mut self, line: &str) -> Result<bool> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let outcome = match (word, rest.trim()) {
            ("", _) => Ok(()),
            ("/exit" | "/quit", _) => return Ok(false),
            ("/help", _) => output::print(&format!("{HELP}\n")),
            ("/reset", _) => {
                self.turns.clear();
                self.sampler.reset();
                Ok(())
            }
            ("/system", "") => {
                let system = self.system.as_deref().unwrap_or("(none, except what the chat template adds)");
                output::print(&format!("{system}\n"))
            }
            ("/system", text) => {
                self.system = Some(text.to_string());
                self.turns.clear();
                self.sampler.reset();
                Ok(())
            }
            ("/save", "") => Err(Error::Usage("give the name of a file: /save FILE".to_string())),
            ("/save", file) => self.save(Path::new(file)),
            (word, _) if word.starts_with('/') => {
                Err(Error::Usage(format!("there is no command {word}; /help lists those there are")))
            }
            _ => self.answer(line),
        };
        match outcome {
            Err(error @ Error::Stream { .. }) => Err(error),
            Err(error) => {
                note(&format!("error: {}", error.one_line()));
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }

    fn messages(&self) -> Vec<Message> {
        let system = self.system.as_ref().map(|system| Message::new("system", system));
        system.into_iter().chain(self.turns.iter().cloned()).collect()
    }

    /// Answers `question`; if that fails, the conversation is unchanged.
    fn answer(&mut self, question: &str) -> Result<()> {
        let before = self.turns.clone();
        self.turns.push(Message::new("user", question));
        match self.fitting_prompt().and_then(|prompt| self.generate(&prompt)) {
            Ok(answer) => {
                self.turns.push(Message::new("assistant", answer));
                Ok(())
            }
            Err(error) => {
                self.turns = before;
                Err(error)
            }
        }
    }

    /// The prompt, without the oldest turns if it would leave less than a quarter of the context for the answer.
    fn fitting_prompt(&mut self) -> Result<Vec<TokenId>> {
        let capacity = self.session.capacity();
        loop {
            let prompt = prompt::chat(&self.model, &self.template, &self.messages(), self.parse_special)?;
            if prompt.len() <= capacity / 4 * 3 || self.turns.len() < 3 {
                return Ok(prompt);
            }
            self.turns.drain(..2);
            note("(the context is full: the oldest turn is dropped)");
        }
    }

    /// Prints the answer to `prompt` and returns it. Only tokens that are not in the KV cache are processed.
    fn generate(&mut self, prompt: &[TokenId]) -> Result<String> {
        let common = prompt.iter().zip(&self.cached).take_while(|(new, old)| new == old).count();
        // At least one token must be processed to get logits.
        let common = common.min(prompt.len().saturating_sub(1));
        self.session.truncate(common);
        self.cached.truncate(common);
        let listening = Listening::start();
        let new = &prompt[common..];
        let mut generation = self.session.generate(new, &mut self.sampler)?.max_tokens(self.max_tokens);
        let mut answer = String::new();
        let mut shown = Answer::new(self.raw_output);
        let mut outcome = Ok(());
        for token in &mut generation {
            match token {
                Ok(token) => {
                    outcome = shown.print(&token.text);
                    answer.push_str(&token.text);
                }
                Err(error) => outcome = Err(error.into()),
            }
            if outcome.is_err() || listening.raised() {
                break;
            }
        }
        self.cached.extend_from_slice(new);
        self.cached.extend_from_slice(generation.token_ids());
        // The last token was sampled but not processed.
        self.cached.truncate(self.session.position());
        outcome?;
        output::print(if listening.raised() { " (stopped)\n" } else { "\n" })?;
        Ok(answer)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let messages = self.messages();
        let text = if path.extension().is_some_and(|extension| extension == "json") {
            let json = |message: &Message| json!({"role": message.role(), "content": message.content()});
            let messages: Vec<_> = messages.iter().map(json).collect();
            serde_json::to_string_pretty(&messages).unwrap_or_default() + "\n"
        } else {
            let text = |message: &Message| format!("{}:\n{}\n\n", message.role(), message.content());
            messages.iter().map(text).collect()
        };
        atomic_file::write(path, text.as_bytes())?;
        note(&format!("saved {} messages to {}", messages.len(), path.display()));
        Ok(())
    }
}
