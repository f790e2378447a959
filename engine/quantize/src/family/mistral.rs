//! Mistral and Ministral: Llama with sliding windows in the old ones. In GGUF files they are called llama, and no
//! window is stated: they attend to all positions, as in llama.cpp.

use super::Family;

pub(super) static FAMILY: Family = Family {
    name: "mistral",
    aliases: &[],
    class: "MistralForCausalLM",
    architectures: &[],
    features: |_| {},
    read_hugging_face: |hf, config| {
        if hf.sliding_window.is_some() && !hf.has_layer_types() {
            config.layer_types = hf.each_layer(|_| true);
        }
        Ok(())
    },
    read_gguf: |_, _| Ok(()),
    layer_names: &[],
    arrange: |_, _, _| Ok(()),
};
