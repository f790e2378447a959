#!/usr/bin/env python3
"""Makes the quantized checkpoints with which engine/quantize/src/source/packed/tests.rs tests their import.

    make.py [NAME...]

Each is a random Llama model of one layer, packed by the program that defines the format (layers.py, on a CPU), in
engine/quantize/fixtures/packed/NAME.zip: config.json, model.safetensors, and expected.json. This has for each quantized
tensor how a model file must hold it, and hashes (FNV-1a, 64 bits) of its codes (bytes), its scales and minimums (16-bit
floats) and of its weights as that program computes them (32-bit floats). The same name gives the same archive.
requirements.txt lists the packages.
"""

import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("GPTQMODEL_DISABLE_PACK_EXT", "1")

import layers
import numpy as np
import safetensors.torch
import torch
from layers import Layer

FIXTURES = Path(__file__).resolve().parents[3] / "engine/quantize/fixtures/packed"
VOCABULARY = 262
ENCODINGS = {2: "planes 2", 3: "planes 3", 4: "nibbles", 8: "bytes"}


def shapes(hidden: int, inner: int) -> dict[str, tuple[int, int]]:
    """Rows and columns of the linear layers."""
    key_value = hidden // 2
    return {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (key_value, hidden),
        "self_attn.v_proj": (key_value, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


@dataclass
class Fixture:
    """A checkpoint."""

    name: str
    config: dict
    pack: Callable[[Layer], tuple[dict[str, torch.Tensor], torch.Tensor]]
    bits: int
    group_size: int
    # The one zero point, or where zero points begin, and how many there are.
    zeros: tuple[int, int]
    dtype: torch.dtype = torch.float16
    hidden: int = 64
    inner: int = 64
    # Bits of single layers, 16 for floats.
    own_bits: dict[str, int] = field(default_factory=dict)


def fnv(array: np.ndarray) -> str:
    """64-bit FNV-1a of the array's bytes."""
    value = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(array).tobytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def random_layer(fixture: Fixture, bits: int, shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """Codes as if they were rounded: their zero point is the most frequent."""
    rows, cols = shape
    width = cols if fixture.group_size == -1 else fixture.group_size
    groups = -(-cols // width)
    first, count = fixture.zeros
    first = first if bits == fixture.bits else 1 << (bits - 1)
    zeros = rng.integers(first, first + count, (rows, groups))
    center = zeros.repeat(width, 1)
    codes = np.clip(np.rint(rng.normal(center, 2.0**bits / 5)), 0, 2**bits - 1).astype(np.int64)
    scales = torch.tensor(rng.uniform(0.5, 1.5, (rows, groups)) * 0.25 / 2**bits).to(fixture.dtype)
    return Layer(bits, fixture.group_size, torch.tensor(codes), scales, torch.tensor(zeros))


def expectation(layer: Layer, weights: torch.Tensor) -> dict:
    """What a model file must hold of a layer."""
    assert torch.equal(weights, layer.weights()), "the program computes other weights"
    halves = layer.scales.half()
    zero = layer.zeros.flatten()[0].item() if (layer.zeros == layer.zeros[0, 0]).all() else None
    exact = zero is not None and torch.equal(halves.float(), layer.scales.float())
    minimums = (0 - layer.scales.float() * layer.zeros.float()).half()
    return {
        "encoding": ENCODINGS[layer.bits],
        "group_size": max(layer.group_size, 0),
        "zero": zero,
        "exact": exact,
        "scale": 1.0,
        "codes": fnv(layer.codes.numpy().astype(np.uint8)),
        "scales": fnv(halves.numpy()),
        "minimums": None if zero is not None else fnv(minimums.numpy()),
        "weights": fnv(weights.numpy()),
    }


def ternary_expectation(codes: torch.Tensor, scale: float, weights: torch.Tensor) -> dict:
    """The same for ternary codes with one scale, of which each row has a group scale of 1."""
    rows = codes.shape[0]
    assert torch.equal(weights, (codes.float() - 1) * np.float32(scale)), "the program computes other weights"
    return {
        "encoding": "ternary",
        "group_size": 0,
        "zero": 1,
        "exact": True,
        "scale": scale,
        "codes": fnv(codes.numpy().astype(np.uint8)),
        "scales": fnv(np.ones(rows, np.float16)),
        "minimums": None,
        # 0 rather than -0, which sums cannot tell apart.
        "weights": fnv((weights + 0.0).numpy()),
    }


def floats(hidden: int) -> dict[str, torch.Tensor]:
    """The tensors that are not quantized: few values, which compress well."""
    tiled = lambda rows, cols: (torch.arange(rows * cols).reshape(rows, cols) % 7 - 3) / 8
    return {
        "model.embed_tokens.weight": tiled(VOCABULARY, hidden),
        "model.layers.0.input_layernorm.weight": tiled(1, hidden)[0],
        "model.layers.0.post_attention_layernorm.weight": tiled(1, hidden)[0],
        "model.norm.weight": tiled(1, hidden)[0],
    }


def write(name: str, hidden: int, inner: int, quantization: dict, tensors: dict, expected: dict) -> None:
    """The archive."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "quantization_config": quantization,
    }
    tensors |= {name: tensor.to(torch.bfloat16) for name, tensor in floats(hidden).items()}
    contiguous = {name: tensor.contiguous() for name, tensor in sorted(tensors.items())}
    files = {
        "config.json": json.dumps(config, indent=1).encode(),
        "model.safetensors": safetensors.torch.save(contiguous, {"format": "pt"}),
        "expected.json": json.dumps(expected, indent=1).encode(),
    }
    FIXTURES.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(FIXTURES / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content, zipfile.ZIP_DEFLATED, 9)
    print(f"{name:24} {(FIXTURES / f'{name}.zip').stat().st_size:8}")


def make(fixture: Fixture) -> None:
    """Writes a checkpoint of whole numbers."""
    rng = np.random.default_rng(list(fixture.name.encode()))
    tensors, expected = {}, {}
    for name, shape in shapes(fixture.hidden, fixture.inner).items():
        full = f"model.layers.0.{name}"
        bits = fixture.own_bits.get(name, fixture.bits)
        if bits == 16:
            tensors[f"{full}.weight"] = torch.tensor(rng.normal(0, 0.1, shape)).to(torch.bfloat16)
            continue
        layer = random_layer(fixture, bits, shape, rng)
        packed, weights = fixture.pack(layer)
        tensors |= {f"{full}.{part}": tensor for part, tensor in packed.items()}
        expected[f"{full}.weight"] = expectation(layer, weights)
    write(fixture.name, fixture.hidden, fixture.inner, fixture.config, tensors, expected)


def make_bitnet(name: str, quantization: dict) -> None:
    """Writes a BitNet checkpoint."""
    rng = np.random.default_rng(list(name.encode()))
    tensors, expected = {}, {}
    for layer, shape in shapes(64, 64).items():
        full = f"model.layers.0.{layer}"
        if quantization.get("quantization_mode") == "online":
            # Whole numbers of 2^-8: their sum is exact in any order.
            master = torch.tensor(np.clip(np.rint(rng.normal(0, 40, shape)), -255, 255) / 256).to(torch.bfloat16)
            weights = layers.bitnet_online(master)
            tensors[f"{full}.weight"] = master
            codes = weights.sign().to(torch.int64) + 1
            scale = weights.max().item()
        else:
            codes = torch.tensor(rng.integers(0, 3, shape))
            stored = torch.tensor([rng.uniform(0.5, 3)]).to(torch.bfloat16)
            packed, weights = layers.bitnet(codes, stored, quantization.get("linear_class", "bitlinear"))
            tensors |= {f"{full}.{part}": tensor for part, tensor in packed.items()}
            scale = weights.max().item()
        expected[f"{full}.weight"] = ternary_expectation(codes, scale, weights)
    write(name, 64, 64, quantization, tensors, expected)


def gptq_config(bits: int, group_size: int, **more: object) -> dict:
    """As AutoGPTQ and GPTQModel write it."""
    common = {"bits": bits, "group_size": group_size, "desc_act": False, "sym": False, "lm_head": False}
    return {"quant_method": "gptq", "true_sequential": True, "damp_percent": 0.1} | common | more


def of_gptqmodel(bits: int, group_size: int, version: int) -> dict:
    """As GPTQModel writes it."""
    formats = {1: "gptq", 2: "gptq_v2"}
    meta = {"quantizer": ["gptqmodel:7.7.0"], "uri": "https://github.com/modelcloud/gptqmodel", "mse": 0.0}
    names = {"checkpoint_format": formats[version], "format": formats[version], "pack_dtype": "int32"}
    return gptq_config(bits, group_size, meta=meta, **names)


def auto_round_config(bits: int, group_size: int, packing: str, **more: object) -> dict:
    """As AutoRound writes it."""
    common = {"bits": bits, "group_size": group_size, "data_type": "int", "sym": False, "iters": 0}
    names = {"autoround_version": "0.16.1", "quant_method": "auto-round", "packing_format": packing}
    return common | names | {"block_name_to_quantize": "model.layers"} | more


def compressed_config(bits: int, group_size: int, symmetric: bool, ignore: list[str]) -> dict:
    """As compressed-tensors writes it."""
    from compressed_tensors.quantization import QuantizationConfig

    scheme = layers.compressed_scheme(bits, group_size, symmetric)
    config = QuantizationConfig(
        config_groups={"group_0": scheme},
        format="pack-quantized",
        quantization_status="compressed",
        ignore=["lm_head", *ignore],
    )
    return json.loads(config.model_dump_json())


def fixtures() -> list[Fixture]:
    """All checkpoints of whole numbers."""
    gptqmodel = lambda version: lambda layer: layers.gptqmodel(layer, version)
    auto_round = lambda packing: lambda layer: layers.auto_round(layer, packing)
    compressed = lambda symmetric: lambda layer: layers.compressed(layer, symmetric)
    own = {"self_attn.o_proj": 16, "mlp.down_proj": 8}
    extra = {f"model.layers.0.{name}": {"bits": bits} for name, bits in own.items()}
    auto = lambda packing: f"auto_round:{packing}"
    awq = {"quant_method": "awq", "zero_point": True, "group_size": 64, "bits": 4, "version": "gemm"}
    return [
        Fixture("gptq-2", gptq_config(2, 64, sym=True), layers.auto_gptq, 2, 64, (2, 1)),
        Fixture("gptq-3", gptq_config(3, 32), layers.auto_gptq, 3, 32, (1, 7)),
        Fixture(
            "gptq-4",
            gptq_config(4, 128, checkpoint_format="gptq"),
            layers.auto_gptq,
            4,
            128,
            (1, 15),
            hidden=128,
            inner=128,
        ),
        # Zero points of 0, less 1.
        Fixture("gptqmodel-3", of_gptqmodel(3, 32, 1), gptqmodel(1), 3, 32, (0, 8)),
        Fixture("gptqmodel-4", of_gptqmodel(4, 32, 1), gptqmodel(1), 4, 32, (0, 16)),
        Fixture("gptqmodel-8", of_gptqmodel(8, -1, 2), gptqmodel(2), 8, -1, (128, 1)),
        Fixture("gptqmodel-v2-2", of_gptqmodel(2, 32, 2), gptqmodel(2), 2, 32, (0, 4)),
        Fixture("awq-4", awq | {"modules_to_not_convert": None}, layers.awq, 4, 64, (0, 16)),
        Fixture(
            "auto-round-4",
            auto_round_config(4, 32, "auto_round", extra_config=extra),
            auto_round("auto_round"),
            4,
            32,
            (0, 16),
            own_bits=own,
        ),
        Fixture(
            "auto-round-gptq-2",
            auto_round_config(2, 32, auto("auto_gptq"), sym=True),
            auto_round("auto_gptq"),
            2,
            32,
            (2, 1),
        ),
        Fixture(
            "auto-round-gptq-3",
            auto_round_config(3, 64, auto("auto_gptq")),
            auto_round("auto_gptq"),
            3,
            64,
            (1, 7),
        ),
        Fixture(
            "auto-round-awq-4",
            auto_round_config(4, 32, auto("auto_awq")),
            layers.auto_round_awq,
            4,
            32,
            (0, 16),
        ),
        Fixture("compressed-2", compressed_config(2, -1, True, []), compressed(True), 2, -1, (2, 1)),
        Fixture("compressed-3", compressed_config(3, 32, False, []), compressed(False), 3, 32, (0, 8)),
        Fixture(
            "compressed-4",
            compressed_config(4, 32, True, ["model.layers.0.self_attn.v_proj"]),
            compressed(True),
            4,
            32,
            (8, 1),
            own_bits={"self_attn.v_proj": 16},
        ),
        Fixture(
            "compressed-4-asym",
            compressed_config(4, 64, False, []),
            compressed(False),
            4,
            64,
            (0, 16),
            torch.bfloat16,
        ),
        Fixture(
            "compressed-8",
            compressed_config(8, -1, False, []),
            compressed(False),
            8,
            -1,
            (100, 50),
            torch.bfloat16,
        ),
    ]


BITNETS = {
    "bitnet": {"linear_class": "autobitlinear", "quantization_mode": "offline", "modules_to_not_convert": None},
    "bitnet-divided": {"modules_to_not_convert": None},
    "bitnet-online": {"linear_class": "autobitlinear", "quantization_mode": "online"},
}


def main() -> None:
    """Makes the named ones, or all."""
    names = sys.argv[1:]
    for fixture in fixtures():
        if not names or fixture.name in names:
            make(fixture)
    for name, config in BITNETS.items():
        if not names or name in names:
            make_bitnet(name, {"quant_method": "bitnet"} | config)


if __name__ == "__main__":
    main()
