//! The packed weight layout: one file, mapped and multiplied as it is on every vector width.
//!
//! A matrix of shape (rows M, cols K) is cut into **strips** of [`STRIP`] = 32 output rows. A strip is a
//! sequence of quantization **groups** along K; a group is its scales followed by its **blocks** of
//! [`BLOCK`] = 32 columns. Everything starts at a multiple of 64 bytes:
//!
//! ```text
//! strip:  group 0 | group 1 | ...
//! group:  scale  32 x f16 (64 bytes), one a row
//!         min    32 x f16 (64 bytes), only if affine
//!         block 0 | block 1 | ... | block (group_size / 32 - 1)
//! block:  32 rows x 32 cols of codes, bits * 128 bytes, in tiles of 4 cols (one LUT group)
//! ```
//!
//! A weight is `scale * (code - zero)` (symmetric) or `scale * code + min` (affine).
//!
//! The two encodings of a block, for rows r = 0..32 and LUT groups g = 0..8 (cols 4g..4g+4):
//! - [`Encoding::Planes`] (1 to 4 bits, for lookup kernels): plane after plane, `p` = 0 the least
//!   significant bit. A plane is 8 tiles of 16 bytes. In tile g the nibble of row r holds bit `p` of the
//!   codes of cols 4g..4g+4, col 4g in its lowest bit. Byte 2i carries rows i (low nibble) and 16+i (high
//!   nibble), byte 2i+1 rows 8+i and 24+i, for i = 0..8: the widening accumulator of the lookup kernels
//!   separates even from odd bytes, which leaves the rows in order.
//! - [`Encoding::Nibbles`] (4 bits, for dot products): 8 tiles of 64 bytes; byte 4i+j of tile g holds col
//!   4g+j of row i in its low and of row 16+i in its high nibble, i = 0..16, j = 0..4.
//! - [`Encoding::Bytes`] (8 bits, for dot products): 8 tiles of 128 bytes; byte 4r+j of tile g holds col
//!   4g+j of row r.
//!
//! Rows past M and columns past K are padding: code 0, scale 0, min 0. Activations are padded with zeros.

pub use crate::half::{f16_to_f32, f32_to_f16};
use std::fmt;

/// Output rows of a strip.
pub const STRIP: usize = 32;
/// Columns of a block: the activations of one block share one scale.
pub const BLOCK: usize = 32;
/// Columns that index one lookup table.
pub const LUT_GROUP: usize = 4;
/// LUT groups in a block.
pub const GROUPS_PER_BLOCK: usize = BLOCK / LUT_GROUP;
/// Weights of a block.
pub const BLOCK_WEIGHTS: usize = STRIP * BLOCK;
/// Largest number of rows or columns of a matrix. Keeps every size computation far from overflow.
pub const MAX_DIM: usize = 1 << 24;

/// How the codes of a block are stored; see the [module](self) for the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// 1 to 4 bit-planes, multiplied by table lookup.
    Planes(u8),
    /// 4-bit codes, multiplied by dot-product instructions.
    Nibbles,
    /// 8-bit codes, multiplied by dot-product instructions.
    Bytes,
}

impl Encoding {
    /// Bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            Encoding::Planes(bits) => bits as usize,
            Encoding::Nibbles => 4,
            Encoding::Bytes => 8,
        }
    }

    /// Bytes of a block of 32 x 32 codes.
    pub const fn block_bytes(self) -> usize {
        self.bits() * BLOCK_WEIGHTS / 8
    }
}

/// What code stands for weight 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zero {
    /// weight = scale * (code - zero)
    Symmetric(u8),
    /// weight = scale * code + min, with a min a group beside the scale
    Affine,
}

/// A layout that cannot exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// Rows or columns are 0 or above [`MAX_DIM`].
    Dimension {
        /// Number of output rows given.
        rows: usize,
        /// Number of columns given.
        cols: usize,
    },
    /// The group size is no positive multiple of 32.
    GroupSize(usize),
    /// [`Encoding::Planes`] with a number of bits outside 1..=4.
    Bits(u8),
    /// The data is not as long as the layout says.
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
                write!(f, "group size {size} is not a positive multiple of {BLOCK}")
            }
            LayoutError::Bits(bits) => write!(f, "{bits} bit-planes, but only 1 to 4 are possible"),
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
}

