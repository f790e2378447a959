#!/usr/bin/env python3
"""Compares `edgellm evaluate` with lm-evaluation-harness, which runs the same weights with transformers.

    python3 -m venv target/harness && target/harness/bin/pip install torch lm-eval==0.4.12 transformers accelerate gguf
    python3 scripts/evaluation/fetch.py
    target/harness/bin/python scripts/evaluation/harness.py --gguf MODEL.gguf --format int8 [--limit 200]

The harness uses its own definitions of HellaSwag, ARC-Easy, PIQA and LAMBADA on the raw documents that fetch.py wrote;
transformers loads the weights of the GGUF file as float32. Prints a Markdown table; --output writes JSON. Exits with 1
if a score differs from the harness's by more than one standard error.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Our name, the harness's name, and the metrics that both have.
TASKS = [
    ("hellaswag", "hellaswag", ["acc", "acc_norm"]),
    ("arc_easy", "arc_easy", ["acc", "acc_norm"]),
    ("piqa", "piqa", ["acc", "acc_norm"]),
    ("lambada", "lambada_openai", ["acc"]),
]


def ours(args: argparse.Namespace) -> dict:
    command = [args.edgellm, "evaluate", "--model", str(args.gguf), "--format", args.format, "--json"]
    for name, _, _ in TASKS:
        command += ["--task", str(args.data / f"{name}.jsonl")]
    if args.limit:
        command += ["--limit", str(args.limit)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def task(manager, name: str, theirs: str, data: Path) -> dict:
    """The harness's definition of a task, applied to our copy of the documents."""
    from lm_eval.tasks._yaml_loader import load_yaml

    return load_yaml(manager.task_index[theirs].yaml_path) | {
        "task": theirs,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"validation": str(data / "raw" / f"{name}.jsonl")}},
        "training_split": None,
        "validation_split": "validation",
        "test_split": None,
        "fewshot_split": None,
    }


def theirs(args: argparse.Namespace) -> dict:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = str(args.gguf.parent), args.gguf.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    manager = TaskManager()
    tasks = [task(manager, name, harness, args.data) for name, harness, _ in TASKS]
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device="cpu")
    return simple_evaluate(lm, tasks=tasks, limit=args.limit or None, bootstrap_iters=0)["results"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--format", default="int8")
    parser.add_argument("--limit", type=int, default=200, help="documents per task; 0 for all")
    parser.add_argument("--data", type=Path, default=ROOT / "target" / "evaluation")
    parser.add_argument("--edgellm", default=str(ROOT / "target" / "release" / "edgellm"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    args.gguf = args.gguf.resolve()
    other = theirs(args)  # first, because it has more requirements that can be missing
    mine = ours(args)
    rows, worst = [], 0.0
    print("| task | metric | edgellm | lm-evaluation-harness | standard error | difference in standard errors |")
    print("|---|---|---|---|---|---|")
    for name, harness, metrics in TASKS:
        for metric in metrics:
            share = mine["tasks"][name][metric]
            value = other[harness][f"{metric},none"]
            # The harness's standard error is about the same, because the data is the same.
            difference = abs(share["value"] - value) / share["stderr"]
            worst = max(worst, difference)
            rows.append({"task": name, "metric": metric, "edgellm": share, "harness": value, "difference": difference})
            print(
                f"| {name} | {metric} | {share['value']:.4f} | {value:.4f} | {share['stderr']:.4f} | {difference:.2f} |"
            )
    if args.output:
        report = {"model": mine["model"], "limit": args.limit, "rows": rows}
        args.output.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(worst > 1.0)


if __name__ == "__main__":
    main()
