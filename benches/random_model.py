#!/usr/bin/env python3
"""A model of random weights, as an F16 GGUF file: speed does not depend on the values of weights.

    .venv/bin/python benches/random_model.py --shape llama-1b --vocabulary MODEL.gguf --output target/random-1b-f16.gguf
    .venv/bin/python benches/random_model.py --shape qwen3-1.7b --vocabulary QWEN.gguf --output OUTPUT-F16.gguf

llama-1b is a model with a billion weights (hidden 2048, feed-forward 8192, 16 layers, 32 query and 8 key-value heads of
64, vocabulary 32,000, separate embedding and head), and qwen3-1.7b has the shape of that model, and of Bonsai 1.7B. The
weights of qwen3-1.7b are ternary, so that types of two bits hold them exactly. The vocabulary is the first part of
another model's, since both engines require one.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np


@dataclass
class Shape:
    """Sizes of a model, and what its family has."""

    family: str
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    qk_norm: bool
    ternary: bool
    theta: float
    eps: float


SHAPES = {
    "llama-1b": Shape("llama", 2048, 8192, 16, 32, 8, 64, 32000, False, False, False, 1e4, 1e-5),
    "qwen3-1.7b": Shape("qwen3", 2048, 6144, 28, 16, 8, 128, 151936, True, True, True, 1e6, 1e-6),
}


def vocabulary(path, count):
    """The first tokens of a byte-pair vocabulary, their kinds, and the merges that produce them."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()[:count]
    if len(tokens) < count:
        raise SystemExit(f"{path} has {len(tokens)} tokens, and the shape needs {count}")
    known = set(tokens)
    merges = [m for m in fields["tokenizer.ggml.merges"].contents() if m.replace(" ", "") in known]
    pre = fields["tokenizer.ggml.pre"].contents()
    return tokens, fields["tokenizer.ggml.token_type"].contents()[:count], merges, pre


def write(shape, source, output):
    writer = gguf.GGUFWriter(output, shape.family)
    writer.add_name(f"random {shape.family}")
    writer.add_block_count(shape.layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(1)
    tokens, kinds, merges, pre = vocabulary(source, shape.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)

    random = np.random.default_rng(1)

    def matrix(name, rows, cols):
        if shape.ternary:
            # The variance of -1, 0 and 1, each as likely as the others, is 2/3.
            scale = np.float16((1.5 / cols) ** 0.5)
            weights = (random.integers(0, 3, (rows, cols), dtype=np.int8) - 1).astype(np.float16) * scale
        else:
            weights = random.standard_normal((rows, cols), dtype=np.float32) * np.float32(cols**-0.5)
        writer.add_tensor(name, weights.astype(np.float16))

    hidden, kv = shape.hidden, shape.kv_heads * shape.head_dim
    queries = shape.heads * shape.head_dim
    matrix("token_embd.weight", shape.vocabulary, hidden)
    if not shape.tied:
        matrix("output.weight", shape.vocabulary, hidden)
    writer.add_tensor("output_norm.weight", np.ones(hidden, np.float32))
    for layer in range(shape.layers):
        for name, rows, cols in [
            ("attn_q", queries, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden),
            ("attn_output", hidden, queries),
            ("ffn_gate", shape.feed_forward, hidden), ("ffn_up", shape.feed_forward, hidden),
            ("ffn_down", hidden, shape.feed_forward),
        ]:  # fmt: skip
            matrix(f"blk.{layer}.{name}.weight", rows, cols)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(hidden, np.float32))
        if shape.qk_norm:
            for name in ("attn_q_norm", "attn_k_norm"):
                writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(shape.head_dim, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-1b")
    parser.add_argument("--vocabulary", required=True, type=Path, help="a GGUF file with a byte-pair vocabulary")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    partial = args.output.with_name(args.output.name + ".partial")
    write(SHAPES[args.shape], args.vocabulary, partial)
    partial.rename(args.output)


if __name__ == "__main__":
    main()
