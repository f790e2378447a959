#!/usr/bin/env python3
"""Runs `edgellm benchmark` and `edgellm evaluate` briefly with a real model, and opens the report in a browser.

    .venv/bin/python scripts/benchmark/check.py [--targets native,plugin,browser]

Every target that runs on this machine must give the same answer as native; the others are printed. The HTML page must
open in Chromium without console messages, draw its plots and contain the numbers of the JSON report.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EDGELLM = ROOT / "target" / os.environ.get("EDGELLM_BUILD", "release") / "edgellm"
OUTPUT = ROOT / "target" / "benchmark-check"
MODEL = "smollm2-135m-instruct"
ITERATIONS, GENERATE = 4, 12
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--enable-logging=stderr",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
# The model gives the same answer in every precision.
QUESTION = {"question": "What is the capital of France?", "answer": "The capital of France is Paris."}
ITEM = {"context": "The capital of France is", "choices": [" Paris.", " a small green frog."], "label": 0}


def benchmark(targets: str) -> dict:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    command = [EDGELLM, "benchmark", "--model", MODEL, "--targets", targets, "--peers", "llama.cpp", "--threads", "1,2"]
    command += ["--prompt-lengths", "16,40", "--generate", GENERATE, "--iterations", ITERATIONS, "--warmup", 1]
    command += ["--cold-starts", 1, "--output", OUTPUT]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads((OUTPUT / "report.json").read_text())


def check_rows(report: dict) -> None:
    native = {row["prompt_tokens"]: row for row in report["rows"] if row["target"] == "native"}
    assert len(native) == 2 and report["interrupted"] is False
    for row in report["rows"]:
        assert row["problem"] is None, row
        assert row["decode_tokens_per_second"]["n"] == ITERATIONS, row
        assert row["inter_token_ms"]["n"] == ITERATIONS * (GENERATE - 1), row
        assert row["peak_rss_bytes"]["max"] > 50e6 or sys.platform != "linux", row
        if row["target"] in ("native", "plugin", "browser"):
            same = native[row["prompt_tokens"]]
            assert row["answer_hash"] == same["answer_hash"] and row["logits_hash"] == same["logits_hash"], row
        print(
            f"{row['target']} {row['threads']}T, {row['prompt_tokens']} tokens: answer {row['answer_hash']}, "
            f"{row['decode_tokens_per_second']['median']:.1f} tokens per second"
        )
    for absent in report["absent"]:
        print(f"{absent['target']} was not measured: {absent['reason']}")


class Page(HTMLParser):
    """The page as the browser rendered it: the table of numbers, how many plots, the embedded JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.plots, self.json, self.rows = 0, "", []
        self.in_json = self.in_figures = self.in_cell = False

    def handle_starttag(self, tag: str, attributes: list) -> None:
        attributes = dict(attributes)
        self.plots += tag == "svg"
        self.in_json = tag == "script" and attributes.get("id") == "report"
        self.in_figures |= attributes.get("id") == "figures"
        self.in_cell = tag == "td" and self.in_figures
        if tag == "tr" and self.in_figures:
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = False
        if tag == "script":
            self.in_json = False
        if tag == "table":
            self.in_figures = False

    def handle_data(self, data: str) -> None:
        if self.in_json:
            self.json += data
        if self.in_cell:
            self.rows[-1].append(data)


def check_page(report: dict) -> None:
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is missing: run scripts/setup browser"
    url = (OUTPUT / "report.html").as_uri()
    with tempfile.TemporaryDirectory() as profile:
        common = [chromium, *CHROMIUM, f"--user-data-dir={profile}"]
        dumped = subprocess.run([*common, "--dump-dom", url], check=True, capture_output=True, text=True)
        picture = OUTPUT / "report.png"
        subprocess.run(
            [*common, f"--screenshot={picture}", "--window-size=1400,2400", url], check=True, capture_output=True
        )
    console = [line for line in dumped.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    assert picture.stat().st_size > 30_000, "the page looks empty"
    page = Page()
    page.feed(dumped.stdout)
    assert json.loads(page.json) == report, "the report in the page differs from report.json"
    lengths = len(report["settings"]["prompt_lengths"])
    assert page.plots == 5 * lengths + 4, f"{page.plots} plots"
    rows = [row for row in page.rows if row]
    checked = 0
    for row in rows:
        index, name, numbers = int(row[0].split(":")[0]), row[1], row[2:]
        figure = report["rows"][index][name]
        expected = [
            figure["n"],
            figure["mean"],
            figure["ci95"],
            *(figure[key] for key in ("median", "p50", "p95", "p99", "max")),
        ]
        for text, value in zip(numbers, expected, strict=True):
            shown = [float(part) for part in text.split()]
            wanted = value if isinstance(value, list) else [value]
            assert all(math.isclose(a, b) for a, b in zip(shown, wanted, strict=True)), (row, figure)
            checked += 1
    present = sum(isinstance(value, dict) and "ci95" in value for row in report["rows"] for value in row.values())
    assert len(rows) == present > 0, f"{len(rows)} of {present} figures"
    print(f"report.html: {page.plots} plots, {checked} numbers as in report.json, no console messages")


def check_evaluation() -> None:
    (OUTPUT / "item.jsonl").write_text(json.dumps(ITEM) + "\n")
    (OUTPUT / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
    command = [EDGELLM, "evaluate", "--model", MODEL, "--task", OUTPUT / "item.jsonl"]
    command += ["--questions", OUTPUT / "questions.jsonl", "--json"]
    out = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout
    report = json.loads(out)
    assert report["tasks"]["item"]["acc"]["value"] == 1.0, report
    assert report["questions"]["n"] == 1 and report["questions"]["bleu"] > 20, report
    print(f"evaluate: {report['tasks']['item']['n']} item, BLEU {report['questions']['bleu']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="native,plugin,browser")
    args = parser.parse_args()
    report = benchmark(args.targets)
    check_rows(report)
    check_page(report)
    check_evaluation()


if __name__ == "__main__":
    main()
