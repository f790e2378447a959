//! Hooks into the linear layers: what they see, and what they add.

use edgellm::config::Rotation;
use edgellm::format::{ModelFile, TensorData};
use edgellm::linear::{LinearHooks, LinearId, Projection};
use edgellm::tensors::{Role, tensors};
use edgellm::testing::{recipes, seeded_model};
use edgellm::{Compute, Model, Precision, Session, SessionOptions, available_kernels};
use std::collections::BTreeMap;

fn file(index: usize) -> Vec<u8> {
    seeded_model(recipes()[index], 9).unwrap()
}

fn model(index: usize) -> Model {
    Model::with_compute(file(index), Compute::new(available_kernels()[0], 2)).unwrap()
}

fn session(model: &Model) -> Session {
    Session::new(model, SessionOptions { precision: Precision::High, ..Default::default() }).unwrap()
}

fn prompt(count: u32) -> Vec<u32> {
    (0..count).map(|i| i * 7 % 256).collect()
}

/// Keeps all inputs and outputs.
#[derive(Default)]
struct Record {
    inputs: BTreeMap<LinearId, (usize, Vec<f32>)>,
    outputs: BTreeMap<LinearId, Vec<f32>>,
}

impl LinearHooks for Record {
    fn observe(&mut self, id: LinearId, input: &[f32], cols: usize) {
        let (width, seen) = self.inputs.entry(id).or_insert((cols, Vec::new()));
        assert_eq!(*width, cols);
        seen.extend_from_slice(input);
    }

    fn add(&mut self, id: LinearId, input: &[f32], cols: usize, output: &mut [f32]) {
        let seen = &self.inputs[&id];
        assert_eq!(seen.0, cols);
        assert!(seen.1.ends_with(input), "observed before");
        self.outputs.entry(id).or_default().extend_from_slice(output);
    }
}

/// Adds `scale` times the mean of the input to every output of one layer.
struct Addend {
    id: LinearId,
    scale: f32,
}

impl LinearHooks for Addend {
    fn add(&mut self, id: LinearId, input: &[f32], cols: usize, output: &mut [f32]) {
        if id == self.id {
            let rows = output.len() / (input.len() / cols);
            for (input, output) in input.chunks_exact(cols).zip(output.chunks_exact_mut(rows)) {
                let mean = input.iter().sum::<f32>() / cols as f32;
                output.iter_mut().for_each(|x| *x += self.scale * mean);
            }
        }
    }
}

fn ids(model: &Model) -> Vec<LinearId> {
    let layers = tensors(model.config()).into_iter().filter_map(|tensor| match tensor.role {
        Role::Linear(id @ LinearId::Layer { .. }) => Some(id),
        _ => None,
    });
    let mut ids: Vec<LinearId> = layers.chain([LinearId::LmHead]).collect();
    ids.sort();
    ids
}

/// `input x weight^T` in floats, with the weight dequantized from the file.
fn product(file: &[u8], id: LinearId, input: &[f32], cols: usize) -> Vec<f32> {
    let parsed = ModelFile::parse(file).unwrap();
    let position =
        parsed.position(&id.weight_name()).or_else(|| parsed.position("model.embed_tokens.weight"));
    let TensorData::Packed(matrix) = parsed.data(file, position.unwrap()) else { panic!("{id:?} is packed") };
    let rows = matrix.layout().rows();
    let mut weight = vec![0.0; rows * cols];
    let entry = &parsed.metadata().tensors[position.unwrap()];
    for (row, weight) in weight.chunks_exact_mut(cols).enumerate() {
        matrix.dequantize_row(row, weight);
        weight.iter_mut().for_each(|weight| *weight *= entry.scale.unwrap_or(1.0));
        if let (true, Some(rotation)) = (entry.rotated, &parsed.metadata().config.rotation) {
            turn_back(rotation, weight);
        }
    }
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
    input.chunks_exact(cols).flat_map(|x| weight.chunks_exact(cols).map(move |w| dot(x, w))).collect()
}

