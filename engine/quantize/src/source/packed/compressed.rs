//! The format `pack-quantized` of compressed-tensors (`PackedQuantizationCompressor` on PyPI defines it), which vLLM's
//! LLM Compressor writes. For a layer of `out` rows and `in` columns:
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `weight_packed` | int32 | (out, in x bits / 32) | codes, from the lowest bits up |
//! | `weight_scale` | float | (out, groups) | |
//! | `weight_zero_point` | int32 | (out x bits / 32, groups) | the codes for 0, if not symmetric; a group's in a column of words |
//! | `weight_shape` | int64 | (2) | out, in |
//! | `weight_g_idx` | int32 | (in) | the group of each column; may be missing |
//!
//! Numbers are signed, and stored with 2^(bits - 1) added: that is the code for 0 of symmetric layers.

use super::fields::{Fields, bits, group_size};
use super::integers::{Integers, Lanes, Zeros};
use super::module::{check_order, names, need, take};
use super::words::{Order, Words, words_of};
use super::{Found, Scheme};
use crate::QuantizeError;
use crate::source::{SourceTensor, refuse};

const NAMES: [&str; 4] = [
    "pack-quantized of 2 bits",
    "pack-quantized of 3 bits",
    "pack-quantized of 4 bits",
    "pack-quantized of 8 bits",
];

/// The weights of all quantized layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackQuantized {
    bits: u8,
    /// 0 for one scale per row.
    group_size: usize,
    symmetric: bool,
    /// Whether columns are in the order of their activations, so that an index must say their groups.
    ordered: bool,
}

pub(super) fn read(fields: &Fields<'_>) -> Result<Box<dyn Scheme>, QuantizeError> {
    let format = fields.text("format")?.unwrap_or("none");
    check_format(format)?;
    fields.one_of("quantization_status", &["compressed"], "compressed")?;
    for name in ["kv_cache_scheme", "transform_config", "sparsity_config", "moe_sparsity_config"] {
        if let Some(found) = fields.object(name)?.filter(|found| found.count() > 0) {
            let dense = found.text("format")? == Some("dense") && name == "sparsity_config";
            if !dense {
                return refuse("field of compressed-tensors", name, "models without it");
            }
        }
    }
    let known = [
        "format",
        "quantization_status",
        "kv_cache_scheme",
        "transform_config",
        "sparsity_config",
        "moe_sparsity_config",
        "config_groups",
        "ignore",
    ];
    fields.only(&known)?;
    let Some(groups) = fields.object("config_groups")? else {
        return refuse("config_groups", "none", "one or more");
    };
    let mut scheme = None;
    for group in groups.objects() {
        let weights = group_weights(&group?.1)?;
        match scheme {
            Some(other) if other != weights => {
                return refuse("config_groups", "groups of different weights", "groups of the same weights");
            }
            _ => scheme = Some(weights),
        }
    }
    match scheme {
        Some(scheme) => Ok(Box::new(scheme)),
        None => refuse("config_groups", "none", "one or more"),
    }
}

fn check_format(format: &str) -> Result<(), QuantizeError> {
    if format == "pack-quantized" {
        return Ok(());
    }
    refuse("format of compressed-tensors", format, "pack-quantized")
}

/// What a group says of the weights of its layers. Which layers these are can be seen from the tensors.
fn group_weights(group: &Fields<'_>) -> Result<PackQuantized, QuantizeError> {
    for name in ["input_activations", "output_activations"] {
        if let Some(activations) = group.object(name)? {
            let bits = activations.whole("num_bits")?.unwrap_or(8);
            return refuse("quantization of activations", format!("{name} of {bits} bits"), "null");
        }
    }
    group.text("format")?.map_or(Ok(()), check_format)?;
    group.only(&["targets", "weights", "input_activations", "output_activations", "format"])?;
    let Some(weights) = group.object("weights")? else {
        return refuse("weights of config_groups", "none", "integers");
    };
    weights.one_of("type", &["int"], "int")?;
    if weights.get("dynamic").is_some_and(|dynamic| dynamic != false) {
        return refuse("dynamic weights", "true", "false");
    }
    let ordered = match weights.get("actorder") {
        None => false,
        Some(order) if order == "weight" || order == "static" || order == false => false,
        Some(order) if order == "group" || order == "dynamic" || order == true => true,
        Some(other) => return refuse("actorder", other, "weight, and null"),
    };
    let known =
        ["num_bits", "type", "symmetric", "strategy", "group_size", "dynamic", "actorder", "zp_dtype"];
    weights.only(&known)?;
    let size = weights.whole("group_size")?;
    let group_size = match (weights.text("strategy")?, size) {
        (Some("channel"), None | Some(-1)) | (None, Some(-1)) => 0,
        (Some("group") | None, Some(size)) => group_size(size)?,
        (strategy, _) => return refuse("strategy", strategy.unwrap_or("tensor"), "group and channel"),
    };
    let bits = bits(weights.whole("num_bits")?.unwrap_or(8))?;
    let symmetric = weights.flag("symmetric")?.unwrap_or(true);
    Ok(PackQuantized { bits, group_size, symmetric, ordered })
}

impl Scheme for PackQuantized {
    fn unpack<'a>(&self, found: &mut Found<'a>) -> Result<Vec<SourceTensor<'a>>, QuantizeError> {
        names(found, "weight_packed").iter().map(|layer| self.layer(found, layer)).collect()
    }
}

impl PackQuantized {
    fn layer<'a>(&self, found: &mut Found<'a>, layer: &str) -> Result<SourceTensor<'a>, QuantizeError> {
        let (codes, scales) = (need(found, layer, "weight_packed")?, need(found, layer, "weight_scale")?);
        let shape = need(found, layer, "weight_shape")?;
        let bits = usize::from(self.bits);
        let [rows, words] = codes.matrix()?;
        let cols = match shape.numbers()?[..] {
            [_, cols] => usize::try_from(cols).unwrap_or(0),
            _ => return Err(shape.wrong("does not have two numbers")),
        };
        if shape.numbers()? != [rows as i64, cols as i64] || words_of(cols, bits) != words {
            let numbers = shape.numbers()?;
            return Err(shape
                .wrong(format!("is {numbers:?}, which {bits}-bit codes in {rows} x {words} words are not")));
        }
        let size = if self.group_size == 0 { cols } else { self.group_size };
        let groups = cols.div_ceil(size);
        scales.expect(&[rows, groups])?;
        check_order(found, layer, "weight_g_idx", self.ordered, cols, size)?;
        let order = Order::InOrder;
        let zeros = match (take(found, layer, "weight_zero_point"), self.symmetric) {
            (None, true) => Zeros::Same(1 << (bits - 1)),
            (Some(zeros), false) => {
                zeros.expect(&[words_of(rows, bits), groups])?;
                Zeros::Each {
                    words: Words { words: zeros.words()?, bits, lane: 1, step: groups, order, plus: 0 },
                    less: 0,
                }
            }
            (Some(zeros), true) => return Err(zeros.wrong("is there, but the weights are symmetric")),
            (None, false) => {
                return Err(QuantizeError::MissingTensor { name: format!("{layer}.weight_zero_point") });
            }
        };
        let integers = Integers {
            codes: Words { words: codes.words()?, bits, lane: words, step: 1, order, plus: 0 },
            lanes: Lanes::Rows,
            scales: scales.floats()?,
            steps: [groups, 1],
            zeros,
        };
        Ok(SourceTensor::from_packed(
            format!("{layer}.weight"),
            integers.packed(&NAMES, [rows, cols], self.group_size),
        ))
    }
}
