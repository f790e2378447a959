#!/usr/bin/env python3
"""Draws eight figures from benchmark reports and evaluations, as SVG and PDF.

    target/peers/bin/pip install matplotlib==3.11.2
    target/peers/bin/python scripts/figures/figures.py --output figures report.json [evaluation.json ...]

Reports come from `edgellm benchmark`, evaluations from `edgellm evaluate --json`; their schema tells them apart. To
compare variants, give a report of each. A figure without measurements says "no data".
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Paul Tol's bright colours, which colour-blind readers can tell apart.
COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"]


class Results:
    """All rows of all reports, and all evaluations."""

    def __init__(self, paths: list[Path]):
        self.rows: list[dict] = []
        self.evaluations: list[dict] = []
        self.reports: list[dict] = []
        for path in paths:
            content = json.loads(path.read_text())
            match content.get("schema", "").split("/")[0]:
                case "edgellm-benchmark":
                    self.reports.append(content)
                    self.rows += [row | {"model": content["model"]} for row in content["rows"]]
                    self.evaluations += content["quality"]
                case "edgellm-evaluation":
                    self.evaluations.append(content)
                case _:
                    raise SystemExit(f"{path} is neither a report nor an evaluation")
        names = dict.fromkeys(row["target"] for row in self.rows)
        self.colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}

    def with_figure(self, name: str, prompt: int | None = None) -> list[dict]:
        """Rows with this measurement, of one prompt length if given."""
        return [row for row in self.rows if row[name] and (prompt is None or row["prompt_tokens"] == prompt)]

    def longest(self) -> int:
        return max((row["prompt_tokens"] for row in self.rows), default=0)

    def shortest(self) -> int:
        return min((row["prompt_tokens"] for row in self.rows), default=0)


def label(row: dict) -> str:
    return f"{row['target']} {row['variant']} {row['threads']}T"


def bars(axes, results: Results, name: str, prompt: int, unit: str, scale: float = 1.0) -> bool:
    rows = results.with_figure(name, prompt)
    for index, row in enumerate(rows):
        mean, (low, high) = row[name]["mean"] / scale, [end / scale for end in row[name]["ci95"]]
        axes.barh(index, mean, xerr=[[mean - low], [high - mean]], color=results.colours[row["target"]], capsize=2)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    return bool(rows)


def decode(axes, results: Results) -> bool:
    """1 Decoding, tokens per second"""
    return bars(axes, results, "decode_tokens_per_second", results.shortest(), "tokens per second, 95 % interval")


def prefill(axes, results: Results) -> bool:
    """2 Prefill, tokens per second"""
    return bars(axes, results, "prefill_tokens_per_second", results.longest(), "tokens per second, 95 % interval")


def ttft(axes, results: Results) -> bool:
    """3 Time to first token by prompt length"""
    rows = results.with_figure("ttft_ms")
    for name in dict.fromkeys(label(row) for row in rows):
        own = [row for row in rows if label(row) == name]
        line = sorted((row["prompt_tokens"], row["ttft_ms"]["median"], row["target"]) for row in own)
        axes.plot([x for x, _, _ in line], [y for _, y, _ in line], "o-", label=name, color=results.colours[line[0][2]])
    axes.set(xlabel="prompt tokens", ylabel="milliseconds, median", xscale="log", yscale="log")
    return bool(rows)


def gaps(axes, results: Results) -> bool:
    """4 Time between tokens"""
    rows = results.with_figure("inter_token_ms", results.longest())
    keys = {"med": "median", "q1": "p25", "q3": "p75", "whislo": "min", "whishi": "p99"}
    boxes = [
        {ours: row["inter_token_ms"][theirs] for ours, theirs in keys.items()} | {"label": label(row)} for row in rows
    ]
    if boxes:
        axes.bxp(boxes, orientation="horizontal", showfliers=False)
    axes.set_xlabel("milliseconds; whiskers from minimum to p99")
    return bool(rows)


def memory(axes, results: Results) -> bool:
    """5 Peak resident memory"""
    return bars(axes, results, "peak_rss_bytes", results.longest(), "MiB", 1 << 20)


def energy(axes, results: Results) -> bool:
    """6 Energy per token"""
    return bars(axes, results, "joules_per_token", results.shortest(), "joules per token, 95 % interval")


def size(axes, results: Results) -> bool:
    """7 Quality against size"""
    return points(axes, results, lambda evaluation: evaluation["model"]["bytes"] / 1e6, "file size, MB")


def speed(axes, results: Results) -> bool:
    """8 Speed against quality"""

    def rate(evaluation: dict) -> float | None:
        own = [
            row
            for row in results.with_figure("decode_tokens_per_second", results.shortest())
            if row["target"] == "native" and row["model"]["sha256"] == evaluation["model"]["sha256"]
        ]
        return own[0]["decode_tokens_per_second"]["median"] if own else None

    return points(axes, results, rate, "tokens per second, native, one thread")


def points(axes, results: Results, x, unit: str) -> bool:
    scored = [evaluation for evaluation in results.evaluations if evaluation.get("perplexity")]
    found = [(x(e), e["perplexity"]["perplexity"], e["model"]["format"]) for e in scored]
    found = [point for point in found if point[0] is not None]
    for at, perplexity, name in found:
        axes.plot(at, perplexity, "o", color=COLOURS[0])
        axes.annotate(name, (at, perplexity), xytext=(5, 5), textcoords="offset points")
    axes.set(xlabel=unit, ylabel="perplexity")
    return bool(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("figures"))
    args = parser.parse_args()
    results = Results(args.results)
    args.output.mkdir(parents=True, exist_ok=True)
    # The same results give byte-identical files.
    plt.rcParams.update({"svg.hashsalt": "edgellm", "font.size": 9})
    for draw in (decode, prefill, ttft, gaps, memory, energy, size, speed):
        number, title = draw.__doc__.split(" ", 1)
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        axes.set_title(title)
        if not draw(axes, results):
            axes.clear()
            axes.set_title(title)
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes)
        elif draw is ttft:
            axes.legend(fontsize=7)
        for ending in ("svg", "pdf"):
            metadata = {"Date": None} if ending == "svg" else {"CreationDate": None}
            figure.savefig(args.output / f"{number}-{draw.__name__}.{ending}", metadata=metadata)
        plt.close(figure)
        print(args.output / f"{number}-{draw.__name__}.svg")


if __name__ == "__main__":
    main()
