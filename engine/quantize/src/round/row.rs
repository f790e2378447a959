//! A row, group by group, by the rule of its layout.

use super::six::six_bits;
use super::{Ternary, affine, binary, symmetric, weighted};
use edgellm_kernels::layout::{Encoding, Layout, Scales, Zero};

/// Where a row's codes go, and the scales and minimums of its groups; there are no minimums if the layout is symmetric. They are
/// half-precision bits, or, of layouts with six-bit scales, multiples below 64 of the row's scale and minimum, which then are
/// half-precision bits.
pub(crate) struct Row<'a> {
    pub(crate) codes: &'a mut [u8],
    pub(crate) scales: &'a mut [u16],
    pub(crate) mins: &'a mut [u16],
    pub(crate) halves: &'a mut [u16; 2],
}

/// Rounds rows; holds buffers.
#[derive(Debug, Default)]
pub(crate) struct Rounder {
    ternary: Ternary,
    /// Magnitudes and weights of a group.
    sorted: Vec<(u32, u32)>,
}

impl Rounder {
    /// Rounds a row, with a weight for each column as [`weighted::normalize`] makes them, or without.
    pub(crate) fn row(
        &mut self,
        layout: &Layout,
        max_code: u8,
        values: &[f32],
        weights: Option<&[f32]>,
        mut out: Row<'_>,
    ) {
        match weights {
            None => self.plain(layout, max_code, values, &mut out),
            Some(weights) => self.weighted(layout, max_code, values, weights, &mut out),
        }
        if layout.scales() == Scales::SixBits {
            six_bits(layout.group_size(), max_code, values, weights, out);
        }
    }

    fn plain(&mut self, layout: &Layout, max_code: u8, values: &[f32], out: &mut Row<'_>) {
        let Row { codes, scales, mins, .. } = out;
        let size = layout.group_size();
        let groups = values.chunks(size).zip(codes.chunks_mut(size)).zip(scales.iter_mut());
        match layout.zero() {
            Zero::Affine => {
                for (((x, codes), scale), min) in groups.zip(mins.iter_mut()) {
                    (*scale, *min) = affine(x, max_code, codes);
                }
            }
            Zero::Symmetric(_) if layout.encoding() == Encoding::Binary => {
                for ((x, codes), scale) in groups {
                    *scale = binary(x, codes);
                }
            }
            Zero::Symmetric(1) => {
                for ((x, codes), scale) in groups {
                    *scale = self.ternary.round(x, codes);
                }
            }
            Zero::Symmetric(zero) => {
                for ((x, codes), scale) in groups {
                    *scale = symmetric(x, zero, max_code, codes);
                }
            }
        }
    }

    fn weighted(
        &mut self,
        layout: &Layout,
        max_code: u8,
        values: &[f32],
        weights: &[f32],
        out: &mut Row<'_>,
    ) {
        let Row { codes, scales, mins, .. } = out;
        let size = layout.group_size();
        let groups =
            values.chunks(size).zip(weights.chunks(size)).zip(codes.chunks_mut(size)).zip(scales.iter_mut());
        match layout.zero() {
            Zero::Affine => {
                for ((((x, w), codes), scale), min) in groups.zip(mins.iter_mut()) {
                    (*scale, *min) = weighted::affine(x, w, max_code, codes);
                }
            }
            Zero::Symmetric(_) if layout.encoding() == Encoding::Binary => {
                for (((x, w), codes), scale) in groups {
                    *scale = weighted::binary(x, w, codes);
                }
            }
            Zero::Symmetric(1) => {
                for (((x, w), codes), scale) in groups {
                    *scale = weighted::ternary(x, w, codes, &mut self.sorted);
                }
            }
            Zero::Symmetric(zero) => {
                for (((x, w), codes), scale) in groups {
                    *scale = weighted::symmetric(x, w, zero, max_code, codes);
                }
            }
        }
    }
}
