//! The feed-forward block: SwiGLU.

use super::Pass;
use crate::linear::{LinearHooks, LinearId, Projection};
use crate::model::Layer;

/// Intermediate values, (T, intermediate_size) each.
#[derive(Debug, Default)]
pub(super) struct FeedForwardBuffers {
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl<H: LinearHooks> Pass<'_, H> {
    /// `output = down(silu(gate(input)) * up(input))`, both (T, hidden_size).
    pub(super) fn feed_forward(
        &mut self,
        index: usize,
        layer: &Layer,
        buffers: &mut FeedForwardBuffers,
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let FeedForwardBuffers { gate, up } = buffers;
        let (compute, config) = (self.model.compute(), self.model.config());
        let [gate_weight, up_weight] = layer.gate_up;
        let layers = [
            (LinearId::new(index, Projection::Gate), gate_weight),
            (LinearId::new(index, Projection::Up), up_weight),
        ];
        self.linear(input, config.hidden_size, layers, [gate, up]);
        compute.kernels().silu_mul(compute.pool(), gate, up);
        let down = (LinearId::new(index, Projection::Down), layer.down_proj);
        self.linear(gate, config.intermediate_size, [down], [output]);
    }
}
