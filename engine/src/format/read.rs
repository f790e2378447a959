//! Reading and validating a model file. Law 4: no byte is trusted until this module has validated it.

use super::{ALIGNMENT, HEADER_BYTES, MAGIC, MAX_METADATA_BYTES, Metadata, Section, TensorEncoding, VERSION};
use crate::config::ConfigError;
use edgellm_kernels::layout::{LayoutError, Matrix};
use std::collections::HashMap;

/// A defect of a model file.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Not a model file.
    #[error("not a .tmac2.bin file: it begins with {found:02x?}; create one with `edgellm quantize`")]
    Magic {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// An unsupported version.
    #[error(
        "the file has format version {found}, but this program reads versions 1 to {VERSION}: update the program or convert the model again"
    )]
    Version {
        /// Version in the file.
        found: u32,
    },
    /// The file's length differs from its header's.
    #[error("the file is {actual} bytes long where it should be {expected}: download or convert it again")]
    Length {
        /// Length by the header.
        expected: u64,
        /// Length of the file.
        actual: u64,
    },
    /// The metadata is longer than allowed.
    #[error(
        "the metadata claims {length} bytes, more than the {MAX_METADATA_BYTES} allowed: the file is damaged"
    )]
    MetadataLength {
        /// Length by the header.
        length: u64,
    },
    /// A checksum does not match.
    #[error(
        "{what} is damaged: its checksum is {actual:08x} instead of {expected:08x}; download or convert the file again"
    )]
    Checksum {
        /// Metadata, tokenizer or a tensor's name.
        what: String,
        /// Checksum in the file.
        expected: u32,
        /// Checksum of the bytes.
        actual: u32,
    },
    /// The metadata is not valid JSON of the expected structure.
    #[error("the metadata cannot be read: {0}")]
    Metadata(#[from] serde_json::Error),
    /// The configuration has a field that this program does not know.
    #[error(
        "the model has the feature {feature:?}, which this program does not know and would compute wrongly without: update the \
         program"
    )]
    Feature {
        /// The field.
        feature: String,
    },
    /// A number of the configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor's shape or encoding is impossible.
    #[error("tensor {name}: {source}")]
    Layout {
        /// Tensor.
        name: String,
        /// Defect.
        source: LayoutError,
    },
    /// A section reaches outside the file or is not aligned.
    #[error("{what}: {length} bytes at offset {offset} do not fit {available} bytes of data in steps of 64")]
    Section {
        /// Tokenizer or a tensor's name.
        what: String,
        /// Offset given.
        offset: u64,
        /// Length given.
        length: u64,
        /// Bytes after the data start.
        available: u64,
    },
    /// A tensor appears twice.
    #[error("tensor {name} appears twice")]
    Duplicate {
        /// Tensor.
        name: String,
    },
    /// A float tensor holds NaN or infinity.
    #[error("tensor {name}: element {index} is {value}")]
    NotFinite {
        /// Tensor.
        name: String,
        /// Index of the element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A scale or minimum of a packed tensor is NaN or infinity.
    #[error("tensor {name}: a scale in strip {strip} is not finite")]
    ScaleNotFinite {
        /// Tensor.
        name: String,
        /// Strip of 32 rows.
        strip: usize,
    },
    /// The scale of a whole tensor is not finite, or that of a tensor of floats.
    #[error("tensor {name}: its scale {scale} is not possible")]
    TensorScale {
        /// Tensor.
        name: String,
        /// Its scale.
        scale: f32,
    },
    /// A tensor is rotated, and the configuration does not say how inputs of its width are, or it is none of a product.
    #[error("tensor {name} is rotated, but there is no rotation for its {cols} columns")]
    Rotation {
        /// Tensor.
        name: String,
        /// Its columns.
        cols: usize,
    },
    /// A tensor that the model needs is missing.
    #[error("tensor {name} is missing")]
    Missing {
        /// Tensor.
        name: String,
    },
    /// A tensor's shape differs from the configuration's.
    #[error("tensor {name} has shape {actual:?}, but the configuration requires {expected:?}")]
    Shape {
        /// Tensor.
        name: String,
        /// By the configuration.
        expected: [usize; 2],
        /// In the file.
        actual: [usize; 2],
    },
    /// A tensor is stored as floats where codes are needed, or the reverse.
    #[error("tensor {name} is stored as {actual:?}, which does not suit its use")]
    Encoding {
        /// Tensor.
        name: String,
        /// In the file.
        actual: TensorEncoding,
    },
}

