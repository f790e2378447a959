//! Products of activations with packed weights.

use super::{InputBuffers, Pass};
use crate::linear::{LinearHooks, LinearId};
use crate::weights::Weight;
use edgellm_kernels::{Lookups, Product};

impl<H: LinearHooks> Pass<'_, H> {
    /// `outputs[i] = input x weights[i]^T`; input (T, cols), output i (T, rows of weight i). The input is quantized
    /// once for all of them, or twice where it is rotated for some.
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
        for rotated in [false, true] {
            if layers.iter().any(|(_, weight)| weight.rotated == rotated) {
                self.products(input, cols, rotated, &layers, &mut outputs);
            }
        }
        for ((id, _), output) in layers.into_iter().zip(outputs) {
            self.hooks.add(id, input, cols, output);
        }
    }

    /// The products with those weights whose inputs are rotated, or with those whose are not.
    fn products<const N: usize>(
        &mut self,
        input: &[f32],
        cols: usize,
        rotated: bool,
        layers: &[(LinearId, Weight); N],
        outputs: &mut [&mut Vec<f32>; N],
    ) {
        let (model, compute) = (self.model, self.model.compute());
        let (kernels, pool) = (compute.kernels(), compute.pool());
        let InputBuffers { rotated: buffer, activations } = &mut *self.input;
        let input = match &model.config().rotation {
            Some(rotation) if rotated => {
                buffer.clear();
                buffer.extend_from_slice(input);
                let signs = model.weights().signs(cols);
                kernels.hadamard(pool, buffer, cols, rotation.block_size, [signs, &[]]);
                &buffer[..]
            }
            _ => input,
        };
        // Those that are wanted first, in an array, because decoding allocates nothing.
        let wanted = |index: usize| layers[index].1.rotated == rotated;
        let count = (0..N).filter(|&index| wanted(index)).count();
        let mut order: [usize; N] = std::array::from_fn(|index| index);
        order.sort_unstable_by_key(|&index| (!wanted(index), index));
        let matrices = order.map(|index| model.matrix(layers[index].1));
        let lookups = Lookups::of(matrices[..count].iter().map(|matrix| matrix.layout().encoding()));
        kernels.quantize(pool, activations, input, cols, lookups, self.precision.refine_above());
        let mut outputs = outputs.each_mut().map(Some);
        let mut pairs = order.into_iter().zip(matrices);
        let mut products: [Product<'_>; N] = std::array::from_fn(|_| match pairs.next() {
            Some((index, matrix)) => {
                let Some(output) = outputs[index].take() else {
                    unreachable!("an order has each index once")
                };
                if wanted(index) {
                    output.resize(activations.tokens() * matrix.layout().rows(), 0.0);
                }
                Product { matrix, output }
            }
            None => unreachable!("N of each"),
        });
        kernels.matmul(pool, activations, &mut products[..count]);
        for (&index, product) in order[..count].iter().zip(&mut products) {
            if let Some(scale) = layers[index].1.scale {
                product.output.iter_mut().for_each(|output| *output *= scale);
            }
        }
    }
}
