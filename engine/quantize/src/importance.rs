//! Importance matrices as llama.cpp's `llama-imatrix` writes them: the mean square of each input of a matrix, measured on a
//! text. Rounding then spares the columns that large inputs meet.
//!
//! Two formats have the same contents: GGUF files with the sums of the squares and their counts, and older binary files
//! (`.dat`) with means.

mod gguf;
mod legacy;

use crate::mistaken::mistaken;
use crate::sha256::sha256;
use crate::source::SourceTensor;
use crate::{QuantizeError, gguf::GgufError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a file is no importance matrix that can be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ImportanceError {
    /// Another kind of file.
    #[error("no importance matrix, but {found}: give the file that llama-imatrix wrote")]
    Mistaken {
        /// What it is.
        found: &'static str,
    },
    /// The GGUF file is damaged.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file ends too early.
    #[error(
        "the importance matrix ends at byte {length}, but {what} at byte {offset} needs {needed} more: it is truncated, make or \
         download it again"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// Bytes it takes.
        needed: usize,
        /// Bytes of the file.
        length: usize,
    },
    /// A number that no such file has.
    #[error(
        "the importance matrix says {found} for {what} at byte {offset}: the file is damaged, or none of llama.cpp's"
    )]
    Number {
        /// What it counts.
        what: &'static str,
        /// The number.
        found: i32,
        /// Where it is.
        offset: usize,
    },
    /// Bytes that belong to nothing.
    #[error("the importance matrix has {count} bytes after its end: the file is damaged")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A name that is not UTF-8.
    #[error("the name at byte {offset} of the importance matrix is not UTF-8: the file is damaged")]
    Name {
        /// Where it starts.
        offset: usize,
    },
    /// A matrix appears twice.
    #[error("the importance matrix has {name} twice: the file is damaged")]
    Duplicate {
        /// Name of the matrix.
        name: String,
    },
    /// Sums without counts, or the other way round, or not as 32-bit floats.
    #[error("the importance matrix has {name} {problem}: make it again")]
    Pair {
        /// Name of the matrix.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A mean square that is none.
    #[error(
        "the importance of {name} for column {column} is {value}: the file is damaged, or the model that it was measured with"
    )]
    Value {
        /// Name of the matrix.
        name: String,
        /// Column.
        column: usize,
        /// The value.
        value: f32,
    },
    /// A count of inputs that is none.
    #[error(
        "the importance of {name} was measured on {count} inputs: make the importance matrix again, on a longer text"
    )]
    Count {
        /// Name of the matrix.
        name: String,
        /// The count.
        count: f32,
    },
}

/// An importance matrix: for each matrix of a model, by llama.cpp's names, the mean square of each of its inputs.
///
/// ```no_run
/// use edgellm_quantize::{Format, Importance, QuantizeOptions};
///
/// let file = std::fs::read("imatrix.gguf")?;
/// let mut options = QuantizeOptions::new(Format::Int3);
/// options.importance = Some(Importance::parse(&file)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Importance {
    /// Shared, because options are cloned and moved.
    means: Arc<BTreeMap<String, Vec<f32>>>,
    name: Option<String>,
    sha256: String,
}

/// By what they say, not by the file or format that it was in.
impl PartialEq for Importance {
    fn eq(&self, other: &Importance) -> bool {
        self.means == other.means
    }
}

impl Importance {
    /// Reads a file in either format.
    ///
    /// # Errors
    /// [`ImportanceError`] names the first defect.
    pub fn parse(bytes: &[u8]) -> Result<Importance, ImportanceError> {
        if let Some(other) = mistaken(bytes) {
            return Err(ImportanceError::Mistaken { found: other.found });
        }
        let means = if bytes.starts_with(b"GGUF") { gguf::read(bytes)? } else { legacy::read(bytes)? };
        Ok(Importance { means: Arc::new(means), name: None, sha256: sha256([bytes]) })
    }

    /// The same with a name, for the file's record of how it was made.
    pub fn named(self, name: impl Into<String>) -> Importance {
        Importance { name: Some(name.into()), ..self }
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// SHA-256 of its file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Names of the matrices, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.means.keys().map(String::as_str)
    }

    /// The mean squares of the inputs of a matrix.
    pub fn means(&self, name: &str) -> Option<&[f32]> {
        self.means.get(name).map(Vec::as_slice)
    }

    /// The entry of a tensor: a mean square for each column.
    ///
    /// # Errors
    /// If it is there, but for another number of columns.
    pub(crate) fn of(&self, tensor: &SourceTensor<'_>) -> Result<Option<&[f32]>, QuantizeError> {
        let Some((entry, means)) = tensor.gguf_names().find_map(|name| self.means.get_key_value(name)) else {
            return Ok(None);
        };
        let columns = tensor.shape()[1];
        if means.len() != columns {
            let (name, entry, found) = (tensor.name().to_string(), entry.clone(), means.len());
            return Err(QuantizeError::ImportanceColumns { name, columns, entry, found });
        }
        Ok(Some(means))
    }
}

/// How an importance matrix fits a model.
pub(crate) struct Fit<'i> {
    entries: usize,
    /// Entries that are no matrix of the model.
    unknown: Vec<&'i str>,
}

impl Importance {
    /// Compares the names with those of a model.
    ///
    /// # Errors
    /// If the model has none of the matrices.
    pub(crate) fn fit(&self, tensors: &[SourceTensor<'_>]) -> Result<Fit<'_>, QuantizeError> {
        let known: BTreeSet<&str> = tensors.iter().flat_map(SourceTensor::gguf_names).collect();
        let unknown: Vec<&str> = self.names().filter(|name| !known.contains(name)).collect();
        let entries = self.means.len();
        match unknown.first() {
            Some(first) if unknown.len() == entries => {
                Err(QuantizeError::ImportanceNames { entries, first: (*first).to_string() })
            }
            _ => Ok(Fit { entries, unknown }),
        }
    }
}

impl Fit<'_> {
    /// What had no effect, in words. `kept`: how many matrices keep their codes in spite of their entries.
    pub(crate) fn warnings(&self, kept: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(first) = self.unknown.first() {
            warnings.push(format!(
                "{} of {} entries of the importance matrix were ignored, because this model has no such matrices ({first} is one)",
                self.unknown.len(),
                self.entries
            ));
        }
        if kept > 0 {
            warnings.push(format!(
                "the importance matrix has no effect on codes that are kept, those of {kept} of its entries: a --format that \
                 rounds them uses it"
            ));
        }
        warnings
    }
}

/// Adds the means of a matrix, if they are some.
fn insert(all: &mut BTreeMap<String, Vec<f32>>, name: &str, means: Vec<f32>) -> Result<(), ImportanceError> {
    let is_mean = |value: &f32| value.is_finite() && *value >= 0.0;
    if let Some(column) = means.iter().position(|value| !is_mean(value)) {
        let value = means.get(column).copied().unwrap_or(f32::NAN);
        return Err(ImportanceError::Value { name: name.to_string(), column, value });
    }
    match all.insert(name.to_string(), means) {
        None => Ok(()),
        Some(_) => Err(ImportanceError::Duplicate { name: name.to_string() }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
