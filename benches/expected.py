#!/usr/bin/env python3
"""Compares a report of `edgellm benchmark` with the ratios between rows of the same run that ARTIFACT.md promises.

    python3 benches/expected.py target/artifact/report/report.json

Prints each ratio with its bounds and exits with code 1 if one is outside. The bounds are wider than the ratios of two
machines, whose reports are in benches/results, and than what is known of a third (docs/benchmarks.md).
"""

import argparse
import json
import sys
from pathlib import Path

# The prompt length whose rows are compared.
PROMPT = 128
# Name, numerator and denominator (target, threads), figure, and the bounds of the ratio of medians.
RATIOS = [
    (
        "native to llama.cpp (Q4_1), decoding, 1 thread",
        ("native", 1),
        ("llama.cpp", 1),
        "decode_tokens_per_second",
        (1.2, 6),
    ),
    (
        "native to llama.cpp (Q4_1), prefill, 1 thread",
        ("native", 1),
        ("llama.cpp", 1),
        "prefill_tokens_per_second",
        (0.9, 8),
    ),
    ("plugin to native, decoding, 1 thread", ("plugin", 1), ("native", 1), "decode_tokens_per_second", (0.25, 0.7)),
    ("browser to native, decoding, 1 thread", ("browser", 1), ("native", 1), "decode_tokens_per_second", (0.25, 0.8)),
    ("browser to wllama, decoding, 1 thread", ("browser", 1), ("wllama", 1), "decode_tokens_per_second", (4, 20)),
    ("browser to wllama, prefill, 1 thread", ("browser", 1), ("wllama", 1), "prefill_tokens_per_second", (5, 40)),
    ("browser, 2 threads to 1, prefill", ("browser", 2), ("browser", 1), "prefill_tokens_per_second", (1.3, 2.1)),
]


def ratios(report: dict) -> list[float | None]:
    """The ratio of each line of RATIOS; None if a row was not measured."""

    def median(target: str, threads: int, figure: str) -> float | None:
        for row in report["rows"]:
            if (row["target"], row["threads"], row["prompt_tokens"]) == (target, threads, PROMPT) and row[figure]:
                return row[figure]["median"]
        return None

    found = []
    for _, above, below, figure, _ in RATIOS:
        top, bottom = median(*above, figure), median(*below, figure)
        found.append(top / bottom if top and bottom else None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    report = json.loads(parser.parse_args().report.read_text())
    outside = 0
    for (name, _, _, _, (low, high)), ratio in zip(RATIOS, ratios(report), strict=True):
        if ratio is None:
            print(f"{name}: not measured, expected {low} to {high}")
            continue
        within = low <= ratio <= high
        outside += not within
        print(f"{name}: {ratio:.2f}, expected {low} to {high}{'' if within else ': OUTSIDE'}")
    sys.exit(outside > 0)


if __name__ == "__main__":
    main()
