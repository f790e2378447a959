#!/usr/bin/env python3
"""Makes the rows of the plant care example: questions about the facts of plants.csv, and one sentence for each fact."""

import csv
import random
import sys
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
sys.path.insert(0, str(DIRECTORY.parent))
from rows import Row, distinct, main, read_phrases, typed  # noqa: E402

SYSTEM = "Answer questions about houseplants in one sentence."
TRAINING_ROWS = 8  # for each fact
HELDOUT_ROWS = 2


def with_article(plant: str) -> str:
    return ("an " if plant[0] in "aeiouA" else "a ") + plant


def answers(facts: dict[str, str]) -> dict[str, str]:
    """The sentence for each fact of a plant."""
    plant = with_article(facts["plant"])
    subject = plant[0].upper() + plant[1:]
    toxic = "toxic" if facts["toxic_to_pets"] == "yes" else "not toxic"
    return {
        "water": f"Water {plant} every {facts['summer_days']} days in summer"
        f" and every {facts['winter_days']} days in winter.",
        "light": f"{subject} does well in {facts['light']}.",
        "temperature": f"Keep {plant} above {facts['lowest_celsius']} °C.",
        "pets": f"{subject} is {toxic} to cats and dogs.",
    }


def make(plants: list[dict[str, str]], section: str, phrases: list[str], rows: int) -> list[Row]:
    """Rows of one kind of fact: `rows` for each plant, every phrase about equally often."""
    generator = random.Random(section)
    fact = section.partition(", ")[0]
    order: list[str] = []
    result = []
    for facts in plants:
        plant = facts["plant"]
        asked: list[str] = []
        while len(asked) < rows:
            if not set(order) - set(asked):
                order += generator.sample(phrases, len(phrases))
            phrase = next(phrase for phrase in order if phrase not in asked)
            order.remove(phrase)
            asked.append(phrase)
            question = phrase.replace("{a plant}", with_article(plant)).replace("a {plant}", with_article(plant))
            question = question.replace("{plant}", plant)
            result.append(Row(phrase, typed(question, generator, terse=0.25), answers(facts)[fact]))
    return result


def rows() -> tuple[list[Row], list[Row]]:
    with (DIRECTORY / "plants.csv").open(encoding="utf-8", newline="") as file:
        plants = list(csv.DictReader(file))
    training, heldout = [], []
    for section, phrases in read_phrases(DIRECTORY / "phrases.txt").items():
        if section.endswith(", held out"):
            heldout += make(plants, section, phrases, HELDOUT_ROWS)
        else:
            training += make(plants, section, phrases, TRAINING_ROWS)
    training, heldout = distinct(training), distinct(heldout)
    random.Random(1).shuffle(training)
    return training, heldout


if __name__ == "__main__":
    main(DIRECTORY, SYSTEM, *rows())
