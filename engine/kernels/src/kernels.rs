//! [`Kernels`]: one instruction set's kernels, and how the threads of a pool share their work.

use crate::activations::Activations;
use crate::attention::{Place, Queries};
use crate::blocks::Blocks;
use crate::float::{Gate, GateMul, RmsNorm};
use crate::hadamard::Hadamard;
use crate::layout::{Encoding, Matrix};
use crate::matmul::{LANE_STRIPS, MatmulJob, TILE_FROM, UNPACK_TOKENS};
use crate::panel::{PANEL, PANEL_ROWS, PanelProduct};
use crate::pool::Pool;
use crate::recurrence::{CausalConv, DeltaHeads};
use crate::set::{KernelSet, TileSet};
use crate::share;
use crate::tiles::Tiles;
use std::fmt;

/// One product of a call: a matrix and where its result is written.
#[derive(Debug)]
pub struct Product<'a> {
    /// Weights, (rows, cols).
    pub matrix: Matrix<'a>,
    /// Result, (tokens, rows).
    pub output: &'a mut [f32],
}

/// Which forms of the activations some products read besides the quantized values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Lookup tables of each token, of which few tokens make use.
    pub tables: bool,
    /// A lane for each token, of which many make use.
    pub lanes: bool,
}

impl Lookups {
    /// What products with matrices of these encodings read.
    pub fn of(encodings: impl IntoIterator<Item = Encoding>) -> Self {
        let mut lookups = Lookups::default();
        for encoding in encodings {
            lookups.tables |= encoding.by_lookup();
            lookups.lanes |= encoding.by_lanes();
        }
        lookups
    }
}

/// The floating-point and matrix work of one instruction set, chosen once at start.
#[derive(Clone, Copy)]
pub struct Kernels {
    name: &'static str,
    set: &'static dyn KernelSet,
    /// Matrix instructions, for products of many tokens.
    tiles: Option<&'static dyn TileSet>,
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.name())
    }
}

impl Kernels {
    /// The kernels of an instruction set, whose value proves that the CPU has it.
    pub fn new<I: Blocks>(name: &'static str, isa: I) -> Self {
        // Leaks a few bytes, or none: a program has few kernels, for as long as it runs.
        Kernels { name, set: Box::leak(Box::new(isa)), tiles: None }
    }

    /// [`Kernels::new`] of a CPU that has matrix instructions as well.
    pub fn with_tiles<T: Tiles>(name: &'static str, tiles: T) -> Self {
        Kernels { tiles: Some(Box::leak(Box::new(tiles))), ..Kernels::new(name, tiles.isa()) }
    }

    /// The name of the instruction set.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Quantizes `input`, (tokens, cols), and prepares those `lookups` that so many tokens make use of.
    ///
    /// Blocks get a fine digit where the square of the largest group exceeds `refine_above` times the token's mean of
    /// these squares: all blocks that are not zero if it is 0, none if it is infinite.
    ///
    /// # Panics
    /// If `input` is not a whole number of rows.
    pub fn quantize(
        &self,
        pool: &Pool,
        activations: &mut Activations,
        input: &[f32],
        cols: usize,
        lookups: Lookups,
        refine_above: f32,
    ) {
        assert!(cols > 0 && input.len().is_multiple_of(cols), "input is not (tokens, {cols})");
        let tokens = input.len() / cols;
        let tables = lookups.tables && tokens < UNPACK_TOKENS;
        let target = activations.prepare(tokens, cols, tables, refine_above);
        // SAFETY: the activations were prepared for these tokens, and each token is handed to one thread.
        pool.for_each_range(tokens, &|range| unsafe {
            self.set.quantize(&target, range.start, &input[range.start * cols..range.end * cols], cols);
        });
        if self.tiles.is_some() && tokens >= TILE_FROM {
            activations.arrange_tiles(pool);
        } else if lookups.lanes && self.set.lanes_from() < usize::MAX {
            activations.arrange_lanes(pool, self.set.lanes_from());
        }
    }

