"""Linear layers that are trained as they will be stored: in 2 or 3 bits, or ternary.

The forward pass uses the rounded weights, on exactly the grid of the engine; the gradient passes the rounding unchanged
(straight-through, Bengio et al. 2013), and for 2 and 3 bits reaches the scales too (LSQ, Esser et al. 2020).
"""

import json
from pathlib import Path

import torch
from torch import nn

GROUP = 32
BITS = {"int3": 3, "int2": 2}
# Shares of a group's range that the first scales are chosen from.
RANGES = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5]


def straight(exact: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """`rounded`, with the gradient of `exact`."""
    return exact + (rounded - exact).detach()


class GroupedLinear(nn.Module):
    """Weights of `bits` bits in groups of 32 columns: scale x (code - zero), a scale and a whole zero point a group.

    The engine stores scales and minimums, -scale x zero, in half precision, and so do the weights here.
    """

    def __init__(self, linear: nn.Linear, bits: int):
        super().__init__()
        self.bits, self.most = bits, 2**bits - 1
        self.weight, self.bias = nn.Parameter(linear.weight.detach().clone()), linear.bias
        scale, zero = self.first()
        self.scale = nn.Parameter(scale)
        self.register_buffer("zero", zero)

    def groups(self) -> torch.Tensor:
        return self.weight.view(self.weight.shape[0], -1, GROUP)

    def first(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales and zero points with the smallest squared error, from ranges that begin with the whole one."""
        groups = self.groups().detach()
        low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
        best = torch.full_like(low, torch.inf)
        scales, zeros = torch.ones_like(low), torch.zeros_like(low)
        for share in RANGES:
            scale = ((high - low) * share / self.most).clamp(min=1e-6)
            zero = (-low * share / scale).round().clamp(0, self.most)
            error = (self.on_grid(groups, scale, zero) - groups).square().sum(2)
            better = error < best
            best = torch.where(better, error, best)
            scales, zeros = torch.where(better, scale, scales), torch.where(better, zero, zeros)
        return scales, zeros

    def codes(self, groups: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        return ((groups / scale[..., None]).round() + zero[..., None]).clamp(0, self.most)

    def on_grid(self, groups: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        half = scale.half().float()
        minimum = (-half * zero).half().float()
        return half[..., None] * self.codes(groups, half, zero) + minimum[..., None]

    def rounded(self) -> torch.Tensor:
        groups, most = self.groups(), self.most
        scale = straight(self.scale.clamp(min=1e-6), self.scale.clamp(min=1e-6).half().float())[..., None]
        zero = self.zero[..., None]
        # Beyond the last code only the scale can reach the weight.
        steps = (groups / scale).clamp(-zero, most - zero)
        found = scale * straight(steps, steps.round())
        return straight(found, self.on_grid(groups, self.scale.clamp(min=1e-6), self.zero)).view_as(self.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.rounded(), self.bias)

    def stored(self) -> dict[str, torch.Tensor]:
        """Tensors of a GPTQ checkpoint, `gptq_v2`."""
        scale = self.scale.detach().clamp(min=1e-6).half()
        codes = self.codes(self.groups().detach(), scale.float(), self.zero).view_as(self.weight)
        found = {
            "qweight": packed(codes.t().to(torch.int64), self.bits),
            "qzeros": packed(self.zero.to(torch.int64), self.bits).t().contiguous(),
            "scales": scale.t().contiguous(),
            "g_idx": torch.arange(self.weight.shape[1], dtype=torch.int32) // GROUP,
        }
        return found | ({} if self.bias is None else {"bias": self.bias.detach()})


class TernaryLinear(nn.Module):
    """Weights of -1, 0 and 1 times the mean of the absolute values of the matrix (BitNet b1.58, Ma et al. 2024)."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = nn.Parameter(linear.weight.detach().clone()), linear.bias

    def rounded(self) -> torch.Tensor:
        scale = 1.0 / self.weight.abs().mean().clamp(min=1e-5)
        return straight(self.weight, (self.weight * scale).round().clamp(-1, 1) / scale)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.rounded(), self.bias)

    def stored(self) -> dict[str, torch.Tensor]:
        """Tensors of an `online` BitNet checkpoint: the floats of training."""
        return {"weight": self.weight.detach()} | ({} if self.bias is None else {"bias": self.bias.detach()})


def packed(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (along the first dimension) as GPTQ packs them: a stream of bits, the lowest first, in words of 32."""
    if codes.shape[0] % 32 and bits == 3:
        raise ValueError(f"{codes.shape[0]} codes are no multiple of 32")
    stream = (codes[:, None] >> torch.arange(bits)[None, :, None] & 1).reshape(-1, codes.shape[1])
    words = (stream.reshape(-1, 32, codes.shape[1]) << torch.arange(32)[None, :, None]).sum(1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


def unpacked(words: torch.Tensor, bits: int) -> torch.Tensor:
    """What `packed` packed."""
    stream = (words.to(torch.int64)[:, None] >> torch.arange(32)[None, :, None] & 1).reshape(-1, bits, words.shape[1])
    return (stream << torch.arange(bits)[None, :, None]).sum(1)


def replace(model: nn.Module, kind: str) -> list[str]:
    """Makes the decoder's linear layers low-bit, and returns their names. Embedding and LM head stay as they are."""
    head = model.get_output_embeddings()
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]
    for name in names:
        parent, _, own = name.rpartition(".")
        linear = model.get_submodule(name)
        if linear.in_features % GROUP or linear.out_features % GROUP:
            raise ValueError(
                f"{name} has {linear.out_features} x {linear.in_features} weights, no multiples of {GROUP}"
            )
        module = TernaryLinear(linear) if kind == "bitnet" else GroupedLinear(linear, BITS[kind])
        setattr(model.get_submodule(parent), own, module)
    return names


def quantization_config(kind: str) -> dict:
    if kind == "bitnet":
        return {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
    return {
        "quant_method": "gptq",
        "bits": BITS[kind],
        "group_size": GROUP,
        "desc_act": False,
        "sym": False,
        "checkpoint_format": "gptq_v2",
    }


def save(model: nn.Module, kind: str, folder: Path) -> None:
    """Writes weights and configuration as a checkpoint that `edgellm quantize` keeps as it is."""
    from safetensors.torch import save_file

    tensors, low_bit = {}, [name for name, m in model.named_modules() if isinstance(m, GroupedLinear | TernaryLinear)]
    for name in low_bit:
        tensors |= {f"{name}.{part}": value for part, value in model.get_submodule(name).stored().items()}
    tied = model.config.tie_word_embeddings
    for name, value in model.named_parameters():
        in_layer = any(name.startswith(f"{layer}.") for layer in low_bit)
        if not in_layer and not (tied and name == "lm_head.weight"):
            tensors[name] = value.detach()
    save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    config = json.loads(model.config.to_json_string()) | {"quantization_config": quantization_config(kind)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load(folder: Path) -> nn.Module:
    """The model in such a checkpoint, with the stored weights as floats."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    settings = config.quantization_config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config).float()
    stored, tensors = load_file(folder / "model.safetensors"), {}
    for name, value in stored.items():
        parent, _, part = name.rpartition(".")
        if part == "qweight":
            bits = settings["bits"]
            scale = stored[f"{parent}.scales"].t().float()
            zero = unpacked(stored[f"{parent}.qzeros"].t().contiguous(), bits).float()
            codes = unpacked(value, bits).t().float()
            minimum = (-scale * zero).half().float()
            groups = codes.view(codes.shape[0], -1, GROUP) * scale[..., None] + minimum[..., None]
            tensors[f"{parent}.weight"] = groups.view_as(codes)
        elif part not in ("qzeros", "scales", "g_idx"):
            tensors[name] = value.float()
    if settings["quant_method"] == "bitnet":
        head = model.get_output_embeddings()
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and module is not head:
                weight = tensors[f"{name}.weight"]
                scale = 1.0 / weight.abs().mean().clamp(min=1e-5)
                tensors[f"{name}.weight"] = (weight * scale).round().clamp(-1, 1) / scale
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if unexpected or any(name != "lm_head.weight" for name in missing):
        raise ValueError(f"{folder}: tensors that do not fit the configuration: {missing[:3]}, {unexpected[:3]}")
    model.tie_weights()
    return model
