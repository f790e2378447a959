#!/usr/bin/env python3
"""Holds a report of `edgellm benchmark` against what ARTIFACT.md promises: ratios of rows of the same run, with tolerances.

    python3 benches/expected.py target/artifact/report/report.json

benches/results/expected.json has the ratios, and the machine they were measured on. Absolute rates are not compared: they
are the machine's. Ends with code 1 if a ratio is below its tolerance; rows that were not measured are named and left out.
"""

import json
import sys
from pathlib import Path

EXPECTED = Path(__file__).resolve().parent / "results" / "expected.json"


def median(report: dict, target: str, threads: int, prompt: int, figure: str) -> float | None:
    for row in report["rows"]:
        if (row["target"], row["threads"], row["prompt_tokens"]) == (target, threads, prompt) and row[figure]:
            return row[figure]["median"]
    return None


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    failed = 0
    for claim in json.loads(EXPECTED.read_text())["ratios"]:
        over = [median(report, claim[side], claim["threads"], claim["prompt_tokens"], claim["figure"]) for side in ("of", "to")]
        name = f"{claim['of']} to {claim['to']}, {claim['threads']} thread(s), {claim['prompt_tokens']} tokens, {claim['figure']}"
        if None in over:
            print(f"not measured  {name}")
            continue
        ratio, least = over[0] / over[1], claim["ratio"] * (1 - claim["tolerance"])
        failed += ratio < least
        print(f"{'ok' if ratio >= least else 'BELOW':12}  {name}: {ratio:.2f}, expected {claim['ratio']:.2f}, at least {least:.2f}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
