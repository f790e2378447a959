//! What rounding does to a matrix, at each width.

use crate::QuantizeError;
use crate::encode::{Encoder, Work};
use crate::plan::{Encoded, Plan};
use crate::round::six::stored;
use crate::round::{Rounder, Row};
use crate::source::SourceTensor;
use edgellm::Compute;
use edgellm_kernels::layout::{Layout, Zero};
use std::ops::ControlFlow;

/// Rows of a matrix that stand for all, spread over it.
const ROWS: usize = 128;
/// Rows of a job.
const JOB: usize = 8;

/// A matrix with its plan's codes; `None` if it is not to have any.
///
/// # Errors
/// If a weight is not finite or a kept scale does not fit.
pub(super) fn packed(tensor: &SourceTensor<'_>, plan: &Plan) -> Result<Option<Encoded>, QuantizeError> {
    let mut quiet = |_: crate::Progress<'_>| ControlFlow::Continue(());
    Encoder::default().packed(tensor, plan, &mut Work { done: 0, total: 0, progress: &mut quiet })
}

/// The squared error of some rows, each column's times its importance; 0 if the codes are the source's.
///
/// # Errors
/// If a weight is not finite.
pub(super) fn error(
    compute: &Compute,
    tensor: &SourceTensor<'_>,
    plan: &Plan,
    importance: Option<&[f32]>,
) -> Result<f64, QuantizeError> {
    let Plan::Rounded(layout, target, weights) = plan else { return Ok(0.0) };
    let (rows, count) = (layout.rows(), layout.rows().min(ROWS));
    let chosen: Vec<usize> = (0..count).map(|index| index * rows / count).collect();
    let mut jobs: Vec<(&[usize], Result<f64, QuantizeError>)> =
        chosen.chunks(JOB).map(|rows| (rows, Ok(0.0))).collect();
    compute.pool().for_each_mut(&mut jobs, &|_, (rows, outcome)| {
        *outcome = of_rows(tensor, layout, target.max_code, weights.as_deref(), importance, rows);
    });
    jobs.into_iter().map(|(_, outcome)| outcome).sum()
}

fn of_rows(
    tensor: &SourceTensor<'_>,
    layout: &Layout,
    max_code: u8,
    weights: Option<&[f32]>,
    importance: Option<&[f32]>,
    rows: &[usize],
) -> Result<f64, QuantizeError> {
    let (cols, groups, size) = (layout.cols(), layout.groups(), layout.group_size());
    let (mut values, mut codes) = (vec![0.0; cols], vec![0; cols]);
    let (mut scales, mut mins) = (vec![0; groups], vec![0; groups]);
    let mut halves = [0; 2];
    let (mut rounder, mut sum) = (Rounder::default(), 0.0);
    for &row in rows {
        tensor.read_row(row, &mut values)?;
        let out = Row { codes: &mut codes, scales: &mut scales, mins: &mut mins, halves: &mut halves };
        rounder.row(layout, max_code, &values, weights, out);
        for (col, (&value, &code)) in values.iter().zip(&codes).enumerate() {
            let (scale, min) = stored(layout, halves, scales[col / size], mins[col / size]);
            let stored = match layout.zero() {
                Zero::Symmetric(zero) => scale * (f32::from(code) - f32::from(zero)),
                Zero::Affine => scale * f32::from(code) + min,
            };
            let difference = f64::from(value) - f64::from(stored);
            let weight = importance.and_then(|importance| importance.get(col)).map_or(1.0, |&x| f64::from(x));
            sum += weight * difference * difference;
        }
    }
    Ok(sum)
}
