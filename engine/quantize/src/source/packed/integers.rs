//! Weights as whole numbers of 2, 3, 4 or 8 bits: `scale * (code - zero)`, with a scale and a zero point for each group of
//! columns of a row.

use super::super::stored::Floats;
use super::words::Words;
use super::{Grid, Packed, to_half};
use crate::codes::Codes;
use edgellm_kernels::layout::{Encoding, Zero, f16_to_f32};

/// Where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Integers<'a> {
    pub(super) codes: Words<'a>,
    /// What a lane of codes is.
    pub(super) lanes: Lanes,
    pub(super) scales: Floats<'a>,
    /// Distances in `scales` from a row to the next, and from a group to the next.
    pub(super) steps: [usize; 2],
    pub(super) zeros: Zeros<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    Rows,
    Columns,
}

/// The codes that stand for 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zeros<'a> {
    Same(u8),
    /// One for each group and row; the lanes are groups. Some files have `less` less than is meant, modulo all codes.
    Each {
        words: Words<'a>,
        less: u8,
    },
}

impl<'a> Integers<'a> {
    pub(super) fn codes(&self, row: usize, codes: &mut [u8]) {
        for (col, code) in codes.iter_mut().enumerate() {
            *code = match self.lanes {
                Lanes::Rows => self.codes.get(row, col),
                Lanes::Columns => self.codes.get(col, row),
            };
        }
    }

    pub(super) fn scale(&self, row: usize, group: usize) -> (f32, u8) {
        let [row_step, group_step] = self.steps;
        (self.scales.get(row * row_step + group * group_step), self.zero(row, group))
    }

    fn zero(&self, row: usize, group: usize) -> u8 {
        match &self.zeros {
            Zeros::Same(zero) => *zero,
            Zeros::Each { words, less } => words.get(group, row).wrapping_add(*less) & self.most(),
        }
    }

    /// The largest code.
    fn most(&self) -> u8 {
        u8::MAX >> 8_usize.saturating_sub(self.codes.bits)
    }

    /// Whether a stored zero point is no code with what it lacks.
    pub(super) fn has_impossible_zero(&self, rows: usize, groups: usize) -> bool {
        let Zeros::Each { words, less } = &self.zeros else { return false };
        let lane = |group| {
            (0..rows)
                .any(|row| words.get(group, row).checked_add(*less).is_none_or(|zero| zero > self.most()))
        };
        (0..groups).any(lane)
    }

    /// The tensor, whose groups have `size` columns, 0 for all of a row.
    pub(super) fn packed(self, names: &[&'static str; 4], shape: [usize; 2], size: usize) -> Packed<'a> {
        let groups = if size == 0 { 1 } else { shape[1].div_ceil(size) };
        let (encoding, type_name) = match self.codes.bits {
            2 => (Encoding::Planes(2), names[0]),
            3 => (Encoding::Planes(3), names[1]),
            4 => (Encoding::Nibbles, names[2]),
            _ => (Encoding::Bytes, names[3]),
        };
        let first = self.zero(0, 0);
        let same = match self.zeros {
            Zeros::Same(_) => true,
            Zeros::Each { .. } => {
                (0..groups).all(|group| (0..shape[0]).all(|row| self.zero(row, group) == first))
            }
        };
        // One zero point is a number of the file; several become minimums, which are rounded.
        let (zero, exact) = match same {
            true => (Zero::Symmetric(first), self.scales.iter().all(is_half)),
            false => (Zero::Affine, false),
        };
        let codes = Codes { encoding, zero, group_size: size, exact };
        Packed { type_name, shape, codes, grid: Grid::Integers(self) }
    }
}

/// Whether half precision has this number.
fn is_half(value: f32) -> bool {
    to_half(value).is_ok_and(|bits| f16_to_f32(bits) == value)
}
