//! The gated short convolution of LFM2 (arXiv 2511.23404).

use super::{Pass, Span};
use crate::linear::{LinearHooks, LinearId, Projection};
use crate::weights::ShortConv;

/// Intermediate values.
#[derive(Debug, Default)]
pub(super) struct ShortConvBuffers {
    /// (T, 3 hidden_size): two gates and the input
    projected: Vec<f32>,
    /// (T, hidden_size)
    mixed: Vec<f32>,
}

impl<H: LinearHooks> Pass<'_, H> {
    /// `output = out(c * conv(b * x))`, where `b, c, x = in(input)`; both (T, hidden_size).
    pub(super) fn short_conv(
        &mut self,
        index: usize,
        weights: &ShortConv,
        spans: &mut [Span<'_>],
        buffers: &mut ShortConvBuffers,
        input: &[f32],
        output: &mut Vec<f32>,
    ) {
        let hidden = self.model.config().hidden_size;
        let ShortConvBuffers { projected, mixed } = buffers;
        let in_proj = (LinearId::new(index, Projection::ConvIn), weights.in_proj);
        self.linear(input, hidden, [in_proj], [projected]);
        mixed.resize(input.len(), 0.0);
        let rows = || projected.chunks_exact(3 * hidden);
        for (mixed, row) in mixed.chunks_exact_mut(hidden).zip(rows()) {
            let (b, x) = (&row[..hidden], &row[2 * hidden..]);
            mixed.iter_mut().zip(b.iter().zip(x)).for_each(|(mixed, (&b, &x))| *mixed = b * x);
        }
        let kernels = self.model.compute().kernels();
        let mut rest = &mut mixed[..];
        for span in spans {
            let (mixed, others) = rest.split_at_mut(span.tokens.len() * hidden);
            rest = others;
            let Some(state) = span.cache.state_mut() else { continue };
            state.carry(weights.state, span.tokens.len(), |tokens, state| {
                let mixed = &mut mixed[tokens.start * hidden..tokens.end * hidden];
                kernels.causal_conv(mixed, &weights.kernel, state, false);
            });
        }
        for (mixed, row) in mixed.chunks_exact_mut(hidden).zip(rows()) {
            let c = &row[hidden..2 * hidden];
            mixed.iter_mut().zip(c).for_each(|(mixed, &c)| *mixed *= c);
        }
        let out_proj = (LinearId::new(index, Projection::ConvOut), weights.out_proj);
        self.linear(mixed, hidden, [out_proj], [output]);
    }
}
