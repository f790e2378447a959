//! Ternary and binary codes with many tokens: table lookup with a lane for each token.
//!
//! The table of a LUT group has an entry for every combination of four codes: what four such weights give for each of the
//! tokens. Then four weights of a row and a register of tokens take one addition, at the address that the codes say, where
//! dot products take one instruction or more for each token. A table is built once for many rows.
//! Measurements: docs/experiments/prefill.md.

use super::job::MatmulJob;
use super::many::ManyTokens;
use super::memory::{Aligned, fetch_ahead};
use crate::activations::LANES;
use crate::blocks::Blocks;
use crate::isa::{Isa, Job};
use crate::layout::{BLOCK, Encoding, GROUPS_PER_BLOCK, LUT_GROUP, STRIP};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Strips that share a table: as many as have their sums in the second-level cache.
pub(crate) const LANE_STRIPS: usize = 32;

/// Entries of the table of a LUT group of ternary codes, the larger one: 3^4.
const ENTRIES: usize = 81;

/// The strips of a job whose first activations were arranged in lanes, and whose codes are ternary or binary.
pub(crate) struct LaneStrips<'a>(pub(crate) MatmulJob<'a>);

impl<I: Blocks> Job<I> for LaneStrips<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let mut buffers = MaybeUninit::<Buffers>::uninit();
        // SAFETY: any bits are a valid `Buffers`.
        let buffers = unsafe { &mut *buffers.as_mut_ptr() };
        let Range { start, end } = self.0.strips;
        for first in (start..end).step_by(LANE_STRIPS) {
            let strips = first..end.min(first + LANE_STRIPS);
            for run in 0..self.0.activations.lanes().tokens().div_ceil(LANES) {
                if self.0.matrix.layout().encoding() == Encoding::Ternary {
                    isa.enter(Run::<3>(&self.0, strips.clone(), run, buffers));
                } else {
                    isa.enter(Run::<2>(&self.0, strips.clone(), run, buffers));
                }
            }
            let rest = self.0.activations.lanes().tokens();
            for strip in strips.filter(|_| rest < self.0.activations.tokens()) {
                isa.enter(ManyTokens::<true, false>(&self.0, strip, rest));
            }
        }
    }
}

/// Working memory: the tables in the first-level cache, the sums of [`LANE_STRIPS`] strips in the second.
#[repr(align(64))]
struct Buffers {
    tables: [[i32; LANES]; ENTRIES * GROUPS_PER_BLOCK],
    totals: [[[f32; LANES]; STRIP]; LANE_STRIPS],
    inners: [[[f32; LANES]; STRIP]; LANE_STRIPS],
}

/// Some strips and a run of tokens. `CODES`: how many different codes there are, 2 or 3.
struct Run<'j, 'a, 'b, const CODES: usize>(&'j MatmulJob<'a>, Range<usize>, usize, &'b mut Buffers);

impl<I: Isa, const CODES: usize> Job<I> for Run<'_, '_, '_, CODES> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let Run(job, strips, run, Buffers { tables, totals, inners }) = self;
        let layout = job.matrix.layout();
        let (blocks, per_group) = (layout.blocks(), layout.blocks_per_group());
        let block_bytes = layout.encoding().block_bytes();
        totals[..strips.len()].fill([[0.0; LANES]; STRIP]);
        for block in 0..blocks {
            let activations = job.activations.lanes().block(run * blocks + block);
            build_tables::<I, CODES>(isa, activations.values, tables);
            let (scales_at, codes_at) = layout.offsets(block * BLOCK);
            let (first, last) = (block % per_group == 0, (block + 1) % per_group == 0 || block + 1 == blocks);
            for (index, strip) in strips.clone().enumerate() {
                let bytes = job.matrix.strip(strip);
                let codes = &bytes[codes_at..codes_at + block_bytes];
                if run == 0 {
                    fetch_ahead(isa, codes.as_ptr(), block_bytes);
                }
                let mut offsets = Aligned([[0u16; ROWS]; 2]);
                find_offsets::<I, CODES>(isa, codes, &mut offsets.0);
                let mut step = Step {
                    tables,
                    offsets: &offsets.0,
                    scales: activations.scales,
                    weights: &bytes[scales_at..scales_at + 2 * STRIP],
                    inner: &mut inners[index],
                    total: &mut totals[index],
                };
                match (first, last) {
                    (true, true) => step.rows::<I, CODES, true, true>(isa),
                    (true, false) => step.rows::<I, CODES, true, false>(isa),
                    (false, true) => step.rows::<I, CODES, false, true>(isa),
                    (false, false) => step.rows::<I, CODES, false, false>(isa),
                }
            }
        }
        for (strip, totals) in strips.zip(totals) {
            for lane in 0..LANES.min(job.activations.lanes().tokens() - run * LANES) {
                let mut rows = [0.0; STRIP];
                for (row, total) in rows.iter_mut().zip(&*totals) {
                    *row = total[lane];
                }
                job.store(strip, run * LANES + lane, &rows);
            }
        }
    }
}

