//! Decoder layers one at a time: the same as a whole pass, and with other weights in a matrix's place.

use edgellm::format::FormatError;
use edgellm::kernels::layout::{Encoding, Layout, Zero, f32_to_f16, pack_strip};
use edgellm::linear::{LinearHooks, LinearId, Projection};
use edgellm::testing::{recipes, seeded_model};
use edgellm::{Error, Model, Precision, ResidualStream, Session, SessionOptions};
use std::collections::BTreeMap;

const LENGTHS: [u32; 3] = [70, 1, 33];

fn sequences() -> Vec<Vec<u32>> {
    LENGTHS.iter().map(|&length| (0..length).map(|i| (i * 11 + length) % 256).collect()).collect()
}

/// The inputs of all layers.
#[derive(Default)]
struct Inputs(BTreeMap<LinearId, Vec<f32>>);

impl LinearHooks for Inputs {
    fn observe(&mut self, id: LinearId, input: &[f32], _: usize) {
        self.0.entry(id).or_default().extend_from_slice(input);
    }
}

/// Every kind of model: the same inputs of every layer and the same hidden states as a session's, bit for bit.
#[test]
fn layers_one_by_one_are_a_pass() {
    for (index, recipe) in recipes().into_iter().enumerate() {
        let model = Model::from_bytes(seeded_model(recipe, 9).unwrap()).unwrap();
        let mut stream = ResidualStream::new(&model, sequences(), Precision::Standard).unwrap();
        assert_eq!(stream.tokens(), 104);
        let (mut seen, mut observed) = (Inputs::default(), Inputs::default());
        for layer in 0..model.config().num_hidden_layers {
            stream.observe(&model, layer, &mut observed);
            stream.advance(&model, layer, &mut seen);
        }
        assert!(seen.0 == observed.0, "recipe {index}: what is observed does not move the stream");
        let mut states = Vec::new();
        stream.head_inputs(&model, |rows| states.push(rows.to_vec()));
        let mut expected = Inputs::default();
        for (tokens, states) in sequences().iter().zip(states) {
            // Of the longest sequence: some models have other positions in longer contexts.
            let options = SessionOptions { context_length: Some(70), ..SessionOptions::default() };
            let mut session = Session::new(&model, options).unwrap();
            let mut hidden = Vec::new();
            session.prefill_hidden(tokens, |row| hidden.extend_from_slice(row)).unwrap();
            assert!(states == hidden, "recipe {index}");
            session.reset();
            session.extend_with(tokens, 1, &mut expected).unwrap();
        }
        expected.0.remove(&LinearId::LmHead);
        for (id, input) in expected.0 {
            assert!(seen.0[&id] == input, "recipe {index}, {id:?}");
        }
    }
}

/// Logits of chosen positions are a session's, and a copy of a stream goes on as the stream does.
#[test]
fn logits_of_a_copy_are_a_sessions() {
    for (index, recipe) in recipes().into_iter().enumerate() {
        let model = Model::from_bytes(seeded_model(recipe, 9).unwrap()).unwrap();
        let stream = || ResidualStream::new(&model, sequences(), Precision::Standard).unwrap();
        let (mut base, mut copy) = (stream(), stream());
        let layers = model.config().num_hidden_layers;
        base.advance(&model, 0, &mut ());
        for layer in 0..layers {
            copy.advance(&model, layer, &mut ());
        }
        // Back from the end.
        copy.copy_from(&base);
        for layer in 1..layers {
            copy.advance(&model, layer, &mut ());
        }
        let mut seen = Vec::new();
        copy.logits(&model, |position| position % 2 == 0, |rows| seen.extend_from_slice(rows));
        let mut expected = Vec::new();
        for tokens in sequences() {
            let options = SessionOptions { context_length: Some(70), ..SessionOptions::default() };
            let mut session = Session::new(&model, options).unwrap();
            let rows = session.extend(&tokens, tokens.len()).unwrap();
            rows.chunks(model.config().vocab_size).step_by(2).for_each(|row| expected.extend_from_slice(row));
        }
        assert!(seen == expected, "recipe {index}");
    }
}

