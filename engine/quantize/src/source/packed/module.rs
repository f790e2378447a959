//! The parts of a layer's weight: tensors with the layer's name and an ending each.

use super::super::stored::{Floats, Found, Stored};
use crate::QuantizeError;
use edgellm_kernels::layout::MAX_DIM;
use safetensors::Dtype;

/// A layer with a part of this ending, by which it is found.
pub(super) fn names(found: &Found<'_>, part: &str) -> Vec<String> {
    let end = format!(".{part}");
    found.keys().filter_map(|name| name.strip_suffix(&end)).map(str::to_string).collect()
}

/// Takes a part of a layer.
pub(super) fn take<'a>(found: &mut Found<'a>, layer: &str, part: &str) -> Option<Part<'a>> {
    let name = format!("{layer}.{part}");
    found.remove(&name).map(|stored| Part { name, stored })
}

/// Takes a part that a layer must have.
pub(super) fn need<'a>(found: &mut Found<'a>, layer: &str, part: &str) -> Result<Part<'a>, QuantizeError> {
    take(found, layer, part).ok_or_else(|| QuantizeError::MissingTensor { name: format!("{layer}.{part}") })
}

/// A part of a layer.
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) stored: Stored<'a>,
}

impl<'a> Part<'a> {
    pub(super) fn wrong(&self, problem: impl Into<String>) -> QuantizeError {
        QuantizeError::packed(self.name.clone(), problem)
    }

    /// Rows and columns, which are few enough to calculate with.
    pub(super) fn matrix(&self) -> Result<[usize; 2], QuantizeError> {
        match *self.stored.shape {
            [rows, cols] if (1..=MAX_DIM).contains(&rows) && (1..=MAX_DIM).contains(&cols) => {
                Ok([rows, cols])
            }
            ref other => Err(self.wrong(format!("has shape {other:?}, and should be a matrix"))),
        }
    }

    /// Checks the shape that the other parts of the layer imply.
    pub(super) fn expect(&self, expected: &[usize]) -> Result<(), QuantizeError> {
        let actual = &self.stored.shape;
        if actual == expected {
            return Ok(());
        }
        let problem = format!("has shape {actual:?} where the other tensors of its layer imply {expected:?}");
        Err(self.wrong(problem))
    }

    fn of_type(&self, dtype: Dtype) -> Result<&'a [u8], QuantizeError> {
        let found = self.stored.dtype;
        if found == dtype {
            return Ok(self.stored.data);
        }
        Err(self.wrong(format!("has type {found:?}, and should have {dtype:?}")))
    }

    /// Its words of 32 bits.
    pub(super) fn words(&self) -> Result<&'a [[u8; 4]], QuantizeError> {
        Ok(self.of_type(Dtype::I32)?.as_chunks().0)
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> Result<&'a [u8], QuantizeError> {
        self.of_type(Dtype::U8)
    }

    /// Its whole numbers, of 32 or 64 bits.
    pub(super) fn numbers(&self) -> Result<Vec<i64>, QuantizeError> {
        if self.stored.dtype == Dtype::I32 {
            return Ok(self.words()?.iter().map(|word| i64::from(i32::from_le_bytes(*word))).collect());
        }
        let numbers = self.of_type(Dtype::I64)?.as_chunks().0;
        Ok(numbers.iter().map(|number| i64::from_le_bytes(*number)).collect())
    }

    pub(super) fn floats(&self) -> Result<Floats<'a>, QuantizeError> {
        let found = self.stored.dtype;
        Floats::of(&self.stored)
            .ok_or_else(|| self.wrong(format!("has type {found:?}, and should be floats")))
    }
}

/// Checks that the groups of columns are runs of `size` columns in their order, as far as an index lists them; `must` it?
pub(super) fn check_order(
    found: &mut Found<'_>,
    layer: &str,
    part: &str,
    must: bool,
    cols: usize,
    size: usize,
) -> Result<(), QuantizeError> {
    let index = if must { Some(need(found, layer, part)?) } else { take(found, layer, part) };
    let Some(index) = index else { return Ok(()) };
    index.expect(&[cols])?;
    let groups = index.numbers()?;
    let in_order = groups.iter().enumerate().all(|(col, &group)| group == (col / size.max(1)) as i64);
    if in_order { Ok(()) } else { Err(QuantizeError::ActOrder { name: index.name }) }
}
