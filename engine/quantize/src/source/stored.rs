//! The tensors of safetensors files as they are stored, before anybody knows what they hold.

use super::SourceTensor;
use crate::QuantizeError;
use crate::codes::half;
use crate::gguf::GgmlType;
use safetensors::Dtype;
use std::collections::BTreeMap;

const ELEMENT_ADVICE: &str = "use the unquantized checkpoint";

/// Tensors by name, in an order that is the same for the same files.
pub(super) type Found<'a> = BTreeMap<String, Stored<'a>>;

/// A stored tensor, whose bytes are as long as its shape says.
#[derive(Clone, Debug)]
pub(super) struct Stored<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: &'a [u8],
}

impl<'a> Stored<'a> {
    /// A tensor over `data`; `None` if `data` does not have the length of the shape.
    pub(super) fn new(dtype: Dtype, shape: &[usize], data: &'a [u8]) -> Option<Stored<'a>> {
        // A tensor's bits may be more than 32-bit targets count.
        let bits =
            shape.iter().try_fold(dtype.bitsize() as u64, |bits, &dim| bits.checked_mul(dim as u64))?;
        (bits == data.len() as u64 * 8).then(|| Stored { dtype, shape: shape.to_vec(), data })
    }

    /// As a vector or a matrix of floats.
    pub(super) fn floats(self, name: String) -> Result<SourceTensor<'a>, QuantizeError> {
        let Some(ggml_type) = float_type(self.dtype) else {
            let found = format!("{:?}", self.dtype);
            return Err(QuantizeError::TensorType { name, found, advice: ELEMENT_ADVICE });
        };
        let shape = match *self.shape {
            [length] => [1, length],
            [rows, cols] => [rows, cols],
            // The kernel of a convolution that mixes no channels.
            [channels, 1, taps] => [channels, taps],
            _ => return Err(QuantizeError::UnexpectedTensor { name }),
        };
        let tensor = SourceTensor::new(name.clone(), shape, ggml_type, self.data);
        tensor.ok_or(QuantizeError::UnexpectedTensor { name })
    }
}

fn float_type(dtype: Dtype) -> Option<GgmlType> {
    match dtype {
        Dtype::F32 => Some(GgmlType::F32),
        Dtype::F16 => Some(GgmlType::F16),
        Dtype::BF16 => Some(GgmlType::BF16),
        _ => None,
    }
}

/// Elements of one of the types of floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Floats<'a> {
    F32(&'a [[u8; 4]]),
    F16(&'a [[u8; 2]]),
    Bf16(&'a [[u8; 2]]),
}

impl<'a> Floats<'a> {
    /// The elements of a tensor; `None` if they are no floats.
    pub(super) fn of(stored: &Stored<'a>) -> Option<Floats<'a>> {
        match stored.dtype {
            Dtype::F32 => Some(Floats::F32(stored.data.as_chunks().0)),
            Dtype::F16 => Some(Floats::F16(stored.data.as_chunks().0)),
            Dtype::BF16 => Some(Floats::Bf16(stored.data.as_chunks().0)),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Floats::F32(elements) => elements.len(),
            Floats::F16(elements) | Floats::Bf16(elements) => elements.len(),
        }
    }

    /// Element `index`; 0 if there is none.
    pub(super) fn get(&self, index: usize) -> f32 {
        let value = match self {
            Floats::F32(elements) => elements.get(index).map(|bytes| f32::from_le_bytes(*bytes)),
            Floats::F16(elements) => elements.get(index).map(|bytes| half(*bytes)),
            Floats::Bf16(elements) => {
                elements.get(index).map(|&[low, high]| f32::from_le_bytes([0, 0, low, high]))
            }
        };
        value.unwrap_or(0.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = f32> {
        (0..self.len()).map(|index| self.get(index))
    }
}
