//! GGUF files (versions 2 and 3, little-endian), read in place.
//!
//! The parser copies only names: strings, arrays and tensors are slices of the file. It reads every length with checked
//! arithmetic and allocates only in proportion to the bytes present, so a file that lies about its counts costs nothing.

mod cursor;
mod legacy;
mod split;
mod types;
mod value;

pub use types::GgmlType;
pub use value::{Array, Value};

use cursor::Cursor;
use std::collections::HashMap;

/// A defect of a GGUF file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GgufError {
    /// Not a GGUF file.
    #[error("not a GGUF file: it begins with {found:02x?}")]
    Magic {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// An unsupported version or byte order.
    #[error("GGUF version {found} is not supported (2 and 3, little-endian, are): convert the model again")]
    Version {
        /// Version in the file.
        found: u32,
    },
    /// The file ends too early.
    #[error(
        "the GGUF file ends at byte {length}, but {what} at byte {offset} needs {needed} more: it is \
         truncated, download it again"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// Bytes it takes.
        needed: u64,
        /// Bytes of the file.
        length: usize,
    },
    /// A string is not UTF-8.
    #[error("the GGUF string at byte {offset} is not UTF-8: the file is damaged")]
    Utf8 {
        /// Where it starts.
        offset: usize,
    },
    /// A metadata value's type is unknown.
    #[error("the GGUF metadata holds a value of unknown type {found}{}", at_key(key))]
    ValueType {
        /// Key; empty inside an array.
        key: String,
        /// Number of the type.
        found: u32,
    },
    /// A name appears twice.
    #[error("{name} appears twice in the GGUF file: it is damaged")]
    Duplicate {
        /// Key or tensor name.
        name: String,
    },
    /// A part of a split file is missing.
    #[error(
        "part {part} of {count} of this split model is missing: put all parts into one directory, under the names that they \
         were published with, or merge them with `llama-gguf-split --merge`"
    )]
    Part {
        /// The part, from 1 on.
        part: u64,
        /// Number of parts.
        count: u64,
    },
    /// A metadata key is missing.
    #[error(
        "the GGUF file has no metadata key {key}: it is incomplete or no language model, so use another file"
    )]
    MissingKey {
        /// Key.
        key: String,
    },
    /// A metadata value has another type or range than its meaning allows.
    #[error("the GGUF metadata key {key} is {found}, but must be {expected}")]
    WrongValue {
        /// Key.
        key: String,
        /// The value, shortened.
        found: String,
        /// The expected type or range.
        expected: &'static str,
    },
    /// A tensor's shape is impossible.
    #[error("tensor {name} has the impossible shape {dims:?} for type {ggml_type}")]
    Shape {
        /// Tensor.
        name: String,
        /// Dimensions, the contiguous one first.
        dims: Vec<u64>,
        /// Its type.
        ggml_type: GgmlType,
    },
    /// A tensor's type is unknown or not supported.
    #[error(
        "tensor {name} has type {}, which is not supported (supported: {}): use a file with another \
         quantization, such as Q8_0 or F16",
        types::name_of(*found),
        types::SUPPORTED
    )]
    TensorType {
        /// Tensor.
        name: String,
        /// Number of the type.
        found: u32,
    },
    /// Two versions of a type share its number, and the lengths of the tensors do not tell which one the file has.
    #[error(
        "tensor {name} takes {available} bytes: type {ggml_type} would take {official} in blocks of 64 and {legacy} in the older \
         blocks of 128, and the file's tensors do not agree on one of them; use a file of a newer release"
    )]
    TwoVersions {
        /// A tensor.
        name: String,
        /// Its type, by number.
        ggml_type: GgmlType,
        /// Bytes to the next tensor.
        available: u64,
        /// Bytes of the type.
        official: u64,
        /// Bytes of its older version.
        legacy: u64,
    },
    /// A tensor's data are outside the file, overlap another tensor's, or are misaligned.
    #[error("tensor {name}: {size} bytes at data offset {offset} {problem}")]
    TensorData {
        /// Tensor.
        name: String,
        /// Offset from the start of the data.
        offset: u64,
        /// Bytes it takes.
        size: u64,
        /// What is wrong with that.
        problem: String,
    },
}

