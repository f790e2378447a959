#!/usr/bin/env python3
"""What a table of rates does not show: cold start, batches, a busy core, jitter, memory, long contexts.

    python3 benches/properties.py --model MODEL.tmac2.bin [--gguf MODEL-q4_0.gguf --llama BUILD_BIN_FOLDER]
                                  [--large MODEL.tmac2.bin] [--rounds 7] [--parts cold_start,context]

Every comparison is between runs next to each other in the same round; medians and quartiles. With --gguf and
--llama, llama.cpp's jitter is measured beside ours; --large names the model whose memory is measured with 2,048
tokens of context. Writes benches/results/properties.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import earlier

ROOT = Path(__file__).resolve().parent.parent
EDGELLM, SPEED = ROOT / "target/release/edgellm", ROOT / "target/release/speed"
PROMPT = "The ship left the harbour early in the morning, before the wind had turned."


def run(*command):
    return subprocess.run(
        [str(part) for part in command], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout


def speed(model, **options):
    return json.loads(run(SPEED, model, *(part for key, value in options.items() for part in (f"--{key}", value))))


def spread(values):
    values = sorted(values)
    quarter = lambda q: values[round((len(values) - 1) * q)]
    return {"median": statistics.median(values), "quartiles": [quarter(0.25), quarter(0.75)], "n": len(values)}


def cold_start(args):
    """Milliseconds from start to exit of a process that generates one token after a prompt of 16, for each placement
    of the weights."""
    command = [
        EDGELLM,
        "generate",
        "--model",
        args.model,
        "--prompt",
        PROMPT,
        "--raw",
        "--max-tokens",
        1,
        "--temperature",
        0,
        "--json",
    ]
    answer = json.loads(run(*command))
    count = len(answer["prompt_token_ids"])
    assert count == 16, f"the prompt has {count} tokens"
    times = {place: [] for place in ("auto", "mapped", "copied")}
    for _ in range(3 * args.rounds):
        for place, taken in times.items():
            start = time.perf_counter()
            assert json.loads(run(*command, "--weights", place))["token_ids"] == answer["token_ids"]
            taken.append((time.perf_counter() - start) * 1e3)
    described = json.loads(run(EDGELLM, "info", "--model", args.model, "--json"))["weights"]
    return {"milliseconds": {place: spread(taken) for place, taken in times.items()}, "auto": described, "limit": 150}


def batches(args):
    ratios, rates = [], []
    for _ in range(args.rounds):
        one, eight = (speed(args.model, threads=2, prompt=1, generate=64, batch=n) for n in (1, 8))
        assert one["answer_hash"] == eight["answer_hash"], "a batch changes the answer"
        rates.append(eight["decode_tokens_per_second"])
        ratios.append(rates[-1] / one["decode_tokens_per_second"])
    return {"tokens_per_second_of_8": spread(rates), "ratio_to_1": spread(ratios), "goal": 3}


def busy_core(args):
    """Two threads while another process keeps one core busy, relative to one thread on an idle machine."""
    ratios = []
    for _ in range(args.rounds):
        idle = speed(args.model, threads=1, prompt=1, generate=128)
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        os.sched_setaffinity(other.pid, {1})
        try:
            busy = speed(args.model, threads=2, prompt=1, generate=128)
        finally:
            other.kill()
            other.wait()
        ratios.append(busy["decode_tokens_per_second"] / idle["decode_tokens_per_second"])
    return {"ratio": spread(ratios), "goal": 0.8}


def jitter(args):
    """p99 - p50 of the time between 1,000 tokens, in milliseconds."""
    ours, theirs = [], []
    for _ in range(args.rounds):
        gaps = speed(args.model, threads=2, prompt=1, generate=1000)["inter_token_ms"]
        ours.append(gaps["p99"] - gaps["p50"])
        if args.llama and args.gguf:
            out = run(args.llama / "llama-bench", "-m", args.gguf, "-t", 2, "-p", 0, "-n", 1, "-r", 1000, "-o", "json")
            samples = sorted(nanoseconds / 1e6 for nanoseconds in json.loads(out)[0]["samples_ns"])
            theirs.append(samples[round(0.99 * (len(samples) - 1))] - samples[len(samples) // 2])
    note = "ours grows from 1 to 1,000 tokens of context, llama.cpp's stays at 1"
    return {"ours": spread(ours), "llama_cpp": spread(theirs) if theirs else "not measured", "limit": 10, "note": note}


def memory(args):
    if not args.large:
        return "not measured"
    prompt = "water " * 2000
    answer = json.loads(
        run(
            EDGELLM,
            "generate",
            "--model",
            args.large,
            "--prompt",
            prompt,
            "--raw",
            "--max-tokens",
            40,
            "--temperature",
            0,
            "--json",
        )
    )
    tokens = len(answer["prompt_token_ids"]) + len(answer["token_ids"])
    return {"peak_rss_bytes": answer["peak_rss_bytes"], "tokens": tokens, "file": args.large.stat().st_size}


def context(args):
    """The slowdown of a token at 4,096 positions relative to 128."""
    times = {(cache, threads): [] for cache in ("f16", "int8") for threads in (1, 2)}
    for _ in range(args.rounds):
        for (cache, threads), ratios in times.items():
            options = {"prompt": 1, "generate": 48, "threads": threads, "kv-cache": cache}
            short, long = (speed(args.model, context=positions, **options) for positions in (128, 4096))
            ratios.append(short["decode_tokens_per_second"] / long["decode_tokens_per_second"])
    rows = [
        {"kv_cache": cache, "threads": threads, "times_slower": spread(ratios)}
        for (cache, threads), ratios in times.items()
    ]
    return {"rows": rows, "goal": 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--llama", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--parts", default="cold_start,batches,busy_core,jitter,memory,context", help="the parts to measure"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/properties.json")
    args = parser.parse_args()
    subprocess.run(
        ["cargo", "build", "-q", "--release", "-p", "edgellm-benches", "-p", "edgellm-host"], cwd=ROOT, check=True
    )
    report = earlier(args.output)
    report |= {"model": args.model.name, "date": time.strftime("%Y-%m-%d")}
    parts = {part.__name__: part for part in (cold_start, batches, busy_core, jitter, memory, context)}
    for part in (parts[name] for name in args.parts.split(",")):
        report[part.__name__] = part(args)
        print(part.__name__, json.dumps(report[part.__name__]))
    args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
