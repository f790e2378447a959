//! Names of tensors that programs have put something before, or taken something from.

use super::{LM_HEAD, SourceTensor};
use std::collections::HashMap;

/// What transformers writes before the names of a causal language model, its head excepted.
const BODY: &str = "model.";
/// The end of a name that every model has once.
const ANCHOR: &str = "layers.0.input_layernorm.weight";

/// The tensors under the names of transformers' causal language models. Models that were saved without their head lack
/// the `model.`; wrappers for training put `module.`, `_orig_mod.` and the like before it. Names outside what stands before
/// the layers stay as they are, and are refused later.
pub(super) fn canonical(found: HashMap<String, SourceTensor<'_>>) -> HashMap<String, SourceTensor<'_>> {
    let mut anchors = found.keys().filter_map(|name| name.strip_suffix(ANCHOR));
    let body = match (anchors.next(), anchors.next()) {
        (Some(body), None) if body != BODY && (body.is_empty() || body.ends_with('.')) => body.to_string(),
        _ => return found,
    };
    let renamed = |name: &str| match name.strip_suffix(LM_HEAD) {
        Some(outer) if body.starts_with(outer) => LM_HEAD.to_string(),
        _ => match name.strip_prefix(&body) {
            Some(rest) => format!("{BODY}{rest}"),
            None => name.to_string(),
        },
    };
    found
        .into_iter()
        .map(|(name, tensor)| {
            let name = renamed(&name);
            (name.clone(), tensor.renamed(name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::GgmlType;

    fn names(names: &[&str]) -> Vec<String> {
        let tensor = |name: &&str| {
            let tensor = SourceTensor::new((*name).to_string(), [1, 1], GgmlType::F32, &[0; 4]).unwrap();
            ((*name).to_string(), tensor)
        };
        let found = canonical(names.iter().map(tensor).collect());
        assert!(found.iter().all(|(name, tensor)| name == tensor.name()));
        let mut names: Vec<String> = found.into_keys().collect();
        names.sort();
        names
    }

    #[test]
    fn what_stands_before_the_layers_becomes_model() {
        let expected = ["lm_head.weight", "model.layers.0.input_layernorm.weight", "model.norm.weight"];
        for (body, head) in [
            ("model.", ""),
            ("", ""),
            ("module.model.", "module."),
            ("_orig_mod.model.", "_orig_mod."),
            ("language_model.model.", "language_model."),
            ("model.language_model.", ""),
        ] {
            let layer = format!("{body}layers.0.input_layernorm.weight");
            let (norm, head) = (format!("{body}norm.weight"), format!("{head}lm_head.weight"));
            assert_eq!(names(&[&layer, &norm, &head]), expected, "{body}");
        }
    }

    #[test]
    fn other_names_stay() {
        let two = ["a.layers.0.input_layernorm.weight", "b.layers.0.input_layernorm.weight"];
        assert_eq!(names(&two), two);
        let odd = ["layers.0.input_layernorm.weight", "vision.weight"];
        assert_eq!(names(&odd), ["model.layers.0.input_layernorm.weight", "model.vision.weight"]);
        let outside = ["language_model.model.layers.0.input_layernorm.weight", "vision.weight"];
        assert_eq!(names(&outside), ["model.layers.0.input_layernorm.weight", "vision.weight"]);
    }
}
