//! The forward pass: tokens of one or several sequences through the decoder layers.
//!
//! A layer is two blocks, each of which adds to the residual stream: a mixer, which sees the tokens before (attention, a short
//! convolution or a recurrence), and the feed-forward layer. Norms are before the blocks, after them, or both.

mod attention;
mod delta_net;
mod feed_forward;
mod linear;
mod short_conv;

use crate::TokenId;
use crate::cache::Cache;
use crate::linear::{LinearHooks, LinearId};
use crate::model::Model;
use crate::weights::Mixer;
pub(crate) use attention::AttentionBuffers;
use delta_net::DeltaNetBuffers;
use edgellm_kernels::Activations;
use feed_forward::FeedForwardBuffers;
use short_conv::ShortConvBuffers;

/// How finely activations are rounded; docs/quantization.md has the cost and gain of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// int8 everywhere.
    Fast,
    /// int8, with 6 more bits for blocks that are larger than their token's root mean square: a quarter of the
    /// blocks, and three quarters of the error (docs/experiments/refined-blocks.md).
    #[default]
    Standard,
    /// int8 with 6 more bits everywhere.
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

/// New tokens of one sequence in a pass.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    /// Keys and values of the tokens before them, which the pass extends.
    pub(crate) cache: &'a mut Cache,
    /// The new tokens.
    pub(crate) tokens: &'a [TokenId],
    /// The pass computes the results of this many of the last tokens.
    pub(crate) wanted: usize,
}

/// Intermediate values, kept so that decoding a token allocates nothing. T is the number of tokens of a pass.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// (T, hidden_size): the residual stream
    pub(crate) x: Vec<f32>,
    /// (T, hidden_size): the input of a block; at the end (wanted, hidden_size)
    normed: Vec<f32>,
    /// (T, hidden_size): the output of a block
    projected: Vec<f32>,
    /// (wanted, vocab_size)
    logits: Vec<f32>,
    pub(crate) attention: AttentionBuffers,
    short_conv: ShortConvBuffers,
    delta_net: DeltaNetBuffers,
    feed_forward: FeedForwardBuffers,
    input: InputBuffers,
}

/// The input of a product, as it is multiplied.
#[derive(Debug, Default)]
struct InputBuffers {
    /// (T, cols)
    rotated: Vec<f32>,
    activations: Activations,
}

/// What all layers of a pass use.
struct Pass<'a, H> {
    model: &'a Model,
    precision: Precision,
    input: &'a mut InputBuffers,
    hooks: &'a mut H,
}

/// Processes the spans' tokens, appends them to the caches, and returns the wanted logits, (wanted, vocab_size), span
/// after span. The caller has checked that the caches have room, that the tokens are in the vocabulary, and that no
/// span wants more rows than it has tokens.
///
/// Every token's logits are the same bits whatever it is processed together with (law 2).
pub(crate) fn forward<'b, H: LinearHooks>(
    model: &Model,
    precision: Precision,
    buffers: &'b mut Buffers,
    spans: &mut [Span<'_>],
    hooks: &mut H,
) -> &'b mut [f32] {
    hidden_states(model, precision, buffers, spans, hooks);
    let Buffers { normed, logits, input, .. } = buffers;
    if normed.is_empty() {
        // Cleared only here: filling megabytes with zeros would cost a few percent of every step.
        logits.clear();
    } else {
        head(Pass { model, precision, input, hooks }, normed, logits);
    }
    logits
}

/// The logits, (rows, vocab_size), of normalized hidden states, (rows, hidden_size).
fn head<H: LinearHooks>(mut pass: Pass<'_, H>, states: &[f32], logits: &mut Vec<f32>) {
    let (config, weight) = (pass.model.config(), pass.model.weights().lm_head);
    pass.linear(states, config.hidden_size, [(LinearId::LmHead, weight)], [logits]);
    if let Some(divisor) = config.logits_scaling {
        logits.iter_mut().for_each(|logit| *logit /= divisor);
    }
}

/// As [`head`], outside a pass.
pub(crate) fn logits<'b>(
    model: &Model,
    precision: Precision,
    buffers: &'b mut Buffers,
    states: &[f32],
) -> &'b [f32] {
    let Buffers { logits, input, .. } = buffers;
    head(Pass { model, precision, input, hooks: &mut () }, states, logits);
    logits
}

/// As [`forward`], but ends before the head: the wanted tokens' normalized hidden states, (wanted, hidden_size), span
/// after span.
pub(crate) fn hidden_states<'b, H: LinearHooks>(
    model: &Model,
    precision: Precision,
    buffers: &'b mut Buffers,
    spans: &mut [Span<'_>],
    hooks: &mut H,
) -> &'b mut [f32] {
    begin(model, buffers, spans);
    for index in 0..model.weights().layers.len() {
        layer(model, precision, buffers, spans, hooks, index);
    }
    let rows = spans.iter().map(|span| (span.tokens.len(), span.wanted));
    final_norm(model, rows, &buffers.x, &mut buffers.normed);
    for span in spans {
        span.cache.advance(span.tokens);
    }
    &mut buffers.normed
}

