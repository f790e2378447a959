//! The forward pass of the Llama family and Qwen2.

use crate::TokenId;
use crate::cache::Cache;
use crate::model::{Model, Weight};
use crate::rope::rotate;
use edgellm_kernels::attention::Queries;
use edgellm_kernels::layout::Encoding;
use edgellm_kernels::page::CacheFormat;
use edgellm_kernels::{Activations, Product};

/// How finely activations are rounded; docs/quantization.md has what each costs and gains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// int8 everywhere.
    Fast,
    /// int8, with 6 bits more for the blocks that are larger than their token's root mean square: a quarter of
    /// the blocks, and three quarters of the error.
    #[default]
    Standard,
    /// int8 with 6 bits more everywhere.
    High,
}

impl Precision {
    /// See [`edgellm_kernels::Kernels::quantize`].
    fn refine_above(self) -> f32 {
        match self {
            Precision::Fast => f32::INFINITY,
            Precision::Standard => 1.0,
            Precision::High => 0.0,
        }
    }
}

/// New tokens of one sequence, to be processed together with those of others.
pub(crate) trait Run {
    /// What is known of the sequence so far.
    fn cache(&self) -> &Cache;
    /// The same, to be extended.
    fn cache_mut(&mut self) -> &mut Cache;
    /// The new tokens.
    fn tokens(&self) -> &[TokenId];
    /// How many of the last tokens' logits are wanted.
    fn wanted(&self) -> usize;
}

/// Intermediate values, kept so that decoding a token allocates nothing. T is the number of tokens of a call.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// (T, hidden_size): the residual stream
    x: Vec<f32>,
    /// (T, hidden_size)
    normed: Vec<f32>,
    /// (T, q_dim), (T, kv_dim), (T, kv_dim)
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// (T, q_dim)
    attended: Vec<f32>,
    /// (T, intermediate_size)
    gate: Vec<f32>,
    up: Vec<f32>,
    /// (T, hidden_size)
    projected: Vec<f32>,
    /// (T, head_dim / 2)
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// (wanted, vocab_size)
    logits: Vec<f32>,
    /// The first row of each run.
    firsts: Vec<usize>,
    activations: Activations,
    /// What threads that share an attention give.
    partials: Vec<f32>,
}

/// Processes the runs' tokens, appends them to their caches, and returns the wanted logits, (wanted,
/// vocab_size), run after run. Caches have room, tokens are in the vocabulary: the caller checked.
///
/// Every token's logits are the same bits whatever it is processed together with (law 2).
pub(crate) fn forward<'b, R: Run + Send + Sync>(
    model: &Model,
    precision: Precision,
    buffers: &'b mut Buffers,
    runs: &mut [R],
) -> &'b mut [f32] {
    hidden_states(model, precision, buffers, runs);
    let Buffers { normed, logits, activations, .. } = buffers;
    // Cleared only then: filling megabytes with zeros in each step would cost a few percent of it.
    if normed.is_empty() {
        logits.clear();
    } else {
        let head = [model.weights().lm_head];
        Linear { model, precision }.apply(activations, normed, model.config().hidden_size, &head, [logits]);
    }
    logits
}

/// As [`forward`], but ends before the head: the wanted tokens' normalized hidden states, (wanted,
/// hidden_size), run after run.
pub(crate) fn hidden_states<'b, R: Run + Send + Sync>(
    model: &Model,
    precision: Precision,
    buffers: &'b mut Buffers,
    runs: &mut [R],
) -> &'b mut [f32] {
    let config = model.config();
    let (kernels, pool, eps) = (model.compute().kernels(), model.compute().pool(), config.rms_norm_eps);
    let (hidden, q_dim, kv_dim, head_dim) =
        (config.hidden_size, config.q_dim(), config.kv_dim(), config.head_dim);
    let tokens: usize = runs.iter().map(|run| run.tokens().len()).sum();
    let Buffers {
        x,
        normed,
        q,
        k,
        v,
        attended,
        gate,
        up,
        projected,
        cos,
        sin,
        firsts,
        activations,
        partials,
        ..
    } = buffers;
    firsts.clear();
    firsts.extend(runs.iter().scan(0, |next, run| Some(std::mem::replace(next, *next + run.tokens().len()))));
    let linear = Linear { model, precision };

    x.resize(tokens * hidden, 0.0);
    cos.resize(tokens * head_dim / 2, 0.0);
    sin.resize(tokens * head_dim / 2, 0.0);
    let embedding = model.matrix(model.weights().embed_tokens);
    let angles = cos.chunks_exact_mut(head_dim / 2).zip(sin.chunks_exact_mut(head_dim / 2));
    for (((token, position), x), (cos, sin)) in places(runs).zip(x.chunks_exact_mut(hidden)).zip(angles) {
        embedding.dequantize_row(token as usize, x);
        model.rope().angles(position, cos, sin);
    }

    for (index, layer) in model.weights().layers.iter().enumerate() {
        // Attention.
        norm(model, x, &layer.input_layernorm, normed);
        linear.apply(activations, normed, hidden, &layer.qkv, [q, k, v]);
        if let Some(biases) = &layer.qkv_bias {
            for (out, bias) in [&mut *q, &mut *k, &mut *v].into_iter().zip(biases) {
                out.chunks_exact_mut(bias.len()).for_each(|out| add(out, bias));
            }
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        for token in 0..tokens {
            let cos = &cos[token * head_dim / 2..][..head_dim / 2];
            let sin = &sin[token * head_dim / 2..][..head_dim / 2];
            let q = &mut q[token * q_dim..][..q_dim];
            rotate(q, cos, sin);
            q.iter_mut().for_each(|q| *q *= scale);
            rotate(&mut k[token * kv_dim..][..kv_dim], cos, sin);
        }
        // By several threads, because a key goes to as many lines of memory as it has elements.
        let (k_rows, v_rows, firsts) = (&*k, &*v, &*firsts);
        pool.for_each_mut(runs, &|number, run| {
            let start = run.cache().len();
            let from = firsts[number] * kv_dim;
            let rows = k_rows[from..].chunks_exact(kv_dim).zip(v_rows[from..].chunks_exact(kv_dim));
            for (offset, (k, v)) in rows.take(run.tokens().len()).enumerate() {
                run.cache_mut().write(index, start + offset, k, v);
            }
        });
        attended.resize(tokens * q_dim, 0.0);
        attend(model, index, runs, q, activations, partials, attended);
        linear.apply(activations, attended, q_dim, &[layer.o_proj], [projected]);
        add(x, projected);

        // Feed-forward: SwiGLU.
        norm(model, x, &layer.post_attention_layernorm, normed);
        linear.apply(activations, normed, hidden, &layer.gate_up, [gate, up]);
        kernels.silu_mul(pool, gate, up);
        linear.apply(activations, gate, config.intermediate_size, &[layer.down_proj], [projected]);
        add(x, projected);
    }

    // The last norm, of the wanted tokens only.
    let wanted: usize = runs.iter().map(R::wanted).sum();
    normed.resize(wanted * hidden, 0.0);
    let mut outs = normed.chunks_exact_mut(hidden);
    let mut first = 0;
    for run in runs.iter_mut() {
        let end = first + run.tokens().len();
        for (token, out) in (end - run.wanted()..end).zip(outs.by_ref()) {
            kernels.rms_norm(pool, &x[token * hidden..][..hidden], &model.weights().norm, eps, out);
        }
        let count = run.tokens().len();
        run.cache_mut().advance(count);
        first = end;
    }
    normed
}

