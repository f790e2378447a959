#!/usr/bin/env python3
"""The float32 reference on the command line: logits, greedy text, token ids and perplexity of a GGUF file.

.venv/bin/python scripts/reference/reference.py greedy --gguf F --prompt "The sea is" --count 32
.venv/bin/python scripts/reference/reference.py perplexity --gguf F --text T --chunks 4
.venv/bin/python scripts/reference/reference.py logits --gguf F --tokens 1,2,3 --output logits.f32
.venv/bin/python scripts/reference/reference.py tokenize --gguf F --prompt "The sea is"
"""

import argparse
import contextlib
import json
from pathlib import Path

import numpy as np

from model import Model
from tokenizer import from_gguf
from windows import Perplexity, read_text, window_logits, windows


def logits(args: argparse.Namespace) -> None:
    model = Model(args.gguf)
    out = model.forward([int(token) for token in args.tokens.split(",")])
    if args.output:
        out.astype("<f4").tofile(args.output)
    top = np.argsort(-out[-1])[:10]
    print(json.dumps({"shape": out.shape, "top": [[int(t), float(out[-1, t])] for t in top]}))


def greedy(args: argparse.Namespace) -> None:
    model = Model(args.gguf)
    tokenizer = from_gguf(model.reader)
    prompt = tokenizer.encode(args.prompt, add_special_tokens=False).ids
    tokens = model.greedy(prompt, args.count)
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    print(json.dumps({"prompt_token_ids": prompt, "token_ids": tokens, "text": text}))


def tokenize(args: argparse.Namespace) -> None:
    tokenizer = from_gguf(Model(args.gguf).reader)
    print(json.dumps(tokenizer.encode(args.prompt, add_special_tokens=False).ids))


def perplexity(args: argparse.Namespace) -> None:
    model = Model(args.gguf)
    tokens = from_gguf(model.reader).encode(read_text(args.text), add_special_tokens=False).ids
    total = Perplexity()
    with open(args.save_logits, "wb") if args.save_logits else contextlib.nullcontext() as saved:
        for chunk, window in enumerate(windows(model, tokens, args.context, args.chunks), start=1):
            logits, targets = window_logits(model, window)
            total.add(logits, targets)
            if saved:
                saved.write(logits.astype("<f4").tobytes())
            print(f"[{chunk}] {total.value:.4f}", flush=True)
    print(json.dumps({"perplexity": total.value, "stderr": total.stderr, "context": args.context}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (logits, greedy, tokenize, perplexity):
        command = commands.add_parser(function.__name__)
        command.set_defaults(run=function)
        command.add_argument("--gguf", required=True)
        if function is logits:
            command.add_argument("--tokens", required=True, help="token ids, separated by commas")
            command.add_argument("--output", help="little-endian float32, (tokens, vocabulary)")
        elif function is perplexity:
            command.add_argument("--text", required=True, type=Path)
            command.add_argument("--context", type=int, default=512)
            command.add_argument("--chunks", type=int)
            command.add_argument("--save-logits", help="little-endian float32, (scored positions, vocabulary)")
        else:
            command.add_argument("--prompt", required=True)
            if function is greedy:
                command.add_argument("--count", type=int, default=32)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
