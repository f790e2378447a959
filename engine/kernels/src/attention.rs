//! Attention over cached keys and values, page by page with an online softmax.
//!
//! Pages are walked in segments of [`SEGMENT_PAGES`]; what the segments give is merged in their order. Threads
//! may share the segments of a long context, and tokens that follow each other in a prompt share the loading of
//! keys and values; prefill, decode and any number of threads go through the same operations in the same order
//! for each query, so they agree bit for bit.

mod bytes;
mod halves;
mod share;

use crate::activations::Activations;
use crate::float::{exp, max, sum};
use crate::isa::{Isa, Job};
use crate::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};
use std::mem::MaybeUninit;

/// Pages of a segment: 256 positions, about 10 microseconds of work.
pub const SEGMENT_PAGES: usize = 4;
/// Largest padded head width.
pub const MAX_HEAD_DIM: usize = 1024;

/// The queries of tokens, one token a row.
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
    fn width(&self) -> usize {
        self.kv_heads * self.group * self.head_dim
    }
}

/// What a row of queries attends to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// How pages hold a head.
    pub layout: HeadLayout,
    /// Pages.
    pub pages: &'a [Page],
    /// Where the part of the first key-value head begins in each page, in bytes; the others' follow it.
    pub part: usize,
    /// Number of positions to attend to, at least 1.
    pub positions: usize,
    /// How many rows, with this one, attend to these pages, each to one position more than the row before it.
    pub rows: usize,
}

/// The query heads of some rows that share a key-value head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention<'a> {
    queries: Queries<'a>,
    /// Of the first row.
    place: Place<'a>,
    row: usize,
    /// Not more than share the place, and the last position of each is on the same page.
    rows: usize,
    kv_head: usize,
    /// Which of the group's heads.
    first: usize,
    heads: usize,
}

impl<'a> Attention<'a> {
    /// Number of segments of the positions.
    #[inline(always)]
    fn segments(&self) -> usize {
        self.place.positions.div_ceil(SEGMENT_PAGES * PAGE_POSITIONS)
    }

    /// Floats that a segment gives: for each query its totals, (padded), and [`EXTRA`] more.
    #[inline(always)]
    fn partial_len(&self) -> usize {
        self.rows * self.heads * (self.place.layout.padded() + EXTRA)
    }

    /// Number of query `index` of (rows, heads) among all heads of all rows.
    #[inline(always)]
    fn query(&self, index: usize) -> usize {
        let Queries { kv_heads, group, .. } = self.queries;
        let (row, head) = (self.row + index / self.heads, self.first + index % self.heads);
        (row * kv_heads + self.kv_head) * group + head
    }

    /// Elements of query `index` of (rows, heads).
    #[inline(always)]
    fn values(&self, index: usize) -> &'a [f32] {
        let head_dim = self.queries.head_dim;
        &self.queries.values[self.query(index) * head_dim..][..head_dim]
    }

    /// Parts of as many heads and rows as are walked together, in order.
    #[inline(always)]
    fn parts<I: Isa>(self) -> impl Iterator<Item = Self> {
        (0..self.heads).step_by(TOGETHER).flat_map(move |first| {
            let heads = TOGETHER.min(self.heads - first);
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

/// Heads that load and convert each key and value once for all of them.
const TOGETHER: usize = 4;
/// Queries, rows times heads, that do.
const MAX_QUERIES: usize = 12;

/// Rows that do, for so many heads: as many as registers hold the sums of.
#[inline(always)]
fn rows_together<I: Isa>(format: CacheFormat, heads: usize) -> usize {
    match format {
        // Two digits, so twice the sums.
        CacheFormat::Int8 if I::REGISTERS < 32 => 1,
        _ => [8, 4, 4, 2][heads - 1],
    }
}

/// After a query's totals: the sum of its weights, the largest score, and nothing, to keep 64 bytes.
const EXTRA: usize = 16;

/// All of an attention. Whoever makes one vouches that an output of the shape of the queries is at `output`, and
/// that nobody else uses those of its queries.
pub(crate) struct AttendJob<'a> {
    attention: Attention<'a>,
    output: *mut f32,
}

impl<I: Isa> Job<I> for AttendJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let (mut merged, mut partial) = (Partial::uninit(), Partial::uninit());
        for part in self.attention.parts::<I>() {
            let merged = merged.empty(part.partial_len());
            for index in 0..part.segments() {
                let partial = partial.empty(part.partial_len());
                segment(isa, part, index, partial);
                merge(merged, partial, part.rows * part.heads);
            }
            // SAFETY: see the type.
            unsafe { finish(merged, part, self.output) };
        }
    }
}

