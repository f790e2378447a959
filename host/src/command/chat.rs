//! `edgellm chat`: a conversation in the terminal.

use crate::args::{ModelArgs, RunArgs, SamplingArgs};
use crate::atomic_file;
use crate::cache::{self, Cache};
use crate::error::{Error, Result};
use crate::interrupt::Listening;
use crate::model;
use crate::output;
use crate::progress::note;
use crate::prompt;
use edgellm::chat::{ChatTemplate, Message};
use edgellm::sampler::Sampler;
use edgellm::{Model, Session, TokenId};
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use std::path::Path;

/// Talk with a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm chat --model smollm2-135m-instruct
  edgellm chat --model qwen2.5-coder-0.5b-instruct --system \"You answer with code only.\" --temperature 0

In the chat, /help lists the commands. Ctrl-C stops the answer; Ctrl-D or /exit ends the chat.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What the model should know or be
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// End an answer after so many tokens [default: when the context is full]
    #[arg(long, short = 'n', value_name = "N")]
    max_tokens: Option<usize>,
    /// Longest conversation, in tokens; older turns are left out [default: what the model was trained for]
    #[arg(long, short, value_name = "N")]
    context: Option<usize>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

const HELP: &str = "\
/reset         forget the conversation
/system TEXT   begin anew with this system prompt; without TEXT, show the present one
/save FILE     save the conversation: as JSON if FILE ends in .json, else as text
/help          this list
/exit          end the chat (Ctrl-D does too)
Ctrl-C stops an answer.";

impl Args {
    /// Talks until the user ends it.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let sampler = Sampler::new(self.sampling.options())?;
        let model = model::load(&self.model, &self.run, cache)?;
        let Some(template) = prompt::template(&model)? else {
            return Err(Error::Usage(format!(
                "{} has no chat template: use `edgellm generate --raw`, or choose an instruct model",
                self.model.model
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
            system: self.system,
            turns: Vec::new(),
            cached: Vec::new(),
        };
        let terminal = |source| Error::Stream { action: "use the terminal", source };
        let readline_failed = |error: ReadlineError| terminal(std::io::Error::other(error));
        let mut editor = rustyline::DefaultEditor::new().map_err(readline_failed)?;
        editor.set_auto_add_history(true);
        let history = cache.chat_history();
        // No history yet, or none that can be read, is no reason not to talk.
        let _ = editor.load_history(&history);
        note("/help lists the commands, Ctrl-D ends the chat");
        loop {
            match editor.readline("> ") {
                Ok(line) => {
                    if !chat.line(line.trim())? {
                        break;
                    }
                }
                Err(ReadlineError::Interrupted) => note("(Ctrl-D or /exit ends the chat)"),
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(readline_failed(error)),
            }
        }
        if cache::create_folder(cache.root()).is_ok() {
            let _ = editor.save_history(&history);
        }
        Ok(())
    }
}

struct Chat {
    model: Model,
    template: ChatTemplate,
    session: Session,
    sampler: Sampler,
    max_tokens: usize,
    system: Option<String>,
    /// Messages of user and assistant, in turn.
    turns: Vec<Message>,
    /// Tokens in the session's key-value cache.
    cached: Vec<TokenId>,
}

impl Chat {
    /// Does what a line says; `false` ends the chat. What is wrong with the line is told and the chat goes on.
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
                let system =
                    self.system.as_deref().unwrap_or("(none but what the chat template adds by itself)");
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

    /// Answers `question`; if that fails, the conversation is as before.
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

    /// The prompt, with the oldest turns left out where it would leave less than a quarter of the context for
    /// the answer.
    fn fitting_prompt(&mut self) -> Result<Vec<TokenId>> {
        let capacity = self.session.capacity();
        loop {
            let prompt = prompt::chat(&self.model, &self.template, &self.messages())?;
            if prompt.len() <= capacity / 4 * 3 || self.turns.len() < 3 {
                return Ok(prompt);
            }
            self.turns.drain(..2);
            note("(the context is full: the oldest turn is left out from here on)");
        }
    }

    /// Prints the answer to `prompt` and returns it. Only the tokens that the session has not seen are processed.
    fn generate(&mut self, prompt: &[TokenId]) -> Result<String> {
        let common = prompt.iter().zip(&self.cached).take_while(|(new, old)| new == old).count();
        // At least one token has to be processed for there to be logits.
        let common = common.min(prompt.len().saturating_sub(1));
        self.session.truncate(common);
        self.cached.truncate(common);
        let listening = Listening::start();
        let new = &prompt[common..];
        let mut generation = self.session.generate(new, &mut self.sampler)?.max_tokens(self.max_tokens);
        let mut answer = String::new();
        let mut outcome = Ok(());
        for token in &mut generation {
            match token {
                Ok(token) => {
                    outcome = output::print(&token.text);
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
        // The last token was chosen but not processed.
        self.cached.truncate(self.session.position());
        outcome?;
        output::print(if listening.raised() { " (stopped)\n" } else { "\n" })?;
        Ok(answer)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let messages = self.messages();
        let text = if path.extension().is_some_and(|extension| extension == "json") {
            serde_json::to_string_pretty(&messages).unwrap_or_default() + "\n"
        } else {
            messages.iter().map(|message| format!("{}:\n{}\n\n", message.role, message.content)).collect()
        };
        atomic_file::write(path, text.as_bytes())?;
        note(&format!("saved {} messages to {}", messages.len(), path.display()));
        Ok(())
    }
}
