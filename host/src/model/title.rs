//! What a model from a file or directory is called.
//!
//! Publishers name files with care. The name inside (`general.name`) is often that of a training run, such as
//! "Smollm2 135M 8k Lc100K Mix1 Ep2", so it only serves where a file's name says nothing.

use super::input;
use edgellm_quantize::Parts;
use std::path::Path;

/// Beginnings of file names that many models share.
const GENERAL: [&str; 3] = ["model", "ggml-model", "pytorch_model"];
/// The directory of the hub's own client that holds a repository is called so, with its owner and name.
const HUB_FOLDER: &str = "models--";

/// The name of the file, or of the directory, that a model is in; `None` if it says nothing about the model.
pub(super) fn of(input: &Path) -> Option<String> {
    let path = std::fs::canonicalize(input::whole(input)).ok()?;
    if path.is_dir() {
        return repository(&path).or_else(|| Some(path.file_name()?.to_str()?.to_string()));
    }
    // Links count as they are called: the hub's client keeps files under checksums, and links to them.
    let stem = input.file_stem()?.to_str()?;
    let stem = if Parts::of(stem).is_some() { stem.rsplitn(4, '-').last()? } else { stem };
    let says_nothing = GENERAL.iter().any(|general| {
        let rest = stem.strip_prefix(general);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_']))
    });
    (!says_nothing && !stem.is_empty()).then(|| stem.to_string())
}

/// The repository of which a directory is a snapshot in the cache of the hub's client.
fn repository(path: &Path) -> Option<String> {
    let snapshots =
        path.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))?;
    let name = snapshots.parent()?.file_name()?.to_str()?.strip_prefix(HUB_FOLDER)?;
    Some(name.split_once("--").map_or(name, |(_, name)| name).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_and_directories_have_names() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "GGUF").unwrap();
            of(&path)
        };
        assert_eq!(named("SmolLM2-135M-Q4_0.gguf").unwrap(), "SmolLM2-135M-Q4_0");
        assert_eq!(named("big-Q8_0-00001-of-00002.gguf").unwrap(), "big-Q8_0");
        for nothing in ["model.gguf", "model-Q4_0.gguf", "ggml-model-i2_s.gguf", "model-00001-of-00001.gguf"]
        {
            assert_eq!(named(nothing), None, "{nothing}");
        }
        assert_eq!(named("modelling-7b.gguf").unwrap(), "modelling-7b");
        assert_eq!(
            named("Llama-3.2-1B/config.json").unwrap(),
            "Llama-3.2-1B",
            "the file stands for its directory"
        );
        assert_eq!(of(&folder.path().join("Llama-3.2-1B")).unwrap(), "Llama-3.2-1B");
        assert_eq!(named("models--Qwen--Qwen3-0.6B/snapshots/0123/config.json").unwrap(), "Qwen3-0.6B");
    }
}
