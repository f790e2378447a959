#!/usr/bin/env python3
"""A Llama model of random weights, as an F16 GGUF file: speed does not depend on the values of weights.

    .venv/bin/python benches/random_model.py --vocabulary MODEL.gguf --output target/random-1b-f16.gguf

The shape is that of a model with a billion weights (hidden 2048, feed-forward 8192, 16 layers, 32 query and 8
key-value heads of 64, vocabulary 32,000, separate embedding and head). The vocabulary is the first part of another
model's, since both engines require one.
"""

import argparse
from pathlib import Path

import gguf
import numpy as np

HIDDEN, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 2048, 8192, 16, 32, 8, 64, 32000


def vocabulary(path):
    """The first tokens of a byte-pair vocabulary, their kinds, and the merges that produce them."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()[:VOCABULARY]
    known = set(tokens)
    merges = [m for m in fields["tokenizer.ggml.merges"].contents() if m.replace(" ", "") in known]
    pre = fields["tokenizer.ggml.pre"].contents()
    return tokens, fields["tokenizer.ggml.token_type"].contents()[:VOCABULARY], merges, pre


def write(source, output):
    writer = gguf.GGUFWriter(output, "llama")
    writer.add_name("random 1B")
    writer.add_block_count(LAYERS)
    writer.add_context_length(8192)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(1)
    tokens, kinds, merges, pre = vocabulary(source)
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
        weights = random.standard_normal((rows, cols), dtype=np.float32) * np.float32(cols**-0.5)
        writer.add_tensor(name, weights.astype(np.float16))

    kv = KV_HEADS * HEAD_DIM
    matrix("token_embd.weight", VOCABULARY, HIDDEN)
    matrix("output.weight", VOCABULARY, HIDDEN)
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    for layer in range(LAYERS):
        for name, rows, cols in [
            ("attn_q", HIDDEN, HIDDEN), ("attn_k", kv, HIDDEN), ("attn_v", kv, HIDDEN), ("attn_output", HIDDEN, HIDDEN),
            ("ffn_gate", FEED_FORWARD, HIDDEN), ("ffn_up", FEED_FORWARD, HIDDEN), ("ffn_down", HIDDEN, FEED_FORWARD),
        ]:  # fmt: skip
            matrix(f"blk.{layer}.{name}.weight", rows, cols)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", required=True, type=Path, help="a GGUF file with a byte-pair vocabulary")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    partial = args.output.with_name(args.output.name + ".partial")
    write(args.vocabulary, partial)
    partial.rename(args.output)


if __name__ == "__main__":
    main()
