//! The triangular factor by which GPTQ feeds rounding errors back.
//!
//! For H = X^T X, rounding errors e of a row cost e H e^T. With H = L L^T, L lower triangular, that is the sum over columns j of
//! (L_jj (e_j + the sum over k > j of e_k L_kj / L_jj))^2: if columns are rounded from the last to the first, each can make up for
//! the errors of those after it. This is GPTQ (arXiv 2210.17323) as LDLQ (arXiv 2307.13304, theorem 6) writes it: one
//! factorization, and no inverse.

use super::gram::Gram;
use edgellm::Compute;
use edgellm_kernels::{PANEL, PANEL_ROWS};

/// Tiles of a panel's rows.
const TILES: usize = PANEL / PANEL_ROWS;

/// What is added to each diagonal entry at least, as a share of their mean: columns that are always zero need it.
const LEAST: f64 = 0.01;

/// L_kj / L_jj, and the order of the columns.
#[derive(Debug)]
pub(super) struct Factor {
    /// Which column each index stands for, those that matter most last; padding, first, is past the columns.
    pub(super) order: Vec<usize>,
    /// In panels of 32 columns j: rows k from the panel's first column on, 0 where k <= j.
    pub(super) panels: Vec<Vec<[f32; PANEL]>>,
}

/// Rows of L in tiles of 8: column after column.
type Rows = Vec<[f64; PANEL_ROWS]>;

impl Factor {
    /// Bytes that [`Factor::new`] takes at most, the factor included.
    pub(super) fn bytes(cols: usize) -> u64 {
        // As many numbers as the sums: in 64 bits, and as result.
        3 * Gram::bytes(cols)
    }

    /// The factor of H with its diagonal made larger by `damping` times itself, and by [`LEAST`] of its mean; `None` if that is not
    /// positive definite.
    pub(super) fn new(compute: &Compute, gram: &Gram, damping: f64) -> Option<Factor> {
        let (cols, size) = (gram.cols(), gram.cols().next_multiple_of(PANEL));
        let squares = gram.squares();
        let mean = squares.iter().map(|&x| f64::from(x)).sum::<f64>() / cols.max(1) as f64;
        // Inputs that are all zero leave nothing to weigh.
        let least = if mean > 0.0 { LEAST * mean } else { 1.0 };
        let mut order: Vec<usize> = (0..size).collect();
        let importance = |col: usize| squares.get(col).copied().unwrap_or(-1.0);
        order.sort_by(|&a, &b| importance(a).total_cmp(&importance(b)).then(a.cmp(&b)));
        let entry = |a: usize, b: usize| {
            let value = |index: usize| order.get(index).copied().unwrap_or(usize::MAX);
            let (row, col) = (value(a), value(b));
            let sum = if row.max(col) < cols { f64::from(gram.get(row, col)) } else { 0.0 };
            if row == col { sum + damping * sum + least } else { sum }
        };
        let mut tiles: Vec<Rows> = vec![Rows::new(); size / PANEL_ROWS];
        let mut panels = Vec::new();
        for first in (0..size).step_by(PANEL) {
            let open = tiles.get_mut(first / PANEL_ROWS..)?;
            let right = transposed(open.get(..TILES)?);
            let kernels = compute.kernels();
            compute.pool().for_each_mut(open, &|index, tile| {
                let mut sums = [[0.0; PANEL]; PANEL_ROWS];
                kernels.panel_product_f64(tile, &right, &mut sums);
                let row = first + index * PANEL_ROWS;
                for col in 0..PANEL {
                    tile.push(std::array::from_fn(|r| entry(row + r, first + col) - sums[r][col]));
                }
            });
            let (top, below) = open.split_at_mut(TILES);
            let corner = cholesky(top, first)?;
            compute.pool().for_each_mut(below, &|_, tile| {
                solve(&corner, tile.get_mut(first..).unwrap_or_default());
            });
            panels.push(panel(&corner, open, first));
        }
        Some(Factor { order, panels })
    }
}

/// The columns of 32 rows: (columns, 32).
fn transposed(tiles: &[Rows]) -> Vec<[f64; PANEL]> {
    let columns = tiles.iter().map(Vec::len).min().unwrap_or(0);
    (0..columns)
        .map(|col| {
            std::array::from_fn(|row| {
                let tile = tiles.get(row / PANEL_ROWS).and_then(|tile| tile.get(col));
                tile.map_or(0.0, |tile| tile[row % PANEL_ROWS])
            })
        })
        .collect()
}

