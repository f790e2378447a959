//! Attention: rotary positions, the KV cache, and grouped-query attention to it, or to a window of it.

use super::{Pass, Span, add, norm};
use crate::config::LayerType;
use crate::linear::{LinearHooks, LinearId, Projection};
use crate::model::Model;
use crate::rope::{Rope, rotate};
use crate::weights::Attention;
use edgellm_kernels::attention::Queries;
use edgellm_kernels::page::CacheFormat;
use edgellm_kernels::{Gate, Lookups};

/// Intermediate values, and what the layers of a pass share.
#[derive(Debug, Default)]
pub(crate) struct AttentionBuffers {
    /// (T, q_dim), (T, kv_dim), (T, kv_dim)
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// (T, q_dim): the gate of the result, where there is one
    gate: Vec<f32>,
    /// (T, q_dim)
    attended: Vec<f32>,
    /// (T, q_dim): what is normed
    normed: Vec<f32>,
    /// Rotations in layers with full attention, and in those with sliding attention where they have their own.
    global: Angles,
    local: Angles,
    /// The first row of each span.
    firsts: Vec<usize>,
    /// Partial results of threads that share an attention.
    partials: Vec<f32>,
}

/// The rotation of each token's position: (T, rotary_dim / 2) cosines and sines.
#[derive(Debug, Default)]
struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    fn compute<'a>(&mut self, spans: &[Span<'_>], half: usize, rope: impl Fn(&Span<'_>) -> &'a Rope) {
        let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
        self.cos.resize(tokens * half, 0.0);
        self.sin.resize(tokens * half, 0.0);
        let mut angles = self.cos.chunks_exact_mut(half).zip(self.sin.chunks_exact_mut(half));
        for span in spans {
            let positions = (span.cache.len()..).take(span.tokens.len());
            for (position, (cos, sin)) in positions.zip(angles.by_ref()) {
                rope(span).angles(position, cos, sin);
            }
        }
    }

    /// Rotates the heads of each row of `x`, (T, width).
    fn rotate(&self, x: &mut [f32], width: usize, head_dim: usize, half: usize) {
        let angles = self.cos.chunks_exact(half).zip(self.sin.chunks_exact(half));
        for (x, (cos, sin)) in x.chunks_exact_mut(width).zip(angles) {
            rotate(x, head_dim, cos, sin);
        }
    }
}

