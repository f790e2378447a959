//! Attention of one token over cached keys and values, page by page with an online softmax.
//!
//! Pages are walked in segments of [`SEGMENT_PAGES`]; what the segments give is merged in their order. Threads
//! may share the segments of a long context; prefill, decode and any number of threads go through the same
//! operations in the same order, so they agree bit for bit.

mod bytes;
mod halves;

use crate::activations::Activations;
use crate::float::{exp, max, sum};
use crate::isa::{Isa, Job};
use crate::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};
use std::mem::MaybeUninit;

/// Pages of a segment: 256 positions, about 10 microseconds of work.
pub const SEGMENT_PAGES: usize = 4;
/// Largest padded head width.
pub const MAX_HEAD_DIM: usize = 1024;

/// Query heads of one token that share a key-value head, and where that head's cache is.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Queries, (heads, head_dim), already scaled by 1 / sqrt(head_dim).
    pub queries: &'a [f32],
    /// The same, quantized with every block refined; needed for pages in 8 bits only.
    pub quantized: &'a Activations,
    /// Number of the first query head in `quantized`.
    pub first: usize,
    /// How pages hold the head.
    pub layout: HeadLayout,
    /// Pages.
    pub pages: &'a [Page],
    /// Where the head's part begins in each page, in bytes.
    pub part: usize,
    /// Number of positions to attend to, at least 1.
    pub positions: usize,
}

impl<'a> Attention<'a> {
    /// Number of query heads.
    #[inline(always)]
    pub(crate) fn heads(&self) -> usize {
        self.queries.len() / self.layout.head_dim()
    }

    /// Number of segments of the positions.
    #[inline(always)]
    pub(crate) fn segments(&self) -> usize {
        self.positions.div_ceil(SEGMENT_PAGES * PAGE_POSITIONS)
    }

    /// Floats that a segment gives: for each head its totals, (padded), and [`EXTRA`] more.
    #[inline(always)]
    pub(crate) fn partial_len(&self) -> usize {
        self.heads() * (self.layout.padded() + EXTRA)
    }

    /// `heads` of the heads, from `first` on.
    #[inline(always)]
    fn part_of(self, first: usize, heads: usize) -> Self {
        let head_dim = self.layout.head_dim();
        let queries = &self.queries[first * head_dim..][..heads * head_dim];
        Attention { queries, first: self.first + first, ..self }
    }

    /// # Panics
    /// If the queries do not suit the layout, or pages are too few.
    #[inline(always)]
    fn check(&self) {
        let (head_dim, padded) = (self.layout.head_dim(), self.layout.padded());
        assert!(padded <= MAX_HEAD_DIM && self.positions <= self.pages.len() * PAGE_POSITIONS);
        assert!(self.positions > 0 && self.queries.len().is_multiple_of(head_dim));
        if self.layout.format() == CacheFormat::Int8 {
            let quantized = self.quantized;
            assert!(quantized.padded_cols() == padded && self.first + self.heads() <= quantized.tokens());
        }
    }
}

/// After a head's totals: the sum of its weights, the largest score, and nothing, to keep 64 bytes.
const EXTRA: usize = 16;

/// All of an attention, to `output`, (heads, head_dim).
pub(crate) struct AttendJob<'a> {
    pub(crate) attention: Attention<'a>,
    pub(crate) output: &'a mut [f32],
}

impl<I: Isa> Job<I> for AttendJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let AttendJob { attention, output } = self;
        attention.check();
        assert_eq!(attention.queries.len(), output.len());
        let head_dim = attention.layout.head_dim();
        let (mut merged, mut partial) = (Partial::uninit(), Partial::uninit());
        for first in (0..attention.heads()).step_by(TOGETHER) {
            let heads = TOGETHER.min(attention.heads() - first);
            let part = attention.part_of(first, heads);
            let merged = merged.empty(part.partial_len());
            for index in 0..part.segments() {
                let partial = partial.empty(part.partial_len());
                segment(isa, part, index, partial);
                merge(merged, partial, heads);
            }
            finish(merged, &mut output[first * head_dim..][..heads * head_dim], heads);
        }
    }
}

/// One segment of an attention, to `partial`.
pub(crate) struct SegmentJob<'a> {
    pub(crate) attention: Attention<'a>,
    pub(crate) index: usize,
    pub(crate) partial: &'a mut [f32],
}

impl<I: Isa> Job<I> for SegmentJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, isa: I) {
        let SegmentJob { attention, index, partial } = self;
        attention.check();
        assert!(index < attention.segments() && partial.len() == attention.partial_len());
        let stride = attention.layout.padded() + EXTRA;
        for first in (0..attention.heads()).step_by(TOGETHER) {
            let heads = TOGETHER.min(attention.heads() - first);
            let partial = &mut partial[first * stride..][..heads * stride];
            empty(partial);
            segment(isa, attention.part_of(first, heads), index, partial);
        }
    }
}

/// What the segments of an attention gave, merged to `output`, (heads, head_dim).
pub(crate) struct MergeJob<'a> {
    pub(crate) attention: Attention<'a>,
    /// Segment after segment, each `len` floats, of which it uses the first.
    pub(crate) partials: &'a [f32],
    pub(crate) len: usize,
    pub(crate) output: &'a mut [f32],
}

