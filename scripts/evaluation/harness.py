#!/usr/bin/env python3
"""Compares `edgellm evaluate` with lm-evaluation-harness, which runs the same weights with transformers, or
with --server asks `/v1/completions` of `edgellm serve` for the scores (the harness's model `local-completions`).

    python3 -I -m venv target/harness
    target/harness/bin/pip install torch 'lm-eval[api]==0.4.12' transformers accelerate gguf
    python3 scripts/evaluation/fetch.py
    target/harness/bin/python scripts/evaluation/harness.py --gguf MODEL.gguf --format int8 [--limit 200] [--server]

The harness uses its own definitions of HellaSwag, ARC-Easy, PIQA and LAMBADA on the raw documents that fetch.py wrote.
transformers loads the weights of the GGUF file as float32; with --server it only tokenizes, and torch is not needed.
Prints a Markdown table; --output writes JSON. Exits with 1 if a score differs from the harness's by more than one
standard error, or with --server by more than one document.
"""

import argparse
import json
import subprocess
import sys
import tempfile
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
    for name in args.task:
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


def harness(args: argparse.Namespace, lm) -> dict:
    """The harness's scores of one of its models."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    tasks = [task(manager, name, theirs, args.data) for name, theirs, _ in TASKS if name in args.task]
    return simple_evaluate(lm, tasks=tasks, limit=args.limit or None, bootstrap_iters=0)["results"]


def over_server(args: argparse.Namespace) -> dict:
    sys.path += [str(ROOT / "scripts" / folder) for folder in ("server", "reference")]
    import gguf
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from transformers import PreTrainedTokenizerFast

    from process import Server
    from tokenizer import from_gguf

    with tempfile.TemporaryDirectory() as folder:
        # Built without torch, which transformers' own reader of GGUF files needs.
        tokenizer = from_gguf(gguf.GGUFReader(args.gguf))
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
        with Server("--format", args.format, model=str(args.gguf), edgellm=args.edgellm) as server:
            url = f"{server.url}/v1/completions"
            return harness(args, LocalCompletionsAPI(url, "huggingface", tokenizer=folder, batch_size=16))


def theirs(args: argparse.Namespace) -> dict:
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = str(args.gguf.parent), args.gguf.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    return harness(args, HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device="cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--format", default="int8")
    parser.add_argument("--limit", type=int, default=200, help="documents per task; 0 for all")
    names = [name for name, _, _ in TASKS]
    parser.add_argument("--task", choices=names, nargs="+", default=names)
    parser.add_argument("--server", action="store_true", help="score through a server in place of transformers")
    parser.add_argument("--data", type=Path, default=ROOT / "target" / "evaluation")
    parser.add_argument("--edgellm", default=str(ROOT / "target" / "release" / "edgellm"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    args.gguf = args.gguf.resolve()
    # First, because it has more requirements that can be missing.
    other = over_server(args) if args.server else theirs(args)
    mine = ours(args)
    rows, worst = [], 0.0
    unit = "documents" if args.server else "standard errors"
    print(f"| task | metric | edgellm | lm-evaluation-harness | standard error | difference in {unit} |")
    print("|---|---|---|---|---|---|")
    for name, name_there, metrics in TASKS:
        for metric in metrics if name in args.task else []:
            share = mine["tasks"][name][metric]
            value = other[name_there][f"{metric},none"]
            # The harness's standard error is about the same, because the data is the same.
            one = 1 / mine["tasks"][name]["n"] if args.server else share["stderr"]
            difference = abs(share["value"] - value) / one
            worst = max(worst, difference)
            rows.append({"task": name, "metric": metric, "edgellm": share, "harness": value, "difference": difference})
            print(
                f"| {name} | {metric} | {share['value']:.4f} | {value:.4f} | {share['stderr']:.4f} | {difference:.2f} |"
            )
    if args.output:
        report = {"model": mine["model"], "limit": args.limit, "rows": rows}
        args.output.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(worst > 1.001)


if __name__ == "__main__":
    main()
