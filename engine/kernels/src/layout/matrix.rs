//! A packed matrix.

use super::codes::{STRIP, get};
use super::shape::{Layout, LayoutError, Scales, Zero};
use super::six::{ROW_HALVES, SIX_BITS, get_six};
use crate::half::f16_to_f32;
use std::fmt;

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

    /// The first strip with a scale or minimum that is infinite or NaN, if there is one. Kernels assume finite scales:
    /// instruction sets differ in how they convert others.
    pub fn strip_not_finite(&self) -> Option<usize> {
        let (scale_bytes, group) = (self.layout.scale_bytes(), self.layout.group_bytes());
        let not_finite = |halves: &[u8]| {
            // A loop without an early exit, because that vectorises: scales are up to a fifth of a file.
            let (halves, _) = halves.as_chunks::<2>();
            halves.iter().fold(false, |bad, half| bad | (u16::from_le_bytes(*half) & 0x7c00 == 0x7c00))
        };
        (0..self.layout.strips()).find(|&strip| {
            let strip = self.strip(strip);
            match self.layout.scales() {
                Scales::Halves => strip.chunks(group).any(|group| not_finite(&group[..scale_bytes])),
                // The products of finite halves with six bits are finite.
                Scales::SixBits => not_finite(&strip[..ROW_HALVES]),
            }
        })
    }

    /// The scale and min (0 if symmetric) of row `r` of a strip in the group whose scales are at `offset`.
    fn scale(&self, strip: &[u8], offset: usize, r: usize) -> (f32, f32) {
        let half = |offset: usize| f16_to_f32(u16::from_le_bytes([strip[offset], strip[offset + 1]]));
        match (self.layout.scales(), self.layout.zero()) {
            (Scales::Halves, Zero::Symmetric(_)) => (half(offset + 2 * r), 0.0),
            (Scales::Halves, Zero::Affine) => (half(offset + 2 * r), half(offset + 2 * STRIP + 2 * r)),
            (Scales::SixBits, _) => {
                let group: &[u8; SIX_BITS] = strip[offset..].first_chunk().expect("a whole strip");
                let [scale, min] = get_six(group, r);
                (half(2 * r) * scale as f32, half(2 * STRIP + 2 * r) * min as f32)
            }
        }
    }

    /// The code, scale and min (0 if symmetric) of one weight.
    ///
    /// # Panics
    /// If row or column is out of range.
    pub fn code(&self, row: usize, col: usize) -> (u8, f32, f32) {
        assert!(row < self.layout.rows() && col < self.layout.cols());
        let strip = self.strip(row / STRIP);
        let r = row % STRIP;
        let within = col % self.layout.unit();
        let (scales, codes) = self.layout.offsets(col - within);
        let (scale, min) = self.scale(strip, scales, r);
        (get(self.layout.encoding(), &strip[codes..], r, within), scale, min)
    }

    /// Writes row `row` as floats: the embedding lookup.
    ///
    /// # Panics
    /// If there is no such row or `out` is not [`Layout::cols`] long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        let encoding = self.layout.encoding();
        assert!(row < self.layout.rows() && out.len() == self.layout.cols());
        let (strip, r) = (self.strip(row / STRIP), row % STRIP);
        let unit = self.layout.unit();
        for (index, out) in out.chunks_mut(unit).enumerate() {
            let (scales, codes) = self.layout.offsets(index * unit);
            let (scale, min) = self.scale(strip, scales, r);
            let codes = &strip[codes..][..self.layout.unit_bytes()];
            match self.layout.zero() {
                Zero::Symmetric(zero) => {
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = scale * (f32::from(get(encoding, codes, r, c)) - f32::from(zero));
                    }
                }
                Zero::Affine => {
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = scale * f32::from(get(encoding, codes, r, c)) + min;
                    }
                }
            }
        }
    }
}
