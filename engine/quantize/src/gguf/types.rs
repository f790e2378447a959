//! The element types of GGUF tensors.

use std::fmt;

/// Type of a tensor's elements: floats, or blocks of codes with their scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum GgmlType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 16-bit brain float.
    BF16,
    /// 32 codes of 4 bits, scale.
    Q4_0,
    /// 32 codes of 4 bits, scale and minimum.
    Q4_1,
    /// 32 codes of 5 bits, scale.
    Q5_0,
    /// 32 codes of 5 bits, scale and minimum.
    Q5_1,
    /// 32 codes of 8 bits, scale.
    Q8_0,
    /// 256 codes of 2 bits in 16 groups.
    Q2_K,
    /// 256 codes of 3 bits in 16 groups.
    Q3_K,
    /// 256 codes of 4 bits in 8 groups.
    Q4_K,
    /// 256 codes of 5 bits in 8 groups.
    Q5_K,
    /// 256 codes of 6 bits in 16 groups.
    Q6_K,
    /// 32 indexes of 4 bits into a table, scale.
    IQ4_NL,
    /// 256 indexes of 4 bits into a table, in 8 groups.
    IQ4_XS,
    /// 32 floats of 4 bits, a power of two as scale.
    MXFP4,
    /// 256 ternary codes, five in a byte, scale.
    TQ1_0,
    /// 256 ternary codes of 2 bits, scale.
    TQ2_0,
    /// Ternary codes of 2 bits, 128 in 32 bytes, and one scale for the tensor.
    I2_S,
    /// [`GgmlType::I2_S`] as ARM builds of bitnet.cpp write it, under the same number: 64 codes in 16 bytes.
    I2_S_ARM,
    /// 128 signs, scale.
    Q1_0,
    /// 64 ternary codes of 2 bits, scale.
    Q2_0,
    /// 128 ternary codes of 2 bits, scale; also what older files have under the number of [`GgmlType::Q2_0`].
    PQ2_0,
    /// 128 ternary codes, five in a byte, scale.
    PTQ1_0,
}

/// The supported types, for messages.
pub(super) const SUPPORTED: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, TQ1_0, TQ2_0, \
     I2_S, Q1_0, Q2_0, PQ2_0 and PTQ1_0";

/// Number in the file, type, name, weights per block, bytes per block.
const TABLE: [(u32, GgmlType, &str, usize, usize); 24] = [
    (0, GgmlType::F32, "F32", 1, 4),
    (1, GgmlType::F16, "F16", 1, 2),
    (2, GgmlType::Q4_0, "Q4_0", 32, 18),
    (3, GgmlType::Q4_1, "Q4_1", 32, 20),
    (6, GgmlType::Q5_0, "Q5_0", 32, 22),
    (7, GgmlType::Q5_1, "Q5_1", 32, 24),
    (8, GgmlType::Q8_0, "Q8_0", 32, 34),
    (10, GgmlType::Q2_K, "Q2_K", 256, 84),
    (11, GgmlType::Q3_K, "Q3_K", 256, 110),
    (12, GgmlType::Q4_K, "Q4_K", 256, 144),
    (13, GgmlType::Q5_K, "Q5_K", 256, 176),
    (14, GgmlType::Q6_K, "Q6_K", 256, 210),
    (20, GgmlType::IQ4_NL, "IQ4_NL", 32, 18),
    (23, GgmlType::IQ4_XS, "IQ4_XS", 256, 136),
    (30, GgmlType::BF16, "BF16", 1, 2),
    (34, GgmlType::TQ1_0, "TQ1_0", 256, 54),
    (35, GgmlType::TQ2_0, "TQ2_0", 256, 66),
    (36, GgmlType::I2_S, "I2_S", 128, 32),
    (36, GgmlType::I2_S_ARM, "I2_S of ARM", 64, 16),
    (39, GgmlType::MXFP4, "MXFP4", 32, 17),
    (41, GgmlType::Q1_0, "Q1_0", 128, 18),
    (42, GgmlType::Q2_0, "Q2_0", 64, 18),
    (142, GgmlType::PQ2_0, "PQ2_0", 128, 34),
    (143, GgmlType::PTQ1_0, "PTQ1_0", 128, 28),
];

/// Names of types that exist but are not supported, for messages.
const OTHERS: [(u32, &str); 15] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (40, "NVFP4"),
];

/// The name of type `number`, or the number itself.
pub(super) fn name_of(number: u32) -> String {
    match OTHERS.iter().find(|(other, _)| *other == number) {
        Some((_, name)) => (*name).to_string(),
        None => format!("{number} (unknown)"),
    }
}

impl GgmlType {
    /// All types, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = GgmlType> {
        TABLE.iter().map(|row| row.1)
    }

    /// The type with this number in GGUF files; where two share it, the first.
    pub fn from_number(number: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == number).map(|row| row.1)
    }

    /// The number in GGUF files.
    pub fn number(self) -> u32 {
        self.row().0
    }

    /// Name as in file names.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Weights per block.
    pub fn block_weights(self) -> usize {
        self.row().3
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    fn row(self) -> (u32, GgmlType, &'static str, usize, usize) {
        // Every type is in the table; a test checks that.
        TABLE.iter().copied().find(|row| row.1 == self).unwrap_or(TABLE[0])
    }

    /// Bytes of a row of `cols` weights; `None` if they are not a whole number of blocks.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let (weights, bytes) = (self.block_weights(), self.block_bytes());
        if !cols.is_multiple_of(weights) {
            return None;
        }
        (cols / weights).checked_mul(bytes)
    }

    /// Bytes after the blocks of a tensor, which begin with its scale, a 32-bit float.
    pub(super) fn tail_bytes(self) -> usize {
        if matches!(self, GgmlType::I2_S | GgmlType::I2_S_ARM) { 32 } else { 0 }
    }

    /// Bytes of a tensor whose contiguous dimension is the first of `dims`.
    pub(super) fn tensor_bytes(self, dims: &[u64]) -> Option<u64> {
        let (cols, rows) = dims.split_first()?;
        let row = self.row_bytes(usize::try_from(*cols).ok()?)? as u64;
        let bytes = rows.iter().try_fold(row, |bytes, &dim| bytes.checked_mul(dim))?;
        bytes.checked_add(self.tail_bytes() as u64).filter(|_| bytes > 0)
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
