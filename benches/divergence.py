#!/usr/bin/env python3
"""KL divergence between EdgeLLM's and llama.cpp's logits of the same GGUF file, over the same positions of a text.

    python3 benches/divergence.py --gguf MODEL.gguf --text wiki.test.raw --llama BUILD_BIN_FOLDER [--float F16.gguf]

Windows of 512 tokens, the second half of each. --float is the same weights as floats (llama-quantize MODEL.gguf X.gguf
F16), with which llama.cpp does not round activations to 8 bits. Needs numpy, and 4 bytes for each logit on disk.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = 512


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Logits:
    """Log-probabilities of a file, (positions, vocabulary), row by row."""

    def __init__(self, rows, vocabulary):
        self.rows, self.vocabulary = rows, vocabulary

    @staticmethod
    def of_ours(path, vocabulary):
        """What `edgellm perplexity --save-logits` writes."""
        logits = np.memmap(path, np.float32, "r").reshape(-1, vocabulary)

        def rows():
            for found in logits:
                row = found.astype(np.float64) - found.max()
                yield row - np.log(np.exp(row).sum())

        return Logits(rows, vocabulary)

    @staticmethod
    def of_llama(path):
        """What `llama-perplexity --save-all-logits` writes: 16 bits each, a scale and a minimum a row."""
        data = np.memmap(path, np.uint8, "r")
        context, vocabulary, chunks = (int(field) for field in data[8:20].view(np.int32))
        width = 2 * ((vocabulary + 1) // 2) + 4
        values = data[20 + chunks * context * 4 :].view(np.uint16).reshape(-1, width)

        def rows():
            for row in values:
                scale, least = row[:4].view(np.float32)
                yield np.float64(scale) * row[4 : 4 + vocabulary] + np.float64(least)

        return Logits(rows, vocabulary)


def ours(args, model, vocabulary, folder):
    path = folder / "ours.bin"
    run(args.edgellm, "perplexity", "--model", model, "--text", args.text, "--context", CONTEXT,
        "--chunks", args.chunks, "--save-logits", path)  # fmt: skip
    return Logits.of_ours(path, vocabulary)


def theirs(args, model, folder):
    path = folder / f"{model.stem}.llama"
    run(args.llama / "llama-perplexity", "-m", model, "-f", args.text, "-c", CONTEXT, "--chunks", args.chunks,
        "--save-all-logits", path)  # fmt: skip
    return Logits.of_llama(path)


def compare(expected, actual):
    """Mean KL divergence of `actual` from `expected`, and how often the most likely token is the same."""
    total, count, same = 0.0, 0, 0
    for p, q in zip(expected.rows(), actual.rows(), strict=True):
        total += float((np.exp(p) * (p - q)).sum())
        same += int(p.argmax() == q.argmax())
        count += 1
    return total / count, same / count


def divergence(expected, actual):
    kl, same = compare(expected, actual)
    return f"{kl:.5f}, the most likely token is the same at {same:.3f} of the positions"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True, type=Path)
    parser.add_argument("--float", type=Path, help="the same weights as floats")
    parser.add_argument("--text", required=True, type=Path)
    parser.add_argument("--llama", required=True, type=Path, help="folder of llama-perplexity")
    parser.add_argument("--edgellm", type=Path, default=ROOT / "target/release/edgellm")
    parser.add_argument("--chunks", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        llama = theirs(args, args.gguf, folder)
        mine = ours(args, args.gguf, llama.vocabulary, folder)
        print("EdgeLLM from llama.cpp:", divergence(llama, mine), flush=True)
        if args.float:
            exact = theirs(args, args.float, folder)
            print("EdgeLLM from floats:", divergence(exact, mine), flush=True)
            print("llama.cpp from floats:", divergence(exact, llama), flush=True)


if __name__ == "__main__":
    main()
