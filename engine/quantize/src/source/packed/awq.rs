//! AWQ, as AutoAWQ's version `gemm` writes it (`WQLinear_GEMM` on PyPI defines it). For a layer of `out` rows and `in`
//! columns, with 4 bits:
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `qweight` | int32 | (in, out / 8) | codes; a word has those of 8 rows, from the lowest bits up rows 0, 2, 4, 6, 1, 3, 5, 7 |
//! | `qzeros` | int32 | (groups, out / 8) | the codes for 0, in the same order |
//! | `scales` | float | (groups, out) | |

use super::fields::{Fields, group_size};
use super::gptq::no_dynamic_layers;
use super::integers::{Integers, Lanes, Zeros};
use super::module::{names, need};
use super::words::{Order, Words};
use super::{Found, Scheme};
use crate::QuantizeError;
use crate::source::{SourceTensor, refuse};

pub(super) const NAMES: [&str; 4] = ["AWQ"; 4];
const BITS: usize = 4;
/// Rows of a word.
const ROWS: usize = 32 / BITS;

#[derive(Debug)]
struct Awq {
    group_size: usize,
}

pub(super) fn read(fields: &Fields<'_>) -> Result<Box<dyn Scheme>, QuantizeError> {
    for name in ["version", "format", "checkpoint_format"] {
        let version = fields.text(name)?.map(str::to_ascii_lowercase);
        if let Some(other) = version.filter(|version| version != "gemm") {
            return refuse("AWQ version", other, "gemm");
        }
    }
    fields.one_of("backend", &["auto", "autoawq"], "autoawq")?;
    fields.one_of("pack_dtype", &["int32", "torch.int32"], "int32")?;
    fields.one_of("data_type", &["int"], "int")?;
    fields.one_of("method", &["awq"], "awq")?;
    no_dynamic_layers(fields)?;
    fields.only(&[
        "bits",
        "w_bit",
        "group_size",
        "q_group_size",
        "zero_point",
        "version",
        "format",
        "checkpoint_format",
        "backend",
        "pack_dtype",
        "data_type",
        "dynamic",
        "method",
    ])?;
    let bits = match fields.whole("w_bit")? {
        Some(bits) => bits,
        None => fields.need_whole("bits")?,
    };
    let size = match fields.whole("q_group_size")? {
        Some(size) => size,
        None => fields.need_whole("group_size")?,
    };
    check_bits(bits)?;
    Ok(Box::new(Awq { group_size: group_size(size)? }))
}

/// AWQ's order of rows is one of eight in a word.
pub(super) fn check_bits(bits: i64) -> Result<(), QuantizeError> {
    if bits == BITS as i64 { Ok(()) } else { refuse("bits", bits, "4, with AWQ") }
}

impl Scheme for Awq {
    fn unpack<'a>(&self, found: &mut Found<'a>) -> Result<Vec<SourceTensor<'a>>, QuantizeError> {
        names(found, "qweight").iter().map(|layer| unpack(found, layer, self.group_size, &NAMES)).collect()
    }
}

/// Puts a layer together.
pub(super) fn unpack<'a>(
    found: &mut Found<'a>,
    layer: &str,
    group_size: usize,
    names: &[&'static str; 4],
) -> Result<SourceTensor<'a>, QuantizeError> {
    let codes = need(found, layer, "qweight")?;
    let (zeros, scales) = (need(found, layer, "qzeros")?, need(found, layer, "scales")?);
    let [cols, words] = codes.matrix()?;
    let rows = words * ROWS;
    let groups = if group_size == 0 { 1 } else { cols.div_ceil(group_size) };
    zeros.expect(&[groups, words])?;
    scales.expect(&[groups, rows])?;
    let words =
        |words| Words { words, bits: BITS, lane: rows / ROWS, step: 1, order: Order::EvenFirst, plus: 0 };
    let integers = Integers {
        codes: words(codes.words()?),
        lanes: Lanes::Columns,
        scales: scales.floats()?,
        steps: [1, rows],
        zeros: Zeros::Each { words: words(zeros.words()?), less: 0 },
    };
    Ok(SourceTensor::from_packed(format!("{layer}.weight"), integers.packed(names, [rows, cols], group_size)))
}
