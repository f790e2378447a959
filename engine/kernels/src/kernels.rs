//! [`Kernels`]: one instruction set's kernels, chosen once at start.

use crate::activations::Activations;
use crate::attention::{AttendJob, MergeJob, SegmentJob};
use crate::isa::{Isa, Job};
use crate::layout::{Encoding, Matrix};
use crate::matmul::{MatmulJob, UNPACK_TOKENS};
use crate::pool::Pool;
use crate::quantize;
use crate::strip::fetch_ahead;
use crate::tiles::TILE_FROM;
use std::fmt;

/// One product of a call: a matrix and where its result goes.
#[derive(Debug)]
pub struct Product<'a> {
    /// Weights, (rows, cols).
    pub matrix: Matrix<'a>,
    /// Result, (tokens, rows).
    pub output: &'a mut [f32],
}

/// The floating-point and matrix work of one instruction set, chosen once at start.
#[derive(Clone, Copy)]
pub struct Kernels(&'static dyn KernelSet);

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.name())
    }
}

impl Kernels {
    /// The kernels of an instruction set that this CPU is proven to have.
    pub fn new<I: Isa>(isa: I) -> Self {
        // An instance is a few bytes, or none.
        Kernels(Box::leak(Box::new(isa)))
    }

    /// Name of the instruction set.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Quantizes `input`, (tokens, cols), and builds lookup tables if `tables` and so few tokens use them.
    ///
    /// Blocks get a second digit where the square of their largest group is over `refine_above` times the
    /// token's mean of these squares: all that are not zero if it is 0, none if it is infinite.
    ///
    /// # Panics
    /// If `input` is not a whole number of rows.
    pub fn quantize(
        &self,
        pool: &Pool,
        activations: &mut Activations,
        input: &[f32],
        cols: usize,
        tables: bool,
        refine_above: f32,
    ) {
        assert!(cols > 0 && input.len().is_multiple_of(cols), "input is not (tokens, {cols})");
        let tokens = input.len() / cols;
        let tables = tables && tokens < UNPACK_TOKENS;
        let target = activations.prepare(tokens, cols, tables, refine_above);
        // SAFETY: the activations were prepared for these tokens, and every index is handed out once.
        pool.for_each_range(tokens, &|range| unsafe {
            self.0.quantize(&target, range.start, &input[range.start * cols..range.end * cols], cols);
        });
        if self.0.tiles() && tokens >= TILE_FROM {
            activations.arrange_tiles(pool);
        }
    }

    /// Computes all products of the same activations, on all threads of the pool.
    ///
    /// # Panics
    /// If a matrix has other columns than the activations, an output another length than (tokens, rows), or a
    /// matrix of bit-planes meets activations without tables.
    pub fn matmul(&self, pool: &Pool, activations: &Activations, products: &mut [Product<'_>]) {
        let tokens = activations.tokens();
        let mut strips = 0;
        for product in products.iter() {
            let layout = product.matrix.layout();
            assert_eq!(layout.padded_cols(), activations.padded_cols(), "columns differ");
            assert_eq!(product.output.len(), tokens * layout.rows(), "output is not (tokens, rows)");
            let planes = matches!(layout.encoding(), Encoding::Planes(_));
            let tables =
                tokens >= UNPACK_TOKENS || tokens == 0 || !activations.token(0).coarse.tables.is_empty();
            assert!(!planes || tables, "no lookup tables");
            strips += layout.strips();
        }
        if tokens == 0 {
            return;
        }
        let targets = Targets(products.as_mut_ptr(), products.len());
        let targets = &targets;
        pool.for_each_range(strips, &|range| {
            let mut first = 0;
            for index in 0..targets.1 {
                // SAFETY: the outputs are only written through `out` below, and the products outlive the call.
                let (matrix, out) = unsafe {
                    let product = targets.0.add(index);
                    ((*product).matrix, (*product).output.as_mut_ptr())
                };
                let count = matrix.layout().strips();
                let own = range.start.max(first)..range.end.min(first + count);
                if !own.is_empty() {
                    let strips = own.start - first..own.end - first;
                    // SAFETY: lengths were checked above, and ranges of strips are handed out once, so no two
                    // threads write the same rows.
                    unsafe { self.0.matmul(MatmulJob { matrix, activations, strips, out }) };
                }
                first += count;
            }
        });
    }

    /// Writes `x / rms(x) * weight` to `out`, row by row: x and out (rows, len), weight (len).
    ///
    /// # Panics
    /// If `x` and `out` differ in length, or are no whole number of rows.
    pub fn rms_norm(&self, pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let len = weight.len();
        assert!(x.len() == out.len() && x.len().is_multiple_of(len), "x and out are not (rows, {len})");
        let target = Target(out.as_mut_ptr());
        let target = &target;
        pool.for_each_range(x.len() / len, &|range| {
            for row in range {
                // SAFETY: rows do not overlap, and every index is handed out once.
                let out = unsafe { std::slice::from_raw_parts_mut(target.0.add(row * len), len) };
                self.0.rms_norm(&x[row * len..][..len], weight, eps, out);
            }
        });
    }

    /// `gate = silu(gate) * up`, element by element.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn silu_mul(&self, pool: &Pool, gate: &mut [f32], up: &[f32]) {
        assert_eq!(gate.len(), up.len());
        let target = Target(gate.as_mut_ptr());
        let target = &target;
        pool.for_each_range(up.len().div_ceil(SILU_PIECE), &|range| {
            let up = &up[range.start * SILU_PIECE..up.len().min(range.end * SILU_PIECE)];
            // SAFETY: pieces do not overlap, and every index is handed out once.
            let gate =
                unsafe { std::slice::from_raw_parts_mut(target.0.add(range.start * SILU_PIECE), up.len()) };
            self.0.silu_mul(gate, up);
        });
    }