/// One segment of an attention of one row, to `partial`.
pub(crate) struct SegmentJob<'a> {
    attention: Attention<'a>,
    index: usize,
    partial: &'a mut [f32],
}

impl<I: Isa> Job<I> for SegmentJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let SegmentJob { attention, index, partial } = self;
        assert!(index < attention.segments() && partial.len() == attention.partial_len());
        assert!(attention.rows == 1);
        let stride = attention.place.layout.padded() + EXTRA;
        for part in attention.parts::<I>() {
            let partial = &mut partial[part.first * stride..][..part.heads * stride];
            empty(partial);
            segment(isa, part, index, partial);
        }
    }
}

/// What the segments of an attention of one row gave, merged. As for [`AttendJob`].
pub(crate) struct MergeJob<'a> {
    attention: Attention<'a>,
    /// Segment after segment, each `len` floats, of which it uses the first.
    partials: &'a [f32],
    len: usize,
    output: *mut f32,
}

impl<I: Isa> Job<I> for MergeJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let MergeJob { attention, partials, len, output } = self;
        assert!(partials.len() >= attention.segments() * len && len >= attention.partial_len());
        assert!(attention.rows == 1);
        let stride = attention.place.layout.padded() + EXTRA;
        let mut merged = Partial::uninit();
        for part in attention.parts::<I>() {
            let merged = merged.empty(part.heads * stride);
            for partial in partials.chunks_exact(len).take(attention.segments()) {
                merge(merged, &partial[part.first * stride..][..part.heads * stride], part.heads);
            }
            // SAFETY: see the type.
            unsafe { finish(merged, part, output) };
        }
    }
}

/// Room for the totals of queries.
struct Partial([MaybeUninit<f32>; MAX_QUERIES * (MAX_HEAD_DIM + EXTRA)]);

impl Partial {
    #[inline(always)]
    const fn uninit() -> Self {
        Partial([const { MaybeUninit::uninit() }; MAX_QUERIES * (MAX_HEAD_DIM + EXTRA)])
    }

    /// The first `len` floats, empty.
    #[inline(always)]
    fn empty(&mut self, len: usize) -> &mut [f32] {
        let floats = &mut self.0[..len];
        for float in floats.iter_mut() {
            float.write(0.0);
        }
        // SAFETY: all of them were just written.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), len) }
    }
}

/// Nothing attended to yet. The largest score needs no start: [`segment`] sets it, [`merge`] asks for the weight.
#[inline(always)]
fn empty(partial: &mut [f32]) {
    partial.fill(0.0);
}

/// Adds `partial` to `merged`, both (queries, padded + EXTRA).
#[inline(always)]
fn merge(merged: &mut [f32], partial: &[f32], queries: usize) {
    let stride = partial.len() / queries;
    for (merged, partial) in merged.chunks_exact_mut(stride).zip(partial.chunks_exact(stride)) {
        let (to, [to_weight, to_max, ..]) = split_mut(merged);
        let (from, [weight, max, ..]) = split(partial);
        // The first is taken as it is: 0 * 0 + 1 * x.
        let before = if *to_weight == 0.0 { f32::NEG_INFINITY } else { *to_max };
        let highest = if *max > before { *max } else { before };
        let (keep, take) = (exp(before - highest), exp(*max - highest));
        for (to, from) in to.iter_mut().zip(from) {
            *to = *to * keep + *from * take;
        }
        *to_weight = *to_weight * keep + *weight * take;
        *to_max = highest;
    }
}

/// Writes the quotients of totals and weights to the queries' places in `output`.
///
/// # Safety
/// `output` has the shape of all queries, and nobody else uses what is there of the attention's.
#[inline(always)]
unsafe fn finish(merged: &[f32], attention: Attention<'_>, output: *mut f32) {
    let head_dim = attention.queries.head_dim;
    let stride = attention.place.layout.padded() + EXTRA;
    for (index, merged) in merged.chunks_exact(stride).enumerate() {
        let (totals, [weight, ..]) = split(merged);
        // SAFETY: the caller's.
        let output = unsafe {
            std::slice::from_raw_parts_mut(output.add(attention.query(index) * head_dim), head_dim)
        };
        for (output, total) in output.iter_mut().zip(totals) {
            *output = *total / *weight;
        }
    }
}

/// A query's totals, and what follows them.
#[inline(always)]
fn split(query: &[f32]) -> (&[f32], &[f32; EXTRA]) {
    match query.split_last_chunk() {
        Some(parts) => parts,
        None => unreachable!("a query has more than {EXTRA} floats"),
    }
}

