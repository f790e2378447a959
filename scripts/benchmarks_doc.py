#!/usr/bin/env python3
"""Writes the tables of docs and ARTIFACT.md, and the charts, from the committed results in benches/results.

    python3 scripts/benchmarks_doc.py          # writes them
    python3 scripts/benchmarks_doc.py --check  # exit code 1 if one differs from the results

A table stands between `<!-- table: KIND ARGUMENTS -->` and `<!-- end of table -->`. The text around it is written
by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benches"), str(ROOT / "scripts/figures")]
import expected  # noqa: E402
import size_quality  # noqa: E402
import speed  # noqa: E402

RESULTS = ROOT / "benches/results"
DOCUMENTS = ["docs/benchmarks.md", "docs/benchmark-report.md", "docs/quantization.md", "ARTIFACT.md"]
CHARTS = {"docs/images/speed.svg": speed.svg, "docs/images/quality.svg": size_quality.svg}
TABLE = re.compile(r"(<!-- table: ([\w .-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
# Machines as the tables name them, by their folder.
MACHINES = {"zen3": "Zen 3", "zen4": "Zen 4", "xeon": "Xeon", "zen5": "Zen 5"}


def load(folder: str, name: str) -> dict:
    return json.loads((RESULTS / folder / f"{name}.json").read_text())


def table(header: str, rows: Iterable[Iterable[object]]) -> str:
    columns = header.count("|") + 1
    lines = [f"| {header} |", "|" + "---|" * columns]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def rate(value: float) -> str:
    return f"{value:.1f}" if value < 50 else f"{value:.0f}"


def spread(figure: dict, digits: int = 1) -> str:
    """Median and quartiles, whatever a result calls them."""
    low, high = figure.get("quartiles") or (figure.get("lower_quartile"), figure.get("upper_quartile"))
    return f"{figure['median']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def llama_cpp(folder: str, name: str = "llama_cpp") -> str:
    """`benches/llama_cpp.py`: one line per file."""

    def line(row: dict) -> list:
        name = row["comparison"] + (", AVX2" if row["avx2"] else "")
        ratio, goal = (spread(row["ratio"], 2), row["goal"]) if "ratio" in row else ("", "")
        return [name, row["threads"], row["side"], row["format"], spread(row["rate"]), ratio, goal]

    rows = load(folder, name)["rows"]
    return table("comparison | threads | engine | format | tokens per second | ratio | goal", map(line, rows))


def properties(folder: str) -> str:
    """`benches/properties.py`."""
    found = load(folder, "properties")
    start, batches, jitter = found["cold_start"], found["batches"], found["jitter"]
    rows = [
        [
            "process start to end, one token after a prompt of 16: mapped; copied",
            "; ".join(f"{spread(start['milliseconds'][how], 0)} ms" for how in ("mapped", "copied")),
            f"under {start['limit']} ms",
        ],
        [
            "a batch of 8 sequences relative to one sequence, two threads",
            spread(batches["ratio_to_1"], 2),
            batches["goal"],
        ],
        [
            "two threads with another process on one core, relative to one thread on an idle machine",
            spread(found["busy_core"]["ratio"], 2),
            found["busy_core"]["goal"],
        ],
        [
            "jitter: p99 - p50 of the time between 1,000 tokens, context growth included",
            f"{spread(jitter['ours'])} ms",
            f"under {jitter['limit']} ms",
        ],
    ]
    if jitter.get("llama_cpp"):
        theirs = "the same for llama.cpp's Q4_0, whose context stays at one token"
        rows.append([theirs, f"{spread(jitter['llama_cpp'])} ms", "above ours"])
    if found.get("memory"):
        memory = found["memory"]
        file, tokens = f"file {memory['file'] / 1e6:.0f} MB", f"{memory['tokens']:,} tokens"
        what = f"resident memory of the 1B ternary shape ({file}) with {tokens}"
        rows.append([what, f"{memory['peak_rss_bytes'] / 1e6:.0f} MB", "under 500 MB"])
    for row in found.get("context", {}).get("rows", []):
        threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        what = f"slowdown of a token at 4,096 positions relative to 128, {row['kv_cache']} cache, {threads}"
        rows.append([what, spread(row["times_slower"], 2), f"under {found['context']['goal']}"])
    return table("property | measured | goal", rows)


def medians(rows: list[dict | None], figure: str, iterations: int = 0) -> str:
    """A figure of several rows, with the number of runs where it is below `iterations`."""
    parts = []
    for found in (row[figure] if row else None for row in rows):
        few = found and found["n"] < iterations
        parts.append((rate(found["median"]) if found else "-") + (f" ({found['n']})" if few else ""))
    return ", ".join(parts)


def benchmark(folder: str, name: str = "benchmark") -> str:
    """`edgellm benchmark`: medians, one line per target and number of threads."""
    report = load(folder, name)
    prompts = report["settings"]["prompt_lengths"]
    rows = {(row["threads"], row["target"], row["prompt_tokens"]): row for row in report["rows"]}
    lines = []
    for threads, target in dict.fromkeys((threads, target) for threads, target, _ in rows):
        cells = [rows.get((threads, target, prompt)) for prompt in prompts]
        last = next((row for row in reversed(cells) if row and row["inter_token_ms"]), None)
        lines.append(
            [
                target,
                threads,
                medians(cells, "decode_tokens_per_second", report["settings"]["iterations"]),
                medians(cells, "prefill_tokens_per_second"),
                f"{medians(cells, 'ttft_ms')} ms",
                f"{last['inter_token_ms']['p99']:.1f} ms" if last else "-",
            ]
        )
    names = ", ".join(map(str, prompts))
    header = f"target | threads | decode at {names} | prefill of {names} | first token of {names} | p99 between tokens"
    return table(header, sorted(lines, key=lambda line: line[1]))


def ratios(*folders: str) -> str:
    """The ratios that ARTIFACT.md promises, beside those of each machine's report."""
    columns = [expected.ratios(load(folder, "benchmark")) for folder in folders]
    rows = []
    for index, (name, _, _, _, (low, high)) in enumerate(expected.RATIOS):
        found = [column[index] for column in columns]
        rows.append([name, *("-" if ratio is None else f"{ratio:.2f}" for ratio in found), f"{low} to {high}"])
    return table(f"ratio | {' | '.join(MACHINES[folder] for folder in folders)} | expected", rows)


