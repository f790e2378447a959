"""The models: for each family two or more shapes, small and odd, in which every kind of layer occurs."""

from dataclasses import dataclass, field

VOCAB = 262

# What all share unless it says otherwise. The epsilon is large, so that a wrong one shows.
COMMON = {
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "rms_norm_eps": 0.002,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}


def shape(hidden: int, heads: int, kv_heads: int, ffn: int, layers: int, head_dim: int | None = None) -> dict:
    """The fields of a configuration that give the sizes."""
    sizes = {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
    }
    return sizes if head_dim is None else sizes | {"head_dim": head_dim}


def rope(theta: float, **more) -> dict:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | more}


@dataclass
class Model:
    """A model to make: `model_type` and the configuration's fields."""

    name: str
    model_type: str
    sizes: dict
    tied: bool
    more: dict = field(default_factory=dict)
    # Why there is no GGUF file of it.
    no_gguf: str = ""
    # Attention prefers tokens less and logits are smaller, so that the rounding of activations, which many layers
    # amplify, shows less.
    calm: bool = False

    def config(self) -> dict:
        return COMMON | {"tie_word_embeddings": self.tied} | self.sizes | self.more


def layers(pattern: str) -> dict:
    """One letter a layer: full attention, sliding window, linear attention (DeltaNet), convolution."""
    names = {"f": "full_attention", "s": "sliding_attention", "l": "linear_attention", "c": "conv"}
    return {"layer_types": [names[letter] for letter in pattern]}


def factors(count: int, first: float, step: float) -> list[float]:
    """One divisor for each rotary frequency."""
    return [first + step * i for i in range(count)]


def gemma(query_scale: int, window: int, **global_rope) -> dict:
    return {
        "query_pre_attn_scalar": query_scale,
        "sliding_window": window,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6} | global_rope,
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    }


def longrope(original: int, longest: int, short: list[float], long: list[float], **more) -> dict:
    parameters = {"short_factor": short, "long_factor": long, "original_max_position_embeddings": original}
    return {
        "max_position_embeddings": longest,
        "original_max_position_embeddings": original,
        **rope(10_000.0, rope_type="longrope", **parameters, **more),
    }


def llama3(original: int) -> dict:
    bounds = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return rope(5e5, rope_type="llama3", original_max_position_embeddings=original, **bounds)


def granite(embedding: float, attention: float, residual: float, logits: float) -> dict:
    return {
        "embedding_multiplier": embedding,
        "attention_multiplier": attention,
        "residual_multiplier": residual,
        "logits_scaling": logits,
    }


def delta_net(key_heads: int, value_heads: int, key_dim: int, value_dim: int) -> dict:
    return {
        "linear_num_key_heads": key_heads,
        "linear_num_value_heads": value_heads,
        "linear_key_head_dim": key_dim,
        "linear_value_head_dim": value_dim,
        "linear_conv_kernel_dim": 4,
    }


def text_rope(theta: float) -> dict:
    return rope(theta, partial_rotary_factor=0.25, mrope_section=[2, 1, 1], mrope_interleaved=True)


