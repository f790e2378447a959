//! What a session keeps of its tokens: keys and values in pages of 64 positions, allocated as a sequence grows, and the states
//! of recurrent layers.

use crate::TokenId;
use crate::config::ModelConfig;
use crate::state::{State, state_bytes};
use edgellm_kernels::attention::Place;
use edgellm_kernels::page::{CacheFormat, HeadLayout, PAGE_POSITIONS, Page};

/// Keys, values and states of one sequence.
///
/// A page holds 64 positions of all attention layers: one part for each layer and head, see [`HeadLayout`].
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pages: Vec<Page>,
    heads: usize,
    layout: HeadLayout,
    page_bytes: usize,
    len: usize,
    /// Positions that the session can hold.
    capacity: usize,
    state: Option<State>,
}

/// Bytes of a page.
fn page_bytes(config: &ModelConfig, layout: HeadLayout) -> usize {
    config.attention_layers() * config.num_key_value_heads * layout.bytes()
}

/// Bytes of a sequence with memory for `positions`.
pub(crate) fn cache_bytes(config: &ModelConfig, format: CacheFormat, positions: usize) -> u64 {
    let page_bytes = page_bytes(config, HeadLayout::new(format, config.head_dim));
    let pages = positions.div_ceil(PAGE_POSITIONS) as u64 * page_bytes as u64;
    pages + state_bytes(config, page_bytes / PAGE_POSITIONS, positions)
}

impl Cache {
    pub(crate) fn new(config: &ModelConfig, format: CacheFormat, capacity: usize) -> Self {
        let heads = config.num_key_value_heads;
        let layout = HeadLayout::new(format, config.head_dim);
        let page_bytes = page_bytes(config, layout);
        let state = State::new(config, page_bytes / PAGE_POSITIONS);
        Cache { pages: Vec::new(), heads, layout, page_bytes, len: 0, capacity, state }
    }

    /// How keys and values are stored.
    pub(crate) fn format(&self) -> CacheFormat {
        self.layout.format()
    }

    /// Positions filled.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Positions that the session can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Allocates memory for `positions` in total.
    pub(crate) fn reserve(&mut self, positions: usize) {
        let more = positions.div_ceil(PAGE_POSITIONS).saturating_sub(self.pages.len());
        if more > 0 {
            self.pages.extend(Page::take(more, self.page_bytes));
        }
        if let Some(state) = &mut self.state {
            state.reserve(positions);
        }
    }

    /// Forgets all positions from `len` on; the pages stay allocated.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        if let Some(state) = &mut self.state {
            state.truncate(self.len);
        }
    }

    /// A copy of the first `len` positions, or of all if there are fewer.
    pub(crate) fn prefix(&self, len: usize) -> Self {
        let len = self.len.min(len);
        let pages = self.pages[..len.div_ceil(PAGE_POSITIONS)].to_vec();
        let state = self.state.as_ref().map(|state| state.prefix(len));
        Cache { pages, len, state, ..*self }
    }

    /// Tokens whose states were forgotten when the sequence was cut short: they are processed again before any others.
    pub(crate) fn pending(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.pending().len())
    }

    /// Goes back before the [`pending`](Self::pending) tokens, and gives them out to be processed again.
    pub(crate) fn replay(&mut self) -> Vec<TokenId> {
        let tokens = self.state.as_mut().map(State::replay).unwrap_or_default();
        self.len -= tokens.len();
        tokens
    }

    /// The states of recurrent layers.
    pub(crate) fn state_mut(&mut self) -> Option<&mut State> {
        self.state.as_mut()
    }

    /// Begins to process `count` tokens.
    pub(crate) fn begin(&mut self, count: usize) {
        if let Some(state) = &mut self.state {
            state.begin(count);
        }
    }

    /// Marks the positions of `tokens` as filled, after every layer has taken them in.
    pub(crate) fn advance(&mut self, tokens: &[TokenId]) {
        self.len += tokens.len();
        if let Some(state) = &mut self.state {
            state.advance(tokens);
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * self.page_bytes + self.state.as_ref().map_or(0, State::bytes)
    }

    /// Offset in a page of the part of a head of an attention layer, in bytes.
    fn part(&self, layer: usize, head: usize) -> usize {
        (layer * self.heads + head) * self.layout.bytes()
    }

    /// Writes keys and values, each (heads, head_dim), of one position of an attention layer.
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

    /// Where the first of `rows` consecutive tokens finds the `positions` that it attends to in a layer, or the last `window`
    /// of them.
    pub(crate) fn place(&self, layer: usize, positions: usize, rows: usize, window: usize) -> Place<'_> {
        Place { layout: self.layout, pages: &self.pages, part: self.part(layer, 0), positions, rows, window }
    }
}
