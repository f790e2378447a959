#!/usr/bin/env python3
"""Checks a data set for fine-tuning, and splits it.

    python3 scripts/finetune/prepare_dataset.py --data mine.jsonl --model FOLDER --output prepared

Reads JSON lines, JSON, CSV, Parquet or a data set of the Hugging Face hub (OWNER/NAME), recognizes the kind of its rows
(docs/api/datasets.md), names every bad row, leaves out duplicates, empty answers and rows longer than the context, and
writes train.jsonl, validation.jsonl and plan.json. Without --model it needs nothing beyond Python, and neither
tokenizes nor renders the chat template.
"""

import argparse
import json
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from kinds import EmptyAnswer, RowError, kind_of, normalized
from reading import DataError, rows
from tokens import Encoder, load_tokenizer

# Places that a message lists.
LISTED = 10
# Rows for validation, at most, where no file is given for it.
VALIDATION = 200


def listed(places: list[str]) -> str:
    """`lines 3, 5 and 9`."""
    unit = places[0].split()[0]
    numbers = [place.removeprefix(f"{unit} ") for place in places]
    if len(numbers) == 1:
        return f"{unit} {numbers[0]}"
    rest = len(numbers) - LISTED
    if rest > 1:
        return f"{unit}s {', '.join(numbers[:LISTED])} and {rest} more"
    return f"{unit}s {', '.join(numbers[:-1])} and {numbers[-1]}"


class Part:
    """The rows of one source, checked."""

    def __init__(self, source: str, encoder: Encoder | None, args: argparse.Namespace):
        self.source, self.encoder, self.limit = source, encoder, args.max_length
        self.kind, self.rows, self.places, self.lengths, self.answers = "", [], [], [], []
        self.bad, self.skipped, self.read = [], defaultdict(list), 0
        seen, columns = {}, frozenset()
        for place, row in rows(source, args.split):
            self.read += 1
            try:
                if not columns:
                    self.kind, columns = kind_of(row)
                elif not columns <= row.keys() and (other := self.other_kind(row)):
                    raise RowError(f"a row of {other} among rows of {self.kind}; split the file")
                self.add(place, normalized(row, columns), seen)
            except EmptyAnswer:
                self.skipped["empty answer"].append(place)
            except RowError as error:
                self.bad.append((place, str(error)))
            except DataError as error:
                raise DataError(f"{source}, {place}: {error}") from None
        if not self.read:
            raise DataError(f"{source} has no rows")

    @staticmethod
    def other_kind(row: dict) -> str | None:
        try:
            return kind_of(row)[0]
        except DataError:
            return None

    def add(self, place: str, row: dict, seen: dict) -> None:
        key = json.dumps(row, sort_keys=True)
        if key in seen:
            self.skipped["duplicate"].append(place)
            return
        seen[key] = place
        length, answers = 0, 0
        if self.encoder:
            tokens = self.encoder.encode(row)
            length = max(len(sequence.input_ids) for sequence in tokens)
            answers = sum(sequence.answers() for sequence in tokens)
            if messages := self.encoder.messages(row):
                row = {"messages": messages} | ({"tools": row["tools"]} if row.get("tools") else {})
            if length > self.limit:
                self.skipped[f"longer than {self.limit:,} tokens"].append(place)
                return
        self.rows.append(row)
        self.places.append(place)
        self.lengths.append(length)
        self.answers.append(answers)

    def check(self, skip_bad: bool) -> None:
        """Raises `DataError` if there are bad rows that may not be left out, or no good ones."""
        for place, reason in self.bad:
            print(f"{self.source}, {place}: {reason}", file=sys.stderr)
        if self.bad and not skip_bad:
            count = f"{len(self.bad)} of {self.read} rows cannot be trained on"
            raise DataError(f"{self.source}: {count}; mend them, or leave them out with --skip-bad-rows")
        if not self.rows:
            reasons = "; ".join(f"{reason}: {listed(places)}" for reason, places in self.skipped.items())
            raise DataError(f"{self.source}: no row is left to train on ({reasons or 'all are bad'})")


def question(row: dict) -> str:
    """What the row asks: rows with the same are not to be in both parts of a split."""
    if "messages" in row:
        return json.dumps([m for m in row["messages"] if m["role"] not in ("assistant", "system")], sort_keys=True)
    return row.get("prompt", row.get("text"))


def conflicts(part: Part) -> list[list[str]]:
    """Places of rows that ask the same and answer otherwise."""
    places = defaultdict(list)
    for row, place in zip(part.rows, part.places, strict=True):
        places[question(row)].append(place)
    return [found for found in places.values() if len(found) > 1]