#[test]
fn sequences_are_checked() {
    let model = Model::from_bytes(seeded_model(recipes()[0], 9).unwrap()).unwrap();
    let stream = |sequences| ResidualStream::new(&model, sequences, Precision::Standard).map(|_| ());
    assert!(matches!(stream(vec![vec![1], vec![]]), Err(Error::EmptyPrompt)));
    assert!(matches!(stream(vec![vec![1_000_000]]), Err(Error::Token { token: 1_000_000, .. })));
    let max = model.config().max_position_embeddings;
    assert!(matches!(stream(vec![vec![1; max + 1]]), Err(Error::Context { .. })));
}

/// A matrix of nothing but `value`.
fn constant([rows, cols]: [usize; 2], value: f32) -> (Layout, Vec<u8>) {
    let layout = Layout::new(rows, cols, Encoding::Bytes, Zero::Symmetric(128), 32).unwrap();
    let mut bytes = vec![0; layout.total_bytes()];
    for (strip, bytes) in bytes.chunks_mut(layout.strip_bytes()).enumerate() {
        let rows = 32.min(rows - 32 * strip);
        let scales = vec![f32_to_f16(value); rows * layout.groups()];
        pack_strip(&layout, &vec![129; rows * cols], &scales, &[], bytes);
    }
    (layout, bytes)
}

#[test]
fn replaced_weights_are_those_that_count() {
    let bytes = seeded_model(recipes()[0], 9).unwrap();
    let mut model = Model::from_bytes(bytes.clone()).unwrap();
    let name = LinearId::new(0, Projection::Down).weight_name();
    let shape = |model: &Model, name: &str| {
        model.metadata().tensors.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.shape).unwrap()
    };
    let logits = |model: &Model| {
        let mut session = Session::new(model, SessionOptions::default()).unwrap();
        session.prefill(&[1, 2, 3]).unwrap().to_vec()
    };
    let before = logits(&model);
    let (layout, weights) = constant(shape(&model, &name), 0.0);
    model.replace(&name, layout, weights.clone()).unwrap();
    let without = logits(&model);
    assert_ne!(before, without);
    // The same as a file that has them.
    let (layout, other) = constant(shape(&model, &name), 0.01);
    model.replace(&name, layout, other).unwrap();
    assert_ne!(logits(&model), without);
    model.replace(&name, layout, weights.clone()).unwrap();
    assert_eq!(logits(&model), without);
    model.restore(&name).unwrap();
    assert_eq!(logits(&model), before, "the file's own again");
    assert!(matches!(model.restore("no.such"), Err(Error::Format(FormatError::Missing { .. }))));
    model.replace(&name, layout, weights.clone()).unwrap();
    assert_eq!(logits(&Model::from_bytes(bytes).unwrap()), before, "the file is as it was");

    let missing = model.replace("no.such", layout, weights.clone());
    assert!(matches!(missing, Err(Error::Format(FormatError::Missing { .. }))), "{missing:?}");
    let shape = model.replace(&LinearId::new(0, Projection::Q).weight_name(), layout, weights.clone());
    assert!(matches!(shape, Err(Error::Format(FormatError::Shape { .. }))), "{shape:?}");
    let length = model.replace(&name, layout, weights[1..].to_vec());
    assert!(matches!(length, Err(Error::Format(FormatError::Layout { .. }))), "{length:?}");
    let norm = constant([1, model.config().hidden_size], 1.0);
    let floats = model.replace("model.norm.weight", norm.0, norm.1);
    assert!(matches!(floats, Err(Error::Format(FormatError::Encoding { .. }))), "{floats:?}");
    let mut infinite = weights.clone();
    infinite[..2].copy_from_slice(&0x7c00_u16.to_le_bytes());
    let infinite = model.replace(&name, layout, infinite);
    assert!(matches!(infinite, Err(Error::Format(FormatError::ScaleNotFinite { .. }))), "{infinite:?}");
    let clone = model.clone();
    assert!(matches!(model.restore(&name), Err(Error::Shared)));
    assert!(matches!(model.replace(&name, layout, weights), Err(Error::Shared)));
    drop(clone);
}
