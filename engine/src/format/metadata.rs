//! The JSON part of a model file.

use crate::config::ModelConfig;
use edgellm_kernels::layout::{Encoding, Layout, LayoutError, Scales, Zero};
use serde::{Deserialize, Serialize};

/// Everything in a model file except the bytes of its sections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Display name of the model.
    pub name: String,
    /// Shape and constants.
    pub config: ModelConfig,
    /// Jinja template that turns messages into a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// Text of the BOS token in chat templates, empty if they have none. `None` in files of older versions, whose templates
    /// get the token of `config.bos_token_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// Text of the EOS token in chat templates, empty if they have none. `None` in files of older versions, whose templates
    /// get the first token of `config.eos_token_ids`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
    /// How the weights were quantized.
    pub quantization: Quantization,
    /// Section that holds a Hugging Face `tokenizer.json`.
    pub tokenizer: Section,
    /// The tensors, in the order of their use in a forward pass.
    pub tensors: Vec<TensorEntry>,
}

/// The recipe of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// `auto`, `int8`, `int6`, `int5`, `int4`, `int3`, `int2`, `bitnet` or `binary`.
    pub format: String,
    /// Columns that share a scale; 0 for one scale per row.
    pub group_size: usize,
    /// Format of embedding and LM head.
    pub head: String,
    /// How codes were chosen, for display: "lossless", "rtn", ...
    pub method: String,
    /// Where the weights came from: format and, where known, types of the source.
    pub source: String,
    /// Program and version that wrote the file.
    pub tool: String,
    /// What rounding cost, measured; absent if nothing was rounded, or nothing measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// What rounding cost: the model before and after on the same text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Name of the text.
    pub text: String,
    /// Tokens scored.
    pub tokens: u64,
    /// Perplexity of the source, its floats in 8 bits.
    pub source_perplexity: f64,
    /// Perplexity of this model.
    pub perplexity: f64,
    /// Mean Kullback-Leibler divergence of this model's distributions from the source's, in nats.
    pub kl_divergence: f64,
    /// Share of positions with the source's most likely token.
    pub same_top_token: f64,
    /// What the weights were rounded by.
    pub calibration: Recipe,
}

impl Quality {
    /// How much the perplexity rose, as a share of the source's; negative if it fell.
    pub fn loss(&self) -> f64 {
        self.perplexity / self.source_perplexity - 1.0
    }
}

/// What weights were rounded by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// `gptq`, `weights`, `imatrix` or `none`.
    pub method: String,
    /// Name of the calibration text or importance matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// SHA-256 of its bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Tokens that the model was run on; not known of importance matrices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// A range of bytes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Bytes from the data start, a multiple of 64.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// CRC-32 (IEEE) of the bytes.
    pub crc32: u32,
}

/// One tensor of the directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "FlatEntry", into = "FlatEntry")]
pub struct TensorEntry {
    /// Name as in Hugging Face checkpoints, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// (rows, cols); a vector is (1, length).
    pub shape: [usize; 2],
    /// How it is stored.
    pub encoding: TensorEncoding,
    /// What all its weights are multiplied by; absent if 1. Since version 3.
    pub scale: Option<f32>,
    /// Whether its inputs are rotated, as [`Rotation`](crate::config::Rotation) says. Since version 3.
    pub rotated: bool,
    /// Its bytes.
    pub section: Section,
    /// Quantization error; absent for unquantized tensors.
    pub error: Option<TensorError>,
}

/// [`TensorEntry`] as it is written: serde's `flatten` would hide fields that this program does not know.
#[derive(Serialize, Deserialize)]
struct FlatEntry {
    name: String,
    shape: [usize; 2],
    encoding: TensorEncoding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<f32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rotated: bool,
    offset: u64,
    length: u64,
    crc32: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<TensorError>,
}

impl From<FlatEntry> for TensorEntry {
    fn from(flat: FlatEntry) -> Self {
        let FlatEntry { name, shape, encoding, scale, rotated, offset, length, crc32, error } = flat;
        let section = Section { offset, length, crc32 };
        TensorEntry { name, shape, encoding, scale, rotated, section, error }
    }
}

impl From<TensorEntry> for FlatEntry {
    fn from(entry: TensorEntry) -> Self {
        let TensorEntry { name, shape, encoding, scale, rotated, section, error } = entry;
        let Section { offset, length, crc32 } = section;
        FlatEntry { name, shape, encoding, scale, rotated, offset, length, crc32, error }
    }
}

/// Quantization error: the difference between the stored weights and their source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorError {
    /// Root mean square of the differences.
    pub rmse: f64,
    /// `rmse` divided by the root mean square of the source weights.
    pub relative: f64,
    /// Largest absolute difference.
    pub max: f64,
}

/// How scales and minimums are stored, [`Scales`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorScales {
    /// Half-precision floats.
    #[default]
    Halves,
    /// Six bits, under half-precision floats for each row. Since version 4.
    Six,
}

impl TensorScales {
    fn are_halves(&self) -> bool {
        *self == TensorScales::Halves
    }
}