impl AttentionBuffers {
    /// Computes what all layers of a pass over `spans` share.
    pub(crate) fn prepare(&mut self, model: &Model, spans: &[Span<'_>]) {
        self.firsts.clear();
        let mut tokens = 0;
        for span in spans {
            self.firsts.push(tokens);
            tokens += span.tokens.len();
        }
        let (half, ropes) = (model.config().rotary_dim() / 2, model.ropes());
        self.global.compute(spans, half, |span| ropes.global(span.cache.capacity()));
        if let Some(rope) = ropes.local() {
            self.local.compute(spans, half, |_| rope);
        }
    }
}

impl<H: LinearHooks> Pass<'_, H> {
    /// Appends the keys and values of `input` to the spans' caches, and writes attention's projected result to
    /// `output`; both (T, hidden_size).
    pub(super) fn attention(
        &mut self,
        index: usize,
        weights: &Attention,
        spans: &mut [Span<'_>],
        buffers: &mut AttentionBuffers,
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let (config, compute) = (self.model.config(), self.model.compute());
        let (q_dim, kv_dim, head_dim) = (config.q_dim(), config.kv_dim(), config.head_dim);
        let AttentionBuffers { q, k, v, gate, attended, normed, global, local, firsts, partials } = buffers;
        let linear = |projection| LinearId::new(index, projection);
        let [q_weight, k_weight, v_weight] = weights.qkv;
        let [to_q, to_k, to_v] = [
            (linear(Projection::Q), q_weight),
            (linear(Projection::K), k_weight),
            (linear(Projection::V), v_weight),
        ];
        match weights.gate {
            None => self.linear(input, config.hidden_size, [to_q, to_k, to_v], [q, k, v]),
            Some(weight) => {
                let to_gate = (linear(Projection::AttentionGate), weight);
                self.linear(input, config.hidden_size, [to_q, to_k, to_v, to_gate], [q, k, v, gate]);
            }
        }
        if let Some(biases) = &weights.qkv_bias {
            for (out, bias) in [&mut *q, &mut *k, &mut *v].into_iter().zip(biases) {
                out.chunks_exact_mut(bias.len()).for_each(|out| add(out, bias));
            }
        }
        if let Some(norms) = &weights.qk_norm {
            for (out, weight) in [&mut *q, &mut *k].into_iter().zip(norms) {
                norm(self.model, out, Some(weight), normed);
                std::mem::swap(out, normed);
            }
        }
        let layer_type = config.layer_type(index);
        if config.no_rope_layers.binary_search(&index).is_err() {
            let own = layer_type == LayerType::SlidingAttention && self.model.ropes().local().is_some();
            let (angles, half) = (if own { &*local } else { &*global }, config.rotary_dim() / 2);
            angles.rotate(q, q_dim, head_dim, half);
            angles.rotate(k, kv_dim, head_dim, half);
        }
        let scale = config.attention_scale();
        q.iter_mut().for_each(|q| *q *= scale);
        // On several threads, because writing a key touches as many cache lines as it has elements.
        let (k, v) = (&*k, &*v);
        compute.pool().for_each_mut(spans, &|number, span| {
            let (start, from) = (span.cache.len(), firsts[number] * kv_dim);
            let rows = k[from..].chunks_exact(kv_dim).zip(v[from..].chunks_exact(kv_dim));
            for (offset, (k, v)) in rows.take(span.tokens.len()).enumerate() {
                span.cache.write(weights.cache, start + offset, k, v);
            }
        });
        attended.resize(q.len(), 0.0);
        let window = match (layer_type, config.sliding_window) {
            (LayerType::SlidingAttention, Some(window)) => window,
            _ => usize::MAX,
        };
        self.attend(weights.cache, window, spans, q, partials, attended);
        if weights.gate.is_some() {
            compute.kernels().gate_mul(compute.pool(), Gate::Sigmoid, gate, attended);
            std::mem::swap(gate, attended);
        }
        let attended = norm(self.model, attended, weights.sub_norm.as_deref(), normed);
        self.linear(attended, q_dim, [(linear(Projection::O), weights.o_proj)], [output]);
    }

    /// Attention of every row of `q`, (T, q_dim), to its span's cache up to its own position, or to the last `window`
    /// positions.
    fn attend(
        &mut self,
        layer: usize,
        window: usize,
        spans: &[Span<'_>],
        q: &[f32],
        partials: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (config, compute) = (self.model.config(), self.model.compute());
        let (kv_heads, head_dim) = (config.num_key_value_heads, config.head_dim);
        if spans.iter().any(|span| span.cache.format() == CacheFormat::Int8) {
            // Every block refined to 14 bits, so that the only loss of an int8 cache is the rounding of its keys and
            // values.
            compute.kernels().quantize(
                compute.pool(),
                &mut self.input.activations,
                q,
                head_dim,
                Lookups::default(),
                0.0,
            );
        }
        let group = config.num_attention_heads / kv_heads;
        let queries = Queries { values: q, quantized: &self.input.activations, kv_heads, group, head_dim };
        let place = |mut row: usize| {
            let mut spans = spans.iter();
            loop {
                match spans.next() {
                    Some(span) if row < span.tokens.len() => {
                        let rows = span.tokens.len() - row;
                        break span.cache.place(layer, span.cache.len() + row + 1, rows, window);
                    }
                    Some(span) => row -= span.tokens.len(),
                    None => unreachable!("every row belongs to a span"),
                }
            }
        };
        compute.kernels().attend(compute.pool(), queries, &place, out, partials);
    }
}
