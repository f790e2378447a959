//! What the layers of a model see.

use super::gram::{Gram, Inputs};
use edgellm::Compute;
use edgellm::linear::{LinearHooks, LinearId, Projection};
use std::collections::BTreeMap;

/// Sums over the inputs of linear layers. Layers that share an input share their sums.
#[derive(Debug)]
pub(crate) struct Observer<'a> {
    compute: &'a Compute,
    packed: Inputs,
    sums: BTreeMap<LinearId, Sums>,
}

/// Over the inputs of a layer.
#[derive(Debug)]
pub(crate) enum Sums {
    Products(Gram),
    /// (cols)
    Squares(Vec<f64>),
}

impl Sums {
    /// The importance of each column.
    pub(crate) fn squares(&self) -> Vec<f32> {
        match self {
            Sums::Products(gram) => gram.squares(),
            Sums::Squares(squares) => squares.iter().map(|&square| square as f32).collect(),
        }
    }

    fn add(&mut self, compute: &Compute, packed: &mut Inputs, input: &[f32], cols: usize) {
        match self {
            Sums::Products(gram) => gram.add(compute, packed, input),
            Sums::Squares(squares) => {
                for row in input.chunks_exact(cols) {
                    squares.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
                }
            }
        }
    }
}

/// The layer whose input is this one's, and which is always there.
pub(crate) fn leader(id: LinearId) -> LinearId {
    let LinearId::Layer { layer, projection } = id else { return id };
    let projection = match projection {
        Projection::K | Projection::V | Projection::AttentionGate => Projection::Q,
        Projection::LinearZ | Projection::LinearB | Projection::LinearA => Projection::LinearQkv,
        Projection::Up => Projection::Gate,
        own => own,
    };
    LinearId::Layer { layer, projection }
}

impl<'a> Observer<'a> {
    pub(crate) fn new(compute: &'a Compute) -> Self {
        Observer { compute, packed: Inputs::default(), sums: BTreeMap::new() }
    }

    /// Begins to sum the inputs of a layer: the products of columns, or their squares.
    pub(crate) fn want(&mut self, id: LinearId, cols: usize, products: bool) {
        self.sums.entry(leader(id)).or_insert_with(|| {
            if products { Sums::Products(Gram::new(cols)) } else { Sums::Squares(vec![0.0; cols]) }
        });
    }

    /// The sums so far, by the leader of the layers that share them.
    pub(crate) fn take(&mut self) -> BTreeMap<LinearId, Sums> {
        std::mem::take(&mut self.sums)
    }
}

impl LinearHooks for Observer<'_> {
    fn observe(&mut self, id: LinearId, input: &[f32], cols: usize) {
        if let Some(sums) = self.sums.get_mut(&id) {
            sums.add(self.compute, &mut self.packed, input, cols);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_share_an_input_share_sums() {
        let compute = Compute::default();
        let mut observer = Observer::new(&compute);
        let id = |projection| LinearId::new(2, projection);
        observer.want(id(Projection::V), 2, false);
        observer.want(id(Projection::K), 2, false);
        for projection in [Projection::Q, Projection::K, Projection::V] {
            observer.observe(id(projection), &[1.0, 2.0, 3.0, 4.0], 2);
        }
        observer.observe(LinearId::new(1, Projection::Q), &[9.0, 9.0], 2);
        let sums = observer.take();
        assert_eq!(sums.keys().copied().collect::<Vec<_>>(), [id(Projection::Q)]);
        assert_eq!(sums[&id(Projection::Q)].squares(), [10.0, 20.0]);
    }
}
