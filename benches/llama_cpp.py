#!/usr/bin/env python3
"""EdgeLLM against llama.cpp on the same weights, in turn (A B A B ...), on this machine.

    python3 benches/llama_cpp.py --gguf MODEL.gguf [--rounds 7] [--threads 1,2] [--llama BUILD_BIN_FOLDER]

llama.cpp comes from the source distribution of llama-cpp-python (its pinned version below), built natively
into target/llama.cpp, unless --llama names a folder with llama-bench and llama-quantize. EdgeLLM's program is
`speed` of this folder. Ratios are taken pair by pair, each EdgeLLM run against the llama.cpp run next to it.
Writes benches/results/llama_cpp.json and prints a Markdown table.
"""
import argparse, json, os, platform, statistics, subprocess, sys, tarfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "llama-cpp-python==0.3.36"


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def build_llama(flags, name):
    """llama-bench and llama-quantize, built from the package's sources."""
    folder = ROOT / "target" / name
    binaries = folder / "build" / "bin"
    if (binaries / "llama-bench").exists():
        return binaries
    folder.mkdir(parents=True, exist_ok=True)
    print(f"building llama.cpp ({name}): several minutes", file=sys.stderr)
    run(sys.executable, "-m", "pip", "install", "-q", "cmake", "ninja")
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python", "-d", folder, PACKAGE)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("llama_cpp_python-*")) / "vendor" / "llama.cpp"
    scripts = Path(sys.executable).parent
    env = dict(os.environ, PATH=f"{scripts}:{os.environ['PATH']}")
    run("cmake", "-B", folder / "build", "-S", source, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF",
        "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF", *flags, env=env)
    run("ninja", "-C", folder / "build", "llama-bench", "llama-quantize", env=env)
    return binaries


