//! Partial results of queries, and how they are merged.

use super::query::{Attention, EXTRA, MAX_HEAD_DIM, MAX_QUERIES};
use crate::float::exp;
use std::mem::MaybeUninit;

/// Room for a partial result.
pub(super) struct Partial([MaybeUninit<f32>; MAX_QUERIES * (MAX_HEAD_DIM + EXTRA)]);

impl Partial {
    #[inline(always)]
    pub(super) const fn uninit() -> Self {
        Partial([const { MaybeUninit::uninit() }; MAX_QUERIES * (MAX_HEAD_DIM + EXTRA)])
    }

    /// The first `len` floats, as [`empty`] leaves them.
    #[inline(always)]
    pub(super) fn empty(&mut self, len: usize) -> &mut [f32] {
        let floats = &mut self.0[..len];
        for float in floats.iter_mut() {
            float.write(0.0);
        }
        // SAFETY: the loop has written all `len` floats.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), len) }
    }
}

/// Clears a partial result. Its largest score needs no initial value: `walk` sets it, and [`merge`] checks the weight.
#[inline(always)]
pub(super) fn empty(partial: &mut [f32]) {
    partial.fill(0.0);
}

/// Adds `partial` to `merged`, both (queries, padded + EXTRA).
#[inline(always)]
pub(super) fn merge(merged: &mut [f32], partial: &[f32], queries: usize) {
    let stride = partial.len() / queries;
    for (merged, partial) in merged.chunks_exact_mut(stride).zip(partial.chunks_exact(stride)) {
        let (to, [to_weight, to_max, ..]) = split_mut(merged);
        let (from, [weight, max, ..]) = split(partial);
        // A segment of which the query attends to nothing.
        if *weight == 0.0 {
            continue;
        }
        // The first partial result is taken as it is: 0 * 0 + 1 * x.
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

/// Divides totals by weights and writes the results to the places of the attention's queries in `output`.
///
/// # Safety
/// `output` points to floats in the shape of all queries, and no other thread accesses those of the attention's queries.
#[inline(always)]
pub(super) unsafe fn finish(merged: &[f32], attention: Attention<'_>, output: *mut f32) {
    let head_dim = attention.queries.head_dim;
    let stride = attention.place.layout.padded() + EXTRA;
    for (index, merged) in merged.chunks_exact(stride).enumerate() {
        let (totals, [weight, ..]) = split(merged);
        // SAFETY: `query` is one of the queries, and head_dim elements of each are in `output`.
        let output = unsafe {
            std::slice::from_raw_parts_mut(output.add(attention.query(index) * head_dim), head_dim)
        };
        for (output, total) in output.iter_mut().zip(totals) {
            *output = *total / *weight;
        }
    }
}

/// A query's totals, and the [`EXTRA`] floats after them.
#[inline(always)]
fn split(query: &[f32]) -> (&[f32], &[f32; EXTRA]) {
    match query.split_last_chunk() {
        Some(parts) => parts,
        None => unreachable!("a query has more than {EXTRA} floats"),
    }
}

/// [`split`], mutably.
#[inline(always)]
pub(super) fn split_mut(query: &mut [f32]) -> (&mut [f32], &mut [f32; EXTRA]) {
    match query.split_last_chunk_mut() {
        Some(parts) => parts,
        None => unreachable!("a query has more than {EXTRA} floats"),
    }
}