impl From<Scales> for TensorScales {
    fn from(scales: Scales) -> Self {
        match scales {
            Scales::Halves => TensorScales::Halves,
            Scales::SixBits => TensorScales::Six,
        }
    }
}

impl From<TensorScales> for Scales {
    fn from(scales: TensorScales) -> Self {
        match scales {
            TensorScales::Halves => Scales::Halves,
            TensorScales::Six => Scales::SixBits,
        }
    }
}

/// How a tensor's bytes are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum TensorEncoding {
    /// 32-bit floats.
    F32,
    /// Bit-planes for lookup kernels, [`Encoding::Planes`].
    Planes {
        /// Bits of a code, 1 to 4.
        bits: u8,
        /// Columns that share a scale.
        group_size: usize,
        /// Code of weight 0; absent if affine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zero: Option<u8>,
        /// How scales are stored; absent if as halves.
        #[serde(default, skip_serializing_if = "TensorScales::are_halves")]
        scales: TensorScales,
    },
    /// Codes 0 to 2 for lookup kernels, [`Encoding::Ternary`].
    Ternary {
        /// Columns that share a scale.
        group_size: usize,
    },
    /// Codes 0 and 2 for lookup kernels, [`Encoding::Binary`].
    Binary {
        /// Columns that share a scale.
        group_size: usize,
    },
    /// 4-bit codes for dot products, [`Encoding::Nibbles`].
    Nibbles {
        /// Columns that share a scale.
        group_size: usize,
        /// Code of weight 0; absent if affine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zero: Option<u8>,
        /// How scales are stored; absent if as halves.
        #[serde(default, skip_serializing_if = "TensorScales::are_halves")]
        scales: TensorScales,
    },
    /// Codes of 2, 3, 5 or 6 bits for dot products, [`Encoding::Split`].
    Split {
        /// Bits of a code.
        bits: u8,
        /// Columns that share a scale.
        group_size: usize,
        /// Code of weight 0; absent if affine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zero: Option<u8>,
    },
    /// 4-bit indexes of codes for dot products, [`Encoding::Table`].
    Table {
        /// The codes.
        codes: [u8; 16],
        /// Columns that share a scale.
        group_size: usize,
        /// Code of weight 0; absent if affine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zero: Option<u8>,
    },
    /// 8-bit codes for dot products, [`Encoding::Bytes`].
    Bytes {
        /// Columns that share a scale.
        group_size: usize,
        /// Code of weight 0; absent if affine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zero: Option<u8>,
    },
}

impl From<&Layout> for TensorEncoding {
    fn from(layout: &Layout) -> Self {
        let group_size = layout.group_size();
        let zero = match layout.zero() {
            Zero::Symmetric(zero) => Some(zero),
            Zero::Affine => None,
        };
        let scales = layout.scales().into();
        match layout.encoding() {
            Encoding::Planes(bits) => TensorEncoding::Planes { bits, group_size, zero, scales },
            Encoding::Ternary => TensorEncoding::Ternary { group_size },
            Encoding::Binary => TensorEncoding::Binary { group_size },
            Encoding::Nibbles => TensorEncoding::Nibbles { group_size, zero, scales },
            Encoding::Split(bits) => TensorEncoding::Split { bits, group_size, zero },
            Encoding::Table(codes) => TensorEncoding::Table { codes, group_size, zero },
            Encoding::Bytes => TensorEncoding::Bytes { group_size, zero },
        }
    }
}

impl TensorEncoding {
    /// How its scales are stored.
    pub fn scales(self) -> TensorScales {
        match self {
            TensorEncoding::Planes { scales, .. } | TensorEncoding::Nibbles { scales, .. } => scales,
            _ => TensorScales::Halves,
        }
    }

    /// The packed layout of a (rows, cols) matrix in this encoding, `None` for floats.
    ///
    /// # Errors
    /// [`LayoutError`] if a number is out of range, or the encoding cannot have such scales.
    pub fn layout(self, [rows, cols]: [usize; 2]) -> Result<Option<Layout>, LayoutError> {
        let (encoding, group_size, zero) = match self {
            TensorEncoding::F32 => return Ok(None),
            TensorEncoding::Planes { bits, group_size, zero, .. } => {
                (Encoding::Planes(bits), group_size, zero)
            }
            TensorEncoding::Ternary { group_size } => (Encoding::Ternary, group_size, Some(1)),
            TensorEncoding::Binary { group_size } => (Encoding::Binary, group_size, Some(1)),
            TensorEncoding::Nibbles { group_size, zero, .. } => (Encoding::Nibbles, group_size, zero),
            TensorEncoding::Split { bits, group_size, zero } => (Encoding::Split(bits), group_size, zero),
            TensorEncoding::Table { codes, group_size, zero } => (Encoding::Table(codes), group_size, zero),
            TensorEncoding::Bytes { group_size, zero } => (Encoding::Bytes, group_size, zero),
        };
        let zero = zero.map_or(Zero::Affine, Zero::Symmetric);
        Layout::new(rows, cols, encoding, zero, group_size)?.with_scales(self.scales().into()).map(Some)
    }
}
