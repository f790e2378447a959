//! One instruction set's kernels behind a table of functions, so that it can be chosen at run time.

use crate::activations::Target;
use crate::attention::{AttendJob, MergeJob, SegmentJob};
use crate::blocks::Blocks;
use crate::float::{GateMul, RmsNorm};
use crate::hadamard::Hadamard;
use crate::isa::{Isa, Job};
use crate::matmul::{LaneStrips, MatmulJob, fetch_ahead, multiply_by_tiles};
use crate::panel::PanelProduct;
use crate::recurrence::{CausalConv, DeltaRule};
use crate::tiles::Tiles;

/// What an instruction set computes: each function is a [`Job`], compiled with its features.
pub(crate) trait KernelSet: Send + Sync {
    /// Quantizes the rows of `input`, (cols) each, as tokens from `first` on.
    ///
    /// # Safety
    /// That of [`Target::quantize_token`], for each of these tokens.
    unsafe fn quantize(&self, target: &Target, first: usize, input: &[f32], cols: usize);
    /// # Safety
    /// The job keeps the contract of [`MatmulJob`].
    unsafe fn matmul(&self, job: MatmulJob<'_>);
    /// See [`Isa::LANES_FROM`].
    fn lanes_from(&self) -> usize;
    /// # Safety
    /// The job keeps the contract of [`MatmulJob`], its codes are ternary or binary, and its activations were arranged in lanes.
    unsafe fn matmul_by_lanes(&self, job: MatmulJob<'_>);
    fn rms_norm(&self, job: RmsNorm<'_>);
    fn gate_mul(&self, job: GateMul<'_>);
    fn causal_conv(&self, job: CausalConv<'_>);
    fn hadamard(&self, job: Hadamard<'_>);
    fn delta_rule(&self, job: DeltaRule<'_>);
    fn panel_product(&self, job: PanelProduct<'_, f32>);
    fn panel_product_f64(&self, job: PanelProduct<'_, f64>);
    fn stream(&self, data: &[u64]) -> u64;
    /// # Safety
    /// The job keeps the contract of [`AttendJob`].
    unsafe fn attend(&self, job: AttendJob<'_>);
    fn attend_segment(&self, job: SegmentJob<'_>);
    /// # Safety
    /// The job keeps the contract of [`MergeJob`].
    unsafe fn merge_segments(&self, job: MergeJob<'_>);
}

impl<I: Blocks> KernelSet for I {
    unsafe fn quantize(&self, target: &Target, first: usize, input: &[f32], cols: usize) {
        self.enter(QuantizeJob { target, first, input, cols });
    }

    unsafe fn matmul(&self, job: MatmulJob<'_>) {
        self.enter(job);
    }

    fn lanes_from(&self) -> usize {
        I::LANES_FROM
    }

    unsafe fn matmul_by_lanes(&self, job: MatmulJob<'_>) {
        // A constant, so that nothing is compiled where lanes are not used.
        if I::LANES_FROM < usize::MAX {
            self.enter(LaneStrips(job));
        }
    }

    fn rms_norm(&self, job: RmsNorm<'_>) {
        self.enter(job);
    }

    fn gate_mul(&self, job: GateMul<'_>) {
        self.enter(job);
    }

    fn causal_conv(&self, job: CausalConv<'_>) {
        self.enter(job);
    }

    fn hadamard(&self, job: Hadamard<'_>) {
        self.enter(job);
    }

    fn delta_rule(&self, job: DeltaRule<'_>) {
        self.enter(job);
    }

    fn panel_product(&self, job: PanelProduct<'_, f32>) {
        self.enter(job);
    }

    fn panel_product_f64(&self, job: PanelProduct<'_, f64>) {
        self.enter(job);
    }

    fn stream(&self, data: &[u64]) -> u64 {
        self.enter(StreamJob(data))
    }

    unsafe fn attend(&self, job: AttendJob<'_>) {
        self.enter(job);
    }

    fn attend_segment(&self, job: SegmentJob<'_>) {
        self.enter(job);
    }

    unsafe fn merge_segments(&self, job: MergeJob<'_>) {
        self.enter(job);
    }
}

/// What matrix instructions compute.
pub(crate) trait TileSet: Send + Sync {
    /// # Safety
    /// The job keeps the contract of [`MatmulJob`], and its activations were arranged in tiles.
    unsafe fn matmul(&self, job: MatmulJob<'_>);
}

impl<T: Tiles> TileSet for T {
    unsafe fn matmul(&self, job: MatmulJob<'_>) {
        multiply_by_tiles(&job, *self);
    }
}

/// Some tokens to quantize. Whoever constructs one keeps the contract of [`Target::quantize_token`] for each of them.
struct QuantizeJob<'a> {
    target: &'a Target,
    first: usize,
    input: &'a [f32],
    cols: usize,
}

impl<I: Isa> Job<I> for QuantizeJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        for (index, row) in self.input.chunks_exact(self.cols).enumerate() {
            // SAFETY: by the contract of the type.
            unsafe { self.target.quantize_token(isa, self.first + index, row) };
        }
    }
}

/// Data to sum.
struct StreamJob<'a>(&'a [u64]);

impl<I: Isa> Job<I> for StreamJob<'_> {
    type Output = u64;
    #[inline(always)]
    fn run(self, isa: I) -> u64 {
        // Four streams, so that the hardware's prefetchers have several pages to work on.
        let quarter = self.0.len() / 4;
        let (chunks, rest) = (quarter / 16, &self.0[quarter / 16 * 16 * 4..]);
        let mut lanes = [[0u64; 16]; 4];
        let parts: [&[[u64; 16]]; 4] =
            std::array::from_fn(|part| self.0[part * chunks * 16..][..chunks * 16].as_chunks().0);
        for index in 0..chunks {
            for (lanes, part) in lanes.iter_mut().zip(parts) {
                fetch_ahead(isa, part[index].as_ptr().cast(), 128); // as the products do
                for (lane, x) in lanes.iter_mut().zip(part[index]) {
                    *lane = lane.wrapping_add(x);
                }
            }
        }
        lanes.iter().flatten().chain(rest).fold(0, |sum, &x| sum.wrapping_add(x))
    }
}
