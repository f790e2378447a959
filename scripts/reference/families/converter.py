"""llama.cpp's converter, on a folder with one of these models."""

import json
import sys
from pathlib import Path

import torch
import vocabulary


def convert(folder: Path, out: Path, llama_cpp: Path) -> None:
    """Writes the GGUF file of a Hugging Face folder: Q8_0, and F16 where a row is no multiple of 32. Both are exact.

    `llama_cpp` is llama.cpp's source. Two things are not the converter's: the vocabulary, which is the same for all, so
    that no family needs a tokenizer of its own, and BitNet, see below.
    """
    for path in (llama_cpp / "gguf-py", llama_cpp):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    import conversion
    import gguf

    with torch.inference_mode():
        config = json.loads((folder / "config.json").read_text())
        converter = conversion.get_model_class(config["architectures"][0])
        converter.no_mtp = True  # There are no layers that predict several tokens.
        made = converter(folder, gguf.LlamaFileType.MOSTLY_Q8_0, out, model_name=folder.name)
        made.set_vocab = lambda: set_vocab(made.gguf_writer)
        if config["model_type"] == "bitnet":
            published_bitnet(made)
        made.write()


def published_bitnet(made) -> None:
    """Makes of llama.cpp's "bitnet" what the published files of BitNet b1.58 2B4T are.

    "bitnet" is an older model, with SiLU and other names in its checkpoints, whose weights the converter rounds to
    ternary. The published files have an architecture of their own; their tensors have the same names.
    """
    made.gguf_writer.arch = "bitnet-b1.58"
    made.gguf_writer.add_architecture()
    made.weight_quant = lambda weight: weight
    names = made.tensor_map.mapping
    for block in range(made.block_count):
        for part, norm in (("self_attn", "attn_sub_norm"), ("mlp", "ffn_sub_norm")):
            names[f"model.layers.{block}.{part}.{norm}"] = names[f"blk.{block}.{norm}"]


def set_vocab(writer) -> None:
    special = len(vocabulary.SPECIAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.TOKENS)
    writer.add_token_types([3] * special + [1] * (len(vocabulary.TOKENS) - special))
    writer.add_token_merges([" ".join(pair) for pair in vocabulary.MERGES])
    writer.add_bos_token_id(vocabulary.BOS)
    writer.add_eos_token_id(vocabulary.EOS)
