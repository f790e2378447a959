//! Queries, what they attend to, and which of them are walked together.

use crate::activations::Activations;
use crate::isa::Isa;
use crate::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};
use std::ops::Range;

/// Pages of a segment: 256 positions, about 10 microseconds of work.
pub const SEGMENT_PAGES: usize = 4;
/// Largest padded head width.
pub const MAX_HEAD_DIM: usize = 1024;
/// Floats that follow a query's totals in a partial result: the sum of its weights, the largest score, and padding to
/// 64 bytes.
pub(crate) const EXTRA: usize = 16;
/// Most heads that are walked together: each key and value is loaded and converted once for all of them.
const MAX_HEADS: usize = 4;
/// Most queries, rows times heads, that are walked together.
pub(super) const MAX_QUERIES: usize = 12;

/// Scores of the positions of a page, or the weights they become.
pub(super) type Scores<const QUERIES: usize> = [[f32; PAGE_POSITIONS]; QUERIES];

/// The queries of several tokens; a row is a token.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// (rows, kv_heads, group, head_dim), already scaled by 1 / sqrt(head_dim).
    pub values: &'a [f32],
    /// The same, quantized with every block refined; needed for pages in 8 bits only.
    pub quantized: &'a Activations,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Query heads that share a key-value head.
    pub group: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl Queries<'_> {
    /// Floats of a row.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.kv_heads * self.group * self.head_dim
    }
}

/// What a row of queries attends to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The layout of a head's keys and values in a page.
    pub layout: HeadLayout,
    /// The pages that hold the positions, in order.
    pub pages: &'a [Page],
    /// Where the part of the first key-value head begins in each page, in bytes; the others' follow it.
    pub part: usize,
    /// Number of positions to attend to, at least 1.
    pub positions: usize,
    /// How many rows, from this one on, attend to these pages, each to one position more than the row before it.
    pub rows: usize,
    /// Each row attends to this many of the last of its positions, at least 1; `usize::MAX` for all of them.
    pub window: usize,
}

impl Place<'_> {
    /// The first position that row `row`, counted from this one, attends to.
    #[inline(always)]
    pub(super) fn start(&self, row: usize) -> usize {
        (self.positions + row).saturating_sub(self.window)
    }
}

/// The query heads of some rows that share a key-value head.
///
/// Whoever constructs one has checked that the place suits the queries and has pages for all positions of all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention<'a> {
    pub(crate) queries: Queries<'a>,
    /// What the first row attends to.
    pub(crate) place: Place<'a>,
    /// The first row.
    pub(crate) row: usize,
    /// Number of rows: at most `place.rows`, and the last position of each is on the same page.
    pub(crate) rows: usize,
    pub(crate) kv_head: usize,
    /// The first of the group's heads.
    pub(crate) first: usize,
    /// Number of heads.
    pub(crate) heads: usize,
}

impl<'a> Attention<'a> {
    /// The segments with positions that a row attends to.
    #[inline(always)]
    pub(crate) fn segments(&self) -> Range<usize> {
        const POSITIONS: usize = SEGMENT_PAGES * PAGE_POSITIONS;
        self.place.start(0) / POSITIONS..self.place.positions.div_ceil(POSITIONS)
    }

    /// Floats of a partial result: for each query its totals, (padded), and [`EXTRA`] more.
    #[inline(always)]
    pub(crate) fn partial_len(&self) -> usize {
        self.rows * self.heads * (self.place.layout.padded() + EXTRA)
    }

    /// The index among all heads of all rows of query `index` of these (rows, heads).
    #[inline(always)]
    pub(super) fn query(&self, index: usize) -> usize {
        let Queries { kv_heads, group, .. } = self.queries;
        let (row, head) = (self.row + index / self.heads, self.first + index % self.heads);
        (row * kv_heads + self.kv_head) * group + head
    }

    /// The elements of query `index` of these (rows, heads).
    #[inline(always)]
    pub(super) fn values(&self, index: usize) -> &'a [f32] {
        let head_dim = self.queries.head_dim;
        &self.queries.values[self.query(index) * head_dim..][..head_dim]
    }

    /// The parts that are walked together, in order: up to [`MAX_HEADS`] heads of several rows.
    #[inline(always)]
    pub(super) fn parts<I: Isa>(self) -> impl Iterator<Item = Self> {
        (0..self.heads).step_by(MAX_HEADS).flat_map(move |first| {
            let heads = MAX_HEADS.min(self.heads - first);
            let together = rows_together::<I>(self.place.layout.format(), heads);
            let whole = self.rows / together * together;
            let starts = (0..whole).step_by(together).map(move |row| (row, together));
            starts.chain((whole..self.rows).map(|row| (row, 1))).map(move |(row, rows)| {
                let place = Place { positions: self.place.positions + row, ..self.place };
                Attention { place, row: self.row + row, rows, first: self.first + first, heads, ..self }
            })
        })
    }
}

/// How many rows are walked together, for a number of heads: as many as the registers can hold the sums of.
#[inline(always)]
fn rows_together<I: Isa>(format: CacheFormat, heads: usize) -> usize {
    match format {
        // Two digits, so twice the sums.
        CacheFormat::Int8 if I::REGISTERS < 32 => 1,
        _ => [8, 4, 4, 2][heads - 1],
    }
}
