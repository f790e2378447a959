//! The options of a conversion.

use edgellm_kernels::layout::{Encoding, Zero};
use std::fmt;
use std::str::FromStr;

/// Format of the layers' weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Quantized tensors as they are in the source: the same codes, and scales in half precision. Floats as [`Format::Int4`].
    Auto,
    /// 8 bits, symmetric.
    Int8,
    /// 4 bits with scale and minimum; lossless from Q4_0 and Q4_1.
    Int4,
    /// 3 bits with scale and minimum.
    Int3,
    /// 2 bits with scale and minimum.
    Int2,
    /// Ternary: -1, 0 or 1 times one scale per row.
    Bitnet,
}

impl Format {
    /// All formats, the default first, then the finest.
    pub const ALL: [Format; 6] =
        [Format::Auto, Format::Int8, Format::Int4, Format::Int3, Format::Int2, Format::Bitnet];

    /// Name as on the command line and in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Int8 => "int8",
            Format::Int4 => "int4",
            Format::Int3 => "int3",
            Format::Int2 => "int2",
            Format::Bitnet => "bitnet",
        }
    }

    /// Columns of a quantization group by default; 0 for one scale per row.
    pub const fn default_group_size(self) -> usize {
        match self {
            Format::Auto | Format::Int8 | Format::Int4 | Format::Int3 | Format::Int2 => 32,
            Format::Bitnet => 0,
        }
    }

    /// How codes that are chosen here are stored and what weights they represent.
    pub(crate) const fn target(self) -> Target {
        match self {
            Format::Int8 => Target { encoding: Encoding::Bytes, zero: Zero::Symmetric(128), max_code: 255 },
            Format::Auto | Format::Int4 => {
                Target { encoding: Encoding::Nibbles, zero: Zero::Affine, max_code: 15 }
            }
            Format::Int3 => Target { encoding: Encoding::Planes(3), zero: Zero::Affine, max_code: 7 },
            Format::Int2 => Target { encoding: Encoding::Planes(2), zero: Zero::Affine, max_code: 3 },
            Format::Bitnet => Target { encoding: Encoding::Planes(2), zero: Zero::Symmetric(1), max_code: 2 },
        }
    }
}

/// The codes of a format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) encoding: Encoding,
    pub(crate) zero: Zero,
    pub(crate) max_code: u8,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of an unknown format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no format {found:?}; there are {expected}")]
pub struct UnknownFormat {
    /// The given name.
    pub found: String,
    /// The known names.
    pub expected: &'static str,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat {
            found: name.to_string(),
            expected: "auto, int8, int4, int3, int2, bitnet",
        })
    }
}

/// Format of the embedding and the LM head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadFormat {
    /// With [`Format::Auto`], as in the source, and floats as int8; with other formats, int8.
    #[default]
    Auto,
    /// 8 bits, symmetric.
    Int8,
    /// 4 bits with scale and minimum.
    Int4,
}

impl HeadFormat {
    /// All of them, the default first.
    pub const ALL: [HeadFormat; 3] = [HeadFormat::Auto, HeadFormat::Int8, HeadFormat::Int4];

    /// Name as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            HeadFormat::Auto => "auto",
            HeadFormat::Int8 => "int8",
            HeadFormat::Int4 => "int4",
        }
    }

    /// What it is where the layers have format `layers`.
    pub const fn format(self, layers: Format) -> Format {
        match (self, layers) {
            (HeadFormat::Auto, Format::Auto) => Format::Auto,
            (HeadFormat::Auto | HeadFormat::Int8, _) => Format::Int8,
            (HeadFormat::Int4, _) => Format::Int4,
        }
    }
}

impl fmt::Display for HeadFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HeadFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        HeadFormat::ALL
            .into_iter()
            .find(|head| head.name() == name)
            .ok_or_else(|| UnknownFormat { found: name.to_string(), expected: "auto, int8, int4" })
    }
}

/// Version of the conversion's rules: it goes up when the same source and options give another model file. A cache of model
/// files keeps it with each, and converts again what was converted by other rules.
pub const RULES_VERSION: u32 = 3;

/// How to convert a model.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    /// Format of the layers.
    pub format: Format,
    /// Format of embedding and LM head.
    pub head: HeadFormat,
    /// Columns of a quantization group in the layers, a multiple of 32, or 0 for one scale per row; `None` for the
    /// format's default. [`Format::Auto`] keeps the source's groups, and uses this for what it rounds; other formats keep
    /// codes only if this is `None` or the size of the source's groups.
    pub group_size: Option<usize>,
    /// Name of the program that writes the file, for its metadata.
    pub tool: String,
}

impl QuantizeOptions {
    /// The default options for a format.
    pub fn new(format: Format) -> Self {
        QuantizeOptions {
            format,
            head: HeadFormat::default(),
            group_size: None,
            tool: concat!("edgellm-quantize ", env!("CARGO_PKG_VERSION")).to_string(),
        }
    }
}
