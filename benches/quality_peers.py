#!/usr/bin/env python3
"""Checkpoints that auto-round and GPTQModel make on a CPU from the F16 file of a model, for benches/quality.py.

    python3 -I -m venv target/peers-quality
    target/peers-quality/bin/pip install -r scripts/reference/packed/requirements.txt gguf
    BUILD_CUDA_EXT=0 target/peers-quality/bin/pip install --no-deps --no-build-isolation gptqmodel==7.7.0
    target/peers-quality/bin/python benches/quality_peers.py --gguf F16.gguf --text target/quality/calibration.txt \\
        --program auto-round --bits 4 --group-size 64 --output FOLDER
    python3 benches/quality.py --model NAME --text TEXT --rows none --folder 'auto-round: int4, groups of 64=FOLDER'

The text is cut into windows of 512 tokens. The embedding and the LM head stay as they are.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GPTQMODEL_DISABLE_PACK_EXT", "1")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WINDOW = 512


def float_folder(gguf: Path, folder: Path) -> None:
    """The F16 file as a Hugging Face directory."""
    given = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    AutoModelForCausalLM.from_pretrained(**given, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**given).save_pretrained(folder)


def windows(tokenizer, text: str, most: int) -> torch.Tensor:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    count = min(len(ids) // WINDOW, most)
    return torch.tensor(ids[: count * WINDOW]).reshape(count, WINDOW)


def auto_round(args, source: Path, tokens: torch.Tensor, tokenizer) -> None:
    from auto_round import AutoRound

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    data = torch.utils.data.DataLoader([{"input_ids": row} for row in tokens], batch_size=8)
    rounder = AutoRound(model, tokenizer, scheme=f"W{args.bits}A16", group_size=args.group_size, sym=False,
                        dataset=data, iters=args.iterations, seqlen=WINDOW, nsamples=len(tokens), device_map="cpu",
                        enable_torch_compile=False)  # fmt: skip
    rounder.quantize_and_save(str(args.output), format="auto_round")


def gptqmodel(args, source: Path, tokens: torch.Tensor, _tokenizer) -> None:
    from gptqmodel import GPTQModel, QuantizeConfig

    config = QuantizeConfig(bits=args.bits, group_size=args.group_size, desc_act=False, sym=False, device="cpu")
    model = GPTQModel.load(str(source), config)
    model.quantize([{"input_ids": row[None], "attention_mask": torch.ones_like(row[None])} for row in tokens],
                   batch_size=1)  # fmt: skip
    model.save(str(args.output))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--program", choices=["auto-round", "gptqmodel"], required=True)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=200, help="of auto-round, for each block")
    parser.add_argument("--windows", type=int, default=128, help="of the text, at most")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        float_folder(args.gguf.resolve(), source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        tokens = windows(tokenizer, args.text.read_text(), args.windows)
        began = time.monotonic()
        make = {"auto-round": auto_round, "gptqmodel": gptqmodel}[args.program]
        make(args, source, tokens, tokenizer)
        print(f"{args.program}: {len(tokens)} windows, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