NO_EXPERTS = {"num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "rope"}
# Fields that a hybrid without Mamba layers has all the same; they must fit each other.
NO_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_expand": 2}
NO_WINDOW = {"sliding_window": None}
LOST_WINDOW = "llama.cpp has no sliding window in this architecture"
FIXED_PATTERN = "llama.cpp fixes the pattern of the layers"

MODELS = [
    Model("llama-1", "llama", shape(96, 4, 2, 160, 2), True, rope(10_000.0)),
    Model("llama-2", "llama", shape(72, 3, 1, 100, 2, head_dim=32), False, llama3(8192)),
    Model(
        "llama-3",
        "llama",
        shape(64, 4, 4, 96, 2),
        True,
        llama3(64),
        "GGUF files keep divisors only, which are read with 8192 tokens",
    ),
    Model("qwen2-1", "qwen2", shape(80, 5, 1, 144, 2), True, rope(1e6)),
    Model("qwen2-2", "qwen2", shape(64, 4, 2, 96, 3), False, rope(10_000.0)),
    Model("qwen3-1", "qwen3", shape(64, 3, 1, 96, 2, head_dim=24), True, rope(1e6)),
    Model("qwen3-2", "qwen3", shape(100, 4, 2, 112, 2, head_dim=20), False, rope(10_000.0)),
    Model(
        "gemma3-1",
        "gemma3_text",
        shape(60, 3, 1, 72, 7, head_dim=24),
        True,
        gemma(24, 37, rope_type="linear", factor=8.0) | layers("sssssfs"),
        calm=True,
    ),
    Model(
        "gemma3-2",
        "gemma3_text",
        shape(64, 2, 2, 96, 4, head_dim=40),
        True,
        gemma(31, 64) | layers("sfsf"),
        FIXED_PATTERN,
        calm=True,
    ),
    Model("phi3-1", "phi3", shape(96, 4, 4, 128, 2), False, rope(10_000.0) | {"sliding_window": 47}),
    Model(
        "phi3-2",
        "phi3",
        shape(64, 4, 2, 104, 2),
        False,
        longrope(64, 512, factors(8, 1.0, 0.125), factors(8, 1.5, 1.25)) | NO_WINDOW,
    ),
    Model(
        "phi3-3",
        "phi3",
        shape(96, 3, 1, 100, 2),
        True,
        longrope(100, 400, factors(12, 1.0, 0.0625), factors(12, 1.25, 0.75), partial_rotary_factor=0.75) | NO_WINDOW,
        calm=True,
    ),
    Model("mistral-1", "mistral", shape(64, 4, 2, 96, 2, head_dim=24), False, rope(1e6) | NO_WINDOW),
    Model(
        "mistral-2",
        "mistral",
        shape(72, 3, 1, 100, 2, head_dim=20),
        True,
        rope(10_000.0) | {"sliding_window": 50},
        LOST_WINDOW,
    ),
    Model("smollm3-1", "smollm3", shape(64, 4, 2, 80, 5), True, rope(5e6)),
    Model(
        "smollm3-2",
        "smollm3",
        shape(84, 3, 1, 96, 3),
        False,
        rope(10_000.0) | {"no_rope_layers": [0, 1, 0]},
        FIXED_PATTERN,
    ),
    Model("olmo2-1", "olmo2", shape(64, 4, 4, 96, 2), False, rope(5e5)),
    Model("olmo2-2", "olmo2", shape(90, 5, 1, 112, 2), True, rope(10_000.0), calm=True),
    Model("granite-1", "granite", shape(64, 4, 2, 96, 2), True, rope(1e4) | granite(1.5, 0.3, 1.2, 2.5)),
    Model("granite-2", "granite", shape(84, 3, 1, 100, 2), False, rope(5e6) | granite(3.0, 0.25, 0.6, 8.0)),
    Model(
        "granitemoehybrid-1",
        "granitemoehybrid",
        shape(64, 4, 2, 112, 2) | {"shared_intermediate_size": 112},
        True,
        rope(1e4) | granite(1.5, 0.4, 0.9, 2.0) | NO_EXPERTS | NO_MAMBA | layers("ff"),
    ),
    Model("bitnet-1", "bitnet", shape(64, 4, 2, 96, 2), True, rope(5e5)),
    Model("bitnet-2", "bitnet", shape(80, 5, 1, 104, 2), True, rope(10_000.0)),
    Model(
        "lfm2-1",
        "lfm2",
        shape(64, 4, 2, 152, 4),
        True,
        rope(1e6) | {"norm_eps": 0.002, "block_multiple_of": 16} | layers("ccfc"),
    ),
    Model(
        "lfm2-2",
        "lfm2",
        shape(72, 3, 1, 100, 4),
        True,
        rope(1e4) | {"norm_eps": 0.001, "block_auto_adjust_ff_dim": False} | layers("cfcf"),
    ),
    Model(
        "qwen3_5-1",
        "qwen3_5_text",
        shape(64, 2, 1, 80, 4, head_dim=32),
        True,
        text_rope(1e6) | delta_net(2, 4, 16, 24) | layers("lllf"),
    ),
    Model(
        "qwen3_5-2",
        "qwen3_5_text",
        shape(72, 3, 1, 96, 3, head_dim=24),
        False,
        text_rope(500.0) | delta_net(2, 6, 20, 20) | layers("lfl"),
    ),
]
