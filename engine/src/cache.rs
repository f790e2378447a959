//! The key-value cache: pages of 64 positions, half precision, taken as a sequence grows.

use crate::config::ModelConfig;
use edgellm_kernels::attention::{Attention, HEAD_ALIGNMENT, PAGE_POSITIONS};
use edgellm_kernels::layout::f32_to_f16;

/// Keys and values of one sequence.
///
/// A page holds 64 positions of all layers: for each layer and head the keys, (padded head_dim, 64), then the
/// values, (64, padded head_dim).
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pages: Vec<Box<[u16]>>,
    heads: usize,
    head_dim: usize,
    page_len: usize,
    len: usize,
}

impl Cache {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let (heads, head_dim) = (config.num_key_value_heads, config.head_dim);
        let page_len = config.num_hidden_layers * heads * 2 * part(head_dim);
        Cache { pages: Vec::new(), heads, head_dim, page_len, len: 0 }
    }

    /// Positions filled.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes pages for `positions` in all.
    pub(crate) fn reserve(&mut self, positions: usize) {
        while self.pages.len() * PAGE_POSITIONS < positions {
            self.pages.push(vec![0; self.page_len].into_boxed_slice());
        }
    }

    /// Forgets all positions from `len` on; the pages stay for later.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A copy of the first `len` positions, or of all if there are fewer.
    pub(crate) fn prefix(&self, len: usize) -> Self {
        let len = self.len.min(len);
        Cache { pages: self.pages[..len.div_ceil(PAGE_POSITIONS)].to_vec(), len, ..*self }
    }

    /// Marks `count` more positions as filled, after [`Cache::write`] wrote them in every layer.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len += count;
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * self.page_len * size_of::<u16>()
    }

    /// Where the keys of a layer's head begin in a page; the values follow after as many elements again.
    fn offset(&self, layer: usize, head: usize) -> usize {
        (layer * self.heads + head) * 2 * part(self.head_dim)
    }

    /// Writes keys and values, each (heads, head_dim), of one position of a layer.
    pub(crate) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let head_dim = self.head_dim;
        let (page, slot) = (position / PAGE_POSITIONS, position % PAGE_POSITIONS);
        for head in 0..self.heads {
            let offset = self.offset(layer, head);
            let (to_keys, to_values) = self.pages[page][offset..].split_at_mut(part(head_dim));
            for (d, &key) in keys[head * head_dim..][..head_dim].iter().enumerate() {
                to_keys[d * PAGE_POSITIONS + slot] = f32_to_f16(key);
            }
            let to_values = &mut to_values[slot * padded(head_dim)..][..head_dim];
            for (to, &value) in to_values.iter_mut().zip(&values[head * head_dim..]) {
                *to = f32_to_f16(value);
            }
        }
    }

    /// Attention of `queries`, all of key-value head `head`, to the first `positions` positions.
    pub(crate) fn attention<'a>(
        &'a self,
        layer: usize,
        head: usize,
        queries: &'a [f32],
        positions: usize,
    ) -> Attention<'a> {
        let keys = self.offset(layer, head);
        let values = keys + part(self.head_dim);
        Attention { queries, head_dim: self.head_dim, pages: &self.pages, keys, values, positions }
    }
}

fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(HEAD_ALIGNMENT)
}

/// Elements of the keys, and of the values, of one head in a page.
fn part(head_dim: usize) -> usize {
    padded(head_dim) * PAGE_POSITIONS
}