def wasm_speed(folder: str) -> str:
    """`benches/wasm_speed.py`: both builds of an engine in one line."""
    rows = {(row["format"], row["engine"], row["variant"]): row for row in load(folder, "wasm_speed")["summary"]}
    lines = []
    for form, engine in dict.fromkeys((form, engine) for form, engine, _ in rows):
        builds = [rows[key] for key in rows if key[:2] == (form, engine)]
        line = [form, f"{engine} {', '.join(row['variant'] for row in builds)}"]
        for what in ("decode", "prefill"):
            line.append(", ".join(rate(row[what]["median"]) for row in builds))
            shares = ", ".join(f"{row[f'{what}_of_native']['median']:.2f}" for row in builds)
            line.append("" if engine == "native" else shares)
        lines.append(line)
    return table("format | engine | decode | of AVX2 | prefill | of AVX2", lines)


def browser_speed(folder: str) -> str:
    """`benches/browser_speed`: everything in one Chromium, beside native AVX2."""

    def line(row: dict) -> list:
        name = row["name"].removesuffix(f" {row['threads']}T").replace("smol-", "")
        cells = [name, row["threads"]]
        for what in ("decode", "prefill"):
            share = row.get("of_native", {}).get(what) if row["engine"] == "edgellm" else None
            cells += [rate(row[what]["median"]) if row.get(what) else "-", f"{share['median']:.2f}" if share else ""]
        return cells

    rows = load(folder, "browser_speed")["rows"]
    return table("row | threads | decode | of native AVX2 | prefill | of native AVX2", map(line, rows))


def plugin(folder: str) -> str:
    """`benches/plugin.py`."""
    found = load(folder, "plugin")
    lines = []
    for name in found["decode"]["tokens_per_second"]:
        line = [name]
        for what in ("decode", "prefill"):
            share = found[what]["share_of_native_avx2"].get(name)
            line += [rate(found[what]["tokens_per_second"][name]["median"]), f"{share['median']:.2f}" if share else ""]
        lines.append(line)
    return table("row | decode | of AVX2 | prefill | of AVX2", lines)


def server_load(*folders: str) -> str:
    """`benches/server_load.py`: one column per machine."""
    found = [load(folder, "server_load") for folder in folders]

    def row(name: str, value) -> list:
        return [name, *(value(result) for result in found)]

    rows = [
        row("answers; failed", lambda r: f"{r['load']['answers']:,}; {len(r['load']['failures'])}"),
        row(
            "repeated alone; different",
            lambda r: f"{r['compared_with_alone']['answers']:,}; {len(r['compared_with_alone']['different'])}",
        ),
        row("tokens per second, all clients", lambda r: f"{r['load']['tokens_per_second']:.0f}"),
        row("the same, one client, before and after",
            lambda r: f"{r['one_client_before']['median_tokens_per_second']:.0f}, "
            f"{r['one_client_after']['median_tokens_per_second']:.0f}"),
        row("all clients relative to one (goal: 3)", lambda r: f"{r['ratios']['tokens_per_second_to_one_client']:.2f}"),
        row("time between tokens: p50; p99", lambda r: "{p50:.0f}; {p99:.0f} ms".format(**r["load"]["inter_token_ms"])),
        row(
            "resident memory in the second minute; in the third",
            lambda r: f"{r['load']['resident_mib_second_third']:.0f}; {r['load']['resident_mib_last_third']:.0f} MiB",
        ),
        row(
            "time to first token of a 32-token prompt at idle: p50; max",
            lambda r: "{p50:.0f}; {max:.0f} ms".format(**r["first_token_at_idle"]["ms"]),
        ),
    ]  # fmt: skip
    return table(f"16 clients, three minutes | {' | '.join(MACHINES[folder] for folder in folders)}", rows)


