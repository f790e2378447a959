//! A tensor of the source: slices of its bytes, with its rows in Hugging Face's order.

use crate::QuantizeError;
use crate::codes::Codes;
use crate::dequantize::dequantize;
use crate::gguf::GgmlType;
use edgellm::tensors::Role;
use std::sync::Arc;

/// A tensor of a [`Source`](crate::Source). Its rows are in Hugging Face's order, whatever their order in the file.
#[derive(Clone, Debug)]
pub struct SourceTensor<'a> {
    name: String,
    role: Role,
    shape: [usize; 2],
    ggml_type: GgmlType,
    data: &'a [u8],
    row_bytes: usize,
    /// Where each row (of a vector: element) is in the file, if not at its own place.
    places: Option<Arc<[u32]>>,
    function: Function,
    /// What all weights are multiplied by.
    scale: f32,
    /// Whether its inputs are rotated.
    rotated: bool,
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
        let (places, function, role) = (None, Function::Same, Role::Float);
        let (scale, rotated) = (1.0, false);
        Some(SourceTensor { name, role, shape, ggml_type, data, row_bytes, places, function, scale, rotated })
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
    pub(crate) fn with_type(mut self, ggml_type: GgmlType) -> Self {
        self.ggml_type = ggml_type;
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

    /// Hugging Face name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// (rows, cols); a vector is (1, length).
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Type of the elements.
    pub fn ggml_type(&self) -> GgmlType {
        self.ggml_type
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
        Codes::of_tensor(self.ggml_type, self.data)
    }

    /// Whether both have the same stored bytes.
    pub(crate) fn same_as(&self, other: &SourceTensor<'_>) -> bool {
        let same_type =
            self.ggml_type == other.ggml_type && self.scale == other.scale && self.rotated == other.rotated;
        same_type && self.shape == other.shape && self.data == other.data
    }

    /// The position in the file of row (of a vector: element) `index`.
    fn place(&self, index: usize) -> usize {
        match &self.places {
            Some(places) => places.get(index).map_or(usize::MAX, |&place| place as usize),
            None => index,
        }
    }

    /// The stored bytes of row `row`; empty if there is no such row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        let row = if self.shape[0] == 1 { row } else { self.place(row) };
        let start = row.saturating_mul(self.row_bytes);
        self.data.get(start..start.saturating_add(self.row_bytes)).unwrap_or_default()
    }

    /// Dequantizes row `row` into `out`.
    ///
    /// # Errors
    /// [`QuantizeError`] if there is no such row of `out`'s length, or a weight is not finite.
    pub fn read_row(&self, row: usize, out: &mut [f32]) -> Result<(), QuantizeError> {
        if !dequantize(self.ggml_type, self.row(row), out) {
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
        let [rows, cols] = self.shape;
        let mut floats = if rows == 1 {
            let mut stored = vec![0.0; self.stored_cols()];
            self.read_row(0, &mut stored)?;
            (0..cols).filter_map(|index| stored.get(self.place(index)).copied()).collect()
        } else {
            let mut all = vec![0.0; rows * cols];
            for (row, floats) in all.chunks_exact_mut(cols.max(1)).enumerate() {
                self.read_row(row, floats)?;
            }
            all
        };
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

    /// Columns of a stored row.
    fn stored_cols(&self) -> usize {
        self.row_bytes / self.ggml_type.block_bytes() * self.ggml_type.block_weights()
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
