#!/usr/bin/env python3
"""Makes the rows of the support example: what customers ask, the intent, and the answer that handbook.md has for it."""

import random
import re
import sys
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
sys.path.insert(0, str(DIRECTORY.parent))
from rows import Row, distinct, main, read_phrases, typed  # noqa: E402

SYSTEM = "You answer customers of a bicycle rental from its handbook."
LONGEST_ANSWER = 25  # words
# What comes before and after a question in some rows.
OPENINGS = ["hi, ", "hello, ", "good morning, ", "hi there, ", "quick question: ", "excuse me, "]
CLOSINGS = [" Thanks!", " Thank you.", " Thanks in advance."]


def answers(handbook: str) -> dict[str, str]:
    """The answer of each section of the handbook: its intent, and its first paragraph."""
    result = {}
    for heading, sentence in re.findall(r"^## (.+)\n\n(.+)$", handbook, re.MULTILINE):
        assert len(sentence.split()) <= LONGEST_ANSWER, sentence
        intent = heading.lower().replace(" ", "_")
        result[intent] = f"intent: {intent}\n{sentence}"
    return result


def make(section: str, phrases: list[str], answer: str, training: bool) -> list[Row]:
    """Each phrase as it is; in training, half of them once more with a greeting or thanks."""
    generator = random.Random(section)
    result = [Row(phrase, typed(phrase, generator), answer) for phrase in phrases]
    for phrase in generator.sample(phrases, len(phrases) // 2) if training else []:
        question = phrase if phrase[-1] in ".?!" else phrase + "."
        if generator.random() < 0.6:
            question = generator.choice(OPENINGS) + question
        else:
            question += generator.choice(CLOSINGS)
        result.append(Row(phrase, typed(question, generator, terse=0.15), answer))
    return result


def rows() -> tuple[list[Row], list[Row]]:
    sentences = answers((DIRECTORY / "handbook.md").read_text(encoding="utf-8"))
    phrases = read_phrases(DIRECTORY / "phrases.txt")
    assert {section.partition(", ")[0] for section in phrases} == set(sentences)
    training, heldout = [], []
    for section, lines in phrases.items():
        intent, _, rest = section.partition(", ")
        (heldout if rest else training).extend(make(section, lines, sentences[intent], training=not rest))
    training = distinct(training)
    random.Random(1).shuffle(training)
    return training, heldout


if __name__ == "__main__":
    main(DIRECTORY, SYSTEM, *rows())
