//! OLMo 2: norms after the blocks, and of the whole projections of queries and keys.

use super::Family;
use edgellm::config::{NormPlacement, QkNorm};

pub(super) static FAMILY: Family = Family {
    name: "olmo2",
    aliases: &[],
    class: "Olmo2ForCausalLM",
    architectures: &["olmo2"],
    features: |config| {
        config.norm_placement = NormPlacement::Post;
        config.qk_norm = Some(QkNorm::Projection);
    },
    read_hugging_face: |_, _| Ok(()),
    read_gguf: |_, _| Ok(()),
    layer_names: &[
        ("post_attention_norm", "post_attention_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
    ],
    arrange: |_, _, _| Ok(()),
};
