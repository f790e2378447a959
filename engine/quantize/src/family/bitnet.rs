//! BitNet b1.58: norms inside the blocks, and the square of ReLU. llama.cpp's architecture `bitnet` is another model, with
//! SiLU.

use super::Family;
use edgellm::config::HiddenAct;

pub(super) static FAMILY: Family = Family {
    name: "bitnet",
    aliases: &[],
    class: "BitNetForCausalLM",
    architectures: &["bitnet-b1.58"],
    features: |config| {
        config.sub_norms = true;
        config.hidden_act = HiddenAct::Relu2;
    },
    read_hugging_face: |_, _| Ok(()),
    read_gguf: |_, _| Ok(()),
    layer_names: &[("attn_sub_norm", "self_attn.attn_sub_norm"), ("ffn_sub_norm", "mlp.ffn_sub_norm")],
    arrange: |_, _, _| Ok(()),
};
