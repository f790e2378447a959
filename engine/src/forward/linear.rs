//! Products of activations with packed weights.

use super::Pass;
use crate::linear::{LinearHooks, LinearId};
use crate::weights::Weight;
use edgellm_kernels::Product;

impl<H: LinearHooks> Pass<'_, H> {
    /// `outputs[i] = input x weights[i]^T`; input (T, cols), output i (T, rows of weight i). The input is quantized
    /// once for all of them.
    pub(super) fn linear<const N: usize>(
        &mut self,
        input: &[f32],
        cols: usize,
        layers: [(LinearId, Weight); N],
        mut outputs: [&mut Vec<f32>; N],
    ) {
        for (id, _) in layers {
            self.hooks.observe(id, input, cols);
        }
        let (kernels, pool) = (self.model.compute().kernels(), self.model.compute().pool());
        let matrices = layers.map(|(_, weight)| self.model.matrix(weight));
        let tables = matrices.iter().any(|matrix| matrix.layout().encoding().by_lookup());
        kernels.quantize(pool, self.activations, input, cols, tables, self.precision.refine_above());
        let rows = matrices.map(|matrix| matrix.layout().rows());
        for (output, rows) in outputs.iter_mut().zip(rows) {
            output.resize(self.activations.tokens() * rows, 0.0);
        }
        let mut pairs = matrices.into_iter().zip(outputs.iter_mut());
        let mut products: [Product<'_>; N] = std::array::from_fn(|_| match pairs.next() {
            Some((matrix, output)) => Product { matrix, output },
            None => unreachable!("N of each"),
        });
        kernels.matmul(pool, self.activations, &mut products);
        for ((_, weight), output) in layers.into_iter().zip(&mut outputs) {
            if let Some(scale) = weight.scale {
                output.iter_mut().for_each(|output| *output *= scale);
            }
        }
        for ((id, _), output) in layers.into_iter().zip(outputs) {
            self.hooks.add(id, input, cols, output);
        }
    }
}
