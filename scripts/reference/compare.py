#!/usr/bin/env python3
"""Compares `edgellm` with the float32 reference of the same weights.

For each format, quantized here from the GGUF file: perplexity, mean KL divergence from the reference's
next-token distribution, how often the most probable token is the same, and greedy continuations of ten
prompts. The token ids of 2,000 lines are compared once.

    .venv/bin/python scripts/reference/compare.py --text wikitext-2-test.raw --chunks 20 \\
        --row int8 --row int4 --row int4,precision=fast --row int3 --row int2 --row bitnet --json out.json

A row is a format with options: precision=fast, group=64, head=int4, kv=int8. --check turns the comparison into a
test: the KL divergence of int8 and int4 must stay below 0.002 (0.0005 in high precision), and at least 24 of 32
tokens must be the same for at least 8 prompts. In fast precision the limit is 0.008, and greedy texts are reported
but not checked: a small model soon reaches a near-tie that rounded activations decide differently.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from model import Model
from sources import gguf_path, sources
from tokenizer import from_gguf
from tokenizer_lines import LINES, differing_lines
from windows import Perplexity, log_softmax, read_text, scored, window_logits, windows

HERE = Path(__file__).resolve().parent
MAX_KL = {"fast": 0.008, "standard": 0.002, "high": 0.0005}
GREEDY_TOKENS, GREEDY_AGREE, GREEDY_PROMPTS = 32, 24, 8
PROMPTS = [
    "The sea is",
    "Once upon a time, in a village by the river,",
    "Water boils at a temperature of",
    "def fibonacci(n):\n",
    "The three primary colours are",
    "Dear Sir or Madam,\n\nI am writing to",
    "A good way to learn a language is",
    "In 1969, the first people",
    "To make bread, you need",
    "The difference between a virus and a bacterium is",
]


@dataclass
class Row:
    """A row of the table."""

    format: str
    options: dict[str, str]
    bytes: int = 0
    perplexity: float = 0.0
    stderr: float = 0.0
    kl: float = 0.0
    top1: float = 0.0
    positions: int = 0
    greedy: list[int] | None = None

    @property
    def name(self) -> str:
        return " ".join([self.format, *(f"{key}={value}" for key, value in self.options.items())])


def row_of(text: str) -> Row:
    format_, *options = text.split(",")
    return Row(format_, dict(option.split("=", 1) for option in options))


def edgellm(args: argparse.Namespace, *arguments: str | Path) -> str:
    command = [args.edgellm, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with status {done.returncode}")
    return done.stdout


def convert(args: argparse.Namespace, row: Row, output: Path) -> None:
    names = {"group": "--group-size", "head": "--head"}
    options = [part for key, value in row.options.items() if key in names for part in (names[key], value)]
    # Plain rounding: what is compared is the engine.
    options += ["--calibration", "none", "--skip-quality"]
    edgellm(args, "quantize", "--input", args.gguf, "--format", row.format, "--output", output, *options)
    row.bytes = output.stat().st_size


def run_options(row: Row) -> list[str]:
    names = {"precision": "--precision", "kv": "--kv-cache"}
    return [part for key, value in row.options.items() if key in names for part in (names[key], value)]


class Reference:
    """The reference's results, computed once for all rows. Logits of scored positions are kept in a file."""

    def __init__(self, args: argparse.Namespace, folder: Path):
        self.model = Model(str(args.gguf))
        self.tokenizer = from_gguf(self.model.reader)
        self.perplexity = Perplexity()
        self.path = folder / "reference.f32"
        self.targets: list[np.ndarray] = []
        tokens = self.encode(read_text(args.text))
        with self.path.open("wb") as out:
            for window in windows(self.model, tokens, args.context, args.chunks):
                logits, targets = window_logits(self.model, window)
                self.perplexity.add(logits, targets)
                self.targets.append(targets)
                logits.astype("<f4").tofile(out)
                print(f"reference [{len(self.targets)}] {self.perplexity.value:.4f}", file=sys.stderr)
        self.greedy = {}
        if args.greedy:
            self.greedy = {p: self.model.greedy(self.encode(p), GREEDY_TOKENS) for p in PROMPTS}

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def compare_logits(args: argparse.Namespace, row: Row, file: Path, reference: Reference, folder: Path) -> None:
    saved = folder / "logits.f32"
    out = edgellm(
        args, "perplexity", "--model", file, "--text", args.text, "--context", args.context,
        "--chunks", len(reference.targets), *run_options(row), "--save-logits", saved, "--json",
    )  # fmt: skip
    report = json.loads(out)
    row.perplexity, row.stderr = report["perplexity"], report["stderr"]
    positions = scored(args.context)
    shape = (len(reference.targets), positions.stop - positions.start, reference.model.vocab_size)
    ours = np.memmap(saved, "<f4", "r", shape=shape)
    theirs = np.memmap(reference.path, "<f4", "r", shape=shape)
    kl, same, check = 0.0, 0, Perplexity()
    for a, b, targets in zip(theirs, ours, reference.targets, strict=True):
        expected, actual = log_softmax(a), log_softmax(b)
        kl += float((np.exp(expected) * (expected - actual)).sum())
        same += int((expected.argmax(axis=-1) == actual.argmax(axis=-1)).sum())
        check.add(b, targets)
    row.positions = shape[0] * shape[1]
    row.kl, row.top1 = kl / row.positions, same / row.positions
    if report["tokens"] != row.positions or abs(check.value / row.perplexity - 1) > 1e-4:
        saved_logits = f"the saved logits give {check.value} over {row.positions} positions"
        raise SystemExit(f"{row.name}: the report is {report}, but {saved_logits}")
    saved.unlink()


