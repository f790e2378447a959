//! `edgellm tokenize`.

use crate::args::ModelArgs;
use crate::cache::Cache;
use crate::error::Result;
use crate::model;
use crate::output;
use edgellm::tokenizer::Tokenizer;
use edgellm::{Compute, TokenId};
use edgellm_memory::Placement;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Tokenize text
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm tokenize --model smollm2-135m-instruct --text \"Hello, world\"
  edgellm tokenize --model smollm2-135m-instruct --file lines.txt

Special tokens in the text, such as <|im_end|>, are recognized. Those that the model expects around every
text, such as Llama's <|begin_of_text|>, are added.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Text to tokenize
    #[arg(long, value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// File of lines to tokenize one by one, each printed as a JSON array of ids. Only a line feed ends a line;
    /// invalid UTF-8 becomes U+FFFD
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// With --text: print a JSON array of ids instead of a table
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Prints the tokens.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let path = self.model.choose(cache).prepare(cache)?;
        let model = model::open(&path, Compute::default(), Placement::Mapped, cache)?;
        let tokenizer = model.tokenizer();
        match (&self.text, &self.file) {
            (_, Some(file)) => lines(tokenizer, file),
            (Some(text), None) if self.json => {
                let ids = encode(tokenizer, text)?;
                output::print(&format!("{}\n", array(&ids)))
            }
            (text, None) => {
                let ids = encode(tokenizer, text.as_deref().unwrap_or_default())?;
                // As in the middle of a text: at its start a token may lose its space.
                let text = |id| tokenizer.token_bytes(id).unwrap_or_default();
                let row = |&id| format!("{id:>8}  {:?}\n", String::from_utf8_lossy(&text(id)));
                output::print(&ids.iter().map(row).collect::<String>())
            }
        }
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<TokenId>> {
    Ok(tokenizer.encode(text, true).map_err(edgellm::Error::from)?)
}

fn array(ids: &[TokenId]) -> String {
    let ids: Vec<String> = ids.iter().map(TokenId::to_string).collect();
    format!("[{}]", ids.join(","))
}

fn lines(tokenizer: &Tokenizer, path: &Path) -> Result<()> {
    let text = edgellm_files::read(path)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut out = BufWriter::new(io::stdout().lock());
    for line in text.split(|&byte| byte == b'\n') {
        let ids = encode(tokenizer, &String::from_utf8_lossy(line))?;
        writeln!(out, "{}", array(&ids)).map_err(output::failed)?;
    }
    out.flush().map_err(output::failed)
}
