#!/usr/bin/env python3
"""Makes the rows of the smart home example: a request and its command, one line of JSON that schema.json allows."""

import json
import random
import sys
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
sys.path.insert(0, str(DIRECTORY.parent))
from rows import Row, distinct, main, read_phrases, typed  # noqa: E402

SYSTEM = "Turn the request into one JSON command."
SCHEMA = json.loads((DIRECTORY / "schema.json").read_text(encoding="utf-8"))
# What people call each room.
ROOMS = {
    "kitchen": ["kitchen"],
    "living_room": ["living room", "living room", "lounge"],
    "bedroom": ["bedroom"],
    "bathroom": ["bathroom"],
    "office": ["office", "office", "study"],
    "hallway": ["hallway", "hallway", "hall"],
    "garage": ["garage"],
}
VALUES = {"light": range(10, 101, 10), "blinds": range(10, 101, 10), "heating": range(18, 24)}
GREETINGS = ["hey, ", "hi, ", "ok, ", "hello, "]


def check(command: dict) -> None:
    """Holds a command to the schema: its properties, their order, and their values."""
    properties = SCHEMA["properties"]
    assert [name for name in properties if name in command] == list(command), command
    assert set(SCHEMA["required"]) <= set(command), command
    for name in SCHEMA["required"]:
        assert command[name] in properties[name]["enum"], command
    bounds = properties["value"]
    assert ("value" in command) == (command["action"] == "set"), command
    assert bounds["minimum"] <= command.get("value", 0) <= bounds["maximum"], command


def make(random: random.Random, section: str, phrases: list[str], rows: int, training: bool) -> list[Row]:
    """Rows of one device and action: every phrase and every room about equally often."""
    device, action = section.split()
    rooms = list(ROOMS)
    random.shuffle(rooms)
    # Every value once, in an order of chance, and again.
    values: list[int] = []
    result = []
    for i in range(rows):
        turn, index = divmod(i, len(phrases))
        phrase, _, meant = phrases[index].partition(" = ")
        room = rooms[(index + turn) % len(rooms)]
        values = values or random.sample(VALUES.get(device, [0]), len(VALUES.get(device, [0])))
        value = int(meant) if meant else values.pop()
        question = phrase.format(room=random.choice(ROOMS[room]), value=value)
        if training and random.random() < 0.12:
            question = random.choice(GREETINGS) + question
        command = {"device": device, "room": room, "action": action}
        if action == "set":
            command["value"] = value
        check(command)
        result.append(Row(phrase, typed(question, random), json.dumps(command, separators=(",", ":"))))
    return result


def rows() -> tuple[list[Row], list[Row]]:
    phrases = read_phrases(DIRECTORY / "phrases.txt")
    training, heldout = [], []
    for section, lines in phrases.items():
        # A generator for each section: a change of one leaves the others as they are.
        generator = random.Random(section)
        name, _, rest = section.partition(", ")
        if rest:
            heldout += make(generator, name, lines, len(ROOMS), training=False)
        else:
            training += make(generator, name, lines, 54 if name.endswith("set") else 36, training=True)
    training = distinct(training)
    random.Random(1).shuffle(training)
    return training, heldout


if __name__ == "__main__":
    main(DIRECTORY, SYSTEM, *rows())
