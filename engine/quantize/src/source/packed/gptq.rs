//! GPTQ, as AutoGPTQ and GPTQModel write it (their `QuantLinear`s on PyPI define it). For a layer of `out` rows and `in`
//! columns:
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `qweight` | int32 | (in x bits / 32, out) | codes; those of a row lie in a column of words, from the lowest bits up |
//! | `qzeros` | int32 | (groups, out x bits / 32) | the code for 0 of each row and group, less 1 but in `gptq_v2` |
//! | `scales` | float | (groups, out) | |
//! | `g_idx` | int32 | (in) | the group of each column; may be missing |

use super::fields::{Fields, bits, group_size};
use super::integers::{Integers, Lanes, Zeros};
use super::module::{Part, check_order, names, need, take};
use super::words::{Order, Words, words_of};
use super::{Found, Scheme};
use crate::QuantizeError;
use crate::source::{SourceTensor, refuse};

pub(super) const NAMES: [&str; 4] = ["GPTQ of 2 bits", "GPTQ of 3 bits", "GPTQ of 4 bits", "GPTQ of 8 bits"];

/// The numbers of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) bits: u8,
    /// Columns that share a scale, 0 for all of a row.
    pub(super) group_size: usize,
    /// By how much stored zero points are less than what is meant.
    pub(super) less: u8,
}

#[derive(Debug)]
struct Gptq(Shape);

pub(super) fn read(fields: &Fields<'_>) -> Result<Box<dyn Scheme>, QuantizeError> {
    const FORMATS: &str = "gptq and gptq_v2";
    let [checkpoint, format] = [fields.text("checkpoint_format")?, fields.text("format")?];
    if let (Some(checkpoint), Some(format)) = (checkpoint, format)
        && checkpoint != format
    {
        return refuse("checkpoint_format", format!("{checkpoint} and {format}"), FORMATS);
    }
    let less = match checkpoint.or(format).unwrap_or("gptq") {
        "gptq" => 1,
        "gptq_v2" => 0,
        other => return refuse("checkpoint_format", other, FORMATS),
    };
    if fields.flag("is_marlin_format")? == Some(true) {
        return refuse("is_marlin_format", true, "false");
    }
    fields.one_of("pack_dtype", &["int32", "torch.int32"], "int32")?;
    fields.one_of("backend", &["auto"], "auto")?;
    no_dynamic_layers(fields)?;
    fields.only(&[
        "bits",
        "group_size",
        "checkpoint_format",
        "format",
        "is_marlin_format",
        "pack_dtype",
        "backend",
        "dynamic",
        "data_type",
    ])?;
    fields.one_of("data_type", &["int"], "int")?;
    let (bits, group_size) =
        (bits(fields.need_whole("bits")?)?, group_size(fields.need_whole("group_size")?)?);
    Ok(Box::new(Gptq(Shape { bits, group_size, less })))
}

/// Checks that no layers have settings of their own, but that they are not quantized: `-:PATTERN`.
pub(super) fn no_dynamic_layers(fields: &Fields<'_>) -> Result<(), QuantizeError> {
    let Some(dynamic) = fields.object("dynamic")? else { return Ok(()) };
    for layer in dynamic.objects() {
        let (pattern, _) = layer?;
        if !pattern.starts_with("-:") {
            return refuse("dynamic", pattern, "-:PATTERN, layers that are not quantized");
        }
    }
    Ok(())
}

impl Scheme for Gptq {
    fn unpack<'a>(&self, found: &mut Found<'a>) -> Result<Vec<SourceTensor<'a>>, QuantizeError> {
        names(found, "qweight").iter().map(|layer| unpack(found, layer, self.0, &NAMES)).collect()
    }
}

/// Puts a layer together.
pub(super) fn unpack<'a>(
    found: &mut Found<'a>,
    layer: &str,
    shape: Shape,
    names: &[&'static str; 4],
) -> Result<SourceTensor<'a>, QuantizeError> {
    let codes = need(found, layer, "qweight")?;
    let (zeros, scales) = (need(found, layer, "qzeros")?, need(found, layer, "scales")?);
    let bits = usize::from(shape.bits);
    let [words, rows] = codes.matrix()?;
    let cols = words * 32 / bits;
    if words_of(cols, bits) != words {
        return Err(codes.wrong(format!("has {words} rows, which codes of {bits} bits cannot fill")));
    }
    let size = if shape.group_size == 0 { cols } else { shape.group_size };
    let groups = cols.div_ceil(size);
    let zero_words = words_of(rows, bits);
    zeros.expect(&[groups, zero_words])?;
    scales.expect(&[groups, rows])?;
    if let Some(index) = take(found, layer, "g_idx") {
        check_order(&index, cols, size)?;
    }
    let order = Order::InOrder;
    let integers = Integers {
        codes: Words { words: codes.words()?, bits, lane: 1, step: rows, order },
        lanes: Lanes::Rows,
        scales: scales.floats()?,
        steps: [1, rows],
        zeros: Zeros::Each {
            words: Words { words: zeros.words()?, bits, lane: zero_words, step: 1, order },
            less: shape.less,
        },
    };
    check_zeros(&integers, &zeros, rows, groups)?;
    drop_zero_bias(found, layer)?;
    Ok(SourceTensor::from_packed(
        format!("{layer}.weight"),
        integers.packed(names, [rows, cols], shape.group_size),
    ))
}

/// A stored zero point of all ones, plus 1, is no code. Programs disagree on what it means, because writers that subtract 1
/// from 0 damage the zero points beside it.
fn check_zeros(
    integers: &Integers<'_>,
    zeros: &Part<'_>,
    rows: usize,
    groups: usize,
) -> Result<(), QuantizeError> {
    match integers.impossible_zero(rows, groups) {
        None => Ok(()),
        Some(zero) => Err(zeros.wrong(format!(
            "has a zero point of {zero}, less 1, which programs read in different ways: use a checkpoint with \
             checkpoint_format gptq_v2, or one that is symmetric"
        ))),
    }
}

/// Old versions of AutoGPTQ give every layer a bias, of zeros where the model has none. The engine knows biases of q, k and v.
fn drop_zero_bias(found: &mut Found<'_>, layer: &str) -> Result<(), QuantizeError> {
    let kept = ["q_proj", "k_proj", "v_proj"].iter().any(|name| layer.ends_with(name));
    let name = format!("{layer}.bias");
    if !kept && found.get(&name).is_some_and(|bias| bias.data.iter().all(|&byte| byte == 0)) {
        found.remove(&name);
    }
    Ok(())
}
