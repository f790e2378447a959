//! Ternary weights with one scale for a tensor, which is the tensor's own: here they are -1, 0 and 1.

use super::super::stored::Floats;
use super::{Grid, Packed};
use crate::codes::Codes;
use edgellm_kernels::layout::{Encoding, Zero};

/// Codes of 2 bits. A byte has those of a column of four rows, which are a quarter of the tensor apart, the first in its
/// lowest bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pairs<'a> {
    bytes: &'a [u8],
    /// Rows of bytes, and columns.
    shape: [usize; 2],
}

const ROWS: usize = 4;

impl<'a> Pairs<'a> {
    /// `shape` is that of the bytes.
    pub(super) fn packed(bytes: &'a [u8], shape: [usize; 2]) -> Packed<'a> {
        // A fourth code stands for 2.
        let fourth = bytes.iter().fold(0, |seen, byte| seen | byte & byte >> 1 & 0x55) != 0;
        let encoding = if fourth { Encoding::Planes(2) } else { Encoding::Ternary };
        let grid = Grid::Pairs(Pairs { bytes, shape });
        Packed { type_name: "BitNet", shape: [ROWS * shape[0], shape[1]], codes: codes(encoding), grid }
    }

    pub(super) fn codes(&self, row: usize, codes: &mut [u8]) {
        let [quarter, cols] = self.shape;
        let (place, shift) = (row % quarter.max(1), 2 * (row / quarter.max(1)) as u32);
        let start = place.saturating_mul(cols);
        let bytes = self.bytes.get(start..).unwrap_or_default();
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code = byte.checked_shr(shift).unwrap_or(0) & 3;
        }
    }
}

/// Floats that are rounded: to the nearest of -1, 0 and 1 after multiplication.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rounded<'a> {
    floats: Floats<'a>,
    cols: usize,
    factor: f32,
}

impl<'a> Rounded<'a> {
    pub(super) fn packed(floats: Floats<'a>, shape: [usize; 2], factor: f32) -> Packed<'a> {
        let grid = Grid::Rounded(Rounded { floats, cols: shape[1], factor });
        Packed { type_name: "BitNet online", shape, codes: codes(Encoding::Ternary), grid }
    }

    pub(super) fn codes(&self, row: usize, codes: &mut [u8]) {
        let start = row.saturating_mul(self.cols);
        for (col, code) in codes.iter_mut().enumerate() {
            let weight = self.floats.get(start.saturating_add(col)) * self.factor;
            *code = (weight.round_ties_even().clamp(-1.0, 1.0) + 1.0) as u8;
        }
    }
}

fn codes(encoding: Encoding) -> Codes {
    Codes { encoding, zero: Zero::Symmetric(1), group_size: 0, exact: true }
}
