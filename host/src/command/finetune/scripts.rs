//! The Python scripts that train, which the program carries.

use crate::atomic_file;
use crate::cache::{self, Cache};
use crate::error::Result;
use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 12] = [
    ("evaluate.py", include_str!("../../../../scripts/finetune/evaluate.py")),
    ("kinds.py", include_str!("../../../../scripts/finetune/kinds.py")),
    ("low_bit.py", include_str!("../../../../scripts/finetune/low_bit.py")),
    ("memory.py", include_str!("../../../../scripts/finetune/memory.py")),
    ("merge_lora.py", include_str!("../../../../scripts/quantize/merge_lora.py")),
    ("prepare_dataset.py", include_str!("../../../../scripts/finetune/prepare_dataset.py")),
    ("reading.py", include_str!("../../../../scripts/finetune/reading.py")),
    ("requirements.txt", REQUIREMENTS),
    ("scores.py", include_str!("../../../../scripts/finetune/scores.py")),
    ("tokens.py", include_str!("../../../../scripts/finetune/tokens.py")),
    ("train_low_bit.py", include_str!("../../../../scripts/finetune/train_low_bit.py")),
    ("train_qlora.py", include_str!("../../../../scripts/finetune/train_qlora.py")),
];
/// What the scripts need.
pub(super) const REQUIREMENTS: &str = include_str!("../../../../scripts/finetune/requirements.txt");

/// The directory of the scripts.
pub(super) struct Scripts(PathBuf);

impl Scripts {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Writes the scripts to the cache.
///
/// # Errors
/// If it cannot be written to, or others can change it: what is there is run.
pub(super) fn unpack(cache: &Cache) -> Result<Scripts> {
    let folder = folder(cache).join("scripts");
    cache.check(&folder)?;
    cache::create_folder(&folder)?;
    for (name, text) in FILES {
        let path = folder.join(name);
        if edgellm_files::read_to_string(&path).ok().as_deref() != Some(text) {
            atomic_file::write(&path, text.as_bytes())?;
        }
    }
    Ok(Scripts(folder))
}

/// What fine-tuning keeps in the cache.
pub(super) fn folder(cache: &Cache) -> PathBuf {
    Path::new(cache.root()).join("finetune")
}
