#!/usr/bin/env python3
"""EdgeLLM and llama.cpp on the same weights, interleaved (A B A B ...), on this machine.

    python3 benches/llama_cpp.py --gguf MODEL.gguf [--large RANDOM-1B-F16.gguf] [--few-bits RANDOM-1.7B-F16.gguf]
                                 [--comparisons decode-int4,...]
                                 [--rounds 7] [--threads 1,2] [--avx2] [--llama BUILD_BIN_FOLDER]

Each comparison runs llama.cpp's files and ours one after the other in every round. A ratio is ours over the fastest of
llama.cpp's in the same round; figures are medians with quartiles. Comparisons can be measured in several calls: each
replaces its own rows of benches/results/llama_cpp.json, and each call prints the tables of all.

llama.cpp comes from the source distribution of llama-cpp-python (its pinned version below), built natively into
target/llama.cpp, or without AVX-512 into target/llama.cpp-avx2, unless --llama names a directory with llama-bench and
llama-quantize. EdgeLLM's program is `speed` of this directory. `random_model.py` creates the large model and that of
few bits.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from machine import earlier

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "llama-cpp-python==0.3.36"
PROGRAMS = ["llama-bench", "llama-quantize", "llama-perplexity", "llama-imatrix"]
# Name: model, what is measured, tokens, llama.cpp's files, ours, and the goal.
COMPARISONS = {
    "decode-int4": ("gguf", "decode", 128, ["Q4_0"], ["int4", "int4 from Q4_0", "int4, int4 head"], 1.6),
    "decode-ternary": ("gguf", "decode", 128, ["TQ2_0", "Q4_0"], ["int2, int4 head", "bitnet, int4 head",
                                                                "bitnet, int4 head, fast"], 3.5),
    "decode-large": ("large", "decode", 64, ["TQ2_0 pure"], ["bitnet, int4 head", "bitnet, int4 head, fast"], 2),
    "prefill-int4": ("gguf", "prefill", 512, ["Q4_0"], ["int4", "int4 from Q4_0"], 2),
    "prefill-large": ("large", "prefill", 512, ["TQ2_0 pure", "Q2_K"], ["bitnet, int4 head"], 2.5),
    "decode-ternary-1.7b": ("few_bits", "decode", 32, ["TQ2_0 pure"], ["auto from TQ2_0 pure"], 1.5),
    "prefill-ternary-1.7b": ("few_bits", "prefill", 128, ["TQ2_0 pure"], ["auto from TQ2_0 pure"], 2),
    "decode-q2_0-1.7b": ("few_bits", "decode", 8, ["Q2_0 pure"], ["auto from Q2_0 pure"], 15),
    "prefill-q2_0-1.7b": ("few_bits", "prefill", 128, ["Q2_0 pure"], ["auto from Q2_0 pure"], 15),
    "decode-binary-1.7b": ("few_bits", "decode", 32, ["Q1_0 pure"],
                           ["auto from Q1_0 pure", "auto from Q2_0 pure", "auto from TQ2_0 pure"], 3),
    "prefill-binary-1.7b": ("few_bits", "prefill", 128, ["Q1_0 pure"], ["auto from Q1_0 pure"], 4),
}  # fmt: skip


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def build_llama(flags, name):
    """llama.cpp's PROGRAMS, built from the package's sources."""
    folder = ROOT / "target" / name
    binaries = folder / "build" / "bin"
    if all((binaries / program).exists() for program in PROGRAMS):
        return binaries
    folder.mkdir(parents=True, exist_ok=True)
    print(f"building llama.cpp ({name}): several minutes", file=sys.stderr)
    run(sys.executable, "-m", "pip", "install", "-q", "cmake", "ninja")
    run(
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        "llama-cpp-python",
        "-d",
        folder,
        PACKAGE,
    )
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("llama_cpp_python-*")) / "vendor" / "llama.cpp"
    scripts = Path(sys.executable).parent
    env = dict(os.environ, PATH=f"{scripts}:{os.environ['PATH']}")
    run(
        "cmake",
        "-B",
        folder / "build",
        "-S",
        source,
        "-G",
        "Ninja",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DLLAMA_CURL=OFF",
        "-DLLAMA_OPENSSL=OFF",
        "-DLLAMA_BUILD_TESTS=OFF",
        "-DLLAMA_BUILD_SERVER=OFF",
        *flags,
        env=env,
    )
    run("ninja", "-C", folder / "build", *PROGRAMS, env=env)
    return binaries


def llama_file(binaries, source, name):
    """A file in llama.cpp's format `name`, quantized from the weights of `source` in half precision."""
    work = ROOT / "target" / "bench-models"
    work.mkdir(parents=True, exist_ok=True)
    stem = source.stem.removesuffix("-f16")
    path = work / f"{stem}-{name.lower().replace(' ', '-')}.gguf"
    if not path.exists():
        given = source if name == "F16" or source.stem.endswith("-f16") else llama_file(binaries, source, "F16")
        options = ["--allow-requantize", *(["--pure"] if name.endswith(" pure") else [])]
        run(
            binaries / "llama-quantize",
            *options,
            given,
            path,
            name.split()[0],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return path


def our_file(binaries, source, name):
    """Our file: from the GGUF itself, or lossless from llama.cpp's Q4_0."""
    parts = name.removesuffix(", fast").split(", ")
    format_, _, given = parts[0].partition(" from ")
    path = ROOT / "target" / "bench-models" / f"{source.stem}-{'-'.join(parts).replace(' ', '-').lower()}.tmac2.bin"
    if not path.exists():
        head = ["--head", "int4"] if "int4 head" in parts else []
        given = llama_file(binaries, source, given) if given else source
        run(
            ROOT / "target/release/edgellm",
            "quantize",
            "--input",
            given,
            "--format",
            format_,
            "--output",
            path,
            *head,
            # Speed is measured, not quality.
            "--calibration",
            "none",
            "--skip-quality",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return path


def llama_rate(binaries, path, threads, what, tokens):
    sizes = ["-p", tokens, "-n", 0] if what == "prefill" else ["-p", 0, "-n", tokens]
    out = run(
        binaries / "llama-bench",
        "-m",
        path,
        "-t",
        threads,
        *sizes,
        "-r",
        1,
        "-o",
        "json",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    (row,) = json.loads(out)
    return row["avg_ts"]


def our_rate(path, threads, what, tokens, precision, kernel, hashes):
    sizes = ["--prompt", tokens, "--generate", 1] if what == "prefill" else ["--prompt", 1, "--generate", tokens]
    options = ["--precision", precision, *(["--kernel", kernel] if kernel else [])]
    out = run(ROOT / "target/release/speed", path, "--threads", threads, *sizes, *options, stdout=subprocess.PIPE)
    result = json.loads(out.stdout)
    known = hashes.setdefault((path, what, precision), result["answer_hash"])
    assert known == result["answer_hash"], f"{path.name}: another answer with {threads} threads"
    return result[f"{what}_tokens_per_second"], result["weights"]


def spread(values):
    values = sorted(values)
    quarter = lambda q: values[round((len(values) - 1) * q)]
    return {"median": statistics.median(values), "quartiles": [quarter(0.25), quarter(0.75)], "n": len(values)}


def compare(name, args, binaries, threads):
    """Rows of one comparison with a number of threads."""
    model, what, tokens, theirs, ours, goal = COMPARISONS[name]
    source = getattr(args, model)
    kernel = "avx2" if args.avx2 else None
    files = {peer: llama_file(binaries, source, peer) for peer in theirs}
    mine = {own: our_file(binaries, source, own) for own in ours}
    rates, hashes, places = {key: [] for key in (*theirs, *ours)}, {}, {}
    for round_ in range(args.rounds + 1):
        for peer in theirs:
            rate = llama_rate(binaries, files[peer], threads, what, tokens)
            rates[peer].append(rate)
        for own in ours:
            precision = "fast" if own.endswith(", fast") else "standard"
            rate, places[own] = our_rate(mine[own], threads, what, tokens, precision, kernel, hashes)
            rates[own].append(rate)
        print(f"{name}, {threads} thread(s), round {round_} of {args.rounds}", file=sys.stderr)
    rates = {key: values[1:] for key, values in rates.items()}  # the first round warms up
    fastest = [max(values) for values in zip(*(rates[peer] for peer in theirs), strict=True)]
    common = {"comparison": name, "what": f"{what} {tokens}", "threads": threads, "avx2": args.avx2, "goal": goal}
    rows = [
        common
        | {
            "side": "llama.cpp",
            "format": peer,
            "bytes": files[peer].stat().st_size,
            "rate": spread(rates[peer]),
            "runs": rates[peer],
        }
        for peer in theirs
    ]
    rows += [
        common
        | {
            "side": "edgellm",
            "format": own,
            "bytes": mine[own].stat().st_size,
            "rate": spread(rates[own]),
            "runs": rates[own],
            "weights": places[own],
            "ratio": spread([a / b for a, b in zip(rates[own], fastest, strict=True)]),
        }
        for own in ours
    ]
    return rows


def table(rows):
    print("| comparison | threads | engine | format | tokens per second | ratio (quartiles) | goal |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        rate, ratio = row["rate"], row.get("ratio")
        name = f"{row['comparison']}{', AVX2' if row['avx2'] else ''}"
        rate = f"{rate['median']:.1f} ({rate['quartiles'][0]:.1f} to {rate['quartiles'][1]:.1f})"
        low, high = ratio["quartiles"] if ratio else (0, 0)
        ratio = f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})" if ratio else ""
        goal = f"{row['goal']}" if ratio else ""
        print(f"| {name} | {row['threads']} | {row['side']} | {row['format']} | {rate} | {ratio} | {goal} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--few-bits", type=Path, help="the F16 file of the model of Qwen3 1.7B's shape")
    parser.add_argument("--large", type=Path, help="the F16 file of the model with a billion random weights")
    parser.add_argument("--comparisons", default=",".join(COMPARISONS), help=f"of {', '.join(COMPARISONS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument(
        "--llama", type=Path, help="directory with llama-bench (and llama-quantize, if files are missing)"
    )
    parser.add_argument("--avx2", action="store_true", help="AVX2 on both sides: llama.cpp built without AVX-512")
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/llama_cpp.json")
    args = parser.parse_args()

    avx2 = ["-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON"]
    native = run(ROOT / "scripts/llama_cpp_flags", stdout=subprocess.PIPE).stdout.split()
    flags, folder = (avx2, "llama.cpp-avx2") if args.avx2 else (native, "llama.cpp")
    binaries = args.llama or build_llama(flags, folder)
    run("cargo", "build", "-q", "--release", "--locked", "-p", "edgellm-benches", "-p", "edgellm-host", cwd=ROOT)
    commit = run("git", "rev-parse", "--short", "HEAD", cwd=ROOT, stdout=subprocess.PIPE).stdout.strip()
    report = earlier(args.output)
    rows = report.get("rows", [])
    for name in args.comparisons.split(","):
        if not getattr(args, COMPARISONS[name][0]):
            print(f"{name}: not measured, it takes --{COMPARISONS[name][0].replace('_', '-')}", file=sys.stderr)
            continue
        for threads in (int(threads) for threads in args.threads.split(",")):
            measured = compare(name, args, binaries, threads)
            when = {"commit": commit, "date": time.strftime("%Y-%m-%d"), "load_average": os.getloadavg()}
            this = (name, threads, args.avx2)
            rows = [row for row in rows if (row["comparison"], row["threads"], row["avx2"]) != this]
            rows += [row | when for row in measured]
            order = list(COMPARISONS)
            rows.sort(key=lambda row: (row["avx2"], order.index(row["comparison"]), row["threads"]))
            report = {"machine": report["machine"], "llama_cpp": PACKAGE, "rows": rows}
            args.output.write_text(json.dumps(report, indent=1) + "\n")
    table(rows)


if __name__ == "__main__":
    main()
