//! `model.safetensors`: the tensors of a model in Hugging Face's names, orders and shapes, row by row.

use super::{Dtype, ExportError};
use crate::options::{Format, QuantizeOptions};
use crate::plan::in_order;
use crate::report::Progress;
use crate::source::SourceTensor;
use crate::source::tensor::Function;
use edgellm::config::ModelConfig;
use edgellm::format::{FormatError, ModelFile, TensorData};
use edgellm::linear::Projection;
use edgellm::tensors::{Role, tensors};
use edgellm_kernels::layout::Matrix;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::ops::ControlFlow;

/// A tensor as the engine knows it.
pub(super) struct Input<'a> {
    name: String,
    shape: [usize; 2],
    role: Role,
    weights: Weights<'a>,
}

enum Weights<'a> {
    Source(SourceTensor<'a>),
    /// Little-endian floats of a model file.
    Floats(&'a [u8]),
    /// A matrix of a model file, and what all its weights are multiplied by.
    Packed(Matrix<'a>, f32),
}

/// A tensor of the file: one or several of the engine's, one below the other.
pub(super) struct Output {
    name: String,
    shape: Vec<usize>,
    /// Places among the inputs.
    parts: Vec<usize>,
    /// Its elements are one less than the engine's.
    less_one: bool,
}

impl Output {
    pub(super) fn elements(&self) -> u64 {
        self.shape.iter().map(|&size| size as u64).product()
    }
}

/// Matrices that transformers keeps in one: the first part, all parts, and the whole.
const FUSED: [(Projection, &[Projection], &str); 2] = [
    (Projection::Q, &[Projection::Q, Projection::K, Projection::V], "self_attn.qkv_proj"),
    (Projection::Gate, &[Projection::Gate, Projection::Up], "mlp.gate_up_proj"),
];

/// Rows between two reports of progress.
const ROWS: usize = 32;

impl<'a> Input<'a> {
    /// # Errors
    /// If the source does not say what the codes are.
    pub(super) fn of_source(tensor: &SourceTensor<'a>) -> Result<Self, ExportError> {
        let tensor = in_order(tensor, &QuantizeOptions::new(Format::Auto))?;
        let (name, shape, role) = (tensor.name().to_string(), tensor.shape(), tensor.role());
        Ok(Input { name, shape, role, weights: Weights::Source(tensor) })
    }

    /// Rows of floats, `out` being one: of a vector the whole of it.
    fn row(&self, row: usize, less_one: bool, out: &mut [f32]) -> Result<(), ExportError> {
        match &self.weights {
            Weights::Source(tensor) if self.role == Role::Float => {
                // Where the source has the difference itself, adding one to it and taking it off again would round.
                let stored = less_one && tensor.function() == Function::PlusOne;
                let floats = if stored { tensor.read_stored_floats()? } else { tensor.read_floats()? };
                let [_, cols] = self.shape;
                out.iter_mut().zip(floats.iter().skip(row * cols)).for_each(|(out, &value)| *out = value);
                if stored {
                    return Ok(());
                }
            }
            Weights::Source(tensor) => tensor.read_row(row, out)?,
            Weights::Floats(bytes) => {
                let floats = bytes.as_chunks::<4>().0.iter().skip(row * out.len());
                out.iter_mut().zip(floats).for_each(|(out, bytes)| *out = f32::from_le_bytes(*bytes));
            }
            Weights::Packed(matrix, scale) => {
                matrix.dequantize_row(row, out);
                if *scale != 1.0 {
                    out.iter_mut().for_each(|weight| *weight *= scale);
                }
            }
        }
        if less_one {
            out.iter_mut().for_each(|weight| *weight -= 1.0);
        }
        match out.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => Err(ExportError::NotFinite { name: self.name.clone(), row, value }),
        }
    }
}

/// The tensors of a model file.
///
/// # Errors
/// If one is missing, or has another shape or encoding than the model needs.
pub(super) fn of_file<'a>(file: &ModelFile, bytes: &'a [u8]) -> Result<Vec<Input<'a>>, ExportError> {
    let mut inputs = Vec::new();
    for edgellm::tensors::Tensor { name, shape, role } in tensors(&file.metadata().config) {
        let Some(position) = file.position(&name) else { return Err(FormatError::Missing { name }.into()) };
        let entry = &file.metadata().tensors[position];
        if entry.shape != shape {
            return Err(FormatError::Shape { name, expected: shape, actual: entry.shape }.into());
        }
        let weights = match (role, file.data(bytes, position)) {
            (Role::Float, TensorData::F32(data)) => Weights::Floats(data),
            (Role::Embedding | Role::Linear(_), TensorData::Packed(matrix)) => {
                Weights::Packed(matrix, entry.scale.unwrap_or(1.0))
            }
            _ => return Err(FormatError::Encoding { name, actual: entry.encoding }.into()),
        };
        inputs.push(Input { name, shape, role, weights });
    }
    Ok(inputs)
}

