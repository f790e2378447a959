//! The shape and encoding of a packed matrix, and the offsets of its parts.

use super::codes::{BLOCK, Encoding, HALF, STRIP};
use super::six::{ROW_HALVES, SIX_BITS};
use std::fmt;

/// Largest number of rows or columns of a matrix. Keeps every size computation far from overflow.
pub const MAX_DIM: usize = 1 << 24;

/// Which code stands for weight 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zero {
    /// weight = scale * (code - zero)
    Symmetric(u8),
    /// weight = scale * code + min, each group having a min beside its scale
    Affine,
}

/// How the scales of groups are stored, and the minimums beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scales {
    /// A half-precision float for each row and group.
    #[default]
    Halves,
    /// Six bits for each row and group, and half-precision floats for each row alone: a group's scale is the product of its
    /// six bits, from 0 to 63, with the row's scale, its minimum that with the row's minimum. Only for some affine layouts,
    /// see [`Layout::with_scales`].
    SixBits,
}

/// Why a layout is not valid, or data does not fit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The number of rows or columns is 0 or above [`MAX_DIM`].
    Dimension {
        /// Number of output rows given.
        rows: usize,
        /// Number of columns given.
        cols: usize,
    },
    /// The group size is not a positive multiple of 32, or, for split codes of 2, 3 or 6 bits, not 16.
    GroupSize(usize),
    /// [`Encoding::Planes`] with a number of bits outside 1..=4.
    Bits(u8),
    /// [`Encoding::Split`] with another number of bits than 2, 3, 5 or 6.
    SplitBits(u8),
    /// [`Encoding::Ternary`] or [`Encoding::Binary`] with another zero than 1.
    Signs(Zero),
    /// [`Scales::SixBits`] with another encoding than planes or nibbles, or with a zero.
    SixBitScales(Encoding, Zero),
    /// The data does not have the length that the layout takes.
    Length {
        /// Bytes that the layout takes.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::Dimension { rows, cols } => {
                write!(f, "a matrix of {rows} x {cols} is outside 1..={MAX_DIM} rows and columns")
            }
            LayoutError::GroupSize(size) => {
                write!(
                    f,
                    "group size {size} is not a positive multiple of {BLOCK}, or, for codes of 2, 3 or 6 bits in fields, \
                     not {HALF}"
                )
            }
            LayoutError::Bits(bits) => write!(f, "{bits} bit-planes, but only 1 to 4 are possible"),
            LayoutError::SplitBits(bits) => {
                write!(f, "codes of {bits} bits in fields, but only 2, 3, 5 and 6 are possible")
            }
            LayoutError::Signs(zero) => {
                write!(f, "ternary or binary codes with {zero:?}, but only Symmetric(1) is possible")
            }
            LayoutError::SixBitScales(encoding, zero) => {
                write!(
                    f,
                    "six-bit scales with {encoding:?} and {zero:?}, but they are for affine bit-planes and nibbles alone"
                )
            }
            LayoutError::Length { expected, actual } => {
                write!(f, "{actual} bytes of data where the layout takes {expected}")
            }
        }
    }
}

impl std::error::Error for LayoutError {}

/// Shape and encoding of a packed matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    rows: usize,
    cols: usize,
    encoding: Encoding,
    zero: Zero,
    group_size: usize,
    scales: Scales,
}

impl Layout {
    /// A layout for `rows` x `cols` codes, whose scales are halves. `group_size` is a multiple of 32; if it is at least the
    /// number of columns, each row has a single scale. Split codes of 2, 3 or 6 bits have groups of 16.
    ///
    /// # Errors
    /// [`LayoutError`] if a number is out of range.
    pub fn new(
        rows: usize,
        cols: usize,
        encoding: Encoding,
        zero: Zero,
        group_size: usize,
    ) -> Result<Self, LayoutError> {
        if !(1..=MAX_DIM).contains(&rows) || !(1..=MAX_DIM).contains(&cols) {
            return Err(LayoutError::Dimension { rows, cols });
        }
        match encoding {
            Encoding::Planes(bits) if !(1..=4).contains(&bits) => return Err(LayoutError::Bits(bits)),
            Encoding::Split(bits) if !matches!(bits, 2 | 3 | 5 | 6) => {
                return Err(LayoutError::SplitBits(bits));
            }
            Encoding::Ternary | Encoding::Binary if zero != Zero::Symmetric(1) => {
                return Err(LayoutError::Signs(zero));
            }
            _ => {}
        }
        let fits = match encoding {
            Encoding::Split(2 | 3 | 6) => group_size == HALF,
            _ => group_size > 0 && group_size.is_multiple_of(BLOCK),
        };
        if !fits {
            return Err(LayoutError::GroupSize(group_size));
        }
        let group_size = group_size.min(cols.next_multiple_of(BLOCK));
        Ok(Layout { rows, cols, encoding, zero, group_size, scales: Scales::Halves })
    }

