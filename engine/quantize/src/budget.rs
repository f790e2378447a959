//! Bits by budget: every matrix gets its own width, so that the file fits and the expected loss is least.
//!
//! [`sensitivity`] measures what three bits of one matrix alone do to the model's predictions, [`Sensitivity::fit`] spends the bytes
//! where they help most, and the conversion takes the widths from [`QuantizeOptions::allocation`](crate::QuantizeOptions).

mod allocate;
mod divergence;
mod rounding;
mod sensitivity;
mod size;

pub use sensitivity::{sensitivity, sensitivity_memory};
pub use size::{SizeRange, file_bytes};

use crate::source::SourceTensor;
use crate::{CalibrationText, Format, QuantizeOptions};
use allocate::{Choice, allocate};
use edgellm::Compute;
use edgellm::linear::LinearId;
use edgellm::tensors::Role;
use edgellm_kernels::layout::Scales;
use std::collections::BTreeMap;
use std::fmt;

/// The format of a file whose matrices have several.
const MIXED: &str = "mixed";

/// Bits, group size and scales of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// Its format.
    pub format: Format,
    /// Columns of a quantization group; `None` for the format's default, and for codes that the source has already.
    pub group_size: Option<usize>,
    /// Its kind of scales; `None` for the format's default.
    pub scales: Option<Scales>,
}

impl Width {
    /// All that a budget chooses from. Groups of 64 and six-bit scales halve the steps between formats where those are widest.
    pub const ALL: [Width; 8] = [
        Width::of(Format::Int2, None),
        Width::of(Format::Int3, Some(64)),
        Width::of(Format::Int3, None),
        Width { format: Format::Int4, group_size: None, scales: Some(Scales::SixBits) },
        Width::of(Format::Int4, None),
        Width::of(Format::Int5, None),
        Width::of(Format::Int6, None),
        Width::of(Format::Int8, None),
    ];

    const fn of(format: Format, group_size: Option<usize>) -> Width {
        Width { format, group_size, scales: None }
    }
}

/// What to measure sensitivity on.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The text.
    pub text: CalibrationText,
    /// Tokens of the text to use, at most: each matrix runs the model on all of them.
    pub tokens: usize,
    /// What runs the model. The result does not depend on it.
    pub compute: Compute,
}

impl Probe {
    /// Tokens that are used unless told otherwise.
    pub const TOKENS: usize = 1024;

    /// The text that comes with the program.
    pub fn new(compute: Compute) -> Self {
        Probe { text: CalibrationText::built_in(), tokens: Self::TOKENS, compute }
    }
}

/// How much each matrix of a model loses at each width.
#[derive(Clone, Debug)]
pub struct Sensitivity {
    matrices: Vec<Matrix>,
    sizes: SizeRange,
}

/// A matrix, and what it may become.
#[derive(Clone, Debug)]
struct Matrix {
    name: String,
    options: Vec<WidthOption>,
}

/// What a matrix takes and loses at a width.
#[derive(Clone, Copy, Debug)]
struct WidthOption {
    width: Width,
    cost: Choice,
}

/// The widths that fit a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// Of each matrix, by its name.
    pub widths: BTreeMap<String, Width>,
    /// Bytes that the file has at most: its exact length depends on what its metadata says.
    pub bytes: u64,
    /// Bytes that it may have. A file that would be longer is refused.
    pub limit: u64,
    /// Expected Kullback-Leibler divergence from the source's predictions, in nats a token, if all is rounded to nearest.
    pub divergence: f64,
}

impl Allocation {
    /// How many matrices have each format, the coarsest first.
    pub fn counts(&self) -> Vec<(Format, usize)> {
        let count = |format| self.widths.values().filter(|width| width.format == format).count();
        let mut formats: Vec<Format> = Width::ALL.iter().map(|width| width.format).collect();
        formats.dedup();
        formats.into_iter().map(|format| (format, count(format))).collect()
    }
}