fn at_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" (key {key})") }
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor<'a> {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// (rows, cols): cols is the contiguous dimension; a vector is (1, length).
    pub shape: [usize; 2],
    /// Number of dimensions in the file.
    pub dimensions: usize,
    /// Type of its blocks.
    pub ggml_type: GgmlType,
    /// Its bytes, row after row.
    pub data: &'a [u8],
    /// What all weights are multiplied by; 1 for types that have no such scale.
    pub scale: f32,
}

/// A parsed GGUF file over borrowed bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf<'a> {
    metadata: HashMap<&'a str, Value<'a>>,
    tensors: Vec<GgufTensor<'a>>,
    index: HashMap<&'a str, usize>,
}

/// A directory entry whose data have not been located yet.
struct Entry<'a> {
    name: &'a str,
    dims: Vec<u64>,
    ggml_type: GgmlType,
    offset: u64,
    size: u64,
}

impl<'a> Gguf<'a> {
    /// Reads and checks the metadata and the tensor directory.
    ///
    /// # Errors
    /// [`GgufError`] names the first defect.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GgufError> {
        if !bytes.starts_with(b"GGUF") {
            return Err(GgufError::Magic { found: bytes.get(..4).unwrap_or(bytes).to_vec() });
        }
        let mut cursor = Cursor::new(bytes, 4);
        let version = cursor.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { found: version });
        }
        let tensor_count = cursor.u64("the number of tensors")?;
        let key_count = cursor.u64("the number of metadata keys")?;

        let mut metadata = HashMap::new();
        for _ in 0..key_count {
            let key = cursor.string("a metadata key")?;
            let value = Value::read(&mut cursor, key)?;
            if metadata.insert(key, value).is_some() {
                return Err(GgufError::Duplicate { name: key.to_string() });
            }
        }
        let mut entries = Vec::new();
        for _ in 0..tensor_count {
            entries.push(Entry::read(&mut cursor)?);
        }

        let mut gguf = Gguf { metadata, tensors: Vec::new(), index: HashMap::new() };
        let alignment = match gguf.metadata.get("general.alignment") {
            None => 32,
            Some(_) => gguf.u64("general.alignment")?,
        };
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(GgufError::WrongValue {
                key: "general.alignment".to_string(),
                found: alignment.to_string(),
                expected: "a power of two up to 2^20",
            });
        }
        // At most 2^20 more than a length that fits in memory.
        let start = (cursor.offset() as u64).next_multiple_of(alignment);
        let data = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        legacy::tell_apart(&mut entries, data.len() as u64, alignment)?;
        check_overlaps(&entries)?;
        for entry in entries {
            let tensor = entry.locate(data, alignment)?;
            if gguf.index.insert(tensor.name, gguf.tensors.len()).is_some() {
                return Err(GgufError::Duplicate { name: tensor.name.to_string() });
            }
            gguf.tensors.push(tensor);
        }
        Ok(gguf)
    }

    /// The tensors in the order of the directory.
    pub fn tensors(&self) -> &[GgufTensor<'a>] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor<'a>> {
        self.index.get(name).and_then(|&at| self.tensors.get(at))
    }

    /// The metadata value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }

    /// All metadata keys, in any order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.metadata.keys().copied()
    }

    /// The value of `key` as an unsigned integer, which may also be written as a float, or once for each layer.
    ///
    /// # Errors
    /// [`GgufError`] if it is missing or not an unsigned integer.
    pub fn u64(&self, key: &str) -> Result<u64, GgufError> {
        self.typed(key, "a non-negative integer, the same for all layers", |value| match value {
            Value::Array(layers) => {
                let mut layers = layers.iter();
                let first = layers.next()?.as_u64()?;
                layers.all(|layer| layer.as_u64() == Some(first)).then_some(first)
            }
            value => value.as_u64(),
        })
    }

    /// The value of `key` as a number.
    ///
    /// # Errors
    /// [`GgufError`] if it is missing or not a number.
    pub fn f64(&self, key: &str) -> Result<f64, GgufError> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// The value of `key` as a string.
    ///
    /// # Errors
    /// [`GgufError`] if it is missing or not a string.
    pub fn string(&self, key: &str) -> Result<&'a str, GgufError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// The value of `key` as an array.
    ///
    /// # Errors
    /// [`GgufError`] if it is missing or not an array.
    pub fn array(&self, key: &str) -> Result<Array<'a>, GgufError> {
        self.typed(key, "an array", Value::as_array)
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<T, GgufError> {
        let value = self.get(key).ok_or_else(|| GgufError::MissingKey { key: key.to_string() })?;
        convert(value).ok_or_else(|| GgufError::WrongValue {
            key: key.to_string(),
            found: value.describe(),
            expected,
        })
    }
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, GgufError> {
        let name = cursor.string("a tensor's name")?;
        let rank = cursor.u32("a tensor's number of dimensions")?;
        if !(1..=4).contains(&rank) {
            return Err(GgufError::WrongValue {
                key: name.to_string(),
                found: format!("a tensor of {rank} dimensions"),
                expected: "one of 1 to 4",
            });
        }
        let mut dims = Vec::with_capacity(4);
        for _ in 0..rank {
            dims.push(cursor.u64("a tensor's dimension")?);
        }
        let number = cursor.u32("a tensor's type")?;
        let offset = cursor.u64("a tensor's offset")?;
        let ggml_type = GgmlType::from_number(number)
            .ok_or_else(|| GgufError::TensorType { name: name.to_string(), found: number })?;
        let Some(size) = ggml_type.tensor_bytes(&dims) else {
            return Err(GgufError::Shape { name: name.to_string(), dims, ggml_type });
        };
        Ok(Entry { name, dims, ggml_type, offset, size })
    }

    fn problem(&self, problem: String) -> GgufError {
        GgufError::TensorData { name: self.name.to_string(), offset: self.offset, size: self.size, problem }
    }

    fn locate(&self, data: &'a [u8], alignment: u64) -> Result<GgufTensor<'a>, GgufError> {
        if !self.offset.is_multiple_of(alignment) {
            return Err(self.problem(format!("are not aligned to {alignment}: the file is damaged")));
        }
        let slice = self
            .offset
            .checked_add(self.size)
            .and_then(|end| data.get(usize::try_from(self.offset).ok()?..usize::try_from(end).ok()?));
        let Some(slice) = slice else {
            let available = data.len();
            return Err(self.problem(format!(
                "reach outside the {available} bytes of data: the file is truncated, download it again"
            )));
        };
        let shape = || {
            let cols = usize::try_from(*self.dims.first()?).ok()?;
            let rows = self.dims.iter().skip(1).try_fold(1, |rows: u64, &dim| rows.checked_mul(dim))?;
            Some([usize::try_from(rows).ok()?, cols])
        };
        let shape = shape().ok_or_else(|| GgufError::Shape {
            name: self.name.to_string(),
            dims: self.dims.clone(),
            ggml_type: self.ggml_type,
        })?;
        let (ggml_type, dimensions) = (self.ggml_type, self.dims.len());
        let (data, tail) = slice.split_at(slice.len().saturating_sub(ggml_type.tail_bytes()));
        let scale = tail.first_chunk().map_or(1.0, |scale| f32::from_le_bytes(*scale));
        Ok(GgufTensor { name: self.name, shape, dimensions, ggml_type, data, scale })
    }
}

/// Rejects tensors that share bytes.
fn check_overlaps(entries: &[Entry<'_>]) -> Result<(), GgufError> {
    let mut order: Vec<&Entry<'_>> = entries.iter().collect();
    order.sort_by_key(|entry| entry.offset);
    for pair in order.windows(2) {
        let &[before, after] = pair else { continue };
        if before.offset.checked_add(before.size).is_none_or(|end| end > after.offset) {
            return Err(after.problem(format!("overlap tensor {}: the file is damaged", before.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
