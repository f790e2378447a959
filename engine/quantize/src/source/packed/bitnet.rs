//! BitNet b1.58, as transformers has it (`transformers/integrations/bitnet.py` defines it): ternary weights with one scale
//! for a tensor.
//!
//! - `offline`: `weight`, uint8 of shape (out / 4, in), and `weight_scale`, one float. Weights are codes - 1, times the scale
//!   where `linear_class` is `autobitlinear`, divided by it where it is `bitlinear`.
//! - `online`: `weight` are the floats of training, which are rounded when the model runs: w / m to the nearest of -1, 0 and
//!   1, times m, where m is the mean of all |w|.

use super::fields::Fields;
use super::module::{need, take};
use super::ternary::{Pairs, Rounded};
use super::{Found, Scheme};
use crate::QuantizeError;
use crate::source::{LM_HEAD, SourceTensor, refuse};
use safetensors::Dtype;

/// Smallest mean that is divided by.
const LEAST: f32 = 1e-5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The scale is a factor.
    Multiplied,
    /// The scale is a divisor.
    Divided,
    Online,
}

#[derive(Debug)]
struct BitNet {
    mode: Mode,
    /// Layers that stay floats; `None` for the head alone.
    floats: Option<Vec<String>>,
}

pub(super) fn read(fields: &Fields<'_>) -> Result<Box<dyn Scheme>, QuantizeError> {
    if fields.flag("use_rms_norm")? == Some(true) {
        return refuse("use_rms_norm", true, "false");
    }
    fields.only(&["linear_class", "quantization_mode", "use_rms_norm", "rms_norm_eps"])?;
    let class = fields.text("linear_class")?.unwrap_or("bitlinear");
    let mode = match (class, fields.text("quantization_mode")?.unwrap_or("offline")) {
        ("autobitlinear", "offline") => Mode::Multiplied,
        ("bitlinear", "offline") => Mode::Divided,
        ("autobitlinear", "online") => Mode::Online,
        ("autobitlinear" | "bitlinear", mode) => {
            return refuse(
                "quantization_mode",
                format!("{mode} of {class}"),
                "offline, and online of autobitlinear",
            );
        }
        _ => return refuse("linear_class", class, "bitlinear and autobitlinear"),
    };
    let floats: Option<Vec<String>> = match fields.get("modules_to_not_convert") {
        None => None,
        Some(list) => Some(serde_json::from_value(list.clone()).map_err(|error| {
            QuantizeError::json("config.json", format!("modules_to_not_convert: {error}"))
        })?),
    };
    // Without a list, transformers leaves the head alone; with one, it does only what the list says.
    let head = LM_HEAD.trim_end_matches(".weight");
    if let (Mode::Online, Some(list)) = (mode, &floats)
        && !list.iter().any(|name| covers(name, head))
    {
        return refuse("modules_to_not_convert", "a list without lm_head", "null, and lists with lm_head");
    }
    Ok(Box::new(BitNet { mode, floats }))
}

impl Scheme for BitNet {
    fn unpack<'a>(&self, found: &mut Found<'a>) -> Result<Vec<SourceTensor<'a>>, QuantizeError> {
        let weights: Vec<String> =
            found.keys().filter_map(|name| name.strip_suffix(".weight")).map(str::to_string).collect();
        let mut tensors = Vec::new();
        for layer in weights {
            let is_packed = found.get(&format!("{layer}.weight")).is_some_and(|w| w.dtype == Dtype::U8);
            if self.mode == Mode::Online {
                if self.is_rounded(found, &layer)? {
                    tensors.push(online(found, &layer)?);
                }
            } else if is_packed {
                tensors.push(self.offline(found, &layer)?);
            } else if found.contains_key(&format!("{layer}.weight_scale")) {
                let problem = "has a weight_scale, but is not packed in bytes";
                return Err(QuantizeError::packed(format!("{layer}.weight"), problem));
            }
        }
        Ok(tensors)
    }
}

impl BitNet {
    fn offline<'a>(&self, found: &mut Found<'a>, layer: &str) -> Result<SourceTensor<'a>, QuantizeError> {
        let (weight, scale) = (need(found, layer, "weight")?, need(found, layer, "weight_scale")?);
        let shape = weight.matrix()?;
        let (packed, floats) = (Pairs::packed(weight.bytes()?, shape), scale.floats()?);
        if floats.len() != 1 {
            return Err(scale.wrong(format!("has shape {:?}, and should be one number", scale.stored.shape)));
        }
        let scale = if self.mode == Mode::Divided { 1.0 / floats.get(0) } else { floats.get(0) };
        Ok(SourceTensor::from_packed(weight.name, packed).with_scale(scale))
    }

    /// Whether a layer's floats are rounded when the model runs: all linear layers' are, but the head's.
    fn is_rounded(&self, found: &Found<'_>, layer: &str) -> Result<bool, QuantizeError> {
        let is_matrix = found.get(&format!("{layer}.weight")).is_some_and(|weight| weight.shape.len() == 2);
        let is = |name: &str| layer == name || layer.ends_with(&format!(".{name}"));
        let head = LM_HEAD.trim_end_matches(".weight");
        if !is_matrix || is("embed_tokens") {
            return Ok(false);
        }
        let Some(floats) = &self.floats else { return Ok(!is(head)) };
        if let Some(pattern) = floats.iter().find(|name| name.contains(is_special)) {
            return refuse("modules_to_not_convert", pattern, "names of modules");
        }
        Ok(!floats.iter().any(|name| covers(name, layer)))
    }
}

/// A character that regular expressions give a meaning, but for the dot in names.
fn is_special(character: char) -> bool {
    "*+?[](){}|^$\\".contains(character)
}

/// Whether a name in `modules_to_not_convert` is of a layer: of it, of what it belongs to, or of its end.
fn covers(name: &str, layer: &str) -> bool {
    let begins = layer
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || name.ends_with('.'));
    begins || layer.ends_with(name)
}

/// Rounds a layer's floats as transformers does.
fn online<'a>(found: &mut Found<'a>, layer: &str) -> Result<SourceTensor<'a>, QuantizeError> {
    let weight = need(found, layer, "weight")?;
    if let Some(scale) = take(found, layer, "weight_scale") {
        return Err(scale.wrong("is there, but quantization_mode is online"));
    }
    let (shape, floats) = (weight.matrix()?, weight.floats()?);
    let mut sum = 0.0;
    for (index, value) in floats.iter().enumerate() {
        if !value.is_finite() {
            return Err(QuantizeError::NotFinite { name: weight.name, row: index / shape[1], value });
        }
        sum += f64::from(value.abs());
    }
    let mean = (sum / floats.len() as f64) as f32;
    let factor = 1.0 / mean.max(LEAST);
    let packed = Rounded::packed(floats, shape, factor);
    Ok(SourceTensor::from_packed(weight.name, packed).with_scale(1.0 / factor))
}
