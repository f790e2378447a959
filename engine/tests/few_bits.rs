//! Ternary and binary weights give the same bits as the same weights in 8 bits, whose logits are compared with transformers'
//! in the quantizer's tests of the families.

use edgellm::format::{ModelFile, TensorData, TensorEncoding, TensorEntry, WriteError, Writer};
use edgellm::testing::{Recipe, recipes, seeded_model};
use edgellm::{Model, Precision, Session, SessionOptions, TokenId};
use edgellm_kernels::layout::{Encoding, Layout, Matrix, STRIP, Zero, f32_to_f16, pack_strip};
use std::io::Cursor;

/// The same weights as codes around 128.
fn in_bytes(matrix: &Matrix<'_>) -> (Layout, Vec<u8>) {
    let from = matrix.layout();
    let (rows, cols, group) = (from.rows(), from.cols(), from.group_size());
    let layout = Layout::new(rows, cols, Encoding::Bytes, Zero::Symmetric(128), group).unwrap();
    let mut data = vec![0; layout.total_bytes()];
    for (strip, out) in data.chunks_exact_mut(layout.strip_bytes()).enumerate() {
        let of_strip = strip * STRIP..rows.min((strip + 1) * STRIP);
        let codes: Vec<u8> = of_strip
            .clone()
            .flat_map(|row| (0..cols).map(move |col| (row, col)))
            .map(|(row, col)| matrix.code(row, col).0 + 127)
            .collect();
        let scales: Vec<u16> = of_strip
            .flat_map(|row| (0..cols).step_by(group).map(move |col| (row, col)))
            .map(|(row, col)| f32_to_f16(matrix.code(row, col).1))
            .collect();
        pack_strip(&layout, &codes, &scales, &[], out);
    }
    (layout, data)
}

/// The model with its ternary and binary matrices in 8 bits, and how many these are.
fn widened(file: &[u8]) -> (Vec<u8>, usize) {
    let model = ModelFile::parse(file).unwrap();
    let mut count = 0;
    let tensors: Vec<(TensorEntry, Vec<u8>)> = model
        .metadata()
        .tensors
        .iter()
        .enumerate()
        .map(|(index, entry)| match model.data(file, index) {
            TensorData::Packed(matrix)
                if matches!(matrix.layout().encoding(), Encoding::Ternary | Encoding::Binary) =>
            {
                count += 1;
                let (layout, data) = in_bytes(&matrix);
                (TensorEntry { encoding: TensorEncoding::from(&layout), ..entry.clone() }, data)
            }
            TensorData::Packed(matrix) => (entry.clone(), matrix.data().to_vec()),
            TensorData::F32(bytes) => (entry.clone(), bytes.to_vec()),
        })
        .collect();
    let mut metadata = model.metadata().clone();
    metadata.tensors = tensors.iter().map(|(entry, _)| entry.clone()).collect();
    let mut writer = Writer::new(Cursor::new(Vec::new()), metadata, model.tokenizer(file)).unwrap();
    for (entry, data) in tensors {
        writer.tensor::<WriteError>(&entry.name, |sink| sink(&data).map(|()| entry.error)).unwrap();
    }
    (writer.finish().unwrap().0.into_inner(), count)
}

fn logits(file: &[u8], precision: Precision) -> Vec<u32> {
    let model = Model::from_bytes(file.to_vec()).unwrap();
    let options = SessionOptions { precision, ..SessionOptions::default() };
    let mut session = Session::new(&model, options).unwrap();
    let prompt: Vec<TokenId> = (0..40).map(|i| i * 7 % 256).collect();
    let mut bits: Vec<u32> = session.prefill(&prompt).unwrap().iter().map(|x| x.to_bits()).collect();
    for token in [3, 200, 77] {
        bits.extend(session.decode(token).unwrap().iter().map(|x| x.to_bits()));
    }
    bits
}

#[test]
fn few_bits_compute_what_eight_do() {
    let few = |recipe: &Recipe| matches!(recipe.encoding, Encoding::Ternary | Encoding::Binary);
    let chosen: Vec<Recipe> = recipes().into_iter().filter(few).collect();
    assert!(chosen.len() > 3, "tied and apart, rotated and not, with a scale of the tensor and without");
    for (index, recipe) in chosen.into_iter().enumerate() {
        let file = seeded_model(recipe, index as u64).unwrap();
        let (wide, count) = widened(&file);
        assert!(count > 14, "{recipe:?}: embedding and head are of few bits as well");
        for precision in [Precision::Fast, Precision::Standard, Precision::High] {
            assert!(logits(&file, precision) == logits(&wide, precision), "{recipe:?}, {precision:?}");
        }
    }
}
