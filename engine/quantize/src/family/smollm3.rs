//! SmolLM3: every fourth layer has no rotary positions.

use super::{Family, Origin};

/// Layers between those without rotary positions, and the first of these.
const INTERVAL: usize = 4;

fn every(interval: usize, layers: usize) -> Vec<usize> {
    (0..layers).filter(|layer| (layer + 1).is_multiple_of(interval)).collect()
}

pub(super) static FAMILY: Family = Family {
    name: "smollm3",
    aliases: &[],
    class: "SmolLM3ForCausalLM",
    architectures: &["smollm3"],
    features: |_| {},
    read_hugging_face: |hf, config| {
        // In spite of its name, the list says which layers have them.
        config.no_rope_layers = match &hf.no_rope_layers {
            Some(rotate) => (0..rotate.len()).filter(|&layer| rotate[layer] == 0).collect(),
            None => every(hf.no_rope_layer_interval.unwrap_or(INTERVAL), config.num_hidden_layers),
        };
        Ok(())
    },
    read_gguf: |_, config| {
        config.no_rope_layers = every(INTERVAL, config.num_hidden_layers);
        Ok(())
    },
    layer_names: &[],
    arrange: |origin, config, tensors| {
        if origin == Origin::Gguf {
            tensors.undo_rotary_pairs(config);
        }
        Ok(())
    },
};
