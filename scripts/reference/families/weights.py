"""Random weights that every format of the chain holds exactly: bfloat16, Q8_0, and int8 in groups of 32 columns.

A matrix is codes times a power of two. Each group has a code of 127, so that the scale that rounding chooses, the
largest weight over 127, is that power of two. Few codes occur, so that the files compress.
"""

import math
import zlib

import numpy as np
import torch

CODES = np.array([-127, -64, 0, 64, 127])
GROUP = 32


def exact_matrix(rng: np.random.Generator, rows: int, cols: int, deviation: float, group: int = GROUP) -> np.ndarray:
    """A matrix with a standard deviation within a factor of sqrt(2) of `deviation`."""
    codes = rng.choice(CODES, (rows, cols))
    for start in range(0, cols, group):
        columns = rng.integers(start, min(start + group, cols), rows)
        codes[np.arange(rows), columns] = 127 * rng.choice([-1, 1], rows)
    exponent = round(math.log2(deviation / codes.std()))
    return codes * 2.0**exponent


def bfloat16(values: np.ndarray) -> np.ndarray:
    return torch.tensor(values).to(torch.bfloat16).double().numpy()


def decay(rng: np.random.Generator, count: int) -> np.ndarray:
    """Logarithms A_log of 0.1 to 2 whose exponentials all libraries round to the same float."""
    logarithms = np.log(rng.uniform(0.1, 2.0, count)).astype(np.float32)
    for i in range(count):
        while True:
            exact = np.exp(np.float64(logarithms[i]))
            nearest = np.float32(exact)
            if abs(exact - nearest) < 0.05 * np.spacing(nearest):
                break
            logarithms[i] = np.nextafter(logarithms[i], np.float32(9))
    return logarithms


# Gains of matrices, by the end of their names: the standard deviation of an output, if the inputs' is 1. Queries and
# keys are large, so that attention prefers some tokens.
GAINS = {
    "q_proj": 1.6,
    "k_proj": 1.6,
    "qkv_proj": 1.5,
    "gate_proj": 1.4,
    "gate_up_proj": 1.3,
    "in_proj": 1.3,
    "in_proj_qkv": 1.3,
    "in_proj_z": 1.3,
    "in_proj_a": 1.0,
    "in_proj_b": 1.0,
}
LOGITS = 2.8
CALM_LOGITS = 2.2
# The weight of the last norm where the head is the embedding. It makes embeddings small beside what the layers add to
# them: else the likeliest token is always the last one again.
TIED_NORM = 4.0


def matrix(rng: np.random.Generator, name: str, shape: tuple[int, int], config, calm: bool) -> np.ndarray:
    rows, cols = shape
    module = name.removesuffix(".weight").rsplit(".", 1)[-1]
    head = (CALM_LOGITS if calm else LOGITS) * getattr(config, "logits_scaling", 1.0) / math.sqrt(cols)
    if module == "lm_head":
        return exact_matrix(rng, rows, cols, head)
    if module == "embed_tokens":
        return exact_matrix(rng, rows, cols, head / TIED_NORM if config.tie_word_embeddings else 0.5)
    # GGUF has the heads of these columns in another order: any group of 32 must hold a 127 there too.
    group = 4 if name.endswith("linear_attn.out_proj.weight") else GROUP
    gain = 1.0 if calm else GAINS.get(module, 1.0)
    return exact_matrix(rng, rows, cols, gain / math.sqrt(cols), group)


def vector(rng: np.random.Generator, name: str, count: int, config, calm: bool) -> np.ndarray:
    """A norm's weight, a bias, or a parameter of a recurrence."""
    if name.endswith("A_log"):
        return decay(rng, count)
    if name.endswith("dt_bias"):
        return bfloat16(rng.uniform(-4.0, -1.0, count))
    if name.endswith("bias"):
        return bfloat16(rng.normal(0.0, 0.5, count))
    deviation = 0.25
    if name in ("model.norm.weight", "model.embedding_norm.weight") and config.tie_word_embeddings:
        mean, deviation = TIED_NORM, 1.0
    elif name.removesuffix(".weight").endswith(("q_norm", "k_norm", "q_layernorm", "k_layernorm")):
        mean = 1.0 if calm else 1.5  # As the gains above.
    else:
        mean = 1.0
    if config.model_type in ("gemma3_text", "qwen3_5_text") and not name.endswith("linear_attn.norm.weight"):
        mean -= 1.0  # The weight is added to 1.
    return bfloat16(rng.normal(mean, deviation, count))


def fill(model: torch.nn.Module, name: str, calm: bool) -> None:
    """Sets all parameters of a model; the same name gives the same weights."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    config = model.config
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if len(shape) == 1:
                values = vector(rng, parameter_name, shape[0], config, calm)
            elif len(shape) == 2:
                values = matrix(rng, parameter_name, shape, config, calm)
            else:  # A convolution.
                values = bfloat16(rng.normal(0.0, 0.6, shape))
            parameter.copy_(torch.tensor(values))