    /// The same layout with scales of another kind. Six-bit scales are for affine bit-planes and nibbles.
    ///
    /// # Errors
    /// [`LayoutError::SixBitScales`] if the layout cannot have them.
    pub fn with_scales(self, scales: Scales) -> Result<Self, LayoutError> {
        match (scales, self.encoding, self.zero) {
            (Scales::Halves, ..)
            | (Scales::SixBits, Encoding::Planes(_) | Encoding::Nibbles, Zero::Affine) => {
                Ok(Layout { scales, ..self })
            }
            (Scales::SixBits, encoding, zero) => Err(LayoutError::SixBitScales(encoding, zero)),
        }
    }

    /// Output rows, M.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Depth, K.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Encoding of the codes.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Meaning of the codes.
    pub const fn zero(&self) -> Zero {
        self.zero
    }

    /// How scales and minimums are stored.
    pub const fn scales(&self) -> Scales {
        self.scales
    }

    /// Columns that share a scale, never more than the padded columns.
    pub const fn group_size(&self) -> usize {
        self.group_size
    }

    /// Columns rounded up to whole blocks.
    pub const fn padded_cols(&self) -> usize {
        self.cols.next_multiple_of(BLOCK)
    }

    /// Number of strips of 32 rows.
    pub const fn strips(&self) -> usize {
        self.rows.div_ceil(STRIP)
    }

    /// Number of blocks along K.
    pub const fn blocks(&self) -> usize {
        self.cols.div_ceil(BLOCK)
    }

    /// Number of quantization groups along K; the last one may be shorter.
    pub const fn groups(&self) -> usize {
        self.cols.div_ceil(self.group_size)
    }

    /// Whether a quantization group is half a block.
    pub const fn halves(&self) -> bool {
        self.group_size < BLOCK
    }

    /// Columns whose codes lie together: those of a block, or of half a block where that is a group.
    pub(crate) const fn unit(&self) -> usize {
        if self.halves() { HALF } else { BLOCK }
    }

    /// Bytes of the codes of a [unit](Layout::unit).
    pub(crate) const fn unit_bytes(&self) -> usize {
        self.encoding.block_bytes() / (BLOCK / self.unit())
    }

    /// Blocks of a full group; 0 if a group is half a block.
    pub const fn blocks_per_group(&self) -> usize {
        self.group_size / BLOCK
    }

    /// Distance of two groups in a strip: the bytes of a full group's codes, and of its scales if they precede its codes.
    pub(crate) const fn group_bytes(&self) -> usize {
        let codes = self.group_size / self.unit() * self.unit_bytes();
        match self.scales {
            Scales::Halves => self.scale_bytes() + codes,
            Scales::SixBits => codes,
        }
    }

    /// Bytes of a group's scales (and minimums) in a strip.
    pub const fn scale_bytes(&self) -> usize {
        match (self.scales, self.zero) {
            (Scales::Halves, Zero::Symmetric(_)) => 2 * STRIP,
            (Scales::Halves, Zero::Affine) => 4 * STRIP,
            (Scales::SixBits, _) => SIX_BITS,
        }
    }

    /// Bytes of a strip before its first group: if scales have six bits, the scales and minimums of its rows, and the six bits
    /// of all groups.
    pub const fn strip_header_bytes(&self) -> usize {
        match self.scales {
            Scales::Halves => 0,
            Scales::SixBits => (ROW_HALVES + self.groups() * SIX_BITS).next_multiple_of(64),
        }
    }

    /// Bytes of a strip.
    pub const fn strip_bytes(&self) -> usize {
        let codes = self.cols.div_ceil(self.unit()) * self.unit_bytes();
        match self.scales {
            Scales::Halves => self.groups() * self.scale_bytes() + codes,
            Scales::SixBits => self.strip_header_bytes() + codes,
        }
    }

    /// Bytes of the whole matrix. Cannot overflow, see [`MAX_DIM`].
    pub const fn total_bytes(&self) -> usize {
        // On a 32-bit target a matrix can exceed the address space; no data has that length.
        self.strips().saturating_mul(self.strip_bytes())
    }

    /// Offsets in a strip: of the scales of the group that column `col`, the first of a [unit](Layout::unit), belongs to,
    /// and of the unit's codes.
    pub(crate) const fn offsets(&self, col: usize) -> (usize, usize) {
        let group = col / self.group_size;
        let start = self.strip_header_bytes() + group * self.group_bytes();
        let before = col % self.group_size / self.unit() * self.unit_bytes();
        match self.scales {
            Scales::Halves => (start, start + self.scale_bytes() + before),
            Scales::SixBits => (ROW_HALVES + group * SIX_BITS, start + before),
        }
    }
}