/// Begins a pass: embeds the tokens, and computes what all layers share.
pub(crate) fn begin(model: &Model, buffers: &mut Buffers, spans: &mut [Span<'_>]) {
    embed(model, spans, &mut buffers.x);
    buffers.attention.prepare(model, spans);
    for span in spans.iter_mut() {
        span.cache.begin(span.tokens.len());
    }
}

/// A decoder layer.
pub(crate) fn layer<H: LinearHooks>(
    model: &Model,
    precision: Precision,
    buffers: &mut Buffers,
    spans: &mut [Span<'_>],
    hooks: &mut H,
    index: usize,
) {
    let Buffers { x, normed, projected, attention, short_conv, delta_net, feed_forward, input, .. } = buffers;
    let mut pass = Pass { model, precision, input, hooks };
    let layer = &model.weights().layers[index];
    let input = norm(model, x, layer.norm_before_mixer.as_deref(), normed);
    match &layer.mixer {
        Mixer::Attention(weights) => pass.attention(index, weights, spans, attention, input, projected),
        Mixer::ShortConv(weights) => pass.short_conv(index, weights, spans, short_conv, input, projected),
        Mixer::DeltaNet(weights) => pass.delta_net(index, weights, spans, delta_net, input, projected),
    }
    add_block(model, x, norm(model, projected, layer.norm_after_mixer.as_deref(), normed));
    let input = norm(model, x, layer.norm_before_feed_forward.as_deref(), normed);
    pass.feed_forward(index, &layer.feed_forward, feed_forward, input, projected);
    add_block(model, x, norm(model, projected, layer.norm_after_feed_forward.as_deref(), normed));
}

/// The embedding of every token, (T, hidden_size).
fn embed(model: &Model, spans: &[Span<'_>], x: &mut Vec<f32>) {
    let hidden = model.config().hidden_size;
    let tokens = spans.iter().flat_map(|span| span.tokens);
    x.resize(tokens.clone().count() * hidden, 0.0);
    let weight = model.weights().embed_tokens;
    let embedding = model.matrix(weight);
    for (&token, x) in tokens.zip(x.chunks_exact_mut(hidden)) {
        embedding.dequantize_row(token as usize, x);
    }
    if let Some(scale) = weight.scale {
        x.iter_mut().for_each(|x| *x *= scale);
    }
    if let (true, Some(rotation)) = (weight.rotated, &model.config().rotation) {
        let (compute, signs) = (model.compute(), model.weights().signs(hidden));
        compute.kernels().hadamard(compute.pool(), x, hidden, rotation.block_size, [&[], signs]);
    }
    if let Some(factor) = model.config().embedding_multiplier {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

/// RMSNorm of every row, written to `out`; `x` itself without a weight.
fn norm<'a>(model: &Model, x: &'a [f32], weight: Option<&[f32]>, out: &'a mut Vec<f32>) -> &'a [f32] {
    let Some(weight) = weight else { return x };
    out.resize(x.len(), 0.0);
    let compute = model.compute();
    compute.kernels().rms_norm(compute.pool(), x, weight, model.config().rms_norm_eps, out);
    out
}

/// Adds the output of a block to the residual stream.
fn add_block(model: &Model, x: &mut [f32], block: &[f32]) {
    match model.config().residual_multiplier {
        None => add(x, block),
        Some(factor) => x.iter_mut().zip(block).for_each(|(x, &block)| *x += factor * block),
    }
}

/// The last RMSNorm, of the wanted rows only: (wanted, hidden_size). `spans`: tokens, and how many of the last are wanted.
pub(crate) fn final_norm(
    model: &Model,
    spans: impl IntoIterator<Item = (usize, usize), IntoIter: Clone>,
    x: &[f32],
    out: &mut Vec<f32>,
) {
    let spans = spans.into_iter();
    let (compute, config) = (model.compute(), model.config());
    let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
    out.resize(spans.clone().map(|(_, wanted)| wanted).sum::<usize>() * hidden, 0.0);
    let mut outs = out.chunks_exact_mut(hidden);
    let mut end = 0;
    for (tokens, wanted) in spans {
        end += tokens;
        for (row, out) in (end - wanted..end).zip(outs.by_ref()) {
            let row = &x[row * hidden..][..hidden];
            compute.kernels().rms_norm(compute.pool(), row, &model.weights().norm, eps, out);
        }
    }
}

/// a += b
fn add(a: &mut [f32], b: &[f32]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}
