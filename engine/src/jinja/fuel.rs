//! A limit on what a template computes.

use super::error::{Error, Result};
use std::cell::Cell;

/// Bytes that one unit pays for.
pub(super) const BYTES_PER_UNIT: usize = 64;

/// What is left to compute: a unit pays for a step of the interpreter, an item of a list, or some bytes of text.
#[derive(Debug)]
pub(super) struct Fuel(Cell<u64>);

impl Fuel {
    pub(super) fn new(units: u64) -> Self {
        Fuel(Cell::new(units))
    }

    /// Uses units up.
    ///
    /// # Errors
    /// If there are not as many.
    pub(super) fn burn(&self, units: usize) -> Result<()> {
        match self.0.get().checked_sub(units as u64) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => {
                self.0.set(0);
                Err(Error::OutOfFuel)
            }
        }
    }

    /// Pays for looking at or copying this many bytes.
    ///
    /// # Errors
    /// As [`Fuel::burn`].
    pub(super) fn burn_bytes(&self, bytes: usize) -> Result<()> {
        self.burn(bytes / BYTES_PER_UNIT)
    }
}