/// Token and position of every row.
fn places<R: Run>(runs: &[R]) -> impl Iterator<Item = (TokenId, usize)> {
    runs.iter().flat_map(|run| run.tokens().iter().copied().zip(run.cache().len()..))
}

/// RMSNorm of every row.
fn norm(model: &Model, x: &[f32], weight: &[f32], out: &mut Vec<f32>) {
    out.resize(x.len(), 0.0);
    let compute = model.compute();
    compute.kernels().rms_norm(compute.pool(), x, weight, model.config().rms_norm_eps, out);
}

/// Attention of every row of `q`, (T, q_dim), to its sequence's cache up to its own position.
fn attend<R: Run + Send + Sync>(
    model: &Model,
    layer: usize,
    runs: &[R],
    q: &[f32],
    quantized: &mut Activations,
    partials: &mut Vec<f32>,
    out: &mut [f32],
) {
    let config = model.config();
    let (kv_heads, head_dim) = (config.num_key_value_heads, config.head_dim);
    let compute = model.compute();
    if runs.iter().any(|run| run.cache().format() == CacheFormat::Int8) {
        // Every block refined, 14 bits: then what the cache costs is the rounding of keys and values alone.
        compute.kernels().quantize(compute.pool(), quantized, q, head_dim, false, 0.0);
    }
    let group = config.num_attention_heads / kv_heads;
    let queries = Queries { values: q, quantized, kv_heads, group, head_dim };
    let place = |mut row: usize| {
        let mut runs = runs.iter();
        loop {
            match runs.next() {
                Some(run) if row < run.tokens().len() => {
                    let (cache, rows) = (run.cache(), run.tokens().len() - row);
                    break cache.place(layer, cache.len() + row + 1, rows);
                }
                Some(run) => row -= run.tokens().len(),
                None => unreachable!("every row belongs to a run"),
            }
        }
    };
    compute.kernels().attend(compute.pool(), queries, &place, out, partials);
}

/// a += b
fn add(a: &mut [f32], b: &[f32]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// Products of the same input with several matrices.
struct Linear<'m> {
    model: &'m Model,
    precision: Precision,
}

impl Linear<'_> {
    /// `outputs[i] = input x weights[i]^T`; input (T, cols), output i (T, rows of weight i).
    fn apply<const N: usize>(
        &self,
        activations: &mut Activations,
        input: &[f32],
        cols: usize,
        weights: &[Weight; N],
        mut outputs: [&mut Vec<f32>; N],
    ) {
        let compute = self.model.compute();
        let matrices = weights.map(|weight| self.model.matrix(weight));
        let tables = matrices.iter().any(|m| matches!(m.layout().encoding(), Encoding::Planes(_)));
        let refine_above = self.precision.refine_above();
        compute.kernels().quantize(compute.pool(), activations, input, cols, tables, refine_above);
        let rows = matrices.map(|matrix| matrix.layout().rows());
        for (output, rows) in outputs.iter_mut().zip(rows) {
            output.resize(activations.tokens() * rows, 0.0);
        }
        let mut pairs = matrices.into_iter().zip(outputs.iter_mut());
        let mut products: [Product<'_>; N] = std::array::from_fn(|_| match pairs.next() {
            Some((matrix, output)) => Product { matrix, output },
            None => unreachable!("N of each"),
        });
        compute.kernels().matmul(compute.pool(), activations, &mut products);
    }
}
