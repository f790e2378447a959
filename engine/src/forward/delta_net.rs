//! Gated DeltaNet (arXiv 2412.06464), as in Qwen3-Next and Qwen3.5.

use super::{Pass, Span, norm};
use crate::config::LinearAttention;
use crate::linear::{LinearHooks, LinearId, Projection};
use crate::weights::DeltaNet;
use edgellm_kernels::{DeltaHeads, Gate};

/// Intermediate values; C, V and H are the widths of convolution and values, and the number of value heads.
#[derive(Debug, Default)]
pub(super) struct DeltaNetBuffers {
    /// (T, C)
    qkv: Vec<f32>,
    /// (T, V): the gate of the result
    z: Vec<f32>,
    /// (T, H): how much is written, and how much is kept
    beta: Vec<f32>,
    decay: Vec<f32>,
    /// (H, T, value_head_dim)
    heads: Vec<f32>,
    /// (T, V)
    mixed: Vec<f32>,
    normed: Vec<f32>,
}

impl<H: LinearHooks> Pass<'_, H> {
    /// `output = out(norm(delta rule of q, k, v) * silu(z))`, all projected from `input`; both (T, hidden_size).
    pub(super) fn delta_net(
        &mut self,
        index: usize,
        weights: &DeltaNet,
        spans: &mut [Span<'_>],
        buffers: &mut DeltaNetBuffers,
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let (config, compute) = (self.model.config(), self.model.compute());
        let Some(shape) = config.linear_attention else { return };
        let DeltaNetBuffers { qkv, z, beta, decay, heads, mixed, normed } = buffers;
        let linear = |projection| LinearId::new(index, projection);
        let [to_qkv, to_z, to_b, to_a] = weights.qkv_z_b_a;
        let layers = [
            (linear(Projection::LinearQkv), to_qkv),
            (linear(Projection::LinearZ), to_z),
            (linear(Projection::LinearB), to_b),
            (linear(Projection::LinearA), to_a),
        ];
        self.linear(input, config.hidden_size, layers, [qkv, z, beta, decay]);
        gates(weights, beta, decay);
        mixed.resize(z.len(), 0.0);
        let mut first = 0;
        for span in spans {
            let Some(state) = span.cache.state_mut() else { continue };
            state.carry(weights.state, span.tokens.len(), |tokens, state| {
                let (start, end) = (first + tokens.start, first + tokens.end);
                let (before, state) = state.split_at_mut((shape.conv_kernel - 1) * shape.conv_dim());
                let qkv = &mut qkv[start * shape.conv_dim()..end * shape.conv_dim()];
                compute.kernels().causal_conv(qkv, &weights.kernel, before, true);
                let inputs = DeltaHeads {
                    qkv,
                    decay: &decay[start * shape.num_value_heads..end * shape.num_value_heads],
                    beta: &beta[start * shape.num_value_heads..end * shape.num_value_heads],
                    key_heads: shape.num_key_heads,
                    interleaved: shape.interleaved,
                    heads: shape.num_value_heads,
                    key_dim: shape.key_head_dim,
                    value_dim: shape.value_head_dim,
                };
                let mixed = &mut mixed[start * shape.value_dim()..end * shape.value_dim()];
                heads.resize(mixed.len(), 0.0);
                compute.kernels().delta_rule(compute.pool(), inputs, state, heads);
                by_token(shape, heads, mixed);
            });
            first += span.tokens.len();
        }
        let mixed = norm(self.model, mixed, Some(&weights.norm), normed);
        compute.kernels().gate_mul(compute.pool(), Gate::Silu, z, mixed);
        self.linear(z, shape.value_dim(), [(linear(Projection::LinearOut), weights.out_proj)], [output]);
    }
}

/// Turns the projections b and a, (T, H), into what is written, sigmoid(b), and what is kept, e^(A softplus(a + dt_bias)).
/// In double precision, whose functions are the same on every target.
fn gates(weights: &DeltaNet, b: &mut [f32], a: &mut [f32]) {
    let heads = weights.a.len();
    for (b, a) in b.chunks_exact_mut(heads).zip(a.chunks_exact_mut(heads)) {
        for (((b, a), &rate), &bias) in b.iter_mut().zip(a).zip(&weights.a).zip(&weights.dt_bias) {
            *b = (1.0 / (1.0 + libm::exp(-f64::from(*b)))) as f32;
            let x = f64::from(*a + bias);
            // log1p(e^x) is x where e^x is large, and e^x would overflow.
            let softplus = if x > 40.0 { x } else { libm::log1p(libm::exp(x)) };
            *a = libm::exp(f64::from(rate) * softplus) as f32;
        }
    }
}

/// Copies (H, T, value_head_dim) to (T, H, value_head_dim).
fn by_token(shape: LinearAttention, heads: &[f32], tokens: &mut [f32]) {
    let (width, dim) = (shape.value_dim(), shape.value_head_dim);
    let count = tokens.len() / width;
    for (at, values) in heads.chunks_exact(dim).enumerate() {
        let (head, token) = (at / count, at % count);
        tokens[token * width + head * dim..][..dim].copy_from_slice(values);
    }
}
