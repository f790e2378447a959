//! Rounding with feedback: each column of a row makes up for the errors of those that were rounded before it.

use super::factor::Factor;
use crate::options::Target;
use crate::round::{Rounder, Row, inverse, nearest};
use edgellm_kernels::layout::{Encoding, Layout, STRIP, Zero, f16_to_f32};
use edgellm_kernels::{Kernels, PANEL, PANEL_ROWS};

/// How the rows of a matrix are rounded.
pub(super) struct Feedback<'a> {
    pub(super) kernels: Kernels,
    pub(super) factor: &'a Factor,
    pub(super) layout: &'a Layout,
    pub(super) target: Target,
    /// Of the columns, as [`weighted::normalize`] makes them: scales are chosen by them, before any code.
    pub(super) weights: &'a [f32],
}

/// The rows of a strip: values, and what is made of them, row after row.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) values: Vec<f32>,
    pub(super) codes: Vec<u8>,
    pub(super) scales: Vec<u16>,
    pub(super) mins: Vec<u16>,
    /// Rounding errors in tiles of 8 rows, in the factor's order of the columns.
    errors: Vec<Vec<[f32; PANEL_ROWS]>>,
    rounder: Rounder,
}

impl Strip {
    /// Room for the rows of a strip of `layout`.
    pub(super) fn new(layout: &Layout) -> Strip {
        let (cols, groups) = (layout.cols(), layout.groups());
        let mins = if layout.zero() == Zero::Affine { groups } else { 0 };
        Strip {
            values: vec![0.0; STRIP * cols],
            codes: vec![0; STRIP * cols],
            scales: vec![0; STRIP * groups],
            mins: vec![0; STRIP * mins],
            errors: vec![vec![[0.0; PANEL_ROWS]; cols.next_multiple_of(PANEL)]; STRIP / PANEL_ROWS],
            rounder: Rounder::default(),
        }
    }
}

/// The weights that the codes of a group stand for.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    inverse: f32,
    min: f32,
    zero: f32,
    max: f32,
    binary: bool,
}

impl Grid {
    /// The code nearest to a value, and its weight.
    fn round(self, value: f32) -> (u8, f32) {
        let code = if self.binary {
            if value < 0.0 { 0.0 } else { 2.0 }
        } else {
            nearest((value - self.min) * self.inverse + self.zero, self.max)
        };
        (code as u8, self.scale * (code - self.zero) + self.min)
    }
}

impl Feedback<'_> {
    /// Chooses scales and codes for the first `rows` rows of a strip.
    pub(super) fn round(&self, strip: &mut Strip, rows: usize) {
        let Strip { values, codes, scales, mins, errors, rounder } = strip;
        let (cols, groups) = (self.layout.cols(), self.layout.groups());
        let affine = if self.layout.zero() == Zero::Affine { groups } else { 0 };
        let mut grids = Vec::with_capacity(rows * groups);
        for row in 0..rows {
            let out = Row {
                codes: &mut codes[row * cols..][..cols],
                scales: &mut scales[row * groups..][..groups],
                mins: &mut mins[row * affine..][..affine],
            };
            rounder.row(
                self.layout,
                self.target.max_code,
                &values[row * cols..][..cols],
                Some(self.weights),
                out,
            );
            for group in 0..groups {
                let min = if affine > 0 { mins[row * affine + group] } else { 0 };
                grids.push(self.grid(scales[row * groups + group], min));
            }
        }
        for (index, errors) in errors.iter_mut().enumerate().take(rows.div_ceil(PANEL_ROWS)) {
            let rows = PANEL_ROWS * index..rows.min(PANEL_ROWS * (index + 1));
            for panel in (0..self.factor.panels.len()).rev() {
                let coefficients = &self.factor.panels[panel];
                let mut feedback = [[0.0; PANEL]; PANEL_ROWS];
                let later = &errors[PANEL * (panel + 1)..];
                self.kernels.panel_product(later, &coefficients[PANEL..], &mut feedback);
                for (r, row) in rows.clone().enumerate() {
                    let (values, grids) = (&values[row * cols..][..cols], &grids[row * groups..][..groups]);
                    let codes = &mut codes[row * cols..][..cols];
                    let feedback = &mut feedback[r];
                    for c in (0..PANEL).rev() {
                        let index = PANEL * panel + c;
                        let col = self.factor.order[index];
                        if col >= cols {
                            continue;
                        }
                        let (code, weight) =
                            grids[col / self.layout.group_size()].round(values[col] + feedback[c]);
                        codes[col] = code;
                        let error = values[col] - weight;
                        errors[index][r] = error;
                        for (feedback, coefficient) in feedback.iter_mut().zip(&coefficients[c]) {
                            *feedback += error * coefficient;
                        }
                    }
                }
            }
        }
    }

    fn grid(&self, scale: u16, min: u16) -> Grid {
        let scale = f16_to_f32(scale);
        Grid {
            scale,
            inverse: inverse(scale),
            min: f16_to_f32(min),
            zero: match self.layout.zero() {
                Zero::Affine => 0.0,
                Zero::Symmetric(zero) => f32::from(zero),
            },
            max: f32::from(self.target.max_code),
            binary: self.layout.encoding() == Encoding::Binary,
        }
    }
}
