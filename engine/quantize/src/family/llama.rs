//! Llama 2 to 3.2, SmolLM, SmolLM2, TinyLlama, Falcon3 and their like; in GGUF, Mistral too.

use super::{Family, Origin};

pub(super) static FAMILY: Family = Family {
    name: "llama",
    aliases: &[],
    class: "LlamaForCausalLM",
    architectures: &["llama"],
    features: |_| {},
    read_hugging_face: |_, _| Ok(()),
    read_gguf: |_, _| Ok(()),
    layer_names: &[],
    arrange: |origin, config, tensors| {
        if origin == Origin::Gguf {
            tensors.undo_rotary_pairs(config);
        }
        Ok(())
    },
};
