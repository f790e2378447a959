//! Quantized activations with a lane for each token.

use super::token::Token;
use crate::layout::BLOCK;
use crate::pool::Pool;

/// Tokens whose activations lie side by side: a cache line of them.
pub(crate) const LANES: usize = 16;

/// Activations by runs of [`LANES`] tokens: in each run block after block, in each block column after column.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneActivations {
    /// Both digits of each value together: `64 * coarse + fine` where a block is refined, else `coarse`.
    values: Vec<[i32; LANES]>,
    scales: Vec<[f32; LANES]>,
    tokens: usize,
}

/// One block of a run of [`LANES`] tokens.
#[derive(Clone, Copy)]
pub(crate) struct LaneBlock<'a> {
    /// The values of each column.
    pub(crate) values: &'a [[i32; LANES]; BLOCK],
    pub(crate) scales: &'a [f32; LANES],
}

/// Where the vectors of [`LaneActivations`] begin, shared by the threads that fill them.
struct Target(*mut [[i32; LANES]; BLOCK], *mut [f32; LANES]);
// SAFETY: `arrange` hands out every block of a run of tokens once, so no two threads write the same element.
unsafe impl Sync for Target {}

impl LaneActivations {
    /// How many tokens have a lane: the first ones of all, or none.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.scales.clear();
        self.tokens = 0;
    }

    /// Block `index` of all blocks of all runs.
    ///
    /// # Panics
    /// If there is no such block.
    #[inline(always)]
    pub(crate) fn block(&self, index: usize) -> LaneBlock<'_> {
        LaneBlock { values: &self.values.as_chunks().0[index], scales: &self.scales[index] }
    }

    /// Copies the activations of `tokens` tokens of `blocks` blocks each, the first of which is `first`.
    pub(super) fn arrange(&mut self, pool: &Pool, tokens: usize, blocks: usize, first: Token<'_>) {
        self.tokens = tokens;
        let runs = tokens.div_ceil(LANES);
        // The padding after the last token is multiplied too; its results are not read.
        self.values.resize(runs * blocks * BLOCK, [0; LANES]);
        self.scales.resize(runs * blocks, [0.0; LANES]);
        let target = Target(self.values.as_mut_ptr().cast(), self.scales.as_mut_ptr());
        let target = &target;
        pool.for_each_range(runs * blocks, &|range| {
            for index in range {
                let (run, block) = (index / blocks * LANES, index % blocks);
                // SAFETY: index < runs * blocks, for which `resize` made room; every index is handed out once.
                let (values, scales) = unsafe { (&mut *target.0.add(index), &mut *target.1.add(index)) };
                for lane in 0..LANES.min(tokens - run) {
                    let from = (run + lane) * blocks + block;
                    let digits =
                        [first.coarse, first.fine].map(|digit| &digit.values[from * BLOCK..][..BLOCK]);
                    let (coarse, fine) = if first.refined[from] { (64, 1) } else { (1, 0) };
                    for ((to, &high), &low) in values.iter_mut().zip(digits[0]).zip(digits[1]) {
                        to[lane] = coarse * i32::from(high) + fine * i32::from(low);
                    }
                    scales[lane] = first.scales[from];
                }
            }
        });
    }
}
