//! A tensor of the source: slices of its bytes, with its rows in Hugging Face's order.

use super::packed::Packed;
use crate::QuantizeError;
use crate::codes::{Codes, keep};
use crate::dequantize::dequantize;
use crate::gguf::GgmlType;
use edgellm::tensors::Role;
use edgellm_kernels::layout::Zero;
use std::sync::Arc;

/// A tensor of a [`Source`](crate::Source). Its rows are in Hugging Face's order, whatever their order in the file.
#[derive(Clone, Debug)]
pub struct SourceTensor<'a> {
    name: String,
    /// What GGUF files call the matrix, if it multiplies something.
    gguf_names: Vec<String>,
    role: Role,
    shape: [usize; 2],
    data: Data<'a>,
    /// Where each row (of a vector: element) is in the file, if not at its own place.
    places: Option<Arc<[u32]>>,
    function: Function,
    /// What all weights are multiplied by.
    scale: f32,
    /// Whether its inputs are rotated.
    rotated: bool,
}

/// The stored weights.
#[derive(Clone, Debug, PartialEq)]
enum Data<'a> {
    /// Rows of floats, or of blocks of codes.
    Rows { ggml_type: GgmlType, bytes: &'a [u8], row_bytes: usize },
    /// Codes, scales and zero points in tensors of their own.
    Packed(Arc<Packed<'a>>),
}

/// What the model's floats are of those in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// The same.
    Same,
    /// One more: norms stored as the difference from 1.
    PlusOne,
    /// -e^x: rates of decay stored as logarithms.
    MinusExp,
}

