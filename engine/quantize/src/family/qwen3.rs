//! Qwen3 and Bonsai: norms of each head's queries and keys.

use super::Family;
use edgellm::config::QkNorm;

pub(super) static FAMILY: Family = Family {
    name: "qwen3",
    aliases: &[],
    class: "Qwen3ForCausalLM",
    architectures: &["qwen3"],
    features: |config| config.qk_norm = Some(QkNorm::Head),
    read_hugging_face: |hf, config| {
        // transformers' default, other than Llama's.
        config.head_dim = hf.head_dim.unwrap_or(128);
        Ok(())
    },
    read_gguf: |_, _| Ok(()),
    layer_names: &[],
    arrange: |_, _, _| Ok(()),
};
