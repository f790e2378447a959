#!/usr/bin/env python3
"""Greedy text of a GGUF file in llama.cpp and in EdgeLLM: how many tokens are the same from the start.

    python3 scripts/reference/greedy.py --gguf MODEL.gguf --llama BUILD_BIN_FOLDER [--float MODEL-F32.gguf]
                                        [--edgellm PROGRAM] [-- OPTIONS...]

Both continue ten prompts by 32 tokens, without a chat template. OPTIONS go to `edgellm generate`, as `--target plugin`.
--float is the same file as floats (llama-quantize --allow-requantize MODEL.gguf X.gguf F32), which llama.cpp multiplies
with activations that are not rounded: then its own two texts are compared as well.
"""

import argparse
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOKENS = 32
PROMPTS = [
    "The capital of France is",
    "Once upon a time, there was a little",
    "The largest planet in the solar system is",
    "Water boils at a temperature of",
    "In 1969, the first man",
    "My favorite recipe for pancakes begins with",
    "The three primary colors are",
    "A good way to learn a new language is",
    "The theory of evolution was proposed by",
    "def fibonacci(n):",
]


def llama_text(args, gguf, prompt):
    command = [args.llama / "llama-completion", "-m", gguf, "-p", prompt, "-n", TOKENS, "--temp", 0, "-no-cnv"]
    command += ["--no-display-prompt", "--no-warmup", "-t", 2, "-c", 512]
    out = subprocess.run(list(map(str, command)), check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return out.stdout.decode()


def our_text(args, prompt):
    command = [args.edgellm, "generate", "--model", args.gguf, "--prompt", prompt, "--raw", "--raw-output"]
    command += ["-n", TOKENS, "--temperature", 0, *args.options]
    return subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout.decode()


def tokens(args, text):
    """The tokens of a text, by our tokenizer."""
    command = [args.edgellm, "tokenize", "--model", args.gguf, "--json", "--text", text]
    out = subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return json.loads(out.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True, type=Path)
    parser.add_argument("--llama", required=True, type=Path, help="folder of llama-completion")
    parser.add_argument("--float", type=Path, help="the same weights as floats")
    parser.add_argument("--edgellm", type=Path, default=ROOT / "target/release/edgellm")
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    around = len(tokens(args, ""))  # what the model expects around every text

    def same(a, b):
        differ = (i for i, (a, b) in enumerate(zip(a, b, strict=False)) if a != b)
        return min(next(differ, len(a)) - around, TOKENS)

    counts = {}
    for prompt in PROMPTS:
        ours, theirs = our_text(args, prompt), llama_text(args, args.gguf, prompt)
        texts = {"EdgeLLM and llama.cpp": (ours, theirs)}
        if args.float:
            exact = llama_text(args, args.float, prompt)
            texts |= {"EdgeLLM and floats": (ours, exact), "llama.cpp and floats": (theirs, exact)}
        for pair, (a, b) in texts.items():
            counts.setdefault(pair, []).append(same(tokens(args, a), tokens(args, b)))
        print(repr(prompt), {pair: found[-1] for pair, found in counts.items()}, flush=True)
    for pair, found in counts.items():
        print(f"{pair}: at least 24 of {TOKENS} tokens the same after {sum(n >= 24 for n in found)} of {len(PROMPTS)}")


if __name__ == "__main__":
    main()