def until_end(tokens: list[int], ends: set[int]) -> list[int]:
    """The tokens before the first end token, which edgellm does not print."""
    stop = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:stop]


def compare_greedy(args: argparse.Namespace, row: Row, file: Path, reference: Reference) -> None:
    row.greedy = []
    for prompt, expected in reference.greedy.items():
        out = edgellm(
            args, "generate", "--model", file, "--prompt", prompt, "--raw", "--temperature", "0",
            "--max-tokens", GREEDY_TOKENS, *run_options(row), "--json",
        )  # fmt: skip
        report = json.loads(out)
        if report["prompt_token_ids"] != reference.encode(prompt):
            raise SystemExit(f"{prompt!r}: token ids {report['prompt_token_ids']} differ from the reference's")
        actual = report["token_ids"]
        if report["finish_reason"] == "stop" and until_end(expected, args.ends) == until_end(actual, args.ends):
            row.greedy.append(GREEDY_TOKENS)  # both ended at the same position
        else:
            row.greedy.append(sum(a == b for a, b in zip(actual, expected, strict=False)))


def markdown(reference: Reference, rows: list[Row]) -> str:
    table = [
        ["format", "file, MB", "perplexity", "KL divergence", "same top token"],
        ["---"] * 5,
        ["float32 reference", "-", f"{reference.perplexity.value:.3f}", "0", "1"],
    ]
    for row in rows:
        size = f"{row.bytes / 1e6:.1f}"
        perplexity = f"{row.perplexity:.3f}" if row.perplexity < 1000 else f"{row.perplexity:.1e}"
        table.append([row.name, size, perplexity, f"{row.kl:.4f}", f"{row.top1:.3f}"])
    if reference.greedy:
        agree = [sum(n >= GREEDY_AGREE for n in row.greedy or []) for row in rows]
        column = [
            "greedy texts that agree",
            "---",
            f"{len(PROMPTS)} of {len(PROMPTS)}",
            *(f"{n} of {len(PROMPTS)}" for n in agree),
        ]
        table = [[*line, cell] for line, cell in zip(table, column, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def failures(rows: list[Row], wrong_lines: int) -> list[str]:
    out = [f"{wrong_lines} lines have other token ids"] if wrong_lines else []
    for row in rows:
        if row.format not in ("int8", "int4"):
            continue
        precision = row.options.get("precision", "standard")
        if row.kl > MAX_KL[precision]:
            out.append(f"{row.name}: KL divergence {row.kl:.4f} is over {MAX_KL[precision]}")
        if precision != "fast" and row.greedy and sum(n >= GREEDY_AGREE for n in row.greedy) < GREEDY_PROMPTS:
            out.append(f"{row.name}: greedy texts agree in {row.greedy} of {GREEDY_TOKENS} tokens")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgellm", default="target/release/edgellm", help="the program to test")
    parser.add_argument("--model", default="smollm2-135m-instruct", choices=sorted(sources()))
    parser.add_argument("--gguf", type=Path, help="use this file instead of the model's")
    parser.add_argument("--text", type=Path, default=HERE / "data" / "sample.txt")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--chunks", type=int, help="number of windows [default: all]")
    parser.add_argument(
        "--row",
        dest="rows",
        type=row_of,
        action="append",
        help="default: int8, int4, int4,precision=fast, int4,precision=high",
    )
    parser.add_argument("--no-greedy", dest="greedy", action="store_false")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--check", action="store_true", help="fail if a result is outside its limit")
    args = parser.parse_args()
    args.gguf = args.gguf or gguf_path(args.model)
    rows = args.rows or [row_of(row) for row in ("int8", "int4", "int4,precision=fast", "int4,precision=high")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = Reference(args, folder)
        args.ends = set(reference.model.end_tokens())
        wrong_lines = None
        for row in rows:
            file = folder / "model.tmac2.bin"
            convert(args, row, file)
            if wrong_lines is None:
                wrong_lines, _ = differing_lines(args.edgellm, str(file), reference.tokenizer)
            compare_logits(args, row, file, reference, folder)
            if reference.greedy:
                compare_greedy(args, row, file, reference)
            file.unlink()
    print(markdown(reference, rows))
    print(f"\n{rows[0].positions} positions; token ids of {LINES} lines: {wrong_lines} differ")
    if args.json:
        figures = {
            "model": args.model,
            "text": args.text.name,
            "context": args.context,
            "chunks": len(reference.targets),
            "reference_perplexity": reference.perplexity.value,
            "wrong_lines": wrong_lines,
            "rows": [asdict(row) for row in rows],
        }
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    problems = failures(rows, wrong_lines or 0) if args.check else []
    for problem in problems:
        print(f"FAILED {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
