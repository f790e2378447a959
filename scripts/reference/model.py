"""A float32 forward pass of the Llama and Qwen2 families in numpy, from a GGUF file.

Written for clarity, not speed: no quantized arithmetic, and no code shared with the Rust engine. The weights come
from the file and are dequantized by the `gguf` package. Comments give shapes as (rows, cols); T is the number of
new tokens.
"""

from dataclasses import dataclass, field

import gguf
import numpy as np


@dataclass(frozen=True)
class Config:
    architecture: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    bos_token_id: int | None
    add_bos_token: bool


@dataclass
class Cache:
    """Keys and values of the tokens seen so far: one (kv_heads, seen, head_dim) array per layer."""

    keys: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return self.keys[0].shape[1] if self.keys else 0


def metadata(reader: gguf.GGUFReader, key: str, default=None):
    """A metadata value of the file."""
    entry = reader.fields.get(key)
    return default if entry is None else entry.contents()


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps)) * weight


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


class Model:
    """Weights and forward pass. The shape of a linear layer is (rows, cols) = (outputs, inputs)."""

    def __init__(self, path: str):
        self.reader = gguf.GGUFReader(path)
        arch = metadata(self.reader, "general.architecture")
        if arch not in ("llama", "qwen2"):
            raise SystemExit(f"{path}: the reference does not support architecture {arch}")

        def key(name: str, default=None):
            return metadata(self.reader, f"{arch}.{name}", default)

        heads = key("attention.head_count")
        hidden = key("embedding_length")
        self.config = Config(
            architecture=arch,
            hidden_size=hidden,
            num_hidden_layers=key("block_count"),
            num_attention_heads=heads,
            num_key_value_heads=key("attention.head_count_kv", heads),
            head_dim=key("attention.key_length", hidden // heads),
            rms_norm_eps=key("attention.layer_norm_rms_epsilon"),
            rope_theta=key("rope.freq_base", 10000.0),
            bos_token_id=metadata(self.reader, "tokenizer.ggml.bos_token_id"),
            add_bos_token=metadata(self.reader, "tokenizer.ggml.add_bos_token", False),
        )
        self.weights = {
            tensor.name: np.ascontiguousarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            for tensor in self.reader.tensors
        }
        self.head = self.weights.get("output.weight", self.weights["token_embd.weight"])
        half = self.config.head_dim // 2
        inverse = self.config.rope_theta ** (-np.arange(half) / half)
        # The file stores Llama 3's frequency scaling as divisors.
        self.inverse_frequencies = inverse / self.weights.get("rope_freqs.weight", 1.0)

    @property
    def vocab_size(self) -> int:
        return self.head.shape[0]

    def end_tokens(self) -> list[int]:
        """The end tokens: those that end a text or a turn."""
        names = metadata(self.reader, "tokenizer.ggml.tokens")
        ends = [names.index(name) for name in ("<|im_end|>", "<|endoftext|>") if name in names]
        return [*ends, metadata(self.reader, "tokenizer.ggml.eos_token_id")]

    def rope(self, x: np.ndarray, start: int) -> np.ndarray:
        """Rotates (heads, T, head_dim). GGUF interleaves the pairs of Llama's heads; Qwen2's are in halves."""
        angles = np.outer(np.arange(start, start + x.shape[1]), self.inverse_frequencies)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        out = np.empty_like(x)
        if self.config.architecture == "llama":
            first, second = np.s_[..., 0::2], np.s_[..., 1::2]
        else:
            half = x.shape[-1] // 2
            first, second = np.s_[..., :half], np.s_[..., half:]
        out[first] = x[first] * cos - x[second] * sin
        out[second] = x[second] * cos + x[first] * sin
        return out

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        out = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return out if bias is None else out + bias

    def attention(self, x: np.ndarray, layer: int, cache: Cache) -> np.ndarray:
        c, tokens, block = self.config, x.shape[0], f"blk.{layer}"

        def heads(name: str, count: int) -> np.ndarray:
            return self.linear(x, f"{block}.{name}").reshape(tokens, count, c.head_dim).transpose(1, 0, 2)

        start = cache.keys[layer].shape[1] if layer < len(cache.keys) else 0
        q = self.rope(heads("attn_q", c.num_attention_heads), start)
        k = self.rope(heads("attn_k", c.num_key_value_heads), start)
        v = heads("attn_v", c.num_key_value_heads)
        if layer < len(cache.keys):
            k = cache.keys[layer] = np.concatenate([cache.keys[layer], k], axis=1)
            v = cache.values[layer] = np.concatenate([cache.values[layer], v], axis=1)
        else:
            cache.keys.append(k)
            cache.values.append(v)
        shared = c.num_attention_heads // c.num_key_value_heads
        k, v = np.repeat(k, shared, axis=0), np.repeat(v, shared, axis=0)
        scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(c.head_dim))  # (heads, T, seen)
        future = np.arange(k.shape[1])[None, :] > np.arange(start, start + tokens)[:, None]
        scores = np.where(future, np.float32(-np.inf), scores)
        out = (softmax(scores) @ v).transpose(1, 0, 2).reshape(tokens, -1)
        return self.linear(out, f"{block}.attn_output")

    def feed_forward(self, x: np.ndarray, layer: int) -> np.ndarray:
        gate = self.linear(x, f"blk.{layer}.ffn_gate")
        up = self.linear(x, f"blk.{layer}.ffn_up")
        return self.linear(gate / (1 + np.exp(-gate)) * up, f"blk.{layer}.ffn_down")

    def forward(self, tokens: list[int], cache: Cache | None = None, last: int | None = None) -> np.ndarray:
        """Logits (T, vocab) of the new tokens, or of the `last` ones only."""
        cache = Cache() if cache is None else cache
        eps = self.config.rms_norm_eps
        x = self.weights["token_embd.weight"][np.asarray(tokens)]  # (T, hidden)
        for layer in range(self.config.num_hidden_layers):
            norm = self.weights[f"blk.{layer}.attn_norm.weight"]
            x = x + self.attention(rms_norm(x, norm, eps), layer, cache)
            norm = self.weights[f"blk.{layer}.ffn_norm.weight"]
            x = x + self.feed_forward(rms_norm(x, norm, eps), layer)
        if last is not None:
            x = x[-last:]
        return rms_norm(x, self.weights["output_norm.weight"], eps) @ self.head.T

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """Greedy decoding of `count` tokens; end tokens do not stop it."""
        cache = Cache()
        logits = self.forward(prompt, cache, last=1)
        out = []
        for _ in range(count):
            out.append(int(logits[-1].argmax()))
            if len(out) < count:
                logits = self.forward(out[-1:], cache)
        return out