/// As in "3 int2, 200 int3".
impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.counts().into_iter().filter(|(_, count)| *count > 0);
        for (index, (format, count)) in used.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {format}")?;
        }
        Ok(())
    }
}

/// What a file calls the formats of layers and head.
pub(crate) fn names(options: &QuantizeOptions, tensors: &[SourceTensor<'_>]) -> (&'static str, &'static str) {
    let Some(allocation) = &options.allocation else {
        return (options.format.name(), options.head.format(options.format).name());
    };
    // The last of them: the embedding, or a head of its own.
    let is_head = |role| matches!(role, Role::Embedding | Role::Linear(LinearId::LmHead));
    let head = tensors.iter().rfind(|tensor| is_head(tensor.role()));
    let width = head.and_then(|tensor| allocation.widths.get(tensor.name()));
    (MIXED, width.map_or(MIXED, |width| width.format.name()))
}

/// Why a budget cannot be kept.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Not even the narrowest file fits.
    #[error(
        "{asked} bytes ({asked_bits:.2} bits a weight) are too few: with int2 everywhere the file takes {smallest} ({bits:.2} bits \
         a weight)"
    )]
    TooSmall {
        /// The budget.
        asked: u64,
        /// The same a weight.
        asked_bits: f64,
        /// Bytes of the narrowest.
        smallest: u64,
        /// The same a weight.
        bits: f64,
    },
    /// The widest file takes less.
    #[error(
        "{asked} bytes ({asked_bits:.2} bits a weight) are more than int8 everywhere takes, {largest} ({bits:.2} bits a weight): \
         convert with --format int8"
    )]
    TooLarge {
        /// The budget.
        asked: u64,
        /// The same a weight.
        asked_bits: f64,
        /// Bytes of the widest.
        largest: u64,
        /// The same a weight.
        bits: f64,
    },
}

impl Sensitivity {
    /// Bytes of files of this model.
    pub fn sizes(&self) -> &SizeRange {
        &self.sizes
    }

    /// Names of the matrices, and what each loses at int3 in groups of 32, rounded to nearest.
    pub fn matrices(&self) -> impl Iterator<Item = (&str, f64)> {
        self.matrices.iter().map(|matrix| {
            let probe = matrix.options.iter().find(|option| option.width == sensitivity::PROBES[0]);
            (matrix.name.as_str(), probe.map_or(0.0, |option| option.cost.loss))
        })
    }

    /// The widths that lose least in a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`BudgetError`] if that is less than int2 takes, or more than int8.
    pub fn fit(&self, limit: u64) -> Result<Allocation, BudgetError> {
        self.sizes.check(limit)?;
        Ok(self.within(limit))
    }

    /// `count` budgets from int2 everywhere to int8 everywhere, evenly spaced.
    pub fn curve(&self, count: usize) -> Vec<Allocation> {
        let (SizeRange { smallest, largest, .. }, steps) =
            (self.sizes, count.saturating_sub(1).max(1) as u64);
        (0..count as u64).map(|step| self.within(smallest + (largest - smallest) * step / steps)).collect()
    }

    fn within(&self, limit: u64) -> Allocation {
        let costs: Vec<Vec<Choice>> = self
            .matrices
            .iter()
            .map(|matrix| matrix.options.iter().map(|option| option.cost).collect())
            .collect();
        let chosen = allocate(&costs, limit.saturating_sub(self.sizes.beside));
        let (mut widths, mut bytes, mut divergence) = (BTreeMap::new(), self.sizes.beside, 0.0);
        for (matrix, &index) in self.matrices.iter().zip(&chosen) {
            if let Some(option) = matrix.options.get(index) {
                widths.insert(matrix.name.clone(), option.width);
                bytes += option.cost.bytes;
                divergence += option.cost.loss;
            }
        }
        Allocation { widths, bytes, limit, divergence }
    }
}

#[cfg(test)]
mod tests;
