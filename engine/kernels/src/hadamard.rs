//! The normalized Walsh-Hadamard transform of blocks: y = H x with H_ij = (-1)^popcount(i & j) / sqrt(n), which is its own
//! inverse.
//!
//! The stages have one order, neighbours first, and each element of a stage is one sum or difference, so that vectors of any
//! width compute the same bits.

use crate::isa::{Isa, Job};

/// Elements that the first stages mix within a few registers.
const LANES: usize = 16;

/// Some blocks of one row each after the other. Signs are those of the blocks' elements, or empty.
pub(crate) struct Hadamard<'a> {
    /// Whole blocks.
    pub(crate) x: &'a mut [f32],
    /// Elements of a block, a power of two.
    pub(crate) block: usize,
    /// What elements are multiplied by before the transform.
    pub(crate) before: &'a [f32],
    /// What they are multiplied by after it.
    pub(crate) after: &'a [f32],
}

impl<I: Isa> Job<I> for Hadamard<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let Hadamard { x, block, before, after } = self;
        multiply(x, before);
        let scale = 1.0 / (block as f32).sqrt();
        for x in x.chunks_exact_mut(block) {
            transform(x);
            for x in x.iter_mut() {
                *x *= scale;
            }
        }
        multiply(x, after);
    }
}

#[inline(always)]
fn multiply(x: &mut [f32], signs: &[f32]) {
    for (x, sign) in x.iter_mut().zip(signs) {
        *x *= sign;
    }
}

/// All stages of a block, not normalized.
#[inline(always)]
fn transform(x: &mut [f32]) {
    let (groups, rest) = x.as_chunks_mut::<LANES>();
    for group in groups.iter_mut() {
        *group = stage::<8>(stage::<4>(stage::<2>(stage::<1>(*group))));
    }
    // A power of two below 16 is no whole group.
    let mut distance = if rest.is_empty() { LANES } else { 1 };
    while distance < x.len() {
        for pair in x.chunks_exact_mut(2 * distance) {
            let (low, high) = pair.split_at_mut(distance);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        distance *= 2;
    }
}

/// Sums and differences of elements at this distance.
#[inline(always)]
fn stage<const DISTANCE: usize>(x: [f32; LANES]) -> [f32; LANES] {
    let mut y = x;
    for i in 0..LANES {
        let other = x[i ^ DISTANCE];
        y[i] = if i & DISTANCE == 0 { x[i] + other } else { other - x[i] };
    }
    y
}

#[cfg(test)]
mod tests {
    use super::Hadamard;
    use crate::isa::Job;
    use crate::portable::Portable;
    use crate::random::Random;

    #[test]
    fn the_transform_is_its_definition() {
        let mut random = Random(3);
        for block in [2, 8, 16, 64, 1024] {
            let x: Vec<f32> = (0..2 * block).map(|_| random.float()).collect();
            let before: Vec<f32> = (0..x.len()).map(|i| if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
            let after: Vec<f32> = (0..x.len()).map(|i| if i % 5 == 0 { -1.0 } else { 1.0 }).collect();
            let mut y = x.clone();
            Hadamard { x: &mut y, block, before: &before, after: &after }.run(Portable);
            for (row, y) in y.iter().enumerate() {
                let start = row / block * block;
                let expected: f64 = (0..block)
                    .map(|j| {
                        let sign =
                            if ((row - start) & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                        sign * f64::from(before[start + j] * x[start + j])
                    })
                    .sum();
                let expected = expected / (block as f64).sqrt() * f64::from(after[row]);
                assert!((expected - f64::from(*y)).abs() < 1e-5, "{block}, {row}: {y} instead of {expected}");
            }
        }
    }
}
