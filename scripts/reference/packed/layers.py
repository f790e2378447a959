"""Layers of a checkpoint that is quantized, packed and unpacked by the programs that define the formats.

A packer makes of whole numbers, scales and zero points the tensors of a layer, by their endings, and what its program's
own code computes of these tensors as the layer's weights, in float32 (scales are widened first, so that nothing is
rounded).
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

Tensors = dict[str, torch.Tensor]


@dataclass
class Layer:
    """A weight is scale * (code - zero)."""

    bits: int
    group_size: int  # -1 for the whole row
    codes: torch.Tensor  # (rows, cols)
    scales: torch.Tensor  # (rows, groups), 16-bit floats
    zeros: torch.Tensor  # (rows, groups)

    @property
    def width(self) -> int:
        """Columns of a group."""
        return self.codes.shape[1] if self.group_size == -1 else self.group_size

    def weights(self) -> torch.Tensor:
        """In float32."""
        spread = lambda values: values.float().repeat_interleave(self.width, 1)
        return spread(self.scales) * (self.codes.float() - spread(self.zeros))

    def linear(self) -> torch.nn.Linear:
        """As the programs want it."""
        rows, cols = self.codes.shape
        linear = torch.nn.Linear(cols, rows, bias=False)
        linear.weight.data = self.weights()
        return linear


def state(module: torch.nn.Module) -> Tensors:
    """The tensors that its program saves."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def by_forward(module: torch.nn.Module, cols: int) -> torch.Tensor:
    """The weights of a linear layer: what it makes of the unit vectors."""
    with torch.no_grad():
        return module(torch.eye(cols)).T.contiguous()


