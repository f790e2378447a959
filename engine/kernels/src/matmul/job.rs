//! A product's share of work, as the threads of a pool take it.

use crate::activations::Activations;
use crate::layout::{Matrix, STRIP};
use std::ops::Range;

/// Some strips of a product.
///
/// Whoever constructs one guarantees that
/// - the activations have the matrix's columns, and lookup tables if the strips are multiplied by lookup,
/// - (tokens, rows) floats are writable at `out` as long as the job exists,
/// - no other thread accesses the rows of these strips.
pub(crate) struct MatmulJob<'a> {
    pub(crate) matrix: Matrix<'a>,
    pub(crate) activations: &'a Activations,
    pub(crate) strips: Range<usize>,
    pub(crate) out: *mut f32,
}

impl MatmulJob<'_> {
    /// Writes a strip's rows of one token to the output.
    #[inline(always)]
    pub(super) fn store(&self, strip: usize, token: usize, rows: &[f32; STRIP]) {
        let total = self.matrix.layout().rows();
        let count = STRIP.min(total - strip * STRIP);
        // SAFETY: strip * STRIP + count <= total, so for a strip and token of this job the floats are within the
        // (tokens, rows) of the output and, by the type's contract, this thread's alone.
        unsafe {
            let to = self.out.add(token * total + strip * STRIP);
            if count == STRIP {
                to.cast::<[f32; STRIP]>().write_unaligned(*rows); // a few moves instead of a call
            } else {
                std::ptr::copy_nonoverlapping(rows.as_ptr(), to, count);
            }
        }
    }
}