impl Layout {
    /// A layout for `rows` x `cols` codes. `group_size` is a multiple of 32; one at least as large as the
    /// number of columns means one scale a row.
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
        if group_size == 0 || !group_size.is_multiple_of(BLOCK) {
            return Err(LayoutError::GroupSize(group_size));
        }
        if let Encoding::Planes(bits) = encoding
            && !(1..=4).contains(&bits)
        {
            return Err(LayoutError::Bits(bits));
        }
        let group_size = group_size.min(cols.next_multiple_of(BLOCK));
        Ok(Layout { rows, cols, encoding, zero, group_size })
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

    /// Blocks of a full group.
    pub const fn blocks_per_group(&self) -> usize {
        self.group_size / BLOCK
    }

    /// Bytes of a group's scales (and minimums) in a strip.
    pub const fn scale_bytes(&self) -> usize {
        match self.zero {
            Zero::Symmetric(_) => 2 * STRIP,
            Zero::Affine => 4 * STRIP,
        }
    }

    /// Bytes of a strip.
    pub const fn strip_bytes(&self) -> usize {
        self.groups() * self.scale_bytes() + self.blocks() * self.encoding.block_bytes()
    }

    /// Bytes of the whole matrix. Cannot overflow, see [`MAX_DIM`].
    pub const fn total_bytes(&self) -> usize {
        // On a 32-bit target a matrix can be larger than the address space; such a file cannot be there.
        self.strips().saturating_mul(self.strip_bytes())
    }

    /// Offset in a strip of the group that holds block `block`'s scales, and of the block's codes.
    pub(crate) const fn offsets(&self, block: usize) -> (usize, usize) {
        let group = block / self.blocks_per_group();
        let scales = group * (self.scale_bytes() + self.blocks_per_group() * self.encoding.block_bytes());
        let in_group = block % self.blocks_per_group();
        (scales, scales + self.scale_bytes() + in_group * self.encoding.block_bytes())
    }
}

/// Byte offset in a block and left shift of the code of row `r`, col `c`; for planes of plane 0's bit.
const fn position(encoding: Encoding, r: usize, c: usize) -> (usize, usize) {
    let (g, j) = (c / LUT_GROUP, c % LUT_GROUP);
    match encoding {
        Encoding::Planes(_) => {
            let (half, i) = (r / 16, r % 16);
            let byte = if i < 8 { 2 * i } else { 2 * (i - 8) + 1 };
            (16 * g + byte, 4 * half + j)
        }
        Encoding::Nibbles => (64 * g + 4 * (r % 16) + j, 4 * (r / 16)),
        Encoding::Bytes => (128 * g + 4 * r + j, 0),
    }
}

/// Writes one code into a zeroed block.
fn put(encoding: Encoding, block: &mut [u8], r: usize, c: usize, code: u8) {
    let (byte, shift) = position(encoding, r, c);
    match encoding {
        Encoding::Planes(bits) => {
            for plane in 0..bits as usize {
                block[128 * plane + byte] |= (code >> plane & 1) << shift;
            }
        }
        Encoding::Nibbles => block[byte] |= (code & 15) << shift,
        Encoding::Bytes => block[byte] = code,
    }
}

/// Reads one code from a block.
fn get(encoding: Encoding, block: &[u8], r: usize, c: usize) -> u8 {
    let (byte, shift) = position(encoding, r, c);
    match encoding {
        Encoding::Planes(bits) => {
            (0..bits as usize).map(|plane| (block[128 * plane + byte] >> shift & 1) << plane).sum()
        }
        Encoding::Nibbles => block[byte] >> shift & 15,
        Encoding::Bytes => block[byte],
    }
}

/// Packs one strip.
///
/// - `codes`: up to 32 rows x [`Layout::cols`], row after row (the last strip may have fewer rows)
/// - `scales`, `mins`: as many rows x [`Layout::groups`], f16 bit patterns; `mins` empty unless affine
/// - `out`: [`Layout::strip_bytes`] bytes, overwritten
///
/// # Panics
/// If a slice has another length.
pub fn pack_strip(layout: &Layout, codes: &[u8], scales: &[u16], mins: &[u16], out: &mut [u8]) {
    let (cols, groups) = (layout.cols, layout.groups());
    let rows = codes.len() / cols;
    assert!(rows <= STRIP && codes.len() == rows * cols, "codes are not whole rows of a strip");
    assert_eq!(scales.len(), rows * groups, "one scale a row and group");
    let affine = layout.zero == Zero::Affine;
    assert_eq!(mins.len(), if affine { rows * groups } else { 0 }, "one min a row and group if affine");
    assert_eq!(out.len(), layout.strip_bytes());
    out.fill(0);
    for group in 0..groups {
        let (offset, _) = layout.offsets(group * layout.blocks_per_group());
        for r in 0..rows {
            out[offset + 2 * r..][..2].copy_from_slice(&scales[r * groups + group].to_le_bytes());
            if affine {
                out[offset + 64 + 2 * r..][..2].copy_from_slice(&mins[r * groups + group].to_le_bytes());
            }
        }
    }
    for block in 0..layout.blocks() {
        let (_, offset) = layout.offsets(block);
        let bytes = &mut out[offset..offset + layout.encoding.block_bytes()];
        for r in 0..rows {
            for c in 0..BLOCK.min(cols - block * BLOCK) {
                put(layout.encoding, bytes, r, c, codes[r * cols + block * BLOCK + c]);
            }
        }
    }
}

