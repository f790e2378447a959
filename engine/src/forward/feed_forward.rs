//! The feed-forward layer: a gated linear unit.

use super::{Pass, norm};
use crate::config::HiddenAct;
use crate::linear::{LinearHooks, LinearId, Projection};
use crate::weights::FeedForward;
use edgellm_kernels::Gate;

/// Intermediate values, (T, intermediate_size) each.
#[derive(Debug, Default)]
pub(super) struct FeedForwardBuffers {
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl From<HiddenAct> for Gate {
    fn from(function: HiddenAct) -> Self {
        match function {
            HiddenAct::Silu => Gate::Silu,
            HiddenAct::GeluPytorchTanh => Gate::GeluTanh,
            HiddenAct::Relu2 => Gate::Relu2,
        }
    }
}

impl<H: LinearHooks> Pass<'_, H> {
    /// `output = down(act(gate(input)) * up(input))`, both (T, hidden_size).
    pub(super) fn feed_forward(
        &mut self,
        index: usize,
        weights: &FeedForward,
        buffers: &mut FeedForwardBuffers,
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let FeedForwardBuffers { gate, up } = buffers;
        let (compute, config) = (self.model.compute(), self.model.config());
        let [gate_weight, up_weight] = weights.gate_up;
        let layers = [
            (LinearId::new(index, Projection::Gate), gate_weight),
            (LinearId::new(index, Projection::Up), up_weight),
        ];
        self.linear(input, config.hidden_size, layers, [gate, up]);
        compute.kernels().gate_mul(compute.pool(), config.hidden_act.into(), gate, up);
        let gated = norm(self.model, gate, weights.sub_norm.as_deref(), up);
        let down = (LinearId::new(index, Projection::Down), weights.down_proj);
        self.linear(gated, config.intermediate_size, [down], [output]);
    }
}
