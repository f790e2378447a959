//! What a run was asked for, as far as its results depend on it.

use super::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options by name. Those of two runs are compared before one goes on with the results of the other.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn of(args: &Args) -> Self {
        let path = |path: &Path| path.canonicalize().unwrap_or(path.to_path_buf()).display().to_string();
        let given = |name: &str| path(&PathBuf::from(name));
        let optional = |path: Option<String>| path.unwrap_or("none".to_string());
        let options = [
            ("base-model", given(&args.base_model)),
            ("data", given(&args.data)),
            ("evaluation-data", optional(args.evaluation_data.as_deref().map(given))),
            ("format", args.format.name().to_string()),
            ("head", args.head.name().to_string()),
            ("quantize", optional(args.quantize.map(|kind| kind.name().to_string()))),
            ("low-bit-steps", args.low_bit_steps.to_string()),
            ("epochs", args.epochs.to_string()),
            ("learning-rate", args.learning_rate.to_string()),
            ("rank", args.rank.to_string()),
            ("max-length", args.max_length.to_string()),
            ("seed", args.seed.to_string()),
            ("template", optional(args.template.as_deref().map(path))),
            ("split", args.split.clone()),
            ("skip-bad-rows", args.skip_bad_rows.to_string()),
            ("adapter", optional(args.adapter.as_deref().map(path))),
            ("max-tokens", args.max_tokens.to_string()),
        ];
        Settings(options.map(|(name, value)| (name.to_string(), value)).into())
    }

    /// The first option that differs: its name, its value there, and its value here.
    pub(super) fn difference<'a>(&'a self, other: &'a Settings) -> Option<(&'a str, &'a str, &'a str)> {
        let differs = |(name, value): (&'a String, &'a String)| {
            let there = other.0.get(name).map_or("none", String::as_str);
            (there != value).then_some((name.as_str(), there, value.as_str()))
        };
        self.0.iter().find_map(differs)
    }
}
