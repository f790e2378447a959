//! One tensor after the other, strip by strip, so that no whole tensor is ever held as floats.

use crate::QuantizeError;
use crate::plan::{Encoded, Plan};
use crate::report::{ErrorSum, Progress};
use crate::round::six::stored;
use crate::round::{Rounder, Row};
use crate::source::SourceTensor;
use edgellm::format::{TensorError, WriteError};
use edgellm_kernels::layout::{Layout, STRIP, Scales, Zero, pack_strip, pack_strip_six};
use std::ops::ControlFlow;

/// How far the work is, and whom to tell.
pub(crate) struct Work<'p> {
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) progress: &'p mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
}

impl Work<'_> {
    /// Counts some more.
    ///
    /// # Errors
    /// [`QuantizeError::Cancelled`].
    pub(crate) fn advance(&mut self, what: &str, weights: u64) -> Result<(), QuantizeError> {
        self.done += weights;
        match (self.progress)(Progress { tensor: what, done: self.done, total: self.total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(QuantizeError::Cancelled),
        }
    }
}

/// Buffers and sums of a conversion.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    rounder: Rounder,
    all: ErrorSum,
}

/// Takes the bytes of a tensor, in pieces.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> Result<(), WriteError>;

impl Encoder {
    /// The error of all tensors so far.
    pub(crate) fn error(&self) -> TensorError {
        self.all.error()
    }

    /// Encodes a tensor in memory, if it has codes that are not there already.
    ///
    /// # Errors
    /// As [`Encoder::tensor`].
    pub(crate) fn packed(
        &mut self,
        tensor: &SourceTensor<'_>,
        plan: &Plan,
        work: &mut Work<'_>,
    ) -> Result<Option<Encoded>, QuantizeError> {
        let (Plan::Kept(layout, _) | Plan::Rounded(layout, ..)) = plan else { return Ok(None) };
        let mut bytes = Vec::with_capacity(layout.total_bytes());
        let errors = self.strips(tensor, plan, layout, work, &mut |strip| {
            bytes.extend_from_slice(strip);
            Ok(())
        })?;
        Ok(Some(Encoded { bytes: bytes.into(), errors }))
    }

    /// Encodes a tensor. Returns its error, if it has codes.
    ///
    /// # Errors
    /// [`QuantizeError`] if a weight is not finite, a kept scale does not fit, or the sink fails.
    pub(crate) fn tensor(
        &mut self,
        tensor: &SourceTensor<'_>,
        plan: &Plan,
        work: &mut Work<'_>,
        sink: Sink<'_>,
    ) -> Result<Option<TensorError>, QuantizeError> {
        let errors = match plan {
            Plan::Kept(layout, _) | Plan::Rounded(layout, ..) => {
                self.strips(tensor, plan, layout, work, sink)?
            }
            Plan::Packed(layout, Encoded { bytes, errors }, _) => {
                sink(bytes)?;
                work.advance(tensor.name(), (layout.rows() * layout.cols()) as u64)?;
                *errors
            }
            Plan::Float => {
                let values = tensor.read_floats()?;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                sink(&bytes)?;
                work.advance(tensor.name(), values.len() as u64)?;
                return Ok(None);
            }
        };
        self.all.merge(&errors);
        Ok(Some(errors.error()))
    }

    /// Encodes a matrix strip by strip. Returns its errors.
    fn strips(
        &mut self,
        tensor: &SourceTensor<'_>,
        plan: &Plan,
        layout: &Layout,
        work: &mut Work<'_>,
        sink: Sink<'_>,
    ) -> Result<ErrorSum, QuantizeError> {
        let (rows, cols, groups) = (layout.rows(), layout.cols(), layout.groups());
        let affine = layout.zero() == Zero::Affine;
        let mut row_values = vec![0.0; cols];
        let mut codes = vec![0; STRIP * cols];
        let mut scales = vec![0; STRIP * groups];
        let mut mins = vec![0; if affine { STRIP * groups } else { 0 }];
        let mut halves = [[0; 2]; STRIP];
        let mut packed = vec![0; layout.strip_bytes()];
        let mut sum = ErrorSum::default();
        for first in (0..rows).step_by(STRIP) {
            let count = STRIP.min(rows - first);
            let min_groups = if affine { groups } else { 0 };
            for r in 0..count {
                // Finite, or the row is rejected, as are kept scales that are not.
                tensor.read_row(first + r, &mut row_values)?;
                let codes = &mut codes[r * cols..][..cols];
                let scales = &mut scales[r * groups..][..groups];
                let mins = &mut mins[r * min_groups..][..min_groups];
                match plan {
                    Plan::Rounded(_, target, weights) => {
                        let out = Row { codes, scales, mins, halves: &mut halves[r] };
                        self.rounder.row(layout, target.max_code, &row_values, weights.as_deref(), out);
                    }
                    _ => {
                        let row = first + r;
                        tensor.keep_row(row, layout.zero(), codes, scales, mins).map_err(|value| {
                            let name = tensor.name().to_string();
                            QuantizeError::ScaleRange { name, row, value }
                        })?;
                    }
                }
                let tensor_scale = plan.scale(tensor).unwrap_or(1.0);
                let stored = StoredRow { codes, scales, mins, halves: halves[r] };
                add_errors(&mut sum, layout, tensor_scale, &row_values, stored);
            }
            let (codes, scales) = (&codes[..count * cols], &scales[..count * groups]);
            pack(layout, codes, scales, &mins[..count * min_groups], &halves[..count], &mut packed);
            sink(&packed)?;
            work.advance(tensor.name(), (count * cols) as u64)?;
        }
        Ok(sum)
    }
}

/// Packs a strip of rows as [`Row`] has them.
pub(crate) fn pack(
    layout: &Layout,
    codes: &[u8],
    scales: &[u16],
    mins: &[u16],
    halves: &[[u16; 2]],
    out: &mut [u8],
) {
    match layout.scales() {
        Scales::Halves => pack_strip(layout, codes, scales, mins, out),
        Scales::SixBits => {
            let groups: Vec<[u8; 2]> =
                scales.iter().zip(mins).map(|(&scale, &min)| [scale as u8, min as u8]).collect();
            pack_strip_six(layout, codes, halves, &groups, out);
        }
    }
}

/// What [`Row`] holds, when it is chosen.
#[derive(Clone, Copy)]
pub(crate) struct StoredRow<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) scales: &'a [u16],
    pub(crate) mins: &'a [u16],
    pub(crate) halves: [u16; 2],
}

/// Compares a row with what the engine will read from the file.
pub(crate) fn add_errors(
    sum: &mut ErrorSum,
    layout: &Layout,
    tensor_scale: f32,
    values: &[f32],
    StoredRow { codes, scales, mins, halves }: StoredRow<'_>,
) {
    let size = layout.group_size();
    for (group, ((x, codes), &scale)) in values.chunks(size).zip(codes.chunks(size)).zip(scales).enumerate() {
        let min = mins.get(group).copied().unwrap_or(0);
        let (scale, min) = stored(layout, halves, scale, min);
        match layout.zero() {
            Zero::Symmetric(zero) => {
                let zero = f32::from(zero);
                sum.add(x, codes.iter().map(|&code| tensor_scale * (scale * (f32::from(code) - zero))));
            }
            Zero::Affine => {
                sum.add(x, codes.iter().map(|&code| tensor_scale * (scale * f32::from(code) + min)));
            }
        }
    }
}
