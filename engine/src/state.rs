//! The states of recurrent layers, and snapshots of them to go back to.
//!
//! Keys and values of earlier positions stay where they are when a sequence is cut short; a state has forgotten how it was.
//! So copies are kept: at fixed distances, and before the last few prompts, where conversations turn back. To go back to a
//! position, the copy before it is taken, and the tokens in between are processed again.

use crate::TokenId;
use crate::config::{LayerType, ModelConfig};
use std::ops::Range;

/// Snapshots before prompts that are kept.
const PROMPTS: usize = 4;
/// Bounds of the distance between snapshots, in tokens.
const DISTANCES: Range<usize> = 64..1024;

/// The states of a sequence's recurrent layers.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Where the state of each recurrent layer lies.
    layers: Vec<Range<usize>>,
    distance: usize,
    /// The tokens of the sequence.
    tokens: Vec<TokenId>,
    /// Tokens that `now` has seen: the first ones.
    seen: usize,
    now: Vec<f32>,
    /// In ascending order.
    snapshots: Vec<Snapshot>,
    /// Memory for more.
    spare: Vec<Vec<f32>>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    /// Tokens seen.
    seen: usize,
    values: Vec<f32>,
}

/// Floats of the state of a layer; 0 if it has none.
pub(crate) fn state_len(config: &ModelConfig, layer: usize) -> usize {
    match (config.layer_type(layer), config.linear_attention) {
        (LayerType::Conv, _) => (config.conv_kernel.unwrap_or(1) - 1) * config.hidden_size,
        (LayerType::LinearAttention, Some(shape)) => {
            let matrices = shape.num_value_heads * shape.key_head_dim * shape.value_head_dim;
            (shape.conv_kernel - 1) * shape.conv_dim() + matrices
        }
        _ => 0,
    }
}

/// The same of the layers that have one.
fn state_lens(config: &ModelConfig) -> impl Iterator<Item = usize> {
    (0..config.num_hidden_layers).map(|layer| state_len(config, layer)).filter(|&len| len > 0)
}

/// The distance between snapshots of `len` floats.
fn distance(len: usize, position_bytes: usize) -> usize {
    let distance = (len * size_of::<f32>()).div_ceil(position_bytes.max(1)).next_power_of_two();
    distance.clamp(DISTANCES.start, DISTANCES.end)
}

/// Copies of the state that a sequence of `positions` has memory for besides the state itself.
fn copies(positions: usize, distance: usize) -> usize {
    positions / distance + PROMPTS + 1
}

/// Bytes of the states of a sequence of `positions`, copies included.
pub(crate) fn state_bytes(config: &ModelConfig, position_bytes: usize, positions: usize) -> u64 {
    let len: usize = state_lens(config).sum();
    let count = 1 + copies(positions, distance(len, position_bytes));
    count as u64 * (len * size_of::<f32>()) as u64
}