impl<I: Isa> Job<I> for MergeJob<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let MergeJob { attention, partials, len, output } = self;
        attention.check();
        assert_eq!(attention.queries.len(), output.len());
        assert!(partials.len() >= attention.segments() * len && len >= attention.partial_len());
        let head_dim = attention.layout.head_dim();
        let stride = attention.layout.padded() + EXTRA;
        let mut merged = Partial::uninit();
        for first in (0..attention.heads()).step_by(TOGETHER) {
            let heads = TOGETHER.min(attention.heads() - first);
            let merged = merged.empty(heads * stride);
            for partial in partials.chunks_exact(len).take(attention.segments()) {
                merge(merged, &partial[first * stride..][..heads * stride], heads);
            }
            finish(merged, &mut output[first * head_dim..][..heads * head_dim], heads);
        }
    }
}

/// Heads that load and convert each key and value once for all of them.
const TOGETHER: usize = 4;

/// Room for the totals of heads.
struct Partial([MaybeUninit<f32>; TOGETHER * (MAX_HEAD_DIM + EXTRA)]);

impl Partial {
    #[inline(always)]
    const fn uninit() -> Self {
        Partial([const { MaybeUninit::uninit() }; TOGETHER * (MAX_HEAD_DIM + EXTRA)])
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

/// Adds `partial` to `merged`, both (heads, padded + EXTRA).
#[inline(always)]
fn merge(merged: &mut [f32], partial: &[f32], heads: usize) {
    let stride = partial.len() / heads;
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

/// Writes the quotients of totals and weights to `output`, (heads, head_dim).
#[inline(always)]
fn finish(merged: &[f32], output: &mut [f32], heads: usize) {
    let (stride, head_dim) = (merged.len() / heads, output.len() / heads);
    for (merged, output) in merged.chunks_exact(stride).zip(output.chunks_exact_mut(head_dim)) {
        let (totals, [weight, ..]) = split(merged);
        for (output, total) in output.iter_mut().zip(totals) {
            *output = *total / *weight;
        }
    }
}

/// A head's totals, and what follows them.
#[inline(always)]
fn split(head: &[f32]) -> (&[f32], &[f32; EXTRA]) {
    match head.split_last_chunk() {
        Some(parts) => parts,
        None => unreachable!("a head has more than {EXTRA} floats"),
    }
}

#[inline(always)]
fn split_mut(head: &mut [f32]) -> (&mut [f32], &mut [f32; EXTRA]) {
    match head.split_last_chunk_mut() {
        Some(parts) => parts,
        None => unreachable!("a head has more than {EXTRA} floats"),
    }
}

#[inline(always)]
fn segment<I: Isa>(isa: I, attention: Attention<'_>, index: usize, partial: &mut [f32]) {
    match attention.heads() {
        1 => walk::<I, 1>(isa, attention, index, partial),
        2 => walk::<I, 2>(isa, attention, index, partial),
        3 => walk::<I, 3>(isa, attention, index, partial),
        _ => walk::<I, TOGETHER>(isa, attention, index, partial),
    }
}

/// Scores of the positions of a page, or the weights they become.
type Scores<const HEADS: usize> = [[f32; PAGE_POSITIONS]; HEADS];

/// Walks the pages of a segment; `partial`, (HEADS, padded + EXTRA), is empty at first.
#[inline(always)]
fn walk<I: Isa, const HEADS: usize>(isa: I, attention: Attention<'_>, index: usize, partial: &mut [f32]) {
    let Attention { layout, pages, positions, part, .. } = attention;
    let stride = layout.padded() + EXTRA;
    assert_eq!(partial.len(), HEADS * stride);
    let (mut highest, mut weight) = ([f32::NEG_INFINITY; HEADS], [0.0f32; HEADS]);
    let first = index * SEGMENT_PAGES;
    let last = positions.div_ceil(PAGE_POSITIONS).min(first + SEGMENT_PAGES);
    for (index, page) in pages[..last].iter().enumerate().skip(first) {
        // Segments mostly follow each other, so the next page may be the next segment's.
        let next = pages[(index + 1).min(pages.len() - 1)].bytes()[part..].as_ptr();
        let count = PAGE_POSITIONS.min(positions - index * PAGE_POSITIONS);
        let part = &page.bytes()[part..part + layout.bytes()];
        let mut scores = match layout.format() {
            CacheFormat::F16 => halves::scores::<I, HEADS>(isa, attention.queries, layout, part),
            CacheFormat::Int8 => {
                bytes::scores::<I, HEADS>(isa, attention.quantized, attention.first, layout, part)
            }
        };
        let mut correction = [0.0; HEADS];
        for head in 0..HEADS {
            let scores = &mut scores[head];
            scores[count..].fill(f32::NEG_INFINITY);
            let before = highest[head];
            let page_max = max(scores);
            highest[head] = if page_max > before { page_max } else { before };
            for score in scores.iter_mut() {
                *score = exp(*score - highest[head]);
            }
            correction[head] = exp(before - highest[head]);
            weight[head] = weight[head] * correction[head] + sum(scores);
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
    for (head, partial) in partial.chunks_exact_mut(stride).enumerate() {
        let (_, [to_weight, to_max, ..]) = split_mut(partial);
        (*to_weight, *to_max) = (weight[head], highest[head]);
    }
}