    /// Computes all products of the same activations, on all threads of the pool.
    ///
    /// # Panics
    /// If the columns of a matrix and the activations differ, an output is not (tokens, rows), or the activations lack the
    /// lookup tables that a matrix of bit-planes needs.
    pub fn matmul(&self, pool: &Pool, activations: &Activations, products: &mut [Product<'_>]) {
        let tokens = activations.tokens();
        let mut strips = 0;
        for product in products.iter() {
            let layout = product.matrix.layout();
            assert_eq!(layout.padded_cols(), activations.padded_cols(), "columns differ");
            assert_eq!(product.output.len(), tokens * layout.rows(), "output is not (tokens, rows)");
            let tables =
                tokens >= UNPACK_TOKENS || tokens == 0 || !activations.token(0).coarse.tables.is_empty();
            assert!(!layout.encoding().by_lookup() || tables, "no lookup tables");
            strips += layout.strips();
        }
        if tokens == 0 {
            return;
        }
        let targets = Targets(products.as_mut_ptr(), products.len());
        let targets = &targets;
        let by_lanes = activations.lanes().tokens() > 0;
        // A thread builds tables for as many strips as share them.
        let unit = if by_lanes { LANE_STRIPS } else { 1 };
        pool.for_each_range(strips.div_ceil(unit), &|range| {
            let range = range.start * unit..strips.min(range.end * unit);
            let mut first = 0;
            for index in 0..targets.1 {
                // SAFETY: index < targets.1, the number of products, which outlive the call; outputs are accessed
                // through `out` only.
                let (matrix, out) = unsafe {
                    let product = targets.0.add(index);
                    ((*product).matrix, (*product).output.as_mut_ptr())
                };
                let count = matrix.layout().strips();
                let own = range.start.max(first)..range.end.min(first + count);
                if !own.is_empty() {
                    let strips = own.start - first..own.end - first;
                    let job = MatmulJob { matrix, activations, strips, out };
                    // SAFETY: shapes and tables were checked above, and each strip is handed to one thread.
                    // `quantize` has arranged the activations in tiles under the same condition.
                    unsafe {
                        match self.tiles {
                            // Matrix instructions sum over whole blocks.
                            Some(tiles) if tokens >= TILE_FROM && !matrix.layout().halves() => {
                                tiles.matmul(job)
                            }
                            _ if by_lanes && matrix.layout().encoding().by_lanes() => {
                                self.set.matmul_by_lanes(job);
                            }
                            _ => self.set.matmul(job),
                        }
                    };
                }
                first += count;
            }
        });
    }

    /// Writes `x / rms(x) * weight` to `out`, row by row: x and out (rows, len), weight (len).
    ///
    /// # Panics
    /// If `x` and `out` differ in length or are not whole rows.
    pub fn rms_norm(&self, pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let len = weight.len();
        assert!(x.len() == out.len() && x.len().is_multiple_of(len), "x and out are not (rows, {len})");
        let target = Target(out.as_mut_ptr());
        let target = &target;
        pool.for_each_range(x.len() / len, &|range| {
            for row in range {
                // SAFETY: row < x.len() / len = out.len() / len; each row is handed to one thread.
                let out = unsafe { std::slice::from_raw_parts_mut(target.0.add(row * len), len) };
                self.set.rms_norm(RmsNorm { x: &x[row * len..][..len], weight, eps, out });
            }
        });
    }

    /// `gate = function(gate) * up`, element by element.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn gate_mul(&self, pool: &Pool, function: Gate, gate: &mut [f32], up: &[f32]) {
        assert_eq!(gate.len(), up.len());
        let target = Target(gate.as_mut_ptr());
        let target = &target;
        pool.for_each_range(up.len().div_ceil(GATE_PIECE), &|range| {
            let up = &up[range.start * GATE_PIECE..up.len().min(range.end * GATE_PIECE)];
            // SAFETY: `up`, as long as all of `gate`, has these elements; each piece is handed to one thread.
            let gate =
                unsafe { std::slice::from_raw_parts_mut(target.0.add(range.start * GATE_PIECE), up.len()) };
            self.set.gate_mul(GateMul { function, gate, up });
        });
    }

    /// Multiplies the rows of `x`, (tokens, cols), by `before`, transforms blocks of `block` elements by the normalized
    /// Walsh-Hadamard matrix, and multiplies them by `after`, on all threads of the pool. Signs are (cols) each, or empty.
    ///
    /// # Panics
    /// If `block` is no power of two or does not divide `cols`, `x` is not whole rows, or signs have another length.
    pub fn hadamard(&self, pool: &Pool, x: &mut [f32], cols: usize, block: usize, signs: [&[f32]; 2]) {
        assert!(block.is_power_of_two() && cols.is_multiple_of(block) && x.len().is_multiple_of(cols));
        assert!(
            signs.iter().all(|signs| signs.is_empty() || signs.len() == cols),
            "one sign for each column"
        );
        let blocks = x.len() / block;
        let target = Target(x.as_mut_ptr());
        let target = &target;
        pool.for_each_range(blocks, &|range| {
            for index in range {
                let at = index * block % cols;
                let [before, after] = signs.map(|signs| signs.get(at..at + block).unwrap_or_default());
                // SAFETY: index < blocks, so these elements are of `x`; each block is handed to one thread.
                let x = unsafe { std::slice::from_raw_parts_mut(target.0.add(index * block), block) };
                self.set.hadamard(Hadamard { x, block, before, after });
            }
        });
    }