@cache
def auto_gptq_module() -> type:
    """AutoGPTQ's layer in plain PyTorch. The package does not load with today's transformers, this file does."""
    package = Path(importlib.util.find_spec("auto_gptq").origin).parent
    file = package / "nn_modules/qlinear/qlinear_cuda_old.py"
    spec = importlib.util.spec_from_file_location("qlinear_cuda_old", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.QuantLinear


def auto_gptq(layer: Layer) -> tuple[Tensors, torch.Tensor]:
    """GPTQ by AutoGPTQ: zero points less 1."""
    rows, cols = layer.codes.shape
    module = auto_gptq_module()(layer.bits, layer.group_size, cols, rows, bias=False)
    module.pack(layer.linear(), layer.scales.float(), layer.zeros.float(), None)
    tensors = state(module) | {"scales": module.scales.half()}
    return tensors, by_forward(module, cols)


def gptqmodel(layer: Layer, version: int) -> tuple[Tensors, torch.Tensor]:
    """GPTQ by GPTQModel, format gptq (version 1) or gptq_v2 (2)."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils import model as conversion

    rows, cols = layer.codes.shape
    new = lambda: TorchLinear(
        bits=layer.bits,
        group_size=layer.group_size,
        sym=False,
        desc_act=False,
        in_features=cols,
        out_features=rows,
    )
    module = new()
    groups = torch.tensor([col // layer.width for col in range(cols)], dtype=torch.int32)
    module.pack_original(layer.linear(), layer.scales.float(), layer.zeros.float(), groups)
    if version == 1:
        config = QuantizeConfig(bits=layer.bits, group_size=layer.group_size)
        conversion.convert_gptq_v2_to_v1_format_module(module, config)
    tensors = state(module)
    loaded = new()
    loaded.load_state_dict(tensors)
    if version == 1:
        conversion.convert_gptq_v1_to_v2_format_module(loaded, layer.bits, torch.int32)
    loaded.scales = loaded.scales.float()
    loaded.optimize = lambda *_, **__: None
    loaded.post_init()
    return tensors, loaded.dequantize_weight().T.contiguous()


def awq(layer: Layer) -> tuple[Tensors, torch.Tensor]:
    """AWQ by AutoAWQ."""
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    scales, zeros = layer.scales.float().T.contiguous(), layer.zeros.float().T.contiguous()
    module = WQLinear_GEMM.from_linear(layer.linear(), layer.bits, layer.width, scales=scales, zeros=zeros)
    tensors = state(module)
    weights = dequantize_gemm(tensors["qweight"], tensors["qzeros"], scales, layer.bits, layer.width)
    return tensors, weights.T.contiguous()


def auto_round(layer: Layer, packing: str) -> tuple[Tensors, torch.Tensor]:
    """AutoRound's layers, with the zero points as they are (auto_round) or less 1 (auto_round:auto_gptq)."""
    from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp

    rows, cols = layer.codes.shape
    of = qlinear_torch if packing == "auto_round" else qlinear_torch_zp
    module = of.QuantLinear(layer.bits, layer.group_size, cols, rows, bias=False)
    module.device = "cpu"
    module.pack(layer.linear(), layer.scales.float(), layer.zeros.float(), None, device="cpu")
    tensors = state(module)
    module.scales = module.scales.float()
    return tensors, by_forward(module, cols)


def auto_round_awq(layer: Layer) -> tuple[Tensors, torch.Tensor]:
    """AutoRound's copy of AWQ's layer, unpacked by AutoAWQ."""
    from auto_round.export.export_to_awq.utils import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    scales, zeros = layer.scales.float().T.contiguous(), layer.zeros.float().T.contiguous()
    module = WQLinear_GEMM.from_linear(
        layer.linear(), layer.bits, layer.width, scales=scales, zeros=zeros, device="cpu"
    )
    tensors = state(module)
    weights = dequantize_gemm(tensors["qweight"], tensors["qzeros"], scales, layer.bits, layer.width)
    return tensors, weights.T.contiguous()


def compressed_scheme(bits: int, group_size: int, symmetric: bool) -> object:
    """The scheme of all layers."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    strategy = {"strategy": "channel"} if group_size == -1 else {"strategy": "group", "group_size": group_size}
    arguments = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, **strategy)
    return QuantizationScheme(targets=["Linear"], weights=arguments)


def compressed(layer: Layer, symmetric: bool) -> tuple[Tensors, torch.Tensor]:
    """pack-quantized by compressed-tensors."""
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor

    scheme = compressed_scheme(layer.bits, layer.group_size, symmetric)
    offset = 1 << (layer.bits - 1)
    given = {"weight": layer.weights(), "weight_scale": layer.scales}
    if not symmetric:
        given["weight_zero_point"] = (layer.zeros - offset).to(torch.int8)
    wide = given | {"weight_scale": layer.scales.float()}
    tensors = PackedQuantizationCompressor.compress(wide, scheme) | {"weight_scale": layer.scales}
    loaded = tensors | {"weight_scale": layer.scales.float()}
    return tensors, PackedQuantizationCompressor.decompress(loaded, scheme)["weight"]


def bitnet(codes: torch.Tensor, scale: torch.Tensor, linear_class: str) -> tuple[Tensors, torch.Tensor]:
    """BitNet's packed layer by transformers."""
    from transformers.integrations import bitnet

    rows, cols = codes.shape
    packed = bitnet.pack_weights(codes.float() - 1)
    if linear_class == "autobitlinear":
        module = bitnet.AutoBitLinear(cols, rows, bias=False)
        module.weight.data = bitnet.unpack_weights(packed, dtype=torch.float32)
    else:
        module = bitnet.BitLinear(cols, rows, bias=False, dtype=torch.float32)
        module.weight = packed
    module.weight_scale = scale.float()
    return {"weight": packed, "weight_scale": scale}, by_forward(module, cols)


def bitnet_online(master: torch.Tensor) -> torch.Tensor:
    """What BitNet's layer makes of a training checkpoint's weights, by transformers."""
    from transformers.integrations import bitnet

    module = bitnet.AutoBitLinear(master.shape[1], master.shape[0], bias=False, online_quant=True)
    module.weight.data = master.float()
    return by_forward(module, master.shape[1])
