//! Products of small dense panels, the one operation that calibration needs: sums of products of inputs, Cholesky factors, and
//! the feedback of rounding errors.
//!
//! Every element is one chain of additions in ascending order of k, each of a rounded product, so that vectors of any width
//! compute the same bits.

use crate::isa::{Isa, Job};

/// Columns of a panel: a block of weights, so that a block's columns are rounded together.
pub const PANEL: usize = crate::layout::BLOCK;
/// Rows of the left factor that are multiplied together.
pub const PANEL_ROWS: usize = 8;

/// `out += left^T right` for one tile.
pub(crate) struct PanelProduct<'a, T> {
    /// (k, [`PANEL_ROWS`])
    pub(crate) left: &'a [[T; PANEL_ROWS]],
    /// (k, [`PANEL`])
    pub(crate) right: &'a [[T; PANEL]],
    /// ([`PANEL_ROWS`], [`PANEL`])
    pub(crate) out: &'a mut [[T; PANEL]; PANEL_ROWS],
}

impl<I: Isa> Job<I> for PanelProduct<'_, f32> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        // As many sums as registers hold, with room for the factors.
        if I::REGISTERS == 32 { self.tiles::<I, 8>(isa) } else { self.tiles::<I, 4>(isa) }
    }
}

impl PanelProduct<'_, f32> {
    /// In tiles of `ROWS` rows and two registers.
    #[inline(always)]
    fn tiles<I: Isa, const ROWS: usize>(self, isa: I) {
        let PanelProduct { left, right, out } = self;
        let lanes = I::WIDTH / size_of::<f32>();
        for first in (0..PANEL_ROWS).step_by(ROWS) {
            for col in (0..PANEL).step_by(2 * lanes) {
                let mut sums = [[isa.splat(0.0); 2]; ROWS];
                for (left, right) in left.iter().zip(right) {
                    // SAFETY: `col + 2 * lanes <= PANEL`, because a register has 4, 8 or 16 lanes.
                    let (a, b) = unsafe {
                        let right = right.as_ptr().add(col);
                        (isa.load_floats(right), isa.load_floats(right.add(lanes)))
                    };
                    for row in 0..ROWS {
                        let factor = isa.splat(left[first + row]);
                        sums[row][0] = isa.add(sums[row][0], isa.mul(factor, a));
                        sums[row][1] = isa.add(sums[row][1], isa.mul(factor, b));
                    }
                }
                for row in 0..ROWS {
                    let to = out[first + row].as_mut_ptr();
                    for half in 0..2 {
                        // SAFETY: as above, and `first + row < PANEL_ROWS`.
                        unsafe {
                            let to = to.add(col + half * lanes);
                            isa.store_floats(to, isa.add(isa.load_floats(to), sums[row][half]));
                        }
                    }
                }
            }
        }
    }
}

impl<I: Isa> Job<I> for PanelProduct<'_, f64> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        // Few enough for the registers of every instruction set.
        const ROWS: usize = 4;
        const COLS: usize = 8;
        let PanelProduct { left, right, out } = self;
        for row in (0..PANEL_ROWS).step_by(ROWS) {
            for col in (0..PANEL).step_by(COLS) {
                let mut sums = [[0.0; COLS]; ROWS];
                for (left, right) in left.iter().zip(right) {
                    for r in 0..ROWS {
                        let factor = left[row + r];
                        for c in 0..COLS {
                            sums[r][c] += factor * right[col + c];
                        }
                    }
                }
                for r in 0..ROWS {
                    for c in 0..COLS {
                        out[row + r][col + c] += sums[r][c];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable::Portable;
    use crate::random::Random;

    #[test]
    fn a_product_is_its_definition_and_adds() {
        let mut random = Random(5);
        for count in [0, 1, 7, 100] {
            let left: Vec<[f64; PANEL_ROWS]> =
                (0..count).map(|_| std::array::from_fn(|_| f64::from(random.float()))).collect();
            let right: Vec<[f64; PANEL]> =
                (0..count).map(|_| std::array::from_fn(|_| f64::from(random.float()))).collect();
            let mut out = [[0.5; PANEL]; PANEL_ROWS];
            PanelProduct { left: &left, right: &right, out: &mut out }.run(Portable);
            for (r, row) in out.iter().enumerate() {
                for (c, &actual) in row.iter().enumerate() {
                    let sum =
                        left.iter().zip(&right).fold(0.0, |sum, (left, right)| sum + left[r] * right[c]);
                    assert_eq!(actual, 0.5 + sum, "{count}: ({r}, {c})");
                }
            }
        }
    }
}