impl<'a> SourceTensor<'a> {
    /// A tensor over `data`; `None` if `data` does not have the length of the shape.
    pub(crate) fn new(
        name: String,
        shape: [usize; 2],
        ggml_type: GgmlType,
        data: &'a [u8],
    ) -> Option<SourceTensor<'a>> {
        let row_bytes = ggml_type.row_bytes(shape[1])?;
        (row_bytes.checked_mul(shape[0])? == data.len()).then_some(())?;
        Some(SourceTensor::of(name, shape, Data::Rows { ggml_type, bytes: data, row_bytes }))
    }

    /// A tensor of a checkpoint that is quantized.
    pub(super) fn from_packed(name: String, packed: Packed<'a>) -> SourceTensor<'a> {
        SourceTensor::of(name, packed.shape(), Data::Packed(Arc::new(packed)))
    }

    fn of(name: String, shape: [usize; 2], data: Data<'a>) -> SourceTensor<'a> {
        let (places, function, role) = (None, Function::Same, Role::Float);
        let (scale, rotated, gguf_names) = (1.0, false, Vec::new());
        SourceTensor { name, gguf_names, role, shape, data, places, function, scale, rotated }
    }

    /// The same tensor, whose weights are multiplied by `scale`.
    pub(crate) fn with_scale(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }

    /// The same tensor, whose inputs are rotated.
    pub(crate) fn with_rotation(mut self, rotated: bool) -> Self {
        self.rotated = rotated;
        self
    }

    /// The same bytes as elements of another type, of as many bytes a row.
    pub(crate) fn with_type(mut self, other: GgmlType) -> Self {
        if let Data::Rows { ggml_type, .. } = &mut self.data {
            *ggml_type = other;
        }
        self
    }

    /// The same tensor under another name.
    pub(crate) fn renamed(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// The same tensor for a role.
    pub(crate) fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The same tensor, which GGUF files call so.
    pub(crate) fn with_gguf_names(mut self, names: Vec<String>) -> Self {
        self.gguf_names = names;
        self
    }

    /// The rows (of a vector: elements) at `places`, each below their number.
    pub(crate) fn with_places(mut self, places: Arc<[u32]>) -> Self {
        let axis = usize::from(self.shape[0] == 1);
        self.shape[axis] = places.len();
        self.places = Some(match &self.places {
            None => places,
            Some(before) => places.iter().filter_map(|&place| before.get(place as usize)).copied().collect(),
        });
        self
    }

    /// The vector of these functions of the elements.
    pub(crate) fn with_function(mut self, function: Function) -> Self {
        self.function = function;
        self
    }

    /// What its floats are of those in the file.
    pub(crate) fn function(&self) -> Function {
        self.function
    }

    /// Hugging Face name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What GGUF files call the matrix, or the one that it is a part of; none for what multiplies nothing. A head that is the
    /// embedding has both names.
    pub fn gguf_names(&self) -> impl Iterator<Item = &str> {
        self.gguf_names.iter().map(String::as_str)
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// (rows, cols); a vector is (1, length).
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// How many weights it has.
    pub(crate) fn weights(&self) -> u64 {
        self.shape[0] as u64 * self.shape[1] as u64
    }

    /// Type of the elements; `None` if they are packed as no GGUF file has them.
    pub fn ggml_type(&self) -> Option<GgmlType> {
        match &self.data {
            Data::Rows { ggml_type, .. } => Some(*ggml_type),
            Data::Packed(_) => None,
        }
    }

    /// Name of the type of the elements.
    pub fn type_name(&self) -> &'static str {
        match &self.data {
            Data::Rows { ggml_type, .. } => ggml_type.name(),
            Data::Packed(packed) => packed.type_name(),
        }
    }

    /// What all weights are multiplied by, beside the scales of their groups.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Whether its inputs are rotated.
    pub fn rotated(&self) -> bool {
        self.rotated
    }

    /// How its codes can be kept; `None` for floats.
    pub(crate) fn codes(&self) -> Option<Codes> {
        match &self.data {
            Data::Rows { ggml_type, bytes, .. } => Codes::of_tensor(*ggml_type, bytes),
            Data::Packed(packed) => Some(packed.codes()),
        }
    }

    /// Whether both have the same stored bytes.
    pub(crate) fn same_as(&self, other: &SourceTensor<'_>) -> bool {
        let same_use = self.scale == other.scale && self.rotated == other.rotated;
        same_use && self.shape == other.shape && self.data == other.data
    }

    /// The position in the file of row (of a vector: element) `index`.
    fn place(&self, index: usize) -> usize {
        match &self.places {
            Some(places) => places.get(index).map_or(usize::MAX, |&place| place as usize),
            None => index,
        }
    }

    /// Where row `row` is in the file. A vector is one row, whose elements have places.
    fn stored_row(&self, row: usize) -> usize {
        if self.shape[0] == 1 { row } else { self.place(row) }
    }

    /// The stored bytes of row `row`; empty if there is no such row, or it has no bytes of its own.
    pub fn row(&self, row: usize) -> &'a [u8] {
        let Data::Rows { bytes, row_bytes, .. } = self.data else { return &[] };
        let start = self.stored_row(row).saturating_mul(row_bytes);
        bytes.get(start..start.saturating_add(row_bytes)).unwrap_or_default()
    }

    /// A row's codes as a file with zero point `zero` holds them, with their scales and minimums as half-precision bits.
    ///
    /// # Errors
    /// The first scale or minimum that half precision does not reach, or that is NaN.
    pub(crate) fn keep_row(
        &self,
        row: usize,
        zero: Zero,
        codes: &mut [u8],
        scales: &mut [u16],
        mins: &mut [u16],
    ) -> Result<(), f32> {
        match &self.data {
            Data::Rows { ggml_type, .. } => keep(*ggml_type, self.row(row), zero, codes, scales, mins),
            Data::Packed(packed) => packed.keep(self.stored_row(row), zero, codes, scales, mins),
        }
    }

    /// Dequantizes row `row` into `out`.
    ///
    /// # Errors
    /// [`QuantizeError`] if there is no such row of `out`'s length, or a weight is not finite.
    pub fn read_row(&self, row: usize, out: &mut [f32]) -> Result<(), QuantizeError> {
        let read = match &self.data {
            Data::Rows { ggml_type, .. } => dequantize(*ggml_type, self.row(row), out),
            Data::Packed(packed) => packed.dequantize(self.stored_row(row), out),
        };
        if !read {
            let (expected, actual) = ([row, out.len()], self.shape);
            return Err(QuantizeError::Shape { name: self.name.clone(), expected, actual });
        }
        if self.scale != 1.0 {
            out.iter_mut().for_each(|weight| *weight *= self.scale);
        }
        match out.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => Err(QuantizeError::NotFinite { name: self.name.clone(), row, value }),
        }
    }

    /// The elements of a tensor of floats, row after row.
    ///
    /// # Errors
    /// [`QuantizeError`] if an element is not finite.
    pub fn read_floats(&self) -> Result<Vec<f32>, QuantizeError> {
        let mut floats = self.read_stored_floats()?;
        let function = |x: f32| match self.function {
            Function::Same => x,
            Function::PlusOne => 1.0 + x,
            Function::MinusExp => -libm::exp(f64::from(x)) as f32,
        };
        floats.iter_mut().for_each(|x| *x = function(*x));
        match floats.iter().find(|value| !value.is_finite()) {
            None => Ok(floats),
            Some(&value) => Err(QuantizeError::NotFinite { name: self.name.clone(), row: 0, value }),
        }
    }

    /// The elements as the file has them, before [`Function`].
    ///
    /// # Errors
    /// [`QuantizeError`] if an element is not finite.
    pub(crate) fn read_stored_floats(&self) -> Result<Vec<f32>, QuantizeError> {
        let [rows, cols] = self.shape;
        if rows == 1 {
            let mut stored = vec![0.0; self.stored_cols()];
            self.read_row(0, &mut stored)?;
            Ok((0..cols).filter_map(|index| stored.get(self.place(index)).copied()).collect())
        } else {
            let mut all = vec![0.0; rows * cols];
            for (row, floats) in all.chunks_exact_mut(cols.max(1)).enumerate() {
                self.read_row(row, floats)?;
            }
            Ok(all)
        }
    }

    /// Columns of a stored row.
    fn stored_cols(&self) -> usize {
        match &self.data {
            Data::Rows { ggml_type, row_bytes, .. } => {
                row_bytes / ggml_type.block_bytes() * ggml_type.block_weights()
            }
            Data::Packed(packed) => packed.shape()[1],
        }
    }
}

/// Where GGUF files keep the rows of queries and keys of Llama and its like: those of each head alternate between the halves
/// that a rotary embedding rotates together.
pub(crate) fn rotary_pairs(rows: usize, head_dim: usize) -> Arc<[u32]> {
    let half = (head_dim / 2).max(1);
    (0..rows)
        .map(|index| {
            let (head, within) = (index / head_dim.max(1), index % head_dim.max(1));
            (head * head_dim + within % half * 2 + within / half) as u32
        })
        .collect()
}

/// `count` rows from `start` on.
pub(crate) fn run(start: usize, count: usize) -> Arc<[u32]> {
    (start..start + count).map(|row| row as u32).collect()
}

/// Of every `period` rows the `count` from `start` on.
pub(crate) fn periodic(rows: usize, period: usize, start: usize, count: usize) -> Arc<[u32]> {
    (0..rows)
        .filter(|row| (start..start + count).contains(&(row % period.max(1))))
        .map(|row| row as u32)
        .collect()
}