/// Factors the corner block, the columns from `first` on of 32 rows, in place. Returns it row by row.
fn cholesky(tiles: &mut [Rows], first: usize) -> Option<[[f64; PANEL]; PANEL]> {
    let columns = transposed(tiles);
    let mut corner = [[0.0; PANEL]; PANEL];
    for row in 0..PANEL {
        for col in 0..=row {
            let mut value = columns.get(first + col)?[row];
            for k in 0..col {
                value -= corner[row][k] * corner[col][k];
            }
            corner[row][col] = if row > col {
                value / corner[col][col]
            } else if value > 0.0 && value.is_finite() {
                value.sqrt()
            } else {
                return None;
            };
        }
    }
    for (index, tile) in tiles.iter_mut().enumerate() {
        for (col, values) in tile.iter_mut().skip(first).enumerate() {
            *values = std::array::from_fn(|r| corner[index * PANEL_ROWS + r][col]);
        }
    }
    Some(corner)
}

/// Solves x corner^T = s for 8 rows, in place: their columns of the panel.
fn solve(corner: &[[f64; PANEL]; PANEL], columns: &mut [[f64; PANEL_ROWS]]) {
    for col in 0..columns.len().min(PANEL) {
        let (known, open) = columns.split_at_mut(col);
        let Some(value) = open.first_mut() else { return };
        for (known, factor) in known.iter().zip(corner[col]) {
            for r in 0..PANEL_ROWS {
                value[r] -= known[r] * factor;
            }
        }
        value.iter_mut().for_each(|value| *value /= corner[col][col]);
    }
}

/// The panel of coefficients whose rows begin with `tiles`.
fn panel(corner: &[[f64; PANEL]; PANEL], tiles: &[Rows], first: usize) -> Vec<[f32; PANEL]> {
    let mut rows = Vec::with_capacity(tiles.len() * PANEL_ROWS);
    for (index, tile) in tiles.iter().enumerate() {
        let columns = tile.get(first..).unwrap_or_default();
        for r in 0..PANEL_ROWS {
            let row = index * PANEL_ROWS + r;
            rows.push(std::array::from_fn(|col| match columns.get(col) {
                Some(values) if row > col => (values[r] / corner[col][col]) as f32,
                _ => 0.0,
            }));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::gram::Inputs;
    use super::*;

    /// L D L^T of the coefficients and the squares of the diagonal is H with its damping, in the order of the squares.
    #[test]
    fn the_factor_gives_back_the_sums() {
        let (tokens, cols) = (90, 75);
        let input: Vec<f32> = (0..tokens * cols)
            .map(|i| ((i * 7919 % 211) as f32 - 105.0) * (1 + i % cols) as f32 / 4096.0)
            .collect();
        let factor = |threads| {
            let compute = Compute::new(edgellm::available_kernels()[0], threads);
            let (mut gram, mut packed) = (Gram::new(cols), Inputs::default());
            gram.add(&compute, &mut packed, &input);
            (Factor::new(&compute, &gram, 0.1).unwrap(), gram)
        };
        let (found, gram) = factor(1);
        assert_eq!(found.panels, factor(3).0.panels, "on any number of threads");
        let squares = gram.squares();
        let mean = squares.iter().map(|&x| f64::from(x)).sum::<f64>() / cols as f64;
        let size = found.order.len();
        assert!(found.order.iter().take(size - cols).all(|&col| col >= cols), "padding first");
        let real: Vec<f32> = found.order[size - cols..].iter().map(|&col| squares[col]).collect();
        assert!(real.is_sorted(), "what matters most last");
        let unit = |row: usize, col: usize| match row.cmp(&col) {
            std::cmp::Ordering::Greater => {
                f64::from(found.panels[col / PANEL][row - col / PANEL * PANEL][col % PANEL])
            }
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Less => 0.0,
        };
        let wanted = |a: usize, b: usize| {
            let (row, col) = (found.order[a], found.order[b]);
            let sum = f64::from(gram.get(row, col));
            if a == b { 1.1 * sum + LEAST * mean } else { sum }
        };
        // The diagonal follows from the first column on.
        let mut diagonal = vec![0.0; size];
        for j in 0..size {
            diagonal[j] = wanted(j, j) - (0..j).map(|k| unit(j, k).powi(2) * diagonal[k]).sum::<f64>();
        }
        for a in 0..size {
            for b in 0..=a {
                let product: f64 = (0..=b).map(|k| unit(a, k) * diagonal[k] * unit(b, k)).sum();
                assert!(
                    (product - wanted(a, b)).abs() < 1e-4 * mean,
                    "({a}, {b}): {product} {}",
                    wanted(a, b)
                );
            }
        }
    }

    #[test]
    fn sums_that_are_no_numbers_have_no_factor() {
        let compute = Compute::default();
        let (mut gram, mut packed) = (Gram::new(32), Inputs::default());
        gram.add(&compute, &mut packed, &[f32::NAN; 32]);
        assert!(Factor::new(&compute, &gram, 0.1).is_none());
        // Nothing seen: every error counts the same.
        assert!(Factor::new(&compute, &Gram::new(40), 0.1).is_some());
    }
}
