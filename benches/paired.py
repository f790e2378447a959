#!/usr/bin/env python3
"""Speed of this tree relative to another checkout of the project, interleaved (A B, B A, ...), and sizes of both.

    git worktree add ../before COMMIT
    .venv/bin/python benches/paired.py ../before [--rounds 9] [--formats int4,bitnet] [--kernels avx2] [--threads 1,2]

Both trees are built with their own lock files. Models are SmolLM2-135M-Instruct, converted by this tree from the
catalogue's GGUF; every pair of runs must generate the same tokens. Natively `speed` runs with the fastest kernels of
this machine and with those named; the relaxed SIMD module runs under wasmtime. A ratio is this tree's rate divided by
the other's in the same round: above 1, this tree is faster. `scripts/setup python wasm` installs what it needs.
Writes benches/results/paired.json and prints a Markdown table.
"""

import argparse
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

from machine import machine
from wasm_speed import MODEL, Wasmtime, spread

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ["int8", "int4", "int3", "int2", "bitnet"]
WASM_FORMATS = ["int4", "bitnet"]
BUILD_MODULE = "source scripts/toolchain.sh && find_wasm && wasm_build relaxed edgellm-wasm-parity edgellm-wasm"


def run(*command, cwd=ROOT):
    command = [str(part) for part in command]
    return subprocess.run(command, check=True, text=True, cwd=cwd, stdout=subprocess.PIPE).stdout


def build(tree):
    run("cargo", "build", "-q", "--release", "--locked", "-p", "edgellm-benches", "-p", "edgellm-host", cwd=tree)
    run("bash", "-c", BUILD_MODULE, cwd=tree)


def sizes(tree):
    """Bytes of libraries, of the program, stripped, and of the page's relaxed module, before and after gzip."""
    stripped = ROOT / "target/paired-stripped"
    run("strip", "-o", stripped, tree / "target/release/edgellm")
    module = (tree / "target/wasm/relaxed/edgellm_wasm.wasm").read_bytes()
    libraries = {}
    for name in ("edgellm", "edgellm_kernels", "edgellm_kernels_native", "edgellm_quantize"):
        built = (tree / "target/release/deps").glob(f"lib{name}-*.rlib")
        libraries[f"lib{name}"] = max(built, key=lambda path: path.stat().st_mtime).stat().st_size
    return libraries | {
        "program": stripped.stat().st_size,
        "page's module": len(module),
        "page's module, gzipped": len(gzip.compress(module, 9)),
    }


def models(formats):
    gguf = run(sys.executable, "scripts/reference/sources.py", MODEL).strip()
    folder = ROOT / "target/bench-models"
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: folder / f"paired-{name}.tmac2.bin" for name in formats}
    for name, path in found.items():
        if not path.exists():
            # Speed is measured, not quality.
            plain = ["--calibration", "none", "--skip-quality"]
            run("target/release/edgellm", "quantize", "--input", gguf, "--format", name, "--output", path, *plain)
    return found


def native(tree, model, kernel, threads, prompt, generate):
    """Tokens per second of prefill and decoding, and the hash of the answer."""
    options = ["--threads", threads, "--prompt", prompt, "--generate", generate]
    if kernel:
        options += ["--kernel", kernel]
    result = json.loads(run(tree / "target/release/speed", model, *options))
    return result["prefill_tokens_per_second"], result["decode_tokens_per_second"], result["answer_hash"]


def wasm(engine, prompt, generate):
    prefill, _ = engine.command("prefill", prompt)
    decode, answer = engine.command("decode", generate)
    return prompt / prefill, generate / decode, answer


def compare(name, measure, rounds):
    """Ratios of this tree's rates and the other's over `rounds`, after one round to warm up."""
    ratios = {"prefill": [], "decode": []}
    for index in range(rounds + 1):
        order = ["this", "other"] if index % 2 else ["other", "this"]
        found = {tree: measure(tree) for tree in order}
        if found["this"][2] != found["other"][2]:
            raise SystemExit(f"{name}: the trees generated different tokens")
        if index:
            for what, column in (("prefill", 0), ("decode", 1)):
                ratios[what].append(found["this"][column] / found["other"][column])
    row = {"name": name} | {what: spread(values) for what, values in ratios.items()}
    found = [row[what] for what in ratios]
    cells = [f"{one['median']:.3f} ({one['lower_quartile']:.3f} to {one['upper_quartile']:.3f})" for one in found]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--kernels", default="avx2")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/paired.json")
    args = parser.parse_args()

    trees = {"this": ROOT, "other": args.other.resolve()}
    for tree in trees.values():
        build(tree)
    files = models(args.formats.split(","))
    found = {name: sizes(tree) for name, tree in trees.items()}
    print("| size | this tree | other | |\n|---|---|---|---|")
    for what, size in found["this"].items():
        print(f"| {what} | {size} | {found['other'][what]} | {size / found['other'][what]:.3f} |")

    print("\n| model, kernels, threads | prefill | decode |\n|---|---|---|")
    rows = []
    for format_, model in files.items():
        for threads in args.threads.split(","):
            for kernel in [None, *filter(None, args.kernels.split(","))]:
                name = f"{format_}, {kernel or 'fastest'}, {threads}"

                def measure(tree, model=model, kernel=kernel, threads=threads):
                    return native(trees[tree], model, kernel, threads, args.prompt, args.generate)

                rows.append(compare(name, measure, args.rounds))
    for format_ in [name for name in WASM_FORMATS if name in files]:
        modules = {name: tree / "target/wasm/relaxed/edgellm_wasm_parity.wasm" for name, tree in trees.items()}
        engines = {name: Wasmtime(module, files[format_]) for name, module in modules.items()}
        rows.append(
            compare(
                f"{format_}, relaxed SIMD in wasmtime, 1",
                lambda tree, engines=engines: wasm(engines[tree], args.prompt, args.generate),
                args.rounds,
            )
        )
    report = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "commits": {name: run("git", "rev-parse", "--short", "HEAD", cwd=tree).strip() for name, tree in trees.items()},
        "prompt": args.prompt,
        "generate": args.generate,
        "sizes": found,
        "ratios": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