/// The tensors of the file, in the order of the engine's.
pub(super) fn outputs(config: &ModelConfig, inputs: &[Input<'_>]) -> Vec<Output> {
    let fuses = config.model_type == "phi3";
    let gemma = config.model_type == "gemma3_text";
    let mut outputs: Vec<Output> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        if let Role::Linear(edgellm::linear::LinearId::Layer { layer, projection }) = input.role
            && let Some((first, _, whole)) =
                FUSED.iter().find(|(_, parts, _)| fuses && parts.contains(&projection))
        {
            let name = format!("model.layers.{layer}.{whole}.weight");
            if projection == *first {
                outputs.push(Output {
                    name,
                    shape: input.shape.to_vec(),
                    parts: vec![index],
                    less_one: false,
                });
            } else if let Some(output) = outputs.iter_mut().rev().find(|output| output.name == name) {
                output.shape[0] += input.shape[0];
                output.parts.push(index);
            }
            continue;
        }
        let is_vector = input.role == Role::Float && input.shape[0] == 1;
        let shape = if is_vector { vec![input.shape[1]] } else { input.shape.to_vec() };
        let less_one = gemma && input.name.ends_with("norm.weight");
        outputs.push(Output { name: input.name.clone(), shape, parts: vec![index], less_one });
    }
    outputs
}

/// The header of the file: JSON, with blanks behind it up to a multiple of eight bytes.
pub(super) fn header(outputs: &[Output], dtype: Dtype) -> Vec<u8> {
    let mut fields = Map::new();
    fields.insert("__metadata__".to_string(), json!({ "format": "pt" }));
    let mut offset = 0;
    for output in outputs {
        let end = offset + output.elements() * dtype.bytes() as u64;
        let (dtype, shape) = (dtype.safetensors_name(), &output.shape);
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [offset, end] });
        fields.insert(output.name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(fields).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// Writes the file.
///
/// # Errors
/// If a weight does not fit `dtype` or is not finite, `out` refuses the bytes, or `progress` stops.
pub(super) fn write(
    inputs: &[Input<'_>],
    outputs: &[Output],
    dtype: Dtype,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(), ExportError> {
    let header = header(outputs, dtype);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let total = outputs.iter().map(Output::elements).sum();
    let (mut done, mut floats, mut bytes) = (0, Vec::new(), Vec::new());
    for output in outputs {
        for input in output.parts.iter().filter_map(|&part| inputs.get(part)) {
            let [rows, cols] = input.shape;
            floats.resize(cols, 0.0);
            for row in 0..rows {
                input.row(row, output.less_one, &mut floats)?;
                let overflow = |value| ExportError::Overflow { name: input.name.clone(), row, value, dtype };
                dtype.encode(&floats, &mut bytes).map_err(overflow)?;
                done += cols as u64;
                if (row + 1).is_multiple_of(ROWS) || row + 1 == rows {
                    out.write_all(&bytes)?;
                    bytes.clear();
                    if progress(Progress { tensor: &output.name, done, total }).is_break() {
                        return Err(ExportError::Cancelled);
                    }
                }
            }
        }
    }
    Ok(())
}
