//! Tensors of safetensors files.

use super::stored::{Found, Stored};
use crate::QuantizeError;
use crate::mistaken::is_safetensors;
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The tensors of one or several files.
#[derive(Default)]
pub(super) struct Weights<'a> {
    found: Found<'a>,
    /// Names that were left out when saving, and those under which the same tensors are stored.
    shared: BTreeMap<String, String>,
}

impl<'a> Weights<'a> {
    /// Adds the tensors of a file.
    pub(super) fn add(&mut self, file: &str, bytes: &'a [u8]) -> Result<(), QuantizeError> {
        let wrong = |problem: String| QuantizeError::Safetensors { file: file.to_string(), problem };
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| {
                match declared_length(bytes).filter(|&expected| expected > bytes.len() as u64) {
                    None => wrong(error.to_string()),
                    expected => QuantizeError::Truncated {
                        file: file.to_string(),
                        length: bytes.len() as u64,
                        expected,
                    },
                }
            })?;
        let data = bytes.get(size_of::<u64>() + header..).unwrap_or_default();
        for (name, info) in metadata.tensors() {
            // Constants that old checkpoints contain.
            if name.ends_with("rotary_emb.inv_freq") {
                continue;
            }
            let (start, end) = info.data_offsets;
            let tensor = data
                .get(start..end)
                .and_then(|data| Stored::new(info.dtype, &info.shape, data))
                .ok_or_else(|| wrong(format!("tensor {name} is not as long as its shape")))?;
            if self.found.insert(name.clone(), tensor).is_some() {
                return Err(wrong(format!("tensor {name} is in two files")));
            }
        }
        let notes = metadata.metadata().iter().flatten();
        self.shared.extend(notes.map(|(name, stored)| (name.clone(), stored.clone())));
        Ok(())
    }

    /// All tensors, those included that are stored once under one of their names.
    pub(super) fn tensors(self) -> Found<'a> {
        let Weights { mut found, shared } = self;
        for (name, stored) in shared {
            if !found.contains_key(&name)
                && let Some(tensor) = found.get(&stored).cloned()
            {
                found.insert(name, tensor);
            }
        }
        found
    }
}

/// The length that a file should have by its header, or at least its header's.
fn declared_length(bytes: &[u8]) -> Option<u64> {
    if !is_safetensors(bytes) {
        return None;
    }
    let start = u64::from_le_bytes(*bytes.first_chunk()?).checked_add(8)?;
    let Some(header) = bytes.get(8..usize::try_from(start).ok()?) else { return Some(start) };
    let tensors: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let end = tensors.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64()).max()?;
    start.checked_add(end)
}
