//! AutoRound (the package `auto-round` on PyPI defines it): layers as GPTQ or AWQ has them, and which of both
//! `packing_format` says. Layers may have settings of their own in `extra_config`.

use super::fields::{Fields, bits, group_size};
use super::gptq::StoredZeros;
use super::module::names;
use super::{Found, Scheme, awq, gptq};
use crate::QuantizeError;
use crate::source::{SourceTensor, refuse};
use std::collections::BTreeMap;

const NAMES: [&str; 4] =
    ["AutoRound of 2 bits", "AutoRound of 3 bits", "AutoRound of 4 bits", "AutoRound of 8 bits"];
const FORMATS: &str = "auto_round, auto_round:gptqmodel, auto_round:auto_gptq and auto_round:auto_awq";

/// How layers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gptq(StoredZeros),
    Awq,
}

/// Older files name the program's kernel as well, and have the name in `backend`.
static PACKINGS: [(&str, Packing); 10] = [
    ("auto_round", Packing::Gptq(StoredZeros::AsMeant)),
    ("auto_round:gptqmodel", Packing::Gptq(StoredZeros::AsMeant)),
    ("auto_round:exllamav2", Packing::Gptq(StoredZeros::AsMeant)),
    ("auto_round:tritonv2", Packing::Gptq(StoredZeros::AsMeant)),
    ("auto_round:auto_gptq", Packing::Gptq(StoredZeros::Less)),
    ("auto_round:gptq", Packing::Gptq(StoredZeros::Less)),
    ("auto_round:auto_gptq:exllamav2", Packing::Gptq(StoredZeros::Less)),
    ("auto_round:gptq:exllamav2", Packing::Gptq(StoredZeros::Less)),
    ("auto_round:auto_awq", Packing::Awq),
    ("auto_round:awq", Packing::Awq),
];

/// What a layer says of its weights.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    bits: Option<i64>,
    group_size: Option<i64>,
}

#[derive(Debug)]
struct AutoRound {
    packing: Packing,
    settings: Settings,
    /// Settings of single layers, by name or pattern.
    layers: BTreeMap<String, Settings>,
}

impl Settings {
    /// Bits from which on a layer is not quantized.
    const FLOATS: i64 = 16;

    fn read(fields: &Fields<'_>, more: &[&str]) -> Result<Settings, QuantizeError> {
        fields.one_of("data_type", &["int"], "int")?;
        let known = ["bits", "group_size", "data_type"];
        fields.only(&[&known[..], more].concat())?;
        Ok(Settings { bits: fields.whole("bits")?, group_size: fields.whole("group_size")? })
    }

    fn are_floats(&self) -> bool {
        self.bits.is_some_and(|bits| bits >= Settings::FLOATS)
    }

    /// These, and `others` where they say nothing.
    fn or(self, others: Settings) -> Settings {
        Settings { bits: self.bits.or(others.bits), group_size: self.group_size.or(others.group_size) }
    }
}

pub(super) fn read(fields: &Fields<'_>) -> Result<Box<dyn Scheme>, QuantizeError> {
    let [format, backend] = [fields.text("packing_format")?, fields.text("backend")?];
    let format = format.or(backend).unwrap_or("none");
    let Some(&(_, packing)) = PACKINGS.iter().find(|(name, _)| *name == format) else {
        return refuse("packing_format", format, FORMATS);
    };
    let mut layers = BTreeMap::new();
    if let Some(extra) = fields.object("extra_config")? {
        for layer in extra.objects() {
            let (name, fields) = layer?;
            layers.insert(name.to_string(), Settings::read(&fields, &[])?);
        }
    }
    gptq::no_dynamic_layers(fields)?;
    let settings = Settings::read(fields, &["packing_format", "extra_config", "dynamic", "backend"])?;
    let scheme = AutoRound { packing, settings, layers };
    scheme.shape(settings)?;
    Ok(Box::new(scheme))
}

impl AutoRound {
    /// The bits of a code and the columns of a group; zero points as the packing has them.
    fn shape(&self, settings: Settings) -> Result<gptq::Shape, QuantizeError> {
        let (Some(found), Some(size)) = (settings.bits, settings.group_size) else {
            return Err(QuantizeError::json("config.json", "quantization_config needs bits and group_size"));
        };
        let zeros = match self.packing {
            Packing::Gptq(zeros) => zeros,
            Packing::Awq => {
                awq::check_bits(found)?;
                StoredZeros::AsMeant
            }
        };
        Ok(gptq::Shape { bits: bits(found)?, group_size: group_size(size)?, zeros, ordered: false })
    }
}

impl Scheme for AutoRound {
    fn unpack<'a>(&self, found: &mut Found<'a>) -> Result<Vec<SourceTensor<'a>>, QuantizeError> {
        let quantized = names(found, "qweight");
        // A name that no layer has may be a pattern, or of another wrapping of the model. It does no harm if it says which
        // layers are not quantized, because their tensors say it too.
        let is_layer = |name: &str| quantized.iter().any(|layer| layer == name);
        let unknown = self.layers.iter().find(|(name, settings)| !settings.are_floats() && !is_layer(name));
        if let Some((name, _)) = unknown {
            return refuse("extra_config", name, "names of quantized layers, and of layers of 16 bits");
        }
        let mut tensors = Vec::new();
        for layer in &quantized {
            let own = self.layers.get(layer).copied().unwrap_or_default();
            if own.are_floats() {
                let problem = "is quantized, but extra_config gives its layer 16 bits";
                return Err(QuantizeError::packed(format!("{layer}.qweight"), problem));
            }
            let shape = self.shape(own.or(self.settings))?;
            tensors.push(match self.packing {
                Packing::Gptq(_) => gptq::unpack(found, layer, shape, &NAMES)?,
                Packing::Awq => awq::unpack(found, layer, shape.group_size, &NAMES)?,
            });
        }
        Ok(tensors)
    }
}