impl State {
    /// The states before the first token; `None` if no layer has one. `position_bytes` is what a position takes in the KV
    /// cache: snapshots take about as much.
    pub(crate) fn new(config: &ModelConfig, position_bytes: usize) -> Option<Self> {
        let mut end = 0;
        let mut layers = Vec::new();
        for len in state_lens(config) {
            layers.push(end..end + len);
            end += len;
        }
        (end > 0).then(|| State {
            layers,
            distance: distance(end, position_bytes),
            tokens: Vec::new(),
            seen: 0,
            now: vec![0.0; end],
            snapshots: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        (1 + self.snapshots.len() + self.spare.len()) * self.now.len() * size_of::<f32>()
    }

    /// Allocates memory for the snapshots of a sequence of `positions`.
    pub(crate) fn reserve(&mut self, positions: usize) {
        let wanted = copies(positions, self.distance);
        self.snapshots.reserve(wanted.saturating_sub(self.snapshots.len()));
        while self.snapshots.len() + self.spare.len() < wanted {
            self.spare.push(vec![0.0; self.now.len()]);
        }
        self.tokens.reserve(positions.saturating_sub(self.tokens.len()));
    }

    /// Tokens that were processed once and must be again, because the sequence was cut short.
    pub(crate) fn pending(&self) -> &[TokenId] {
        &self.tokens[self.seen..]
    }

    /// Begins to process `count` tokens: those of a prompt if there are several.
    pub(crate) fn begin(&mut self, count: usize) {
        if count > 1 {
            self.snapshot(self.seen);
            let whole = self.now.len();
            self.keep(self.seen, 0..whole);
            let prompts: Vec<usize> =
                self.snapshots.iter().map(|one| one.seen).filter(|seen| seen % self.distance != 0).collect();
            for &old in &prompts[..prompts.len().saturating_sub(PROMPTS)] {
                self.drop_snapshots(|seen| seen == old);
            }
        }
        for seen in self.boundaries(count) {
            self.snapshot(seen);
        }
    }

    /// The positions among the next `count` at which a snapshot is taken.
    fn boundaries(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (distance, end) = (self.distance, self.seen + count);
        ((self.seen / distance + 1) * distance..=end).step_by(distance)
    }

    /// Makes a place for a snapshot.
    fn snapshot(&mut self, seen: usize) {
        let at = self.snapshots.partition_point(|one| one.seen < seen);
        if self.snapshots.get(at).is_none_or(|one| one.seen != seen) && seen > 0 {
            let values = self.spare.pop().unwrap_or_else(|| vec![0.0; self.now.len()]);
            self.snapshots.insert(at, Snapshot { seen, values });
        }
    }

    /// Copies a part of `now` to the snapshot at `seen`, if there is one.
    fn keep(&mut self, seen: usize, part: Range<usize>) {
        if let Some(snapshot) = self.snapshots.iter_mut().find(|one| one.seen == seen) {
            snapshot.values[part.clone()].copy_from_slice(&self.now[part]);
        }
    }

    fn drop_snapshots(&mut self, which: impl Fn(usize) -> bool) {
        for at in (0..self.snapshots.len()).rev() {
            if which(self.snapshots[at].seen) {
                self.spare.push(self.snapshots.remove(at).values);
            }
        }
    }

    /// Carries the state of recurrent layer `layer` over `count` tokens: `step` is called for the tokens between snapshots, by
    /// their index, and with the state to carry over them.
    pub(crate) fn carry(
        &mut self,
        layer: usize,
        count: usize,
        mut step: impl FnMut(Range<usize>, &mut [f32]),
    ) {
        let part = self.layers[layer].clone();
        let mut start = 0;
        for boundary in self.boundaries(count) {
            let end = boundary - self.seen;
            step(start..end, &mut self.now[part.clone()]);
            self.keep(boundary, part.clone());
            start = end;
        }
        if start < count {
            step(start..count, &mut self.now[part]);
        }
    }

    /// Ends the processing of `tokens`, after every layer has carried its state over them.
    pub(crate) fn advance(&mut self, tokens: &[TokenId]) {
        debug_assert_eq!(self.tokens.len(), self.seen, "pending tokens come first");
        self.tokens.extend_from_slice(tokens);
        self.seen += tokens.len();
    }

    /// Goes back to the first `len` tokens, some of which may be [`pending`](Self::pending) then.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.drop_snapshots(|seen| seen > len);
        if self.seen > len {
            self.seen = match self.snapshots.last() {
                Some(snapshot) => {
                    self.now.copy_from_slice(&snapshot.values);
                    snapshot.seen
                }
                None => {
                    self.now.fill(0.0);
                    0
                }
            };
        }
    }

    /// A copy that has gone back to the first `len` tokens.
    pub(crate) fn prefix(&self, len: usize) -> Self {
        let mut copy = State {
            layers: self.layers.clone(),
            tokens: self.tokens.clone(),
            now: self.now.clone(),
            snapshots: self.snapshots.iter().filter(|one| one.seen <= len).cloned().collect(),
            spare: Vec::new(),
            ..*self
        };
        copy.truncate(len);
        copy
    }

    /// Takes the tokens to process again, so that they can be given to a pass.
    pub(crate) fn replay(&mut self) -> Vec<TokenId> {
        self.tokens.split_off(self.seen)
    }
}
