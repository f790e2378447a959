//! One segment of queries that are walked together, page by page.

use super::partial::split_mut;
use super::query::{Attention, EXTRA, MAX_QUERIES, Place, Queries, SEGMENT_PAGES};
use super::{bytes, halves};
use crate::float::{exp, max, sum};
use crate::isa::Isa;
use crate::page::{CacheFormat, PAGE_POSITIONS};

/// One segment of one of [`Attention::parts`], written to `partial`, (queries, padded + EXTRA), which is empty at first.
#[inline(always)]
pub(super) fn segment<I: Isa>(isa: I, part: Attention<'_>, index: usize, partial: &mut [f32]) {
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

/// [`segment`] for a number of queries.
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
    let first = first.max(place.start(0) / PAGE_POSITIONS);
    for (index, page) in pages[..last].iter().enumerate().skip(first) {
        // A thread mostly takes consecutive segments, so the next page may be that of the next segment.
        let next = pages[(index + 1).min(pages.len() - 1)].bytes()[part..].as_ptr();
        let part = &page.bytes()[part..part + layout.bytes()];
        // Positions of all rows; those that a row does not attend to get no weight.
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
            let start = place.start(query / attention.heads).saturating_sub(index * PAGE_POSITIONS);
            scores[..start.min(PAGE_POSITIONS)].fill(f32::NEG_INFINITY);
            let page_max = max(scores);
            highest[query] = if page_max > before[query] { page_max } else { before[query] };
        }
        // A page of which a row attends to nothing leaves its totals as they are at first: zero.
        let mut shift = highest;
        for shift in &mut shift {
            *shift = if *shift == f32::NEG_INFINITY { 0.0 } else { *shift };
        }
        // Separate loops, so that the long dependency chains of several queries overlap.
        let mut correction = [0.0; QUERIES];
        for query in 0..QUERIES {
            correction[query] = exp(before[query] - shift[query]);
        }
        for (scores, shift) in scores.iter_mut().zip(shift) {
            for score in scores.iter_mut() {
                *score = exp(*score - shift);
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
