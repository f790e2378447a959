"""What the generate.py files of the fine-tuning examples share: phrase files, rows, and the held-out rule."""

import argparse
import json
import random
import re
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# A training phrase of this many words must not occur inside a held-out phrase either.
CONTAINED_WORDS = 4


class Row(NamedTuple):
    """A question, its only right answer, and the phrase with placeholders that the question was made from."""

    phrase: str
    question: str
    answer: str


def read_phrases(path: Path) -> dict[str, list[str]]:
    """Reads sections of phrases: a heading `[name]`, then a phrase a line. `#` begins a comment line."""
    sections: dict[str, list[str]] = {}
    for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], [])
        elif line and not line.startswith("#"):
            section.append(line)
    return sections


def typed(text: str, random: random.Random, terse: float = 0.3) -> str:
    """The text as people type it: most with a capital letter, some in lower case without the last full stop."""
    if random.random() < terse:
        return text.lower().rstrip(".!?").replace("°c", "°C")
    return text[0].upper() + text[1:]


def normalized(text: str) -> str:
    """Lower case, without punctuation and accents: texts that are equal in this form count as the same."""
    text = unicodedata.normalize("NFKD", text.lower())
    return " ".join(re.findall(r"[^\W_]+", "".join(c for c in text if not unicodedata.combining(c) and c != "'")))


def distinct(rows: Iterable[Row]) -> list[Row]:
    """The rows without those that ask the same as an earlier one."""
    return list({normalized(row.question): row for row in reversed(list(rows))}.values())[::-1]


def looked_up(training: list[Row], heldout: list[Row]) -> int:
    """How many held-out rows have the answer of the training question that shares most words with them."""
    known = [(set(normalized(row.question).split()), row.answer) for row in training]

    def answer(question: str) -> str:
        words = set(normalized(question).split())
        return max(known, key=lambda row: len(words & row[0]) / len(words | row[0]))[1]

    return sum(answer(row.question) == row.answer for row in heldout)


def problems(training: list[Row], heldout: list[Row], new_phrases: bool) -> list[str]:
    """What breaks the rules: one answer to each question, and nothing held out that occurs in training."""
    found = []
    answers: dict[str, str] = {}
    for row in training + heldout:
        if answers.setdefault(normalized(row.question), row.answer) != row.answer:
            found.append(f"two answers: {row.question}")
    seen = {normalized(row.question) for row in training}
    found += [f"held out, but also in training: {row.question}" for row in heldout if normalized(row.question) in seen]
    unknown = {row.answer for row in heldout} - {row.answer for row in training}
    phrases = {normalized(row.phrase) for row in training}
    long = [f" {phrase} " for phrase in phrases if len(phrase.split()) >= CONTAINED_WORDS]
    for phrase in sorted({normalized(row.phrase) for row in heldout}) if new_phrases else []:
        if phrase in phrases or any(other in f" {phrase} " for other in long):
            found.append(f"held-out phrase that training has: {phrase}")
    print(f"{len(training)} training rows from {len(phrases)} phrases, {len({row.answer for row in training})} answers")
    print(f"{len(heldout)} held-out rows, {len(unknown)} answers among them that training does not have")
    print(f"{looked_up(training, heldout)} of them have the answer of the most similar training question")
    return found


def main(directory: Path, system: str, training: list[Row], heldout: list[Row], new_phrases: bool = True) -> None:
    """Writes dataset.jsonl and heldout.jsonl, or with --check compares them with what would be written."""
    parser = argparse.ArgumentParser(description="Writes dataset.jsonl and heldout.jsonl.")
    parser.add_argument("--check", action="store_true", help="only compare: fail if the files differ or break a rule")
    check = parser.parse_args().check
    found = problems(training, heldout, new_phrases)
    for name, rows in [("dataset.jsonl", training), ("heldout.jsonl", heldout)]:
        lines = []
        for row in rows:
            contents = [("system", system), ("user", row.question), ("assistant", row.answer)]
            messages = [{"role": role, "content": content} for role, content in contents]
            lines.append(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
        path = directory / name
        if not check:
            path.write_text("".join(lines), encoding="utf-8", newline="\n")
        elif not path.exists() or path.read_text(encoding="utf-8") != "".join(lines):
            found.append(f"{name} differs: run generate.py")
    if found:
        sys.exit("\n".join(found))
