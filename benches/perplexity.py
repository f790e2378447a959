#!/usr/bin/env python3
"""Perplexity of EdgeLLM and of llama.cpp on the same weights and the same windows of a text.

    python3 benches/perplexity.py --gguf MODEL.gguf --text wiki.test.raw [--chunks 20] [--llama BUILD_BIN_FOLDER]

The float reference is an F16 file that llama.cpp makes from MODEL, which rounds neither weights nor activations;
compared with it are llama.cpp's file as given and Q8_0, and our int4 and int8. Both programs cut windows of 512 tokens
and score the second half of each. Writes benches/results/perplexity.json and prints the table.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from llama_cpp import ROOT, build_llama, llama_file, our_file, run

CONTEXT = 512


def llama(binaries, path, args):
    out = subprocess.run([binaries / "llama-perplexity", "-m", path, "-f", args.text, "-c", str(CONTEXT), "--chunks",
                          str(args.chunks)], check=False, text=True, capture_output=True)  # fmt: skip
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", out.stdout + out.stderr)
    if not found:
        sys.exit(f"llama-perplexity on {path}: status {out.returncode}\n{out.stderr[-2000:]}")
    return float(found[1])


def ours(path, args):
    out = run(ROOT / "target/release/edgellm", "perplexity", "--model", path, "--text", args.text, "--context", CONTEXT,
              "--chunks", args.chunks, "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout  # fmt: skip
    return json.loads(out)["perplexity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True, type=Path)
    parser.add_argument("--text", required=True, type=Path)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--llama", type=Path, help="directory with llama-perplexity and llama-quantize")
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/perplexity.json")
    args = parser.parse_args()

    flags = run(ROOT / "scripts/llama_cpp_flags", stdout=subprocess.PIPE).stdout.split()
    binaries = args.llama or build_llama(flags, "llama.cpp")
    run("cargo", "build", "-q", "--release", "-p", "edgellm-host", cwd=ROOT)
    reference = llama(binaries, llama_file(binaries, args.gguf, "F16"), args)
    rows = [("llama.cpp", "F16: the reference", reference), ("llama.cpp", "as given", llama(binaries, args.gguf, args)),
            ("llama.cpp", "Q8_0", llama(binaries, llama_file(binaries, args.gguf, "Q8_0"), args))]  # fmt: skip
    rows += [("edgellm", name, ours(our_file(binaries, args.gguf, name), args)) for name in ("int4", "int8")]
    rows = [{"engine": engine, "file": name, "perplexity": value, "above_reference": value / reference - 1}
            for engine, name, value in rows]  # fmt: skip
    report = {"model": args.gguf.name, "text": args.text.name, "context": CONTEXT, "chunks": args.chunks, "rows": rows}
    args.output.write_text(json.dumps(report, indent=1) + "\n")
    print("| engine | file | perplexity | above the reference |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['engine']} | {row['file']} | {row['perplexity']:.4f} | {100 * row['above_reference']:+.2f} % |")


if __name__ == "__main__":
    main()
