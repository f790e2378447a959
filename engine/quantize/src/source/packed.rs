//! Checkpoints of the Hugging Face hub that are quantized already: their codes are kept.
//!
//! Each method has a file, which says where its format is defined, what it reads of `quantization_config`, and how it finds
//! the parts of a layer. What they have in common: a layer's weight is replaced by tensors with the codes, the scales and
//! the zero points ([`Integers`]), or by ternary codes with one scale ([`Pairs`], [`Rounded`]). What would change the result
//! and is not understood is refused by name.

mod auto_round;
mod awq;
mod bitnet;
mod compressed;
mod fields;
mod gptq;
mod integers;
mod module;
mod ternary;
#[cfg(test)]
mod tests;
mod words;

use super::stored::Found;
use super::{SourceTensor, refuse};
use crate::QuantizeError;
use crate::codes::{Codes, LARGEST_HALF};
use edgellm_kernels::layout::{Zero, f32_to_f16};
use fields::Fields;
use integers::Integers;
use serde_json::Value;
use std::fmt::Debug;
use ternary::{Pairs, Rounded};

/// How a checkpoint's weights are quantized.
pub(super) trait Scheme: Debug {
    /// Takes the parts of all quantized tensors out of `found`, and puts them together.
    ///
    /// # Errors
    /// [`QuantizeError`] if a part is missing or has another shape than the others of its layer.
    fn unpack<'a>(&self, found: &mut Found<'a>) -> Result<Vec<SourceTensor<'a>>, QuantizeError>;
}

/// A `quant_method`, and what reads its settings.
struct Method {
    names: &'static [&'static str],
    read: fn(&Fields<'_>) -> Result<Box<dyn Scheme>, QuantizeError>,
}

static METHODS: [Method; 5] = [
    Method { names: &["gptq"], read: gptq::read },
    Method { names: &["awq"], read: awq::read },
    Method { names: &["auto-round", "intel/auto-round"], read: auto_round::read },
    Method { names: &["compressed-tensors"], read: compressed::read },
    Method { names: &["bitnet"], read: bitnet::read },
];
const SUPPORTED: &str =
    "gptq, awq, auto-round, compressed-tensors and bitnet; unquantized checkpoints, and GGUF files";

/// Reads a `quantization_config`.
///
/// # Errors
/// [`QuantizeError`] names what is not supported.
pub(super) fn read(config: &Value) -> Result<Box<dyn Scheme>, QuantizeError> {
    let fields = Fields::new(config, "quantization_config")?;
    let name = fields.text("quant_method")?.unwrap_or("none");
    match METHODS.iter().find(|method| method.names.contains(&name)) {
        Some(method) => (method.read)(&fields),
        None => refuse("quant_method of quantization_config", name, SUPPORTED),
    }
}

/// The weights of a tensor: codes, with scales and zero points.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Packed<'a> {
    type_name: &'static str,
    shape: [usize; 2],
    codes: Codes,
    grid: Grid<'a>,
}

/// Where codes, scales and zero points are.
#[derive(Clone, Debug, PartialEq)]
enum Grid<'a> {
    Integers(Integers<'a>),
    Pairs(Pairs<'a>),
    Rounded(Rounded<'a>),
}

impl Packed<'_> {
    pub(super) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(super) fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// How a model file holds the codes.
    pub(super) fn codes(&self) -> Codes {
        self.codes
    }

    /// The codes of a row that there is.
    fn read_codes(&self, row: usize, codes: &mut [u8]) {
        match &self.grid {
            Grid::Integers(integers) => integers.codes(row, codes),
            Grid::Pairs(pairs) => pairs.codes(row, codes),
            Grid::Rounded(rounded) => rounded.codes(row, codes),
        }
    }

    /// The scale of a row's group, and the code that stands for 0 there.
    fn scale(&self, row: usize, group: usize) -> (f32, u8) {
        match &self.grid {
            Grid::Integers(integers) => integers.scale(row, group),
            Grid::Pairs(_) | Grid::Rounded(_) => (1.0, 1),
        }
    }

    /// Dequantizes row `row`; `false`, with `out` unspecified, if there is no such row of this length.
    pub(super) fn dequantize(&self, row: usize, out: &mut [f32]) -> bool {
        let [rows, cols] = self.shape;
        if row >= rows || out.len() != cols {
            return false;
        }
        let mut codes = vec![0; cols];
        self.read_codes(row, &mut codes);
        let size = if self.codes.group_size == 0 { cols.max(1) } else { self.codes.group_size };
        for (group, (out, codes)) in out.chunks_mut(size).zip(codes.chunks(size)).enumerate() {
            let (scale, zero) = self.scale(row, group);
            for (weight, &code) in out.iter_mut().zip(codes) {
                *weight = scale * (f32::from(code) - f32::from(zero));
            }
        }
        true
    }

    /// A row's codes as a file with zero point `zero` holds them, with their scales and minimums as half-precision bits.
    ///
    /// # Errors
    /// The first scale or minimum that half precision does not reach, or that is NaN.
    pub(super) fn keep(
        &self,
        row: usize,
        zero: Zero,
        codes: &mut [u8],
        scales: &mut [u16],
        mins: &mut [u16],
    ) -> Result<(), f32> {
        self.read_codes(row, codes);
        for (group, bits) in scales.iter_mut().enumerate() {
            *bits = to_half(self.scale(row, group).0)?;
        }
        for (group, bits) in mins.iter_mut().enumerate() {
            let (scale, zero) = self.scale(row, group);
            // Not -scale * zero, which can be a negative 0.
            *bits = to_half(0.0 - scale * f32::from(zero))?;
        }
        if let (Zero::Symmetric(from), Zero::Symmetric(to)) = (self.codes.zero, zero)
            && from != to
        {
            codes.iter_mut().for_each(|code| *code = code.wrapping_add(to.wrapping_sub(from)));
        }
        Ok(())
    }
}

/// The nearest half-precision float; the value itself if it is out of range.
fn to_half(value: f32) -> Result<u16, f32> {
    if value.abs() <= LARGEST_HALF { Ok(f32_to_f16(value)) } else { Err(value) }
}
