//! The KV cache: pages of 64 positions, allocated as a sequence grows.

use crate::config::ModelConfig;
use edgellm_kernels::attention::Place;
use edgellm_kernels::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};

/// Keys and values of one sequence.
///
/// A page holds 64 positions of all layers: one part for each layer and head, see [`HeadLayout`].
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pages: Vec<Page>,
    heads: usize,
    layout: HeadLayout,
    page_bytes: usize,
    len: usize,
}

impl Cache {
    pub(crate) fn new(config: &ModelConfig, format: CacheFormat) -> Self {
        let heads = config.num_key_value_heads;
        let layout = HeadLayout::new(format, config.head_dim);
        let page_bytes = config.num_hidden_layers * heads * layout.bytes();
        Cache { pages: Vec::new(), heads, layout, page_bytes, len: 0 }
    }

    /// How keys and values are stored.
    pub(crate) fn format(&self) -> CacheFormat {
        self.layout.format()
    }

    /// Positions filled.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Allocates pages for `positions` in total.
    pub(crate) fn reserve(&mut self, positions: usize) {
        let more = positions.div_ceil(PAGE_POSITIONS).saturating_sub(self.pages.len());
        if more > 0 {
            self.pages.extend(Page::take(more, self.page_bytes));
        }
    }

    /// Forgets all positions from `len` on; the pages stay allocated.
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
        self.pages.len() * self.page_bytes
    }

    /// Offset in a page of the part of a layer's head, in bytes.
    fn part(&self, layer: usize, head: usize) -> usize {
        (layer * self.heads + head) * self.layout.bytes()
    }

    /// Writes keys and values, each (heads, head_dim), of one position of a layer.
    pub(crate) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let (layout, head_dim) = (self.layout, self.layout.head_dim());
        let (page, slot) = (position / PAGE_POSITIONS, position % PAGE_POSITIONS);
        for head in 0..self.heads {
            let part = self.part(layer, head);
            let part = &mut self.pages[page].bytes_mut()[part..part + layout.bytes()];
            let row = head * head_dim..(head + 1) * head_dim;
            layout.write(part, slot, &keys[row.clone()], &values[row]);
        }
    }

    /// Where the first of `rows` consecutive tokens finds the `positions` that it attends to in a layer.
    pub(crate) fn place(&self, layer: usize, positions: usize, rows: usize) -> Place<'_> {
        Place { layout: self.layout, pages: &self.pages, part: self.part(layer, 0), positions, rows }
    }
}
