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
use super::module::{check_order, names, need};
use super::words::{Order, Words, words_of};
use super::{Found, Scheme};
use crate::QuantizeError;
use crate::source::{SourceTensor, refuse};
use serde_json::Value;

pub(super) const NAMES: [&str; 4] = ["GPTQ of 2 bits", "GPTQ of 3 bits", "GPTQ of 4 bits", "GPTQ of 8 bits"];

/// The numbers of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) bits: u8,
    /// Columns that share a scale, 0 for all of a row.
    pub(super) group_size: usize,
    pub(super) zeros: StoredZeros,
    /// Whether columns may be in the order of their activations, so that an index must say their groups.
    pub(super) ordered: bool,
}

/// What stored zero points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredZeros {
    /// What is meant.
    AsMeant,
    /// 1 less.
    Less,
    /// 1 less, as GPTQModel subtracts it: modulo the number of codes where these have 3 bits, from whole words of them else.
    Wrapped,
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
    let zeros = match checkpoint.or(format).unwrap_or("gptq") {
        "gptq" if is_of_gptqmodel(fields) => StoredZeros::Wrapped,
        "gptq" => StoredZeros::Less,
        "gptq_v2" => StoredZeros::AsMeant,
        other => return refuse("checkpoint_format", other, FORMATS),
    };
    if fields.flag("is_marlin_format")? == Some(true) {
        return refuse("is_marlin_format", true, "false");
    }
    fields.one_of("pack_dtype", &["int32", "torch.int32"], "int32")?;
    fields.one_of("method", &["gptq"], "gptq")?;
    no_dynamic_layers(fields)?;
    fields.only(&[
        "bits",
        "group_size",
        "checkpoint_format",
        "format",
        "is_marlin_format",
        "pack_dtype",
        "backend",
        "desc_act",
        "dynamic",
        "method",
        "data_type",
    ])?;
    fields.one_of("data_type", &["int"], "int")?;
    let (bits, group_size) =
        (bits(fields.need_whole("bits")?)?, group_size(fields.need_whole("group_size")?)?);
    let ordered = fields.flag("desc_act")? == Some(true);
    Ok(Box::new(Gptq(Shape { bits, group_size, zeros, ordered })))
}

/// Whether GPTQModel wrote the checkpoint: `meta.quantizer` is its name and version, or a list with them.
fn is_of_gptqmodel(fields: &Fields<'_>) -> bool {
    let quantizer = fields.get("meta").and_then(|meta| meta.get("quantizer"));
    let is = |value: &Value| value.as_str().is_some_and(|name| name.starts_with("gptqmodel"));
    quantizer.is_some_and(|value| is(value) || value.as_array().is_some_and(|list| list.iter().any(is)))
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
    if cols * bits != words * 32 {
        return Err(codes.wrong(format!("has {words} rows, which codes of {bits} bits cannot fill")));
    }
    let size = if shape.group_size == 0 { cols } else { shape.group_size };
    let groups = cols.div_ceil(size);
    let zero_words = words_of(rows, bits);
    zeros.expect(&[groups, zero_words])?;
    scales.expect(&[groups, rows])?;
    check_order(found, layer, "g_idx", shape.ordered, cols, size)?;
    let (less, plus) = match (shape.zeros, bits) {
        (StoredZeros::AsMeant, _) => (0, 0),
        (StoredZeros::Wrapped, 2 | 4 | 8) => (0, u32::MAX / ((1 << bits) - 1)),
        _ => (1, 0),
    };
    let of = |words, lane, step, plus| Words { words, bits, lane, step, order: Order::InOrder, plus };
    let integers = Integers {
        codes: of(codes.words()?, 1, rows, 0),
        lanes: Lanes::Rows,
        scales: scales.floats()?,
        steps: [1, rows],
        zeros: Zeros::Each { words: of(zeros.words()?, zero_words, 1, plus), less },
    };
    // Writers that subtract 1 from each zero point damage those beside one that is 0.
    if shape.zeros == StoredZeros::Less && integers.has_impossible_zero(rows, groups) {
        return Err(zeros.wrong(
            "has zero points of which all bits are set, which programs read in different ways: use a checkpoint with \
             checkpoint_format gptq_v2, one of GPTQModel, or one that is symmetric",
        ));
    }
    drop_zero_bias(found, layer);
    Ok(SourceTensor::from_packed(
        format!("{layer}.weight"),
        integers.packed(names, [rows, cols], shape.group_size),
    ))
}

/// Old versions of AutoGPTQ give every layer a bias, of zeros where the model has none. The engine knows biases of q, k and v.
fn drop_zero_bias(found: &mut Found<'_>, layer: &str) {
    let kept = ["q_proj", "k_proj", "v_proj"].iter().any(|name| layer.ends_with(name));
    let name = format!("{layer}.bias");
    if !kept && found.get(&name).is_some_and(|bias| bias.data.iter().all(|&byte| byte == 0)) {
        found.remove(&name);
    }
}