def split(part: Part, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and validation; rows that ask the same stay together."""
    groups = defaultdict(list)
    for index, row in enumerate(part.rows):
        groups[question(row)].append(index)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    wanted = min(round(len(part.rows) * share), VALIDATION) if len(order) > 1 else 0
    validation = []
    while order and len(validation) < wanted:
        validation += order.pop()
    chosen = set(validation)
    return [index for index in range(len(part.rows)) if index not in chosen], sorted(validation)


def whole(row: dict) -> dict:
    """The row as `edgellm quantize --calibration-data` reads it."""
    if "messages" in row:
        return {"messages": row["messages"]}
    return {"text": row.get("text") or row["prompt"] + row["completion"]}


def write(path: Path, found: list[dict]) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    draft.replace(path)


def describe(part: Part, say) -> None:
    say(f"{part.source}: {part.read:,} rows of {part.kind}")
    for reason, places in part.skipped.items():
        say(f"  left out, {reason}: {listed(places)}")
    if part.bad:
        say(f"  left out, bad: {listed([place for place, _ in part.bad])}")
    for places in conflicts(part)[:LISTED]:
        say(f"  warning: {listed(places)} ask the same, and are answered differently")


def prepare(args: argparse.Namespace, say) -> dict:
    encoder = Encoder(load_tokenizer(args.model, args.template)) if args.model else None
    part = Part(args.data, encoder, args)
    part.check(args.skip_bad_rows)
    describe(part, say)
    leaks = []
    if args.evaluation_data:
        other = Part(args.evaluation_data, encoder, args)
        other.check(args.skip_bad_rows)
        describe(other, say)
        asked = {question(row): place for row, place in zip(other.rows, other.places, strict=True)}
        train = [index for index, row in enumerate(part.rows) if question(row) not in asked]
        leaks = [part.places[index] for index, row in enumerate(part.rows) if question(row) in asked]
        if leaks:
            say(f"  leak: {listed(leaks)} of {args.data} ask what {args.evaluation_data} asks: left out of training")
        validation = other.rows
    else:
        train, chosen = split(part, args.validation_share, args.seed)
        validation = [part.rows[index] for index in chosen]
    if not train:
        raise DataError(f"{args.data}: no row is left to train on: all are in {args.evaluation_data} too")
    plan = {
        "kind": part.kind,
        "rows": part.read,
        "train": len(train),
        "validation": len(validation),
        "bad": len(part.bad),
        "skipped": {reason: len(places) for reason, places in part.skipped.items()},
        "conflicts": len(conflicts(part)),
        "leaks": len(leaks),
    }
    summary = f"{len(train):,} rows to train on, {len(validation):,} to validate"
    if encoder:
        lengths = [part.lengths[index] for index in train]
        plan["tokens"] = {
            "all": sum(lengths),
            "answers": sum(part.answers[index] for index in train),
            "median": round(statistics.median(lengths)),
            "longest": max(lengths),
        }
        tokens = plan["tokens"]
        summary += f"; {tokens['all']:,} tokens, {tokens['answers']:,} of them answers, a row {tokens['median']:,}, "
        summary += f"the longest {tokens['longest']:,}"
    say(summary)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        write(args.output / "train.jsonl", [part.rows[index] for index in train])
        write(args.output / "validation.jsonl", validation)
        write(args.output / "calibration.jsonl", [whole(part.rows[index]) for index in train])
        write(args.output / "plan.json", [plan])
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="file, or name of a data set of the Hugging Face hub")
    parser.add_argument("--evaluation-data", help="rows to validate on [default: a part of --data]")
    parser.add_argument("--output", type=Path, help="folder to write to [default: only check]")
    parser.add_argument("--model", help="folder or repository of the model, for its tokenizer and chat template")
    parser.add_argument("--template", help="file with a chat template, in place of the model's")
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of a row, at most [%(default)s]")
    parser.add_argument("--validation-share", type=float, default=0.1, help="of the rows, at most 200 [%(default)s]")
    parser.add_argument("--split", default="train", help="of a data set of the hub [%(default)s]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-bad-rows", action="store_true", help="train without the rows that are bad")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--quiet", action="store_true", help="say only what is bad")
    args = parser.parse_args()
    if not 0 <= args.validation_share < 1:
        parser.error(f"--validation-share {args.validation_share}: give a share from 0 to below 1")
    try:
        plan = prepare(args, lambda line: args.quiet or print(line, file=sys.stderr))
    except KeyboardInterrupt:
        sys.exit(130)
    except DataError as error:
        sys.exit(f"error: {error}")
    if args.json:
        print(json.dumps(plan))


if __name__ == "__main__":
    main()