/// A packed matrix over borrowed bytes, checked once.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    layout: Layout,
    data: &'a [u8],
}

impl fmt::Debug for Matrix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Matrix").field(&self.layout).finish()
    }
}

impl<'a> Matrix<'a> {
    /// A matrix of this layout over `data`.
    ///
    /// # Errors
    /// [`LayoutError::Length`] if `data` is not exactly [`Layout::total_bytes`] long.
    pub fn new(layout: Layout, data: &'a [u8]) -> Result<Self, LayoutError> {
        if data.len() != layout.total_bytes() {
            return Err(LayoutError::Length { expected: layout.total_bytes(), actual: data.len() });
        }
        Ok(Matrix { layout, data })
    }

    /// The layout.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The packed bytes, [`Layout::total_bytes`] of them.
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The bytes of strip `strip`.
    ///
    /// # Panics
    /// If there is no such strip.
    #[inline]
    pub fn strip(&self, strip: usize) -> &'a [u8] {
        let bytes = self.layout.strip_bytes();
        &self.data[strip * bytes..(strip + 1) * bytes]
    }

    /// The first strip with a scale or minimum that is infinite or NaN, if there is one. Kernels take scales
    /// for finite: instruction sets differ in how they convert others.
    pub fn strip_not_finite(&self) -> Option<usize> {
        let (scale_bytes, group) = (
            self.layout.scale_bytes(),
            self.layout.scale_bytes() + self.layout.blocks_per_group() * self.layout.encoding.block_bytes(),
        );
        (0..self.layout.strips()).find(|&strip| {
            self.strip(strip).chunks(group).any(|group| {
                // A loop without an exit vectorises; scales are up to a fifth of a file.
                let (halves, _) = group[..scale_bytes].as_chunks::<2>();
                halves.iter().fold(false, |bad, half| bad | (u16::from_le_bytes(*half) & 0x7c00 == 0x7c00))
            })
        })
    }

    /// The code, scale and min (0 if symmetric) of one weight.
    ///
    /// # Panics
    /// If row or column is out of range.
    pub fn code(&self, row: usize, col: usize) -> (u8, f32, f32) {
        assert!(row < self.layout.rows && col < self.layout.cols);
        let strip = self.strip(row / STRIP);
        let r = row % STRIP;
        let (scales, codes) = self.layout.offsets(col / BLOCK);
        let half = |offset: usize| f16_to_f32(u16::from_le_bytes([strip[offset], strip[offset + 1]]));
        let min = if self.layout.zero == Zero::Affine { half(scales + 64 + 2 * r) } else { 0.0 };
        (get(self.layout.encoding, &strip[codes..], r, col % BLOCK), half(scales + 2 * r), min)
    }

    /// Writes row `row` as floats: the embedding lookup.
    ///
    /// # Panics
    /// If there is no such row or `out` is not [`Layout::cols`] long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        let Layout { rows, cols, encoding, zero, .. } = self.layout;
        assert!(row < rows && out.len() == cols);
        let (strip, r) = (self.strip(row / STRIP), row % STRIP);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let (scales, codes) = self.layout.offsets(block);
            let half = |offset: usize| f16_to_f32(u16::from_le_bytes([strip[offset], strip[offset + 1]]));
            let scale = half(scales + 2 * r);
            let codes = &strip[codes..][..encoding.block_bytes()];
            match zero {
                Zero::Symmetric(zero) => {
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = scale * (f32::from(get(encoding, codes, r, c)) - f32::from(zero));
                    }
                }
                Zero::Affine => {
                    let min = half(scales + 2 * STRIP + 2 * r);
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = scale * f32::from(get(encoding, codes, r, c)) + min;
                    }
                }
            }
        }
    }
}
