//! A tensor of the source: slices of its bytes, rows in Hugging Face's order.

use crate::QuantizeError;
use crate::dequantize::dequantize;
use crate::gguf::GgmlType;

/// A tensor of a [`Source`](crate::Source). Its rows are in Hugging Face's order, whatever their order in the file.
#[derive(Clone, Debug)]
pub struct SourceTensor<'a> {
    name: String,
    shape: [usize; 2],
    ggml_type: GgmlType,
    data: &'a [u8],
    row_bytes: usize,
    rotary_pairs: Option<usize>,
}

impl<'a> SourceTensor<'a> {
    /// A tensor over `data`; `None` if `data` does not have the length of the shape.
    pub(super) fn new(
        name: String,
        shape: [usize; 2],
        ggml_type: GgmlType,
        data: &'a [u8],
    ) -> Option<SourceTensor<'a>> {
        let row_bytes = ggml_type.row_bytes(shape[1])?;
        (row_bytes.checked_mul(shape[0])? == data.len()).then_some(())?;
        Some(SourceTensor { name, shape, ggml_type, data, row_bytes, rotary_pairs: None })
    }

    /// The same tensor under another name.
    pub(super) fn renamed(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// Declares that, in the file, each head's `head_dim` rows alternate between the halves that a rotary embedding
    /// rotates together, as llama.cpp stores q and k of Llama models.
    pub(super) fn with_rotary_pairs(mut self, head_dim: usize) -> Self {
        self.rotary_pairs = Some(head_dim);
        self
    }

    /// Hugging Face name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// (rows, cols); a vector is (1, length).
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Type of the elements.
    pub fn ggml_type(&self) -> GgmlType {
        self.ggml_type
    }

    /// Whether both have the same stored bytes.
    pub(super) fn same_as(&self, other: &SourceTensor<'_>) -> bool {
        self.shape == other.shape && self.ggml_type == other.ggml_type && self.data == other.data
    }

    /// The position in the file of row (of a vector: element) `index`.
    fn place(&self, index: usize) -> usize {
        match self.rotary_pairs {
            Some(head_dim) if head_dim >= 2 => {
                let (head, within) = (index / head_dim, index % head_dim);
                let half = head_dim / 2;
                head * head_dim + within % half * 2 + within / half
            }
            _ => index,
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
        match out.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => Err(QuantizeError::NotFinite { name: self.name.clone(), row, value }),
        }
    }

    /// A vector's elements.
    ///
    /// # Errors
    /// [`QuantizeError`] if an element is not finite.
    pub fn read_vector(&self) -> Result<Vec<f32>, QuantizeError> {
        let mut stored = vec![0.0; self.shape[1]];
        self.read_row(0, &mut stored)?;
        Ok((0..stored.len()).filter_map(|index| stored.get(self.place(index)).copied()).collect())
    }
}
