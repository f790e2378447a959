//! The length of a file before it is written.

use super::{BudgetError, Width};
use crate::faithful::{stored_bytes, weights};
use crate::plan::Plan;
use crate::source::{Source, SourceTensor};
use crate::{QuantizeError, QuantizeOptions, convert};
use edgellm::format::{ALIGNMENT, Writer};
use edgellm::tensors::Role;
use std::io::{self, Seek, SeekFrom, Write};

/// What a file's metadata may say more in the end: of each method how many matrices it rounded, and what was measured.
pub(super) const ROOM: u64 = 2048;

/// Bytes of a model's files, from int2 everywhere to int8 everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// With int2 everywhere.
    pub smallest: u64,
    /// With int8 everywhere.
    pub largest: u64,
    /// Weights of the model.
    pub weights: u64,
    /// Bytes of a file beside its matrices, at most.
    pub(super) beside: u64,
}

impl SizeRange {
    /// Of the files that a source gives. What `options` say about formats has no effect.
    ///
    /// # Errors
    /// If the other options do not fit the source.
    pub fn of(source: &Source<'_>, options: &QuantizeOptions) -> Result<SizeRange, QuantizeError> {
        let (tensors, _) = convert::plans(source, options)?;
        let is_float = |tensor: &SourceTensor<'_>| tensor.role() == Role::Float;
        let weights = weights(&tensors);
        let (mut most, mut ranges) = (0, vec![[u64::MAX, 0]; tensors.len()]);
        for width in Width::ALL {
            let plans = tensors.iter().map(|tensor| match tensor.role() {
                Role::Float => Ok(Plan::Float),
                _ => Plan::at(tensor, width, options),
            });
            let plans: Vec<Plan> = plans.collect::<Result<_, _>>()?;
            most = most.max(beside(source, options, &tensors, &plans)?);
            for ((tensor, plan), [least, most]) in tensors.iter().zip(&plans).zip(&mut ranges) {
                let bytes = bytes(tensor, plan);
                (*least, *most) = ((*least).min(bytes), (*most).max(bytes));
            }
        }
        let (mut beside, mut smallest, mut largest) = (most, 0, 0);
        for (tensor, [least, most]) in tensors.iter().zip(ranges) {
            if is_float(tensor) {
                beside += least;
            } else {
                (smallest, largest) = (smallest + least, largest + most);
            }
        }
        Ok(SizeRange { smallest: beside + smallest, largest: beside + largest, weights, beside })
    }

    /// Bytes of a file with so many bits a weight.
    pub fn bytes_of(&self, bits: f64) -> u64 {
        (bits * self.weights as f64 / 8.0) as u64
    }

    /// Bits a weight of a file of so many bytes.
    pub fn bits_of(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.weights.max(1) as f64
    }

    /// Checks that a budget is within the range.
    ///
    /// # Errors
    /// [`BudgetError`] if it is not.
    pub fn check(&self, asked: u64) -> Result<(), BudgetError> {
        let (SizeRange { smallest, largest, .. }, asked_bits) = (*self, self.bits_of(asked));
        if asked < smallest {
            let bits = self.bits_of(smallest);
            return Err(BudgetError::TooSmall { asked, asked_bits, smallest, bits });
        }
        if asked > largest {
            let bits = self.bits_of(largest);
            return Err(BudgetError::TooLarge { asked, asked_bits, largest, bits });
        }
        Ok(())
    }
}

/// Bytes of the file that a conversion writes, at most: what its metadata will say is not all known.
///
/// # Errors
/// If the options do not fit the source.
pub fn file_bytes(source: &Source<'_>, options: &QuantizeOptions) -> Result<u64, QuantizeError> {
    let (tensors, plans) = convert::plans(source, options)?;
    Ok(beside(source, options, &tensors, &plans)? + plans_bytes(&tensors, &plans))
}

/// Bytes of the file beside its tensors, at most.
///
/// # Errors
/// If a tensor's shape is impossible.
fn beside(
    source: &Source<'_>,
    options: &QuantizeOptions,
    tensors: &[SourceTensor<'_>],
    plans: &[Plan],
) -> Result<u64, QuantizeError> {
    let metadata = convert::metadata(source, options, tensors, plans);
    let mut out = Counter::default();
    Writer::new(&mut out, metadata, &source.tokenizer)?;
    Ok((out.end + ROOM).next_multiple_of(ALIGNMENT))
}

fn plans_bytes(tensors: &[SourceTensor<'_>], plans: &[Plan]) -> u64 {
    tensors.iter().zip(plans).map(|(tensor, plan)| bytes(tensor, plan)).sum()
}

/// Bytes that a tensor takes in a file, up to the next one.
pub(super) fn bytes(tensor: &SourceTensor<'_>, plan: &Plan) -> u64 {
    (stored_bytes(tensor, plan) as u64).next_multiple_of(ALIGNMENT)
}

/// A file that is only counted.
#[derive(Debug, Default)]
struct Counter {
    at: u64,
    end: u64,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.at += bytes.len() as u64;
        self.end = self.end.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Counter {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