/// The validated first 32 bytes of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Checksum of the metadata.
    pub metadata_crc32: u32,
    /// Bytes of metadata.
    pub metadata_length: u64,
    /// Bytes of the file.
    pub file_length: u64,
}

impl Header {
    /// Reads a header from the start of `bytes`, for programs that stream a file in.
    ///
    /// # Errors
    /// [`FormatError`] if magic, version or lengths are wrong, or there are fewer than 32 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(FormatError::Magic { found: bytes[..bytes.len().min(8)].to_vec() });
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            let expected = HEADER_BYTES as u64;
            return Err(FormatError::Length { expected, actual: bytes.len() as u64 });
        };
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap_or_default());
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
        let version = u32_at(8);
        if !(1..=VERSION).contains(&version) {
            return Err(FormatError::Version { found: version });
        }
        let header =
            Header { metadata_crc32: u32_at(12), metadata_length: u64_at(16), file_length: u64_at(24) };
        if header.metadata_length > MAX_METADATA_BYTES {
            return Err(FormatError::MetadataLength { length: header.metadata_length });
        }
        if header.file_length < header.data_start() {
            return Err(FormatError::Length { expected: header.data_start(), actual: header.file_length });
        }
        Ok(header)
    }

    /// Offset of the data in the file.
    pub fn data_start(&self) -> u64 {
        (HEADER_BYTES as u64 + self.metadata_length).next_multiple_of(ALIGNMENT)
    }
}

