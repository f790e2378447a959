//! The options of a conversion.

use crate::{Allocation, Calibration, Importance, Measurement};
use edgellm_kernels::layout::{Encoding, Scales, Zero};
use std::fmt;
use std::str::FromStr;

/// Format of the layers' weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Quantized tensors as they are in the source: the same codes, and scales in half precision. Floats as [`Format::Int4`].
    Auto,
    /// 8 bits, symmetric.
    Int8,
    /// 6 bits, symmetric, in groups of 16.
    Int6,
    /// 5 bits with scale and minimum.
    Int5,
    /// 4 bits with scale and minimum; lossless from Q4_0 and Q4_1.
    Int4,
    /// 3 bits with scale and minimum.
    Int3,
    /// 2 bits with scale and minimum.
    Int2,
    /// Ternary: -1, 0 or 1 times one scale per row.
    Bitnet,
    /// Binary: -1 or 1 times a scale.
    Binary,
}

impl Format {
    /// All formats, the default first, then the finest.
    pub const ALL: [Format; 9] = [
        Format::Auto,
        Format::Int8,
        Format::Int6,
        Format::Int5,
        Format::Int4,
        Format::Int3,
        Format::Int2,
        Format::Bitnet,
        Format::Binary,
    ];

    /// Name as on the command line and in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Int8 => "int8",
            Format::Int6 => "int6",
            Format::Int5 => "int5",
            Format::Int4 => "int4",
            Format::Int3 => "int3",
            Format::Int2 => "int2",
            Format::Bitnet => "bitnet",
            Format::Binary => "binary",
        }
    }

    /// Columns of a quantization group by default; 0 for one scale per row.
    pub const fn default_group_size(self) -> usize {
        match self {
            Format::Auto | Format::Int8 | Format::Int5 | Format::Int4 | Format::Int3 | Format::Int2 => 32,
            Format::Int6 => 16,
            Format::Bitnet => 0,
            Format::Binary => 128,
        }
    }

    /// How the scales of codes that are chosen here are stored by default.
    pub const fn default_scales(self) -> Scales {
        match self {
            Format::Int3 | Format::Int2 => Scales::SixBits,
            _ => Scales::Halves,
        }
    }

    /// How codes that are chosen here are stored and what weights they represent.
    pub(crate) const fn target(self) -> Target {
        match self {
            Format::Int8 => Target { encoding: Encoding::Bytes, zero: Zero::Symmetric(128), max_code: 255 },
            Format::Int6 => Target { encoding: Encoding::Split(6), zero: Zero::Symmetric(32), max_code: 63 },
            Format::Int5 => Target { encoding: Encoding::Split(5), zero: Zero::Affine, max_code: 31 },
            Format::Auto | Format::Int4 => {
                Target { encoding: Encoding::Nibbles, zero: Zero::Affine, max_code: 15 }
            }
            Format::Int3 => Target { encoding: Encoding::Planes(3), zero: Zero::Affine, max_code: 7 },
            Format::Int2 => Target { encoding: Encoding::Planes(2), zero: Zero::Affine, max_code: 3 },
            Format::Bitnet => Target { encoding: Encoding::Ternary, zero: Zero::Symmetric(1), max_code: 2 },
            Format::Binary => Target { encoding: Encoding::Binary, zero: Zero::Symmetric(1), max_code: 2 },
        }
    }
}

const FORMATS: &str = "auto, int8, int6, int5, int4, int3, int2, bitnet, binary";

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
        Format::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat { found: name.to_string(), expected: FORMATS })
    }
}

/// Format of the embedding and the LM head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadFormat {
    /// With [`Format::Auto`], as in the source, and floats as int8; with other formats, int8.
    #[default]
    Auto,
    /// This format.
    As(Format),
}

impl HeadFormat {
    /// All of them, the default first.
    pub fn all() -> impl Iterator<Item = HeadFormat> {
        Format::ALL.into_iter().map(|format| match format {
            Format::Auto => HeadFormat::Auto,
            format => HeadFormat::As(format),
        })
    }

    /// Name as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            HeadFormat::Auto => "auto",
            HeadFormat::As(format) => format.name(),
        }
    }

    /// What it is where the layers have format `layers`.
    pub const fn format(self, layers: Format) -> Format {
        match (self, layers) {
            (HeadFormat::Auto, Format::Auto) => Format::Auto,
            (HeadFormat::Auto, _) => Format::Int8,
            (HeadFormat::As(format), _) => format,
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
        HeadFormat::all()
            .find(|head| head.name() == name)
            .ok_or_else(|| UnknownFormat { found: name.to_string(), expected: FORMATS })
    }
}

/// The order of codes in a tensor of type I2_S, of which files do not say which one they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum I2sOrder {
    /// 128 codes in 32 bytes: files that bitnet.cpp wrote on x86, and all from before November 2025.
    X86,
    /// 64 codes in 16 bytes: files that it wrote on ARM since.
    Arm,
}

impl I2sOrder {
    /// Both, and their names on the command line.
    pub const ALL: [(I2sOrder, &'static str); 2] = [(I2sOrder::X86, "x86"), (I2sOrder::Arm, "arm")];
}

impl FromStr for I2sOrder {
    type Err = UnknownOrder;

    fn from_str(name: &str) -> Result<Self, UnknownOrder> {
        let order = I2sOrder::ALL.into_iter().find(|(_, known)| *known == name).map(|(order, _)| order);
        order.ok_or_else(|| UnknownOrder { found: name.to_string() })
    }
}

/// The name of an unknown order of codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no order {found:?} of I2_S; there are x86 and arm")]
pub struct UnknownOrder {
    /// The given name.
    pub found: String,
}

/// Version of the conversion's rules: it goes up when the same source and options give another model file. A cache of model
/// files keeps it with each, and converts again what was converted by other rules.
pub const RULES_VERSION: u32 = 5;

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
    /// How the scales of what is rounded are stored in the layers; `None` for the format's default. [`Scales::SixBits`] is for
    /// `int4`, `int3` and `int2`, and also for embedding and head if they have such a format.
    pub scales: Option<Scales>,
    /// The order of codes of type I2_S; without it, a source that has such tensors is refused.
    pub i2s_order: Option<I2sOrder>,
    /// How much each column of a matrix matters: what is rounded is rounded so that the errors of important columns are
    /// small. It has no effect on codes that are kept.
    pub importance: Option<Importance>,
    /// Text that the model is run on, so that what is rounded is rounded by what its layers see. It has no effect on codes that
    /// are kept, nor on tensors with an importance matrix.
    pub calibration: Option<Calibration>,
    /// A width for each matrix, in the place of the formats above; [`sensitivity`](crate::sensitivity) finds them.
    pub allocation: Option<Allocation>,
    /// Text that the model is run on before and after, so that the file says what rounding cost. It has no effect where nothing is
    /// rounded.
    pub quality: Option<Measurement>,
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
            scales: None,
            i2s_order: None,
            importance: None,
            calibration: None,
            allocation: None,
            quality: None,
            tool: concat!("edgellm-quantize ", env!("CARGO_PKG_VERSION")).to_string(),
        }
    }
}