/// Entries of the table of a LUT group.
const fn entries(codes: usize) -> usize {
    codes.pow(LUT_GROUP as u32)
}

/// Builds the table of each LUT group. The code of column j counts `CODES^j` in an entry's index; the first code stands for
/// weight -1, the last for 1.
#[inline(always)]
fn build_tables<I: Isa, const CODES: usize>(
    isa: I,
    values: &[[i32; LANES]; BLOCK],
    tables: &mut [[i32; LANES]; ENTRIES * GROUPS_PER_BLOCK],
) {
    let groups = values.as_chunks::<LUT_GROUP>().0;
    for (group, table) in groups.iter().zip(tables.chunks_exact_mut(const { entries(CODES) })) {
        for at in (0..LANES).step_by(I::WIDTH / 4) {
            // SAFETY: at + WIDTH / 4 <= LANES, so loads and stores are within 16 lanes.
            unsafe {
                let first = isa.load_ints(group[0].as_ptr().add(at));
                // For each column what each code adds; of two codes, those of weights -1 and 1.
                let zero = isa.sub_ints(first, first);
                let mut terms = [[zero; 3]; LUT_GROUP];
                for (terms, values) in terms.iter_mut().zip(group) {
                    let value = isa.load_ints(values.as_ptr().add(at));
                    terms[0] = isa.sub_ints(zero, value);
                    terms[CODES - 1] = value;
                }
                let mut index = 0;
                for d in 0..CODES {
                    for c in 0..CODES {
                        let last = isa.add_ints(terms[3][d], terms[2][c]);
                        for b in 0..CODES {
                            let last = isa.add_ints(last, terms[1][b]);
                            for a in 0..CODES {
                                let entry = isa.add_ints(last, terms[0][a]);
                                isa.store_ints(table[index].as_mut_ptr().add(at), entry);
                                index += 1;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// LUT groups of a block times half a strip's rows.
const ROWS: usize = GROUPS_PER_BLOCK * STRIP / 2;
/// Bytes of an entry.
const ENTRY: u16 = 4 * LANES as u16;

/// 3^j for each bit j of a nibble, added.
const POWERS: [u8; 64] = {
    let mut powers = [0; 64];
    let mut i = 0;
    while i < 64 {
        let nibble = i % 16;
        powers[i] = ((nibble & 1) + 3 * (nibble >> 1 & 1) + 9 * (nibble >> 2 & 1) + 27 * (nibble >> 3)) as u8;
        i += 1;
    }
    powers
};

/// Where the entries that a block's codes select begin in the tables of their LUT groups, in bytes: for rows 0 to 15 and 16 to
/// 31, group by group.
#[inline(always)]
fn find_offsets<I: Isa, const CODES: usize>(isa: I, codes: &[u8], offsets: &mut [[u16; ROWS]; 2]) {
    let mut nibbles = Aligned([[0u8; 2 * ROWS]; 2]);
    let [low, high] = &mut nibbles.0;
    for at in (0..codes.len()).step_by(I::WIDTH) {
        // SAFETY: the codes are 128 or 256 bytes, which WIDTH divides, as long as each half of `nibbles` at most; 64 bytes of
        // powers.
        unsafe {
            let packed = isa.load(codes.as_ptr().add(at));
            let mut halves = [isa.low_nibbles(packed), isa.high_nibbles(packed)];
            if CODES == 3 {
                let powers = isa.load(POWERS.as_ptr());
                halves = [isa.lookup(powers, halves[0]), isa.lookup(powers, halves[1])];
            }
            isa.store(low.as_mut_ptr().add(at), halves[0]);
            isa.store(high.as_mut_ptr().add(at), halves[1]);
        }
    }
    for (offsets, nibbles) in offsets.iter_mut().zip(&nibbles.0) {
        if CODES == 3 {
            // Both bits of a code are in neighbouring bytes.
            for (offset, &[a, b]) in offsets.iter_mut().zip(nibbles.as_chunks::<2>().0) {
                *offset = (u16::from(a) + u16::from(b)) * ENTRY;
            }
        } else {
            // Neighbouring bytes are of rows i and 8 + i.
            for (offsets, nibbles) in
                offsets.as_chunks_mut::<16>().0.iter_mut().zip(nibbles.as_chunks::<16>().0)
            {
                for i in 0..8 {
                    offsets[i] = u16::from(nibbles[2 * i]) * ENTRY;
                    offsets[8 + i] = u16::from(nibbles[2 * i + 1]) * ENTRY;
                }
            }
        }
    }
}

/// A block of a strip, with a run of tokens.
struct Step<'a> {
    tables: &'a [[i32; LANES]; ENTRIES * GROUPS_PER_BLOCK],
    offsets: &'a [[u16; ROWS]; 2],
    /// Of the activations.
    scales: &'a [f32; LANES],
    /// The scales of the group's weights, in half precision.
    weights: &'a [u8],
    inner: &'a mut [[f32; LANES]; STRIP],
    total: &'a mut [[f32; LANES]; STRIP],
}

impl Step<'_> {
    /// Adds the block's products. `FIRST` and `LAST`: of its group.
    #[inline(always)]
    fn rows<I: Isa, const CODES: usize, const FIRST: bool, const LAST: bool>(&mut self, isa: I) {
        let registers = 4 * LANES / I::WIDTH;
        let mut weights = Aligned([0.0f32; STRIP]);
        if LAST {
            assert_eq!(self.weights.len(), 2 * STRIP);
            for r in (0..STRIP).step_by(I::WIDTH / 4) {
                // SAFETY: r + WIDTH / 4 <= 32: within 32 halves and 32 floats.
                unsafe {
                    let loaded = isa.load_halves(self.weights.as_ptr().add(2 * r));
                    isa.store_floats(weights.0.as_mut_ptr().add(r), loaded);
                }
            }
        }
        let zero = isa.splat(0.0);
        let mut scales = [zero; 4];
        for (r, scale) in scales.iter_mut().enumerate().take(registers) {
            // SAFETY: (r + 1) * WIDTH / 4 <= 16.
            *scale = unsafe { isa.load_floats(self.scales.as_ptr().add(r * I::WIDTH / 4)) };
        }
        // Some rows at once, whose offsets are one load: loads are what this waits for.
        let at_once = if I::WIDTH == 16 { 2 } else { 4 };
        for first in (0..STRIP).step_by(at_once) {
            // SAFETY: an offset is an entry's of a table of `entries(CODES)` entries, and there is a table for each group; of
            // `ROWS` offsets, 16 of each group, 4 are read from a multiple of 4 on, or 2 of 2; `r` is below the number of registers
            // of an entry, (r + 1) * WIDTH / 4 <= LANES; rows are below 32.
            unsafe {
                let offsets = self.offsets.get_unchecked(first / 16).as_ptr().add(first % 16);
                let tables = self.tables.as_ptr().cast::<u8>();
                let mut sums = [[isa.load_ints(tables.cast()); 4]; 4];
                for group in 0..GROUPS_PER_BLOCK {
                    let table = tables.add(group * const { entries(CODES) * ENTRY as usize });
                    let offsets = offsets.add(16 * group);
                    let mut packed = if at_once == 4 {
                        offsets.cast::<u64>().read_unaligned()
                    } else {
                        u64::from(offsets.cast::<u32>().read_unaligned())
                    };
                    for sums in sums.iter_mut().take(at_once) {
                        let entry = table.add(usize::from(packed as u16));
                        packed >>= 16;
                        for (r, sum) in sums.iter_mut().enumerate().take(registers) {
                            let term = isa.load_ints(entry.add(r * I::WIDTH).cast());
                            *sum = if group == 0 { term } else { isa.add_ints(*sum, term) };
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate().take(at_once) {
                    let row = first + row;
                    let weight = isa.splat(*weights.0.get_unchecked(row));
                    for r in 0..registers {
                        let at = r * I::WIDTH / 4;
                        let inner = self.inner.get_unchecked_mut(row).as_mut_ptr().add(at);
                        let mut sum = isa.mul(scales[r], isa.to_floats(sums[r]));
                        if !FIRST {
                            sum = isa.add(isa.load_floats(inner), sum);
                        }
                        if LAST {
                            let total = self.total.get_unchecked_mut(row).as_mut_ptr().add(at);
                            isa.store_floats(total, isa.add(isa.load_floats(total), isa.mul(weight, sum)));
                        } else {
                            isa.store_floats(inner, sum);
                        }
                    }
                }
            }
        }
    }
}
