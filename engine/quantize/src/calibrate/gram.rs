//! Sums over the inputs of a linear layer: of all products of two columns, or of squares alone.

use edgellm::Compute;
use edgellm_kernels::{PANEL, PANEL_ROWS};

/// Rows of a panel's tile.
type Tile = [[f32; PANEL]; PANEL_ROWS];

/// X^T X of inputs X, (tokens, cols), where columns are padded to whole panels with zeros: what rounding errors are weighed by.
#[derive(Debug)]
pub(crate) struct Gram {
    cols: usize,
    /// The upper triangle, in panels of 32 columns, the longest first: a panel has the rows up to its own columns.
    panels: Vec<Vec<Tile>>,
}

/// Inputs in the form of products: column after column in tiles of 8, and in panels of 32.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    tiles: Vec<Vec<[f32; PANEL_ROWS]>>,
    panels: Vec<Vec<[f32; PANEL]>>,
}

impl Inputs {
    /// The columns of `input`, (tokens, cols).
    fn pack(&mut self, compute: &Compute, input: &[f32], cols: usize) {
        let panels = cols.div_ceil(PANEL);
        self.tiles.resize_with(panels * PANEL / PANEL_ROWS, Vec::new);
        self.panels.resize_with(panels, Vec::new);
        compute.pool().for_each_mut(&mut self.tiles, &|index, tile| columns(input, cols, index, tile));
        compute.pool().for_each_mut(&mut self.panels, &|index, panel| columns(input, cols, index, panel));
    }
}

/// Columns `N * index..` of each row; 0 past the last.
fn columns<const N: usize>(input: &[f32], cols: usize, index: usize, out: &mut Vec<[f32; N]>) {
    let columns = (N * index).min(cols)..(N * (index + 1)).min(cols);
    out.clear();
    out.extend(input.chunks_exact(cols).map(|row| {
        let mut values = [0.0; N];
        values
            .iter_mut()
            .zip(row.get(columns.clone()).unwrap_or_default())
            .for_each(|(value, &x)| *value = x);
        values
    }));
}

impl Gram {
    pub(super) fn new(cols: usize) -> Gram {
        let panels = cols.div_ceil(PANEL);
        let tile = [[0.0; PANEL]; PANEL_ROWS];
        let panels = (1..=panels).rev().map(|length| vec![tile; length * (PANEL / PANEL_ROWS)]).collect();
        Gram { cols, panels }
    }

    /// Bytes of such sums.
    pub(super) fn bytes(cols: usize) -> u64 {
        let panels = cols.div_ceil(PANEL) as u64;
        panels * (panels + 1) / 2 * (PANEL * PANEL * size_of::<f32>()) as u64
    }

    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Adds the products of `input`, (tokens, cols).
    pub(super) fn add(&mut self, compute: &Compute, packed: &mut Inputs, input: &[f32]) {
        packed.pack(compute, input, self.cols);
        let (packed, kernels, count) = (&*packed, compute.kernels(), self.panels.len());
        compute.pool().for_each_mut(&mut self.panels, &|index, tiles| {
            let Some(right) = packed.panels.get(count - 1 - index) else { return };
            for (tile, left) in tiles.iter_mut().zip(&packed.tiles) {
                kernels.panel_product(left, right, tile);
            }
        });
    }

    /// The sum of the products of two columns; 0 for padding.
    pub(super) fn get(&self, a: usize, b: usize) -> f32 {
        let (row, col) = (a.min(b), a.max(b));
        let tiles = (self.panels.len() - 1).checked_sub(col / PANEL).and_then(|index| self.panels.get(index));
        let tile = tiles.and_then(|tiles| tiles.get(row / PANEL_ROWS));
        tile.map_or(0.0, |tile| tile[row % PANEL_ROWS][col % PANEL])
    }

    /// The sums of squares, (cols).
    pub(super) fn squares(&self) -> Vec<f32> {
        (0..self.cols).map(|col| self.get(col, col)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_products_on_any_number_of_threads() {
        let (tokens, cols) = (21, 75);
        let input: Vec<f32> = (0..tokens * cols).map(|i| ((i * 37 % 101) as f32 - 50.0) / 16.0).collect();
        let sums = |threads| {
            let compute = Compute::new(edgellm::available_kernels()[0], threads);
            let (mut gram, mut packed) = (Gram::new(cols), Inputs::default());
            gram.add(&compute, &mut packed, &input);
            gram.add(&compute, &mut packed, &input[..5 * cols]);
            gram
        };
        let gram = sums(1);
        assert_eq!(gram.panels, sums(3).panels);
        for (a, b) in [(0, 0), (3, 40), (40, 3), (74, 74), (74, 0), (63, 64)] {
            let product = |row: &[f32]| row[a] * row[b];
            let all: f32 = input.chunks(cols).map(product).sum();
            let again: f32 = input[..5 * cols].chunks(cols).map(product).sum();
            assert!((gram.get(a, b) - (all + again)).abs() < 1e-3, "({a}, {b})");
        }
        assert_eq!((gram.get(80, 80), gram.get(2, 90)), (0.0, 0.0), "padding");
    }
}