    /// A causal convolution of every channel, on the calling thread: `x`, (tokens, channels), is replaced by the sums over
    /// the last tokens, each times its row of `kernel`, (taps, channels), whose last row is that of the token itself; SiLU
    /// follows if `silu`. `before`, (taps - 1, channels), has the tokens before the first, and then those before the next.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn causal_conv(&self, x: &mut [f32], kernel: &[f32], before: &mut [f32], silu: bool) {
        let channels = kernel.len() - before.len();
        assert!(channels > 0 && kernel.len().is_multiple_of(channels) && x.len().is_multiple_of(channels));
        self.set.causal_conv(CausalConv { x, kernel, before, channels, silu });
    }

    /// The gated delta rule over some tokens, head by head, on all threads of the pool; see [`DeltaHeads`]. `state`,
    /// (heads, key_dim, value_dim), is carried on; `output` is (heads, tokens, value_dim).
    ///
    /// # Panics
    /// If the lengths do not match, or a head has more than 256 elements.
    pub fn delta_rule(&self, pool: &Pool, heads: DeltaHeads<'_>, state: &mut [f32], output: &mut [f32]) {
        let (state_len, output_len) = heads.check(state.len(), output.len());
        let targets = (Target(state.as_mut_ptr()), Target(output.as_mut_ptr()));
        let targets = &targets;
        pool.for_each_range(heads.heads, &|range| {
            for head in range {
                // SAFETY: `check` has asserted that both have this length for each head; a head is handed to one thread.
                let (state, output) = unsafe {
                    (
                        std::slice::from_raw_parts_mut(targets.0.0.add(head * state_len), state_len),
                        std::slice::from_raw_parts_mut(targets.1.0.add(head * output_len), output_len),
                    )
                };
                self.set.delta_rule(heads.head(head, state, output));
            }
        });
    }

    /// Adds `left^T right` to `out`, on the calling thread: left (k, 8), right (k, 32), out (8, 32). Each element is one chain of
    /// additions in ascending order of k.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn panel_product(
        &self,
        left: &[[f32; PANEL_ROWS]],
        right: &[[f32; PANEL]],
        out: &mut [[f32; PANEL]; PANEL_ROWS],
    ) {
        assert_eq!(left.len(), right.len());
        self.set.panel_product(PanelProduct { left, right, out });
    }

    /// [`Kernels::panel_product`] of 64-bit floats.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn panel_product_f64(
        &self,
        left: &[[f64; PANEL_ROWS]],
        right: &[[f64; PANEL]],
        out: &mut [[f64; PANEL]; PANEL_ROWS],
    ) {
        assert_eq!(left.len(), right.len());
        self.set.panel_product_f64(PanelProduct { left, right, out });
    }

    /// Attention of all queries, on all threads of the pool, written to `output`, of their shape. `place(row)` says what a
    /// row attends to.
    ///
    /// Where the queries are too few to keep the threads busy, threads share the segments of each query, and `partials`
    /// holds their results: it grows with the number of pages.
    ///
    /// # Panics
    /// If lengths do not match, or the pages of a place are too few or too short.
    pub fn attend<'a>(
        &self,
        pool: &Pool,
        queries: Queries<'a>,
        place: &(dyn Fn(usize) -> Place<'a> + Sync),
        output: &mut [f32],
        partials: &mut Vec<f32>,
    ) {
        share::attend(self.set, pool, queries, place, output, partials);
    }

    /// [`Kernels::attend`] with each row, and the segments of each query, as work of its own.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn attend_by_segments<'a>(
        &self,
        pool: &Pool,
        queries: Queries<'a>,
        place: &(dyn Fn(usize) -> Place<'a> + Sync),
        output: &mut [f32],
        partials: &mut Vec<f32>,
    ) {
        share::attend_by_segments(self.set, pool, queries, place, output, partials);
    }

    /// The wrapping sum of `data`, on all threads of the pool, by loads and additions only: the machine's read bandwidth,
    /// to compare the products with.
    pub fn stream(&self, pool: &Pool, data: &[u64]) -> u64 {
        const PIECE: usize = 1 << 13;
        let total = std::sync::atomic::AtomicU64::new(0);
        pool.for_each_range(data.len().div_ceil(PIECE), &|range| {
            let part = &data[range.start * PIECE..data.len().min(range.end * PIECE)];
            total.fetch_add(self.set.stream(part), std::sync::atomic::Ordering::Relaxed);
        });
        total.into_inner()
    }
}

/// Elements that threads take at a time: fewer are not worth sharing.
const GATE_PIECE: usize = 4096;

/// Where an output begins, shared by the threads of a call.
struct Target(*mut f32);
// SAFETY: the methods of `Kernels` hand each row, piece or head to one thread.
unsafe impl Sync for Target {}

/// The products of a call and their number, shared by its threads.
struct Targets<'a>(*mut Product<'a>, usize);
// SAFETY: `Kernels::matmul` hands each strip of an output to one thread.
unsafe impl Sync for Targets<'_> {}