    /// The wrapping sum of `data`, on all threads of the pool, with nothing but loads and adds: what a machine
    /// can read, to hold the products against.
    pub fn stream(&self, pool: &Pool, data: &[u64]) -> u64 {
        const PIECE: usize = 1 << 13;
        let total = std::sync::atomic::AtomicU64::new(0);
        pool.for_each_range(data.len().div_ceil(PIECE), &|range| {
            let part = &data[range.start * PIECE..data.len().min(range.end * PIECE)];
            total.fetch_add(self.0.stream(part), std::sync::atomic::Ordering::Relaxed);
        });
        total.into_inner()
    }

    pub(crate) fn set(&self) -> &dyn KernelSet {
        self.0
    }
}

/// Elements that are too few to share.
const SILU_PIECE: usize = 4096;

/// Where the parts of an output begin, shared by the threads of one call.
struct Target(*mut f32);
// SAFETY: every thread writes parts of its own only.
unsafe impl Sync for Target {}

/// Pointers into products, shared by the threads of one call.
struct Targets<'a>(*mut Product<'a>, usize);
// SAFETY: `Kernels::matmul` lets every thread write rows of its own only.
unsafe impl Sync for Targets<'_> {}

pub(crate) trait KernelSet: Send + Sync {
    fn name(&self) -> &'static str;
    /// Whether products of many tokens want [`Activations::arrange_tiles`].
    fn tiles(&self) -> bool;
    /// # Safety
    /// See [`quantize::Target::quantize_token`].
    unsafe fn quantize(&self, target: &quantize::Target, first: usize, input: &[f32], cols: usize);
    /// # Safety
    /// See [`MatmulJob`].
    unsafe fn matmul(&self, job: MatmulJob<'_>);
    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]);
    fn silu_mul(&self, gate: &mut [f32], up: &[f32]);
    fn stream(&self, data: &[u64]) -> u64;
    fn attend(&self, job: AttendJob<'_>);
    fn attend_segment(&self, job: SegmentJob<'_>);
    fn merge_segments(&self, job: MergeJob<'_>);
}

impl<I: Isa> KernelSet for I {
    fn name(&self) -> &'static str {
        I::NAME
    }

    fn tiles(&self) -> bool {
        I::TILES
    }

    unsafe fn quantize(&self, target: &quantize::Target, first: usize, input: &[f32], cols: usize) {
        self.enter(QuantizeJob { target, first, input, cols });
    }

    unsafe fn matmul(&self, job: MatmulJob<'_>) {
        self.enter(job);
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        self.enter(crate::float::RmsNorm { x, weight, eps, out });
    }

    fn silu_mul(&self, gate: &mut [f32], up: &[f32]) {
        self.enter(crate::float::SiluMul { gate, up });
    }

    fn stream(&self, data: &[u64]) -> u64 {
        self.enter(StreamJob(data))
    }

    fn attend(&self, job: AttendJob<'_>) {
        self.enter(job);
    }

    fn attend_segment(&self, job: SegmentJob<'_>) {
        self.enter(job);
    }

    fn merge_segments(&self, job: MergeJob<'_>) {
        self.enter(job);
    }
}

/// Some tokens to quantize. Whoever makes one vouches for what [`quantize::Target::quantize_token`] asks.
struct QuantizeJob<'a> {
    target: &'a quantize::Target,
    first: usize,
    input: &'a [f32],
    cols: usize,
}

impl<I: Isa> Job<I> for QuantizeJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        for (index, row) in self.input.chunks_exact(self.cols).enumerate() {
            // SAFETY: see the type.
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
