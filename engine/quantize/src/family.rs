//! Model families: what is special in how their files describe them. The engine knows features only
//! ([`edgellm::config`]); each family's file says which of them its models have, and what its tensors are called.

mod bitnet;
mod gemma3;
mod granite;
mod lfm2;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_5;
mod smollm3;
mod tensors;

pub(crate) use tensors::{Origin, Tensors, gguf_names};

use crate::QuantizeError;
use crate::source::{HfConfig, Keys};
use edgellm::config::{ConfigError, ModelConfig};
use std::sync::LazyLock;

/// A family of models.
pub(crate) struct Family {
    /// Name in the model file: `model_type` in `config.json`.
    pub(crate) name: &'static str,
    /// Other `model_type`s, of the same models with something around them.
    pub(crate) aliases: &'static [&'static str],
    /// The class that loads the models, which stands for a missing `model_type`.
    pub(crate) class: &'static str,
    /// `general.architecture` in GGUF files.
    pub(crate) architectures: &'static [&'static str],
    /// Sets what all its models have, before their files are read. They may name another activation function.
    features: fn(&mut ModelConfig),
    /// Completes what [`HfConfig`] says of all families, or refuses what the engine would compute wrongly.
    pub(crate) read_hugging_face: fn(&HfConfig, &mut ModelConfig) -> Result<(), QuantizeError>,
    /// The same for the metadata of a GGUF file.
    pub(crate) read_gguf: fn(&Keys<'_, '_>, &mut ModelConfig) -> Result<(), QuantizeError>,
    /// GGUF's names in a layer and Hugging Face's, without `.weight`, in addition to [`tensors::LAYER`] and before it. A GGUF
    /// name stands first with what it is read as, and again with each part that [`Family::arrange`] makes of it.
    pub(crate) layer_names: &'static [(&'static str, &'static str)],
    /// Brings the tensors into the form in which the engine wants them: names, order of rows, offsets.
    pub(crate) arrange: fn(Origin, &ModelConfig, &mut Tensors<'_>) -> Result<(), QuantizeError>,
}

/// Layers of a model at most, as [`ModelConfig::validate`] has it.
const MOST_LAYERS: usize = 1024;

impl Family {
    /// Sets what all models of the family have.
    ///
    /// # Errors
    /// If there are more layers than a model can have, because families make lists of them.
    pub(crate) fn begin(&self, config: &mut ModelConfig) -> Result<(), ConfigError> {
        if config.num_hidden_layers > MOST_LAYERS {
            config.validate()?;
        }
        (self.features)(config);
        Ok(())
    }
}

/// All families.
static FAMILIES: [&Family; 12] = [
    &llama::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &qwen3_5::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
    &mistral::FAMILY,
    &smollm3::FAMILY,
    &olmo2::FAMILY,
    &granite::FAMILY,
    &bitnet::FAMILY,
    &lfm2::FAMILY,
];

static NAMES: LazyLock<String> = LazyLock::new(|| list(|family| vec![family.name]));
static ARCHITECTURES: LazyLock<String> = LazyLock::new(|| list(|family| family.architectures.to_vec()));

fn list(names: impl Fn(&Family) -> Vec<&'static str>) -> String {
    FAMILIES.iter().flat_map(|family| names(family)).collect::<Vec<_>>().join(", ")
}

/// The family of a `config.json`, by its `model_type` or by the class that loads it.
pub(crate) fn of_hugging_face(
    model_type: Option<&str>,
    class: Option<&str>,
) -> Result<&'static Family, QuantizeError> {
    let found = FAMILIES.iter().find(|family| match model_type {
        Some(name) => family.name == name || family.aliases.contains(&name),
        None => class == Some(family.class),
    });
    found.copied().ok_or_else(|| QuantizeError::Unsupported {
        what: "model_type",
        found: model_type.or(class).unwrap_or("none").to_string(),
        supported: &NAMES,
    })
}

/// The family of a GGUF file, by its `general.architecture`.
pub(crate) fn of_gguf(architecture: &str) -> Result<&'static Family, QuantizeError> {
    let found = FAMILIES.iter().find(|family| family.architectures.contains(&architecture));
    found.copied().ok_or_else(|| QuantizeError::Unsupported {
        what: "general.architecture",
        found: architecture.to_string(),
        supported: &ARCHITECTURES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_of_one_family() {
        let mut seen = HashSet::new();
        for family in FAMILIES {
            let names = [family.name, family.class].into_iter().chain(family.aliases.iter().copied());
            assert!(names.into_iter().all(|name| seen.insert(name.to_string())), "{}", family.name);
            let keys = family.architectures.iter().map(|name| format!("gguf {name}"));
            assert!(keys.into_iter().all(|name| seen.insert(name)), "{}", family.name);
            assert_eq!(of_hugging_face(Some(family.name), None).unwrap().name, family.name);
            assert_eq!(of_hugging_face(None, Some(family.class)).unwrap().name, family.name);
        }
        let error = of_gguf("mamba").err().unwrap().to_string();
        assert!(error.contains("\"mamba\"") && error.contains("qwen35"), "{error}");
    }
}
