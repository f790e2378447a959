//! Names of models on the Hugging Face hub: `hf:OWNER/REPO[:FILE-OR-QUANT][@REVISION]`.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// What such a name begins with.
pub(crate) const PREFIX: &str = "hf:";
/// Stands for the weights as published, in the place of a quantization.
const SAFETENSORS: &str = "safetensors";
/// Ending of a GGUF file.
pub(crate) const GGUF: &str = ".gguf";
/// The revision, if none is given.
const MAIN: &str = "main";
/// Characters of a name, at most: it becomes the name of a directory.
const LONGEST: usize = 160;

/// A repository of the hub, a revision of it, and which of its files are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Owner and name.
    pub(crate) repository: String,
    /// The files.
    pub(crate) choice: Choice,
    /// Branch, tag or commit.
    pub(crate) revision: String,
}

/// Which of a repository's files are meant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Choice {
    /// The GGUF file that suits most, or the weights as published if there is none.
    Any,
    /// The GGUF file with this quantization in its name, in upper case.
    Quant(String),
    /// The GGUF file of this path.
    File(String),
    /// The weights as published, with configuration and tokenizer.
    Safetensors,
}

/// Why a text names no model of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it does not begin with hf:")]
    Prefix,
    #[error(
        "there must be one / between owner and repository, and letters, digits, '.', '_' and '-' around it"
    )]
    Repository,
    #[error("the file must be a path of letters, digits, '.', '_', '+' and '-' that ends in .gguf")]
    File,
    #[error("the quantization must consist of letters, digits, '_' and '-', as Q4_K_M does")]
    Quant,
    #[error("the revision must be a branch, a tag or a commit, of letters, digits, '.', '_', '-' and '/'")]
    Revision,
    #[error("it has more than {LONGEST} characters")]
    Length,
}

/// Whether a path consists of plain names. It then stays within any directory, and means the same in a URL.
pub(crate) fn is_plain_path(path: &str) -> bool {
    path.split('/').all(|name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
    })
}

impl Reference {
    /// Whether the revision is a commit, which never changes.
    pub(crate) fn is_commit(revision: &str) -> bool {
        revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl FromStr for Reference {
    type Err = Malformed;

    fn from_str(name: &str) -> Result<Self, Malformed> {
        let rest = name.strip_prefix(PREFIX).ok_or(Malformed::Prefix)?;
        if name.len() > LONGEST {
            return Err(Malformed::Length);
        }
        let (rest, revision) = rest.split_once('@').unwrap_or((rest, MAIN));
        let (repository, choice) = match rest.split_once(':') {
            Some((repository, choice)) => (repository, choice.to_string().try_into()?),
            None => (rest, Choice::Any),
        };
        let plain = |text: &str| is_plain_path(text) && !text.contains('+');
        if repository.split('/').count() != 2 || !plain(repository) {
            return Err(Malformed::Repository);
        }
        if !plain(revision) {
            return Err(Malformed::Revision);
        }
        Ok(Reference { repository: repository.to_string(), choice, revision: revision.to_string() })
    }
}

impl TryFrom<String> for Choice {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        if text.eq_ignore_ascii_case(SAFETENSORS) {
            return Ok(Choice::Safetensors);
        }
        if text.to_ascii_lowercase().ends_with(GGUF) {
            return if is_plain_path(&text) { Ok(Choice::File(text)) } else { Err(Malformed::File) };
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            return Err(if text.contains(['/', '.']) { Malformed::File } else { Malformed::Quant });
        }
        Ok(Choice::Quant(text.to_ascii_uppercase()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.repository)?;
        match &self.choice {
            Choice::Any => {}
            Choice::Quant(name) | Choice::File(name) => write!(f, ":{name}")?,
            Choice::Safetensors => write!(f, ":{SAFETENSORS}")?,
        }
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let read = |name: &str| name.parse::<Reference>().unwrap();
        let plain = read("hf:Qwen/Qwen3-0.6B");
        assert_eq!((plain.repository.as_str(), plain.revision.as_str()), ("Qwen/Qwen3-0.6B", "main"));
        assert_eq!(plain.choice, Choice::Any);
        assert_eq!(read("hf:a/b:q4_k_m").choice, Choice::Quant("Q4_K_M".into()));
        assert_eq!(
            read("hf:a/b:UD/x-00001-of-00002.gguf").choice,
            Choice::File("UD/x-00001-of-00002.gguf".into())
        );
        assert_eq!(read("hf:a/b:safetensors@v1.0").choice, Choice::Safetensors);
        assert_eq!(read("hf:a/b@refs/pr/1").revision, "refs/pr/1");
        for name in
            ["hf:a/b", "hf:a/b:IQ4_NL", "hf:a/b:UD-Q4_K_XL", "hf:a/b:c/d.gguf@v1", "hf:a/b:safetensors"]
        {
            assert_eq!(read(name).to_string(), name);
        }
        assert_eq!(read("hf:a/b:bf16@main").to_string(), "hf:a/b:BF16", "one model has one name");
    }

    #[test]
    fn other_names_are_refused() {
        let refused = [
            ("a/b", Malformed::Prefix),
            ("hf:a", Malformed::Repository),
            ("hf:a/b/c", Malformed::Repository),
            ("hf:../b", Malformed::Repository),
            ("hf:a/..", Malformed::Repository),
            ("hf:/b", Malformed::Repository),
            ("hf:a/b c", Malformed::Repository),
            ("hf:a/b?x", Malformed::Repository),
            ("hf:a\\b/c", Malformed::Repository),
            ("hf:a/b:", Malformed::Quant),
            ("hf:a/b:Q4 0", Malformed::Quant),
            ("hf:a/b:../x.gguf", Malformed::File),
            ("hf:a/b:/x.gguf", Malformed::File),
            ("hf:a/b:x%2f.gguf", Malformed::File),
            ("hf:a/b:x.bin", Malformed::File),
            ("hf:a/b@", Malformed::Revision),
            ("hf:a/b@../x", Malformed::Revision),
            ("hf:a/b@a@b", Malformed::Revision),
        ];
        for (name, problem) in refused {
            assert_eq!(name.parse::<Reference>(), Err(problem), "{name}");
        }
        assert_eq!(format!("hf:a/{}", "b".repeat(200)).parse::<Reference>(), Err(Malformed::Length));
    }
}
