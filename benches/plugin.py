#!/usr/bin/env python3
"""The plugin relative to the native engine: decoding and prefill on one thread, interleaved.

    scripts/build-plugin && cargo build --release -p edgellm-host --features plugin
    python3 benches/plugin.py --model MODEL --json benches/results/plugin.json

Every run's tokens are compared with the first's. A round runs each target once; ratios are taken within a round.
Standard library only.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

from machine import machine

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "The sea was calm that morning, and the old fisherman rowed out further than he had in years. " * 6
# The goal for each target, as a share of native AVX2 on one thread.
GOALS = {"simd": 0.60, "relaxed": 0.75}


def targets() -> dict[str, list[str]]:
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/edgellm"
    plugin = [str(program), "generate", "--target", "plugin", "--plugin"]
    native = [str(program), "generate", "--threads", "1", "--kernel"]
    component = str(ROOT / "target/plugin/edgellm-engine-{}.wasm")
    return {
        "native avx2": [*native, "avx2"],
        "plugin simd": [*plugin, component.format("simd")],
        "plugin relaxed": [*plugin, component.format("relaxed")],
    }


def spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    options = [
        "--model",
        args.model,
        "--raw",
        "--prompt",
        PROMPT,
        "--temperature",
        "0",
        "-n",
        str(args.tokens),
        "--json",
    ]
    runs: dict[str, list[dict]] = {name: [] for name in targets()}
    expected = None
    for round_ in range(args.rounds + 1):
        for name, command in targets().items():
            done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
            report = json.loads(done.stdout)
            expected = expected or report["token_ids"]
            assert report["token_ids"] == expected, f"{name} gave other tokens"
            if round_:  # the first one compiles components and fills the page cache
                runs[name].append(report)
    results: dict = {"machine": machine(), "rounds": args.rounds, "tokens": args.tokens}
    for phase in ("decode", "prefill"):
        rates = {
            name: [report["timings"][f"{phase}_tokens_per_second"] for report in reports]
            for name, reports in runs.items()
        }
        shares = {
            name: [rate / native for rate, native in zip(rates[name], rates["native avx2"], strict=True)]
            for name in rates
            if name != "native avx2"
        }
        results[phase] = {
            "tokens_per_second": {name: spread(values) for name, values in rates.items()},
            "share_of_native_avx2": {name: spread(values) for name, values in shares.items()},
        }
        print(f"{phase}:")
        for name, values in rates.items():
            share = shares.get(name)
            goal = GOALS.get(name.removeprefix("plugin "), 1) if phase == "decode" else None
            print(
                f"  {name:15} {statistics.median(values):8.1f} tokens/s ({min(values):.1f} to {max(values):.1f})"
                + (f", {statistics.median(share):.0%} of native" if share else "")
                + (f" (goal {goal:.0%})" if share and goal else "")
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