def llama_bench(binaries, model, threads, prompt, generate):
    out = run(binaries / "llama-bench", "-m", model, "-t", threads, "-p", prompt, "-n", generate, "-r", 1, "-o", "json",
              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    rows = json.loads(out)
    return {("prefill" if row["n_prompt"] else "decode"): row["avg_ts"] for row in rows}


def edgellm(model, threads, prompt, generate, kernel):
    command = [ROOT / "target/release/speed", model, "--threads", threads, "--prompt", prompt, "--generate", generate]
    out = json.loads(run(*command, *(["--kernel", kernel] if kernel else []), stdout=subprocess.PIPE).stdout)
    return out | {"prefill": out["prefill_tokens_per_second"], "decode": out["decode_tokens_per_second"]}


def spread(values):
    values = sorted(values)
    quarter = lambda q: values[round((len(values) - 1) * q)]
    return {"median": statistics.median(values), "lower_quartile": quarter(0.25), "upper_quartile": quarter(0.75),
            "min": values[0], "max": values[-1], "n": len(values)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--llama", type=Path, help="folder with llama-bench and llama-quantize")
    parser.add_argument("--kernel", help="EdgeLLM's kernel; the fastest where not given")
    parser.add_argument("--avx2", action="store_true", help="AVX2 on both sides: llama.cpp built without AVX-512")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    if args.avx2:
        args.kernel = "avx2"
        flags = ["-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON"]
        binaries = args.llama or build_llama(flags, "llama.cpp-avx2")
    else:
        binaries = args.llama or build_llama(["-DGGML_NATIVE=ON"], "llama.cpp")
    run("cargo", "build", "--release", "-p", "edgellm-benches", "-p", "edgellm-host", cwd=ROOT)
    work = ROOT / "target" / "bench-models"
    work.mkdir(parents=True, exist_ok=True)

    # llama.cpp's formats, all made from the same float weights.
    peers = {}
    f16 = work / f"{args.gguf.stem}-f16.gguf"
    for name in ["F16", "Q4_0", "TQ2_0"]:
        path = work / f"{args.gguf.stem}-{name.lower()}.gguf"
        if not path.exists():
            source = args.gguf if name == "F16" else f16
            run(binaries / "llama-quantize", "--allow-requantize", source, path, name, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
        peers[name] = path
    peers["as given"] = args.gguf
    del peers["F16"]
    # Ours, from the GGUF itself, and from llama.cpp's Q4_0: that one's very weights, without loss.
    ours = {}
    for name, source, options in [
        ("int4", args.gguf, []), ("int4 from Q4_0", peers["Q4_0"], []), ("int4, int4 head", args.gguf, ["--head", "int4"]),
        ("int2, int4 head", args.gguf, ["--head", "int4"]), ("bitnet, int4 head", args.gguf, ["--head", "int4"]),
    ]:
        path = work / f"{args.gguf.stem}-{name.replace(', ', '-').replace(' ', '-').lower()}.tmac2.bin"
        if not path.exists():
            run(ROOT / "target/release/edgellm", "quantize", "--input", source, "--format", name.split()[0].strip(","), "--output",
                path, *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours[name] = path

    runs, hashes = [], {}
    for threads in [int(t) for t in args.threads.split(",")]:
        for round_ in range(args.rounds + 1):
            for side, models in (("llama.cpp", peers), ("edgellm", ours)):
                for name, model in models.items():
                    if side == "llama.cpp":
                        result = llama_bench(binaries, model, threads, args.prompt, args.generate)
                    else:
                        result = edgellm(model, threads, args.prompt, args.generate, args.kernel)
                        known = hashes.setdefault(name, result["answer_hash"])
                        assert known == result["answer_hash"], f"{name}: another answer with {threads} threads"
                    if round_:  # the first round warms up
                        runs.append({"side": side, "format": name, "threads": threads, "round": round_,
                                     "bytes": model.stat().st_size} | result)
            print(f"{threads} thread(s), round {round_} of {args.rounds}", file=sys.stderr)

    def series(side, name, threads, what):
        return [run[what] for run in runs if (run["side"], run["format"], run["threads"]) == (side, name, threads)]

    summary = []
    for threads in sorted({run["threads"] for run in runs}):
        for side, models in (("llama.cpp", peers), ("edgellm", ours)):
            for name in models:
                row = {"side": side, "format": name, "threads": threads}
                for what in ("decode", "prefill"):
                    row[what] = spread(series(side, name, threads, what))
                    if side == "edgellm":
                        best = {peer: series("llama.cpp", peer, threads, what) for peer in peers}
                        row[f"{what}_ratio"] = {
                            peer: spread([a / b for a, b in zip(series(side, name, threads, what), values)])
                            for peer, values in best.items()
                        }
                summary.append(row)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    commit = run("git", "rev-parse", "--short", "HEAD", cwd=ROOT, stdout=subprocess.PIPE).stdout.strip()
    report = {"machine": {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release()}, "commit": commit,
              "llama_cpp": PACKAGE, "avx2": args.avx2, "kernel": args.kernel or "fastest", "date": time.strftime("%Y-%m-%d"),
              "load_average": os.getloadavg(), "prompt": args.prompt, "generate": args.generate, "summary": summary, "runs": runs}
    output = args.output or ROOT / "benches/results" / ("llama_cpp_avx2.json" if args.avx2 else "llama_cpp.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=1) + "\n")

    print(f"| engine | format | threads | decode tok/s | ratio to Q4_0 | to TQ2_0 | prefill {args.prompt} tok/s | ratio to Q4_0 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in summary:
        cell = lambda s: f"{s['median']:.1f} ({s['lower_quartile']:.1f} to {s['upper_quartile']:.1f})"
        ratio = lambda what, peer: f"{row[what][peer]['median']:.2f}" if what in row else ""
        print(f"| {row['side']} | {row['format']} | {row['threads']} | {cell(row['decode'])} | {ratio('decode_ratio', 'Q4_0')} "
              f"| {ratio('decode_ratio', 'TQ2_0')} | {cell(row['prefill'])} | {ratio('prefill_ratio', 'Q4_0')} |")


if __name__ == "__main__":
    main()