/// A tensor's contents, borrowed from the file.
#[derive(Clone, Copy, Debug)]
pub enum TensorData<'a> {
    /// Little-endian f32 bytes, finite.
    F32(&'a [u8]),
    /// A packed matrix.
    Packed(Matrix<'a>),
}

/// A validated model file: its metadata, and its sections as ranges of its bytes.
#[derive(Clone, Debug)]
pub struct ModelFile {
    metadata: Metadata,
    index: HashMap<String, usize>,
    data_start: usize,
}

impl ModelFile {
    /// Validates `bytes`, checksums included. The bytes are not kept: pass the same ones to the accessors.
    ///
    /// # Errors
    /// [`FormatError`] names the first defect found.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let file = Self::parse_metadata(bytes)?;
        let metadata = &file.metadata;
        let sections = std::iter::once(("the tokenizer", metadata.tokenizer))
            .chain(metadata.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.section)));
        for (what, section) in sections {
            let actual = crc32fast::hash(file.section(bytes, section));
            if actual != section.crc32 {
                let what = what.to_string();
                return Err(FormatError::Checksum { what, expected: section.crc32, actual });
            }
        }
        for (index, tensor) in metadata.tensors.iter().enumerate() {
            let name = || tensor.name.clone();
            match file.data(bytes, index) {
                TensorData::F32(data) => {
                    if let Some((index, value)) = floats(data).enumerate().find(|(_, x)| !x.is_finite()) {
                        return Err(FormatError::NotFinite { name: name(), index, value });
                    }
                }
                TensorData::Packed(matrix) => {
                    if let Some(strip) = matrix.strip_not_finite() {
                        return Err(FormatError::ScaleNotFinite { name: name(), strip });
                    }
                }
            }
        }
        Ok(file)
    }

    /// As [`ModelFile::parse`], but without reading the sections: enough to inspect a file.
    ///
    /// # Errors
    /// [`FormatError`] names the first defect of header or metadata.
    pub fn parse_metadata(bytes: &[u8]) -> Result<Self, FormatError> {
        let header = Header::parse(bytes)?;
        if bytes.len() as u64 != header.file_length {
            let (expected, actual) = (header.file_length, bytes.len() as u64);
            return Err(FormatError::Length { expected, actual });
        }
        // The lengths are below the file's, which fits memory: no cast below can lose anything.
        let json = &bytes[HEADER_BYTES..HEADER_BYTES + header.metadata_length as usize];
        let actual = crc32fast::hash(json);
        if actual != header.metadata_crc32 {
            let (what, expected) = ("the metadata".to_string(), header.metadata_crc32);
            return Err(FormatError::Checksum { what, expected, actual });
        }
        let mut unknown = None;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let metadata: Metadata = serde_ignored::deserialize(&mut deserializer, |path| {
            let path = path.to_string();
            // What else is unknown describes the file and changes no result.
            let feature =
                path.strip_prefix("config.").or_else(|| path.starts_with("tensors.").then_some(&path));
            if let Some(feature) = feature {
                unknown.get_or_insert_with(|| feature.to_string());
            }
        })?;
        deserializer.end()?;
        match unknown {
            Some(feature) => Err(FormatError::Feature { feature }),
            None => Self::validate(metadata, header),
        }
    }

    fn validate(metadata: Metadata, header: Header) -> Result<Self, FormatError> {
        metadata.config.validate()?;
        let available = header.file_length - header.data_start();
        let check = |what: &str, section: Section| {
            let end = section.offset.checked_add(section.length);
            if section.offset.is_multiple_of(ALIGNMENT) && end.is_some_and(|end| end <= available) {
                return Ok(());
            }
            let Section { offset, length, .. } = section;
            Err(FormatError::Section { what: what.to_string(), offset, length, available })
        };
        check("the tokenizer", metadata.tokenizer)?;
        let mut index = HashMap::with_capacity(metadata.tensors.len());
        for (at, tensor) in metadata.tensors.iter().enumerate() {
            let name = || tensor.name.clone();
            check(&tensor.name, tensor.section)?;
            let layout = tensor
                .encoding
                .layout(tensor.shape)
                .map_err(|source| FormatError::Layout { name: name(), source })?;
            let [rows, cols] = tensor.shape;
            let expected = match layout {
                Some(layout) => layout.total_bytes(),
                None => rows.saturating_mul(cols).saturating_mul(4),
            };
            if expected as u64 != tensor.section.length {
                let actual = usize::try_from(tensor.section.length).unwrap_or(usize::MAX);
                let source = LayoutError::Length { expected, actual };
                return Err(FormatError::Layout { name: name(), source });
            }
            if let Some(scale) = tensor.scale
                && !(scale.is_finite() && layout.is_some())
            {
                return Err(FormatError::TensorScale { name: name(), scale });
            }
            if tensor.rotated && !(layout.is_some() && metadata.config.rotates(cols)) {
                return Err(FormatError::Rotation { name: name(), cols });
            }
            if index.insert(name(), at).is_some() {
                return Err(FormatError::Duplicate { name: name() });
            }
        }
        Ok(ModelFile { metadata, index, data_start: header.data_start() as usize })
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The bytes of `tokenizer.json`. `bytes` is what [`ModelFile::parse`] saw.
    pub fn tokenizer<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.section(bytes, self.metadata.tokenizer)
    }

    /// The position in the directory of tensor `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The contents of the tensor at `position` of the directory. `bytes` is what [`ModelFile::parse`] saw.
    ///
    /// # Panics
    /// If `position` is no tensor's, or `bytes` are others.
    pub fn data<'a>(&self, bytes: &'a [u8], position: usize) -> TensorData<'a> {
        let tensor = &self.metadata.tensors[position];
        let data = self.section(bytes, tensor.section);
        match tensor.encoding.layout(tensor.shape) {
            Ok(Some(layout)) => match Matrix::new(layout, data) {
                Ok(matrix) => TensorData::Packed(matrix),
                Err(error) => unreachable!("checked by parse: {error}"),
            },
            _ => TensorData::F32(data),
        }
    }

    fn section<'a>(&self, bytes: &'a [u8], section: Section) -> &'a [u8] {
        let start = self.data_start + section.offset as usize;
        &bytes[start..start + section.length as usize]
    }
}

/// Little-endian floats.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}
