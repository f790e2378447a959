//! Qwen2 and Qwen2.5: biases of q, k and v, which the tensors show.

use super::Family;

pub(super) static FAMILY: Family = Family {
    name: "qwen2",
    aliases: &[],
    class: "Qwen2ForCausalLM",
    architectures: &["qwen2"],
    features: |_| {},
    read_hugging_face: |_, _| Ok(()),
    read_gguf: |_, _| Ok(()),
    layer_names: &[],
    arrange: |_, _, _| Ok(()),
};
