//! Quantized activations in the order in which matrix instructions read them.

use super::token::Token;
use crate::layout::BLOCK;
use crate::pool::Pool;

/// Tokens that lie together: their sums fit the first-level cache.
pub(crate) const TILED_TOKENS: usize = 64;

/// Activations by runs of [`TILED_TOKENS`] tokens: in each run block after block, in each block token after token.
#[derive(Clone, Debug, Default)]
pub(crate) struct TileActivations {
    /// 32 values for each block of a token.
    coarse: Vec<[i8; BLOCK]>,
    /// The fine digits of those tokens that have one, side by side.
    fine: Vec<[i8; BLOCK]>,
    /// Which tokens have a fine digit, one bit each.
    refined: Vec<u64>,
    scales: Vec<f32>,
    scaled_sums: Vec<f32>,
}

/// One block of a run of [`TILED_TOKENS`] tokens.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// The coarse digit of each token.
    pub(crate) coarse: *const [i8; BLOCK],
    /// The fine digit of each token that has one, side by side.
    pub(crate) fine: *const [i8; BLOCK],
    /// Which tokens have one, a bit each.
    pub(crate) refined: u64,
    pub(crate) scales: *const f32,
    /// Those of the block before lie [`TILED_TOKENS`] floats earlier.
    pub(crate) scaled_sums: *const f32,
}

/// Where the vectors of [`TileActivations`] begin, shared by the threads that fill them.
struct Target {
    coarse: *mut [i8; BLOCK],
    fine: *mut [i8; BLOCK],
    refined: *mut u64,
    scales: *mut f32,
    scaled_sums: *mut f32,
}
// SAFETY: `arrange` hands out every block of a run of tokens once, so no two threads write the same element.
unsafe impl Sync for Target {}

impl TileActivations {
    /// Block `index` of all blocks of all runs.
    ///
    /// # Safety
    /// `index` is below the number of runs times that of blocks that were arranged.
    #[inline(always)]
    pub(crate) unsafe fn tile(&self, index: usize) -> Tile {
        // SAFETY: there are `TILED_TOKENS` elements for each block, and one bit set.
        unsafe {
            Tile {
                coarse: self.coarse.as_ptr().add(index * TILED_TOKENS),
                fine: self.fine.as_ptr().add(index * TILED_TOKENS),
                refined: *self.refined.get_unchecked(index),
                scales: self.scales.as_ptr().add(index * TILED_TOKENS),
                scaled_sums: self.scaled_sums.as_ptr().add(index * TILED_TOKENS),
            }
        }
    }

    /// Copies the activations of `tokens` tokens of `blocks` blocks each, the first of which is `first`.
    pub(super) fn arrange(&mut self, pool: &Pool, tokens: usize, blocks: usize, first: Token<'_>) {
        let runs = tokens.div_ceil(TILED_TOKENS);
        // The padding after the last token is multiplied too; its results are not read.
        self.coarse.resize(runs * blocks * TILED_TOKENS, [0; BLOCK]);
        self.fine.resize(runs * blocks * TILED_TOKENS, [0; BLOCK]);
        self.refined.resize(runs * blocks, 0);
        self.scales.resize(runs * blocks * TILED_TOKENS, 0.0);
        self.scaled_sums.resize(runs * blocks * TILED_TOKENS, 0.0);
        let target = Target {
            coarse: self.coarse.as_mut_ptr(),
            fine: self.fine.as_mut_ptr(),
            refined: self.refined.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
        };
        let target = &target;
        pool.for_each_range(runs * blocks, &|range| {
            for index in range {
                let (run, block) = (index / blocks * TILED_TOKENS, index % blocks);
                let mut refined = 0u64;
                for at in 0..TILED_TOKENS.min(tokens - run) {
                    let (from, to) = ((run + at) * blocks + block, index * TILED_TOKENS + at);
                    let values = from * BLOCK..(from + 1) * BLOCK;
                    // SAFETY: `to` and `slot` are below (index + 1) * TILED_TOKENS, for which `resize` made room; slices
                    // of 32 values convert to arrays of 32; every index is handed out once.
                    unsafe {
                        *target.coarse.add(to) =
                            first.coarse.values[values.clone()].try_into().unwrap_unchecked();
                        *target.scales.add(to) = first.scales[from];
                        *target.scaled_sums.add(to) = first.scaled_sums[from];
                        if first.refined[from] {
                            let slot = index * TILED_TOKENS + refined.count_ones() as usize;
                            *target.fine.add(slot) = first.fine.values[values].try_into().unwrap_unchecked();
                            refined |= 1 << at;
                        }
                    }
                }
                // SAFETY: index < runs * blocks, for which `resize` made room.
                unsafe { *target.refined.add(index) = refined };
            }
        });
    }
}
