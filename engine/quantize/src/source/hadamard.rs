//! Matrices that were rotated before they were quantized, as GGUF files of Bonsai 2 say it: metadata `prism.hadamard.*`, version
//! 1 (PrismML-Eng/llama.cpp, pull request 121). Ignoring any of it gives fluent nonsense, so what is not known is refused.

use crate::QuantizeError;
use crate::gguf::{Gguf, GgufError, Value};
use crate::source::refuse;
use edgellm::config::{Rotation, Signs};
use std::collections::HashSet;

const PREFIX: &str = "prism.";
/// Keys, without `prism.hadamard.`.
const KEYS: [&str; 10] = [
    "version",
    "block_size",
    "transform",
    "axis",
    "sign_mode",
    "sign_widths",
    "sign_values",
    "weight_names",
    "inverse_weight_names",
    "gdn_v_grouped",
];

/// What a file says of its rotated matrices.
#[derive(Debug, Default)]
pub(crate) struct Hadamard {
    /// How inputs are rotated; `None` if nothing is.
    pub(crate) rotation: Option<Rotation>,
    /// GGUF's names of the matrices.
    pub(crate) weights: HashSet<String>,
    /// Whether the columns of linear attention's output projection are in the order of the original model, in which the value
    /// heads that share a key head stand together, although its inputs in the file are not.
    pub(crate) grouped_values: bool,
}

fn key(name: &str) -> String {
    format!("{PREFIX}hadamard.{name}")
}

impl Hadamard {
    /// Reads the metadata of a file.
    ///
    /// # Errors
    /// If a key or a value is not known, or the numbers do not fit together.
    pub(crate) fn read(gguf: &Gguf<'_>) -> Result<Hadamard, QuantizeError> {
        let known = |name: &str| KEYS.iter().any(|known| key(known) == name);
        if let Some(unknown) = gguf.keys().filter(|name| name.starts_with(PREFIX) && !known(name)).min() {
            return refuse("the metadata key", unknown, "prism.hadamard.* of version 1");
        }
        if gguf.get(&key("version")).is_none() {
            // Without a version there must be none of it.
            let first = gguf.keys().filter(|name| name.starts_with(PREFIX)).min();
            return first.map_or(Ok(Hadamard::default()), |name| {
                refuse("the metadata key without prism.hadamard.version", name, "version 1")
            });
        }
        let version = gguf.u64(&key("version"))?;
        if version != 1 {
            return refuse("prism.hadamard.version", version, "1");
        }
        for (name, expected) in
            [("transform", "normalized-sylvester-walsh-hadamard"), ("axis", "input-last-dimension")]
        {
            let found = gguf.string(&key(name))?;
            if found != expected {
                return refuse("the rotation's transform or axis", found, expected);
            }
        }
        let block_size = number(gguf, "block_size")?;
        let signs = match gguf.string(&key("sign_mode"))? {
            "identity" => Vec::new(),
            "explicit" => signs(gguf)?,
            other => return refuse("prism.hadamard.sign_mode", other, "identity and explicit"),
        };
        let mut weights = names(gguf, "weight_names")?;
        let inverse = names(gguf, "inverse_weight_names")?;
        const EMBEDDING: &str = "token_embd.weight";
        if let Some(other) = inverse.iter().filter(|name| *name != EMBEDDING).min() {
            return refuse("prism.hadamard.inverse_weight_names", other, EMBEDDING);
        }
        if weights.contains(EMBEDDING) && !inverse.contains(EMBEDDING) {
            return refuse(
                "prism.hadamard.weight_names",
                EMBEDDING,
                "the embedding in both lists, or in the inverse one",
            );
        }
        weights.extend(inverse);
        if let Some(missing) = weights.iter().filter(|name| gguf.tensor(name).is_none()).min() {
            return Err(QuantizeError::MissingTensor { name: missing.clone() });
        }
        let grouped_values = gguf.get(&key("gdn_v_grouped")).and_then(Value::as_bool).unwrap_or(false);
        Ok(Hadamard { rotation: Some(Rotation { block_size, signs }), weights, grouped_values })
    }
}

fn number(gguf: &Gguf<'_>, name: &str) -> Result<usize, GgufError> {
    let value = gguf.u64(&key(name))?;
    usize::try_from(value).map_err(|_| wrong(name, value, "a number that fits memory"))
}

fn wrong(name: &str, found: impl ToString, expected: &'static str) -> GgufError {
    GgufError::WrongValue { key: key(name), found: found.to_string(), expected }
}

fn names(gguf: &Gguf<'_>, name: &str) -> Result<HashSet<String>, GgufError> {
    if gguf.get(&key(name)).is_none() {
        return Ok(HashSet::new());
    }
    let text = |value: Value<'_>| value.as_str().map(str::to_string);
    let all: Option<HashSet<String>> = gguf.array(&key(name))?.iter().map(text).collect();
    all.ok_or_else(|| wrong(name, "an array of something else", "an array of names"))
}

/// The signs of each width, which follow each other in one array.
fn signs(gguf: &Gguf<'_>) -> Result<Vec<Signs>, GgufError> {
    let (widths, values) = (gguf.array(&key("sign_widths"))?, gguf.array(&key("sign_values"))?);
    let mut values = values.iter().map(|value| value.as_f64());
    let mut signs = Vec::new();
    for width in widths.iter() {
        let width = width.as_u64().and_then(|width| usize::try_from(width).ok());
        let width = width.ok_or_else(|| wrong("sign_widths", "an array of something else", "numbers"))?;
        let negative: Option<Vec<bool>> = values
            .by_ref()
            .take(width)
            .map(|value| match value {
                Some(1.0) => Some(false),
                Some(-1.0) => Some(true),
                _ => None,
            })
            .collect();
        match negative {
            Some(negative) if negative.len() == width => signs.push(Signs::pack(&negative)),
            _ => {
                return Err(wrong("sign_values", "something else", "1 or -1 for each element of each width"));
            }
        }
    }
    match values.next() {
        None => Ok(signs),
        Some(_) => Err(wrong("sign_values", "longer", "as long as all widths together")),
    }
}