/// The row whose product with an input is that of `row` with the rotated input: s * (H row), by definition.
fn turn_back(rotation: &Rotation, row: &mut [f32]) {
    let signs = rotation.signs.iter().find(|signs| signs.width == row.len()).unwrap().unpack().unwrap();
    let size = rotation.block_size;
    for (block, signs) in row.chunks_exact_mut(size).zip(signs.chunks_exact(size)) {
        let before = block.to_vec();
        for (i, (turned, sign)) in block.iter_mut().zip(signs).enumerate() {
            let sum: f32 = before
                .iter()
                .enumerate()
                .map(|(j, x)| if (i & j).count_ones().is_multiple_of(2) { *x } else { -x })
                .sum();
            *turned = sign * sum / (size as f32).sqrt();
        }
    }
}

#[test]
fn an_observer_sees_every_layers_input() {
    for index in 0..recipes().len() {
        let (model, file) = (model(index), file(index));
        let prompt = prompt(70);
        let (mut record, mut observed, mut plain) = (Record::default(), session(&model), session(&model));
        let logits = observed.extend_with(&prompt, 2, &mut record).unwrap().to_vec();
        assert_eq!(logits, plain.extend(&prompt, 2).unwrap(), "watching changes nothing");
        assert_eq!(record.inputs.keys().copied().collect::<Vec<_>>(), ids(&model));
        for (&id, (cols, input)) in &record.inputs {
            let tokens = if id == LinearId::LmHead { 2 } else { prompt.len() };
            assert_eq!(input.len(), tokens * cols, "{id:?}");
            // The layer's output, computed again from what was observed. Activations of 14 bits are close to floats.
            let (output, expected) = (&record.outputs[&id], product(&file, id, input, *cols));
            assert_eq!(output.len(), expected.len(), "{id:?}");
            let size = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
            let difference = size(&mut output.iter().zip(&expected).map(|(a, b)| a - b));
            let relative = difference / size(&mut expected.iter().copied());
            assert!(relative < 0.01, "{id:?} of {:?}: {relative}", recipes()[index]);
        }
        // The head's output is the logits, to the bit, but for the divisor that some models have.
        let divisor = model.config().logits_scaling.unwrap_or(1.0);
        let head = &record.outputs[&LinearId::LmHead];
        assert!(head.iter().map(|x| x / divisor).eq(logits.iter().copied()), "{:?}", recipes()[index]);
        let layer = |projection| record.inputs.get(&LinearId::new(0, projection));
        assert_eq!(layer(Projection::Q), layer(Projection::V));
        assert_eq!(layer(Projection::Gate), layer(Projection::Up));
    }
}

#[test]
fn an_addend_of_zero_changes_no_bit_and_another_does() {
    let model = model(3);
    let prompt = prompt(40);
    let bits = |scale: Option<(LinearId, f32)>| -> Vec<u32> {
        let mut session = session(&model);
        let logits = match scale {
            None => session.extend(&prompt, 5),
            Some((id, scale)) => session.extend_with(&prompt, 5, &mut Addend { id, scale }),
        };
        logits.unwrap().iter().map(|x| x.to_bits()).collect()
    };
    let plain = bits(None);
    for id in ids(&model) {
        assert_eq!(bits(Some((id, 0.0))), plain, "{id:?}");
        assert_ne!(bits(Some((id, 0.5))), plain, "{id:?}");
    }
}

/// A token's logits with an adapter do not depend on how the tokens are divided, either.
#[test]
fn an_addend_gives_the_same_bits_in_chunks() {
    let model = model(0);
    let prompt = prompt(150);
    let mut addend = Addend { id: LinearId::new(1, Projection::V), scale: 0.25 };
    let whole = session(&model).extend_with(&prompt, 1, &mut addend).unwrap().to_vec();
    let mut parts = session(&model);
    let mut last = Vec::new();
    for chunk in prompt.chunks(11) {
        last = parts.extend_with(chunk, 1, &mut addend).unwrap().to_vec();
    }
    assert_eq!(last, whole);
}

#[test]
fn layers_have_the_names_of_their_weights() {
    let model = model(2);
    assert!(!model.config().tie_word_embeddings);
    for id in ids(&model) {
        let name = id.weight_name();
        assert!(model.metadata().tensors.iter().any(|tensor| tensor.name == name), "{name}");
    }
}
