//! The attention block: rotary positions, the KV cache, and grouped-query attention to it.

use super::{Pass, Span, add};
use crate::linear::{LinearHooks, LinearId, Projection};
use crate::model::{Layer, Model};
use crate::rope::rotate;
use edgellm_kernels::attention::Queries;
use edgellm_kernels::page::CacheFormat;

/// Intermediate values, and what the layers of a pass share.
#[derive(Debug, Default)]
pub(super) struct AttentionBuffers {
    /// (T, q_dim), (T, kv_dim), (T, kv_dim)
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// (T, q_dim)
    attended: Vec<f32>,
    /// (T, head_dim / 2): the rotation of each token's position
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// The first row of each span.
    firsts: Vec<usize>,
    /// Partial results of threads that share an attention.
    partials: Vec<f32>,
}

impl AttentionBuffers {
    /// Computes what all layers of a pass over `spans` share.
    pub(super) fn prepare(&mut self, model: &Model, spans: &[Span<'_>]) {
        let AttentionBuffers { cos, sin, firsts, .. } = self;
        firsts.clear();
        let mut tokens = 0;
        for span in spans {
            firsts.push(tokens);
            tokens += span.tokens.len();
        }
        let half = model.config().head_dim / 2;
        cos.resize(tokens * half, 0.0);
        sin.resize(tokens * half, 0.0);
        let positions = spans.iter().flat_map(|span| (span.cache.len()..).take(span.tokens.len()));
        let angles = cos.chunks_exact_mut(half).zip(sin.chunks_exact_mut(half));
        for (position, (cos, sin)) in positions.zip(angles) {
            model.rope().angles(position, cos, sin);
        }
    }
}

impl<H: LinearHooks> Pass<'_, H> {
    /// Appends the keys and values of `input` to the spans' caches, and writes attention's projected result to
    /// `output`; both (T, hidden_size).
    pub(super) fn attention(
        &mut self,
        index: usize,
        layer: &Layer,
        spans: &mut [Span<'_>],
        buffers: &mut AttentionBuffers,
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let config = self.model.config();
        let (q_dim, kv_dim, head_dim) = (config.q_dim(), config.kv_dim(), config.head_dim);
        let AttentionBuffers { q, k, v, attended, cos, sin, firsts, partials } = buffers;
        let [q_weight, k_weight, v_weight] = layer.qkv;
        let layers = [
            (LinearId::new(index, Projection::Q), q_weight),
            (LinearId::new(index, Projection::K), k_weight),
            (LinearId::new(index, Projection::V), v_weight),
        ];
        self.linear(input, config.hidden_size, layers, [q, k, v]);
        if let Some(biases) = &layer.qkv_bias {
            for (out, bias) in [&mut *q, &mut *k, &mut *v].into_iter().zip(biases) {
                out.chunks_exact_mut(bias.len()).for_each(|out| add(out, bias));
            }
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        let angles = cos.chunks_exact(head_dim / 2).zip(sin.chunks_exact(head_dim / 2));
        let rows = q.chunks_exact_mut(q_dim).zip(k.chunks_exact_mut(kv_dim));
        for ((q, k), (cos, sin)) in rows.zip(angles) {
            rotate(q, cos, sin);
            q.iter_mut().for_each(|q| *q *= scale);
            rotate(k, cos, sin);
        }
        // On several threads, because writing a key touches as many cache lines as it has elements.
        let (k, v) = (&*k, &*v);
        self.model.compute().pool().for_each_mut(spans, &|number, span| {
            let (start, from) = (span.cache.len(), firsts[number] * kv_dim);
            let rows = k[from..].chunks_exact(kv_dim).zip(v[from..].chunks_exact(kv_dim));
            for (offset, (k, v)) in rows.take(span.tokens.len()).enumerate() {
                span.cache.write(index, start + offset, k, v);
            }
        });
        attended.resize(input.len() / config.hidden_size * q_dim, 0.0);
        self.attend(index, spans, q, partials, attended);
        let o = (LinearId::new(index, Projection::O), layer.o_proj);
        self.linear(attended, q_dim, [o], [output]);
    }

    /// Attention of every row of `q`, (T, q_dim), to its span's cache up to its own position.
    fn attend(
        &mut self,
        index: usize,
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
            compute.kernels().quantize(compute.pool(), self.activations, q, head_dim, false, 0.0);
        }
        let group = config.num_attention_heads / kv_heads;
        let queries = Queries { values: q, quantized: self.activations, kv_heads, group, head_dim };
        let place = |mut row: usize| {
            let mut spans = spans.iter();
            loop {
                match spans.next() {
                    Some(span) if row < span.tokens.len() => {
                        let rows = span.tokens.len() - row;
                        break span.cache.place(index, span.cache.len() + row + 1, rows);
                    }
                    Some(span) => row -= span.tokens.len(),
                    None => unreachable!("every row belongs to a span"),
                }
            }
        };
        compute.kernels().attend(compute.pool(), queries, &place, out, partials);
    }
}