#[inline(always)]
fn split_mut(query: &mut [f32]) -> (&mut [f32], &mut [f32; EXTRA]) {
    match query.split_last_chunk_mut() {
        Some(parts) => parts,
        None => unreachable!("a query has more than {EXTRA} floats"),
    }
}

/// One segment of one of [`Attention::parts`].
#[inline(always)]
fn segment<I: Isa>(isa: I, part: Attention<'_>, index: usize, partial: &mut [f32]) {
    match part.rows * part.heads {
        1 => walk::<I, 1>(isa, part, index, partial),
        2 => walk::<I, 2>(isa, part, index, partial),
        3 => walk::<I, 3>(isa, part, index, partial),
        4 => walk::<I, 4>(isa, part, index, partial),
        8 => walk::<I, 8>(isa, part, index, partial),
        MAX_QUERIES => walk::<I, MAX_QUERIES>(isa, part, index, partial),
        other => unreachable!("{other} queries together"),
    }
}

/// Scores of the positions of a page, or the weights they become.
type Scores<const QUERIES: usize> = [[f32; PAGE_POSITIONS]; QUERIES];

/// Walks the pages of a segment; `partial`, (QUERIES, padded + EXTRA), is empty at first.
#[inline(always)]
fn walk<I: Isa, const QUERIES: usize>(isa: I, attention: Attention<'_>, index: usize, partial: &mut [f32]) {
    let Attention { queries: Queries { quantized, .. }, place, kv_head, .. } = attention;
    let Place { layout, pages, positions, .. } = place;
    let part = place.part + kv_head * layout.bytes();
    let stride = layout.padded() + EXTRA;
    assert_eq!(partial.len(), QUERIES * stride);
    let mut transposed = halves::Transposed::uninit();
    let queries = match layout.format() {
        CacheFormat::F16 => {
            let mut queries: [&[f32]; QUERIES] = [&[]; QUERIES];
            for (index, query) in queries.iter_mut().enumerate() {
                *query = attention.values(index);
            }
            transposed.fill(layout.head_dim(), queries)
        }
        CacheFormat::Int8 => &[],
    };
    let mut numbers = [0; QUERIES];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = attention.query(index);
    }
    let (mut highest, mut weight) = ([f32::NEG_INFINITY; QUERIES], [0.0f32; QUERIES]);
    let first = index * SEGMENT_PAGES;
    let last = positions.div_ceil(PAGE_POSITIONS).min(first + SEGMENT_PAGES);
    for (index, page) in pages[..last].iter().enumerate().skip(first) {
        // Segments mostly follow each other, so the next page may be the next segment's.
        let next = pages[(index + 1).min(pages.len() - 1)].bytes()[part..].as_ptr();
        let part = &page.bytes()[part..part + layout.bytes()];
        // Of the last row: what the rows before do not attend to gets no weight.
        let count = PAGE_POSITIONS.min(positions + attention.rows - 1 - index * PAGE_POSITIONS);
        let mut scores = match layout.format() {
            CacheFormat::F16 => halves::scores::<I, QUERIES>(isa, queries, count, layout, part),
            CacheFormat::Int8 => bytes::scores::<I, QUERIES>(isa, quantized, numbers, count, layout, part),
        };
        let before = highest;
        for query in 0..QUERIES {
            let scores = &mut scores[query];
            let count = count.min(positions + query / attention.heads - index * PAGE_POSITIONS);
            scores[count..].fill(f32::NEG_INFINITY);
            let page_max = max(scores);
            highest[query] = if page_max > before[query] { page_max } else { before[query] };
        }
        // Loops apart: the chains of operations of a query are long, those of several queries run side by side.
        let mut correction = [0.0; QUERIES];
        for query in 0..QUERIES {
            correction[query] = exp(before[query] - highest[query]);
        }
        for (scores, highest) in scores.iter_mut().zip(highest) {
            for score in scores.iter_mut() {
                *score = exp(*score - highest);
            }
        }
        for query in 0..QUERIES {
            weight[query] = weight[query] * correction[query] + sum(&scores[query]);
        }
        match layout.format() {
            CacheFormat::F16 => {
                halves::accumulate(isa, &scores, count, correction, layout, part, next, partial)
            }
            CacheFormat::Int8 => {
                bytes::accumulate(isa, &scores, count, correction, layout, part, next, partial)
            }
        }
    }
    for (query, partial) in partial.chunks_exact_mut(stride).enumerate() {
        let (_, [to_weight, to_max, ..]) = split_mut(partial);
        (*to_weight, *to_max) = (weight[query], highest[query]);
    }
}
