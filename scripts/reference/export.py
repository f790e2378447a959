#!/usr/bin/env python3
"""Opens what `edgellm export` writes with transformers, and compares what it computes.

    PYTHON scripts/reference/export.py                              # every family of the fixtures
    PYTHON scripts/reference/export.py --model NAME|PATH --text FILE [--chunks 4]

Families: the folder and the GGUF file of each fixture, exported as 32-bit floats, give transformers' own
log-probabilities and greedy text of before, and the program's token ids. A model: its tokens, and the KL divergence of
the program's logits (`edgellm perplexity --precision high`) from transformers'. PYTHON needs torch and transformers 5.
"""

import argparse
import json
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "engine" / "quantize" / "fixtures" / "families"
# The families that are refused.
REFUSED = ("bitnet", "lfm2", "qwen3_5")
MAX_KL = {"family": 1e-6, "model": 5e-4}
MESSAGES = [{"role": "user", "content": "Why is the sky blue?\n  <|im_end|> "}]
TEXT = "The sea is — \tüber 1234567 things' end\n\n\nIt's <|im_end|>  ok. 日本語 🎉"


def edgellm(args: argparse.Namespace, *arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([args.edgellm, *map(str, arguments)], capture_output=True, text=True, check=False)


def export(args: argparse.Namespace, model: str | Path, folder: Path, dtype: str) -> None:
    done = edgellm(args, "export", "--model", model, "--output", folder, "--dtype", dtype)
    if done.returncode != 0:
        raise SystemExit(done.stderr)


def log_softmax(logits: torch.Tensor) -> np.ndarray:
    return torch.log_softmax(logits.double(), dim=-1).numpy()


def divergence(expected: np.ndarray, actual: np.ndarray) -> float:
    return float((np.exp(expected) * (expected - actual)).sum(axis=-1).mean())


def ids_of(args: argparse.Namespace, model: str | Path) -> list[int]:
    return json.loads(edgellm(args, "tokenize", "--model", model, "--text", TEXT, "--json").stdout)


def check_loaded(folder: Path) -> torch.nn.Module:
    """The model, all of whose weights the folder must have, and no others."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    left = {name: found for name, found in info.items() if found}
    if left:
        raise SystemExit(f"{folder}: {left}")
    return model.eval()


def family(args: argparse.Namespace, name: str, source: Path, members: dict[str, bytes], folder: Path) -> float:
    export(args, source, folder, "f32")
    model = check_loaded(folder)
    reference = json.loads(members["reference.json"])
    steps = np.frombuffer(members["log_probabilities.u16"], "<u2").astype(np.float64)
    every, tokens = reference["every"], reference["tokens"]
    expected = -steps.reshape(len(tokens) // every, -1) * reference["step"]
    expected -= np.log(np.exp(expected).sum(axis=-1, keepdims=True))
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, every - 1 :: every]
        prompt = torch.tensor([reference["prompt"]])
        greedy = prompt
        for _ in reference["greedy"]:
            greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], dim=1)
    if greedy[0, prompt.shape[1] :].tolist() != reference["greedy"]:
        raise SystemExit(f"{name}: the greedy text is another")
    ids = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    if ids != ids_of(args, source):
        raise SystemExit(f"{name}: {ids} in transformers, {ids_of(args, source)} here")
    return divergence(expected, log_softmax(logits))


def families(args: argparse.Namespace) -> None:
    for path in sorted(FIXTURES.glob(f"{args.family}*.zip")):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        for kind in ("folder", "gguf"):
            if kind == "gguf" and "model.gguf" not in members:
                continue
            with tempfile.TemporaryDirectory() as place:
                source = Path(place) / "source"
                source.mkdir()
                for name in ["config.json", "tokenizer.json", "model.safetensors"] if kind == "folder" else []:
                    (source / name).write_bytes(members[name])
                if kind == "gguf":
                    source = source / "model.gguf"
                    source.write_bytes(members["model.gguf"])
                name = f"{path.stem}, {kind}"
                if path.stem.startswith(REFUSED):
                    done = edgellm(args, "export", "--model", source, "--output", Path(place) / "out")
                    if done.returncode != 1 or "cannot be exported" not in done.stderr:
                        raise SystemExit(f"{name}: {done}")
                    continue
                found = family(args, name, source, members, Path(place) / "out")
                print(f"{name:28} {found:.2e}", flush=True)
                if not found <= MAX_KL["family"]:
                    raise SystemExit(f"{name}: the divergence is above {MAX_KL['family']}")


def model(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=args.scratch) as place:
        folder, saved = Path(place) / "out", Path(place) / "logits"
        export(args, args.model, folder, args.dtype)
        loaded, tokenizer = check_loaded(folder), AutoTokenizer.from_pretrained(folder)
        ids = tokenizer(TEXT)["input_ids"]
        if ids != ids_of(args, args.model):
            raise SystemExit(f"{ids} in transformers, {ids_of(args, args.model)} here")
        if tokenizer.chat_template:
            print(repr(tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)))
        done = edgellm(args, "perplexity", "--model", args.model, "--text", args.text, "--chunks", str(args.chunks),
                       "--precision", "high", "--save-logits", saved)  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        vocabulary = loaded.config.vocab_size
        ours = np.memmap(saved, "<f4", "r").reshape(args.chunks, -1, vocabulary)
        text = args.text.read_bytes().decode("utf-8", errors="replace").removesuffix("\n")
        tokens = tokenizer(text)["input_ids"]
        begins = tokenizer("")["input_ids"]
        sums = []
        for chunk in range(args.chunks):
            window = tokens[chunk * 512 : (chunk + 1) * 512]
            if begins:
                window[0] = begins[0]
            with torch.no_grad():
                logits = loaded(torch.tensor([window])).logits[0, 256:511]
            sums.append(divergence(log_softmax(logits), log_softmax(torch.tensor(np.array(ours[chunk])))))
        mean = float(np.mean(sums))
        print(f"{args.model}: {type(loaded).__name__}, KL divergence {mean:.2e} over {255 * args.chunks} positions")
        if not mean <= MAX_KL["model"]:
            raise SystemExit(f"the divergence is above {MAX_KL['model']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgellm", type=Path, default=ROOT / "target" / "release" / "edgellm")
    parser.add_argument("--model")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--family", default="", help="fixtures whose name begins so")
    parser.add_argument("--scratch", type=Path, help="directory for the exported model")
    args = parser.parse_args()
    if args.model and not args.text:
        parser.error("--model needs --text")
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model(args) if args.model else families(args)


if __name__ == "__main__":
    main()
