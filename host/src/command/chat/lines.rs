//! The lines of a conversation: typed, with editing and a history, or piped in.

use crate::cache::{self, Cache};
use crate::error::{Error, Result};
use crate::prompt;
use rustyline::DefaultEditor;
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

/// Where lines come from.
pub(super) enum Lines<'c> {
    /// A terminal.
    Typed { editor: Box<DefaultEditor>, history: PathBuf, cache: &'c Cache },
    /// A pipe or a file.
    Piped(io::StdinLock<'static>),
}

/// What came.
pub(super) enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the end of the file.
    End,
}

fn failed(source: io::Error) -> Error {
    Error::stream("use the terminal")(source)
}

impl<'c> Lines<'c> {
    /// The lines of the standard input.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub(super) fn new(cache: &'c Cache) -> Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Lines::Piped(stdin.lock()));
        }
        let mut editor = Box::new(DefaultEditor::new().map_err(|error| failed(io::Error::other(error)))?);
        editor.set_auto_add_history(true);
        let history = cache.chat_history();
        // A missing or unreadable history does not prevent a chat.
        if edgellm_files::open(&history).is_ok() {
            let _ = editor.load_history(&history);
        }
        Ok(Lines::Typed { editor, history, cache })
    }

    /// The next line. In piped ones, bytes that are not UTF-8 are replaced, with a note.
    ///
    /// # Errors
    /// If the input fails.
    pub(super) fn next(&mut self) -> Result<Line> {
        match self {
            Lines::Typed { editor, .. } => match editor.readline("> ") {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(failed(io::Error::other(error))),
            },
            Lines::Piped(stdin) => {
                let mut line = Vec::new();
                match stdin.read_until(b'\n', &mut line).map_err(failed)? {
                    0 => Ok(Line::End),
                    _ => Ok(Line::Text(prompt::decode(&line))),
                }
            }
        }
    }

    /// Saves the history of what was typed.
    pub(super) fn save(self) {
        if let Lines::Typed { mut editor, history, cache } = self
            && cache.check(&history).is_ok()
            && cache::create_folder(cache.root()).is_ok()
            && !matches!(edgellm_files::open(&history), Err(edgellm_files::Error::NotAFile { .. }))
        {
            let _ = editor.save_history(&history);
        }
    }
}
