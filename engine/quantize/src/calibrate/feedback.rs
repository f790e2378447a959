//! Rounding with feedback: each column of a row makes up for the errors of those that were rounded before it.

use super::factor::Factor;
use crate::options::Target;
use crate::round::six::stored;
use crate::round::{Rounder, Row, inverse, nearest};
use edgellm_kernels::layout::{Encoding, Layout, STRIP, Zero};
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
    pub(super) halves: [[u16; 2]; STRIP],
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
            halves: [[0; 2]; STRIP],
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
        let Strip { values, codes, scales, mins, halves, errors, rounder } = strip;
        let (cols, groups) = (self.layout.cols(), self.layout.groups());
        let affine = if self.layout.zero() == Zero::Affine { groups } else { 0 };
        let mut grids = Vec::with_capacity(rows * groups);
        for row in 0..rows {
            let out = Row {
                codes: &mut codes[row * cols..][..cols],
                scales: &mut scales[row * groups..][..groups],
                mins: &mut mins[row * affine..][..affine],
                halves: &mut halves[row],
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
                grids.push(self.grid(halves[row], scales[row * groups + group], min));
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

    fn grid(&self, halves: [u16; 2], scale: u16, min: u16) -> Grid {
        let (scale, min) = stored(self.layout, halves, scale, min);
        Grid {
            scale,
            inverse: inverse(scale),
            min,
            zero: match self.layout.zero() {
                Zero::Affine => 0.0,
                Zero::Symmetric(zero) => f32::from(zero),
            },
            max: f32::from(self.target.max_code),
            binary: self.layout.encoding() == Encoding::Binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gram::{Gram, Inputs};
    use super::*;
    use crate::options::Format;
    use crate::round::weighted;
    use crate::testing::random_floats;
    use edgellm::Compute;

    const COLS: usize = 75;
    const ROWS: usize = 19;

    /// Inputs whose columns depend on each other, or each stand alone.
    fn inputs(mixed: bool) -> Vec<f32> {
        let tokens = 200;
        let hidden = random_floats(tokens * 8, 3);
        let noise = random_floats(tokens * COLS, 4);
        let mix = random_floats(8 * COLS, 5);
        (0..tokens * COLS)
            .map(|index| {
                let (token, col) = (index / COLS, index % COLS);
                let common: f32 = (0..8).map(|k| hidden[token * 8 + k] * mix[k * COLS + col]).sum();
                if mixed {
                    common + 0.05 * noise[index]
                } else if token % COLS == col {
                    1.0 + col as f32
                } else {
                    0.0
                }
            })
            .collect()
    }

    fn layout(format: Format) -> Layout {
        let (target, size) = (format.target(), if format == Format::Int6 { 16 } else { 32 });
        let layout = Layout::new(ROWS, COLS, target.encoding, target.zero, size).unwrap();
        layout.with_scales(format.default_scales()).unwrap()
    }

    /// A strip rounded with feedback, and its squared error on the inputs.
    fn rounded(format: Format, input: &[f32]) -> (Strip, f64) {
        let compute = Compute::default();
        let (mut gram, mut packed) = (Gram::new(COLS), Inputs::default());
        gram.add(&compute, &mut packed, input);
        let factor = Factor::new(&compute, &gram, 0.01).unwrap();
        let target = format.target();
        let layout = layout(format);
        let weights = weighted::normalize(&gram.squares(), layout.group_size());
        let (kernels, layout) = (compute.kernels(), &layout);
        let mut strip = Strip::new(layout);
        strip.values[..ROWS * COLS].copy_from_slice(&random_floats(ROWS * COLS, 9));
        Feedback { kernels, factor: &factor, layout, target, weights: &weights }.round(&mut strip, ROWS);
        let error = error(layout, &strip, input);
        (strip, error)
    }

    /// The same without feedback.
    fn plain(format: Format, input: &[f32]) -> (Strip, f64) {
        let compute = Compute::default();
        let (mut gram, mut packed) = (Gram::new(COLS), Inputs::default());
        gram.add(&compute, &mut packed, input);
        let target = format.target();
        let layout = layout(format);
        let weights = weighted::normalize(&gram.squares(), layout.group_size());
        let mut strip = Strip::new(&layout);
        strip.values[..ROWS * COLS].copy_from_slice(&random_floats(ROWS * COLS, 9));
        let (groups, mins) = (layout.groups(), strip.mins.len() / STRIP);
        for row in 0..ROWS {
            let out = Row {
                codes: &mut strip.codes[row * COLS..][..COLS],
                scales: &mut strip.scales[row * groups..][..groups],
                mins: &mut strip.mins[row * mins..][..mins],
                halves: &mut strip.halves[row],
            };
            let values = &strip.values[row * COLS..][..COLS];
            Rounder::default().row(&layout, target.max_code, values, Some(&weights), out);
        }
        let error = error(&layout, &strip, input);
        (strip, error)
    }

    fn error(layout: &Layout, strip: &Strip, input: &[f32]) -> f64 {
        let (groups, mins) = (layout.groups(), strip.mins.len() / STRIP);
        let weight = |row: usize, col: usize| {
            let group = col / layout.group_size();
            let min = strip.mins.get(row * mins + group).copied().unwrap_or(0);
            let (scale, min) = stored(layout, strip.halves[row], strip.scales[row * groups + group], min);
            let code = f32::from(strip.codes[row * COLS + col]);
            match layout.zero() {
                Zero::Affine => scale * code + min,
                Zero::Symmetric(zero) => scale * (code - f32::from(zero)),
            }
        };
        let row_error = |row: usize| {
            let errors: Vec<f32> =
                (0..COLS).map(|col| strip.values[row * COLS + col] - weight(row, col)).collect();
            let squared =
                |input: &[f32]| input.iter().zip(&errors).map(|(x, e)| f64::from(x * e)).sum::<f64>().powi(2);
            input.chunks(COLS).map(squared).sum::<f64>()
        };
        (0..ROWS).map(row_error).sum()
    }

    /// Every format, and the last strip's missing rows and columns.
    #[test]
    fn feedback_makes_up_for_errors() {
        let input = inputs(true);
        for format in [Format::Int6, Format::Int4, Format::Int3, Format::Int2, Format::Bitnet, Format::Binary]
        {
            let ((_, with), (_, without)) = (rounded(format, &input), plain(format, &input));
            assert!(with < 0.5 * without, "{format}: {with} with feedback, {without} without");
        }
    }

    /// Columns that stand alone have nothing to make up for: the same codes.
    #[test]
    fn without_correlation_there_is_no_feedback() {
        let input = inputs(false);
        for format in [Format::Int4, Format::Int2, Format::Bitnet, Format::Binary] {
            let ((with, _), (without, _)) = (rounded(format, &input), plain(format, &input));
            assert_eq!(
                (with.codes, with.scales, with.mins),
                (without.codes, without.scales, without.mins),
                "{format}"
            );
        }
    }
}
