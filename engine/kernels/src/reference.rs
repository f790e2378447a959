//! The reference: products computed naively, code by code, in the order of operations that law 2 demands.

use crate::activations::Activations;
use crate::layout::{BLOCK, Matrix, Zero};

/// The product of `matrix` (rows, cols) with all tokens: (tokens, rows).
pub fn matmul(matrix: &Matrix<'_>, activations: &Activations) -> Vec<f32> {
    let layout = matrix.layout();
    let mut out = Vec::with_capacity(activations.tokens() * layout.rows());
    for index in 0..activations.tokens() {
        let token = activations.token(index);
        for row in 0..layout.rows() {
            let mut total = 0.0f32;
            for group in 0..layout.groups() {
                let (mut inner, mut offset) = (None, None);
                let first = group * layout.group_size();
                let end = layout.cols().min(first + layout.group_size());
                let (_, scale, min) = matrix.code(row, first);
                // A run is a block, or half a block where that is a group.
                for run in (first..end).step_by(BLOCK) {
                    let block = run / BLOCK;
                    let (mut sum, mut total) = (0i32, 0i32);
                    for col in run..end.min(run + BLOCK) {
                        let code = i32::from(matrix.code(row, col).0);
                        let zero = match layout.zero() {
                            Zero::Symmetric(zero) => i32::from(zero),
                            Zero::Affine => 0,
                        };
                        let value = i32::from(token.coarse.values[col]);
                        let value = match token.refined[block] {
                            true => 64 * value + i32::from(token.fine.values[col]),
                            false => value,
                        };
                        sum += (code - zero) * value;
                        total += value;
                    }
                    let scaled = token.scales[block] * sum as f32;
                    inner = Some(inner.map_or(scaled, |inner: f32| inner + scaled));
                    let scaled = token.scales[block] * total as f32;
                    offset = Some(offset.map_or(scaled, |offset: f32| offset + scaled));
                }
                let mut sum = scale * inner.unwrap_or(0.0);
                if layout.zero() == Zero::Affine {
                    sum += min * offset.unwrap_or(0.0);
                }
                total += sum;
            }
            out.push(total);
        }
    }
    out
}