def perplexity() -> str:
    """`benches/perplexity.py`."""
    rows = load(".", "perplexity")["rows"]
    lines = ([r["engine"], r["file"], f"{r['perplexity']:.3f}", f"{100 * r['above_reference']:+.2f} %"] for r in rows)
    return table("engine | file | perplexity | above the float reference", lines)


def quality(*name: str) -> str:
    """`benches/quality.py` of a model: files by size."""
    model = load(".", "quality")["models"][" ".join(name)]
    f16 = model["f16"]
    rows = [["llama.cpp", "F16", f"{f16['bytes'] / 1e6:.1f}", f"{f16['perplexity']:.3f}", "", "0", "1"]]
    for row in model["rows"]:
        above = row["perplexity"] / f16["perplexity"] - 1
        perplexity = f"{row['perplexity']:.3f}" if row["perplexity"] < 1000 else f"{row['perplexity']:.3g}"
        above = f"{100 * above:+.1f} %" if above < 10 else f"x {above + 1:.0f}"
        figures = [perplexity, above, f"{row['kl']:.4f}", f"{row['same_top']:.3f}"]
        rows.append([row["engine"], row["row"].split(": ")[-1], f"{row['bytes'] / 1e6:.1f}", *figures])
    return table("engine | file | MB | perplexity | above F16 | KL divergence | same top token", rows)


def kinds_of_text() -> str:
    """`benches/quality.py`: the KL divergence on texts of other kinds."""
    rows = []
    for name, model in load(".", "quality")["models"].items():
        for row in (row for row in model["rows"] if "code" in row):
            others = [row["code"]["kl"], row["chat"]["kl"]]
            rows.append([name, f"{row['engine']} {row['row']}", f"{row['kl']:.4f}"])
            rows[-1] += [f"{kl:.4f} ({kl / row['kl']:.2f})" for kl in others]
    return table("model | file | WikiText-2 | code | chat", rows)


def calibration_texts(*name: str) -> str:
    """`benches/quality.py`: what `int3` of a model was calibrated on."""
    model = load(".", "quality")["models"][" ".join(name)]
    ours = [dict(row, row="all") for row in model["rows"] if row["row"] == "int3"]
    ours += model["calibrations"]
    rows = []
    for row in ours:
        kinds = [row, row["code"], row["chat"]]
        cells = [f"{kind['perplexity']:.3f}; {kind['kl']:.4f}" for kind in kinds]
        rows.append([row["row"].removeprefix("int3 calibrated on "), *cells])
    return table("calibrated on | WikiText-2 | code | chat", rows)


def accuracy() -> str:
    """`benches/quality.py`: multiple choice."""
    rows = []
    for name, model in load(".", "quality")["models"].items():
        for row in (row for row in model["rows"] if "tasks" in row):
            cells = [row["tasks"][task] for task in ("hellaswag", "arc_easy")]
            scores = [f"{cell['value']:.3f} ({cell['stderr']:.3f})" for cell in cells]
            rows.append([name, f"{row['engine']} {row['row']}", f"{row['bytes'] / 1e6:.1f}", *scores])
    return table("model | file | MB | HellaSwag | ARC-Easy", rows)


def harness() -> str:
    """`scripts/evaluation/harness.py`."""

    def line(row: dict) -> list:
        ours = row["edgellm"]
        return [row["task"], row["metric"], f"{ours['value']:.4f}", f"{row['harness']:.4f}",
                f"{ours['stderr']:.4f}", f"{row['difference']:.2f}"]  # fmt: skip

    header = "task | metric | edgellm | lm-evaluation-harness | standard error | difference in standard errors"
    return table(header, map(line, load(".", "harness")["rows"]))


KINDS = {kind.__name__: kind for kind in (llama_cpp, properties, benchmark, ratios, wasm_speed, browser_speed, plugin,
                                          server_load, perplexity, quality, kinds_of_text, calibration_texts, accuracy,
                                          harness)}  # fmt: skip


def filled(text: str) -> str:
    def fill(match: re.Match) -> str:
        kind, *arguments = match[2].split()
        return match[1] + KINDS[kind](*arguments) + match[3]

    return TABLE.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    documents = {name: filled((ROOT / name).read_text()) for name in DOCUMENTS}
    documents |= {name: svg() for name, svg in CHARTS.items()}
    different = []
    for name, text in documents.items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        different.append(name)
        if not check:
            draft = path.with_suffix(".draft")
            draft.write_text(text)
            draft.rename(path)
    if different and check:
        sys.exit(f"{', '.join(different)} differ from benches/results: run scripts/benchmarks_doc.py")


if __name__ == "__main__":
    main()
