#!/usr/bin/env python3
"""Makes the rows of the translation example: frames of a traveller's phrasebook, with the nouns of lexicon.txt."""

import random
import re
import sys
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).resolve().parent
sys.path.insert(0, str(DIRECTORY.parent))
from rows import Row, main, read_phrases  # noqa: E402

SYSTEM = "Translate into Spanish."
TRAINING_ROWS = 7  # for each frame with one noun, at most
PAIR_ROWS = 9  # for each frame with two
SEEN_FRAMES = 64  # training frames that have a row in heldout.jsonl, with nouns that training does not combine so
ALTERED_ROWS = 3  # for each held-out frame
SLOT = re.compile(r"\{(?:(\w+)(:?) )?([a-z]+)( 2)?\}")

# Words that agree with a noun: masculine, feminine, masculine plural, feminine plural.
AGREEING = {
    "el": ("el", "la", "los", "las"),
    "al": ("al", "a la", "a los", "a las"),
    "un": ("un", "una", "unos", "unas"),
    "otro": ("otro", "otra", "otros", "otras"),
    "este": ("este", "esta", "estos", "estas"),
    "mi": ("mi", "mi", "mis", "mis"),
    "es": ("es", "es", "son", "son"),
    "está": ("está", "está", "están", "están"),
    "abierto": ("abierto", "abierta", "abiertos", "abiertas"),
    "caro": ("caro", "cara", "caros", "caras"),
    "cuesta": ("cuesta", "cuesta", "cuestan", "cuestan"),
    "gusta": ("gusta", "gusta", "gustan", "gustan"),
    "duele": ("duele", "duele", "duelen", "duelen"),
    "this": ("this", "this", "these", "these"),
    "is": ("is", "is", "are", "are"),
    "hurts": ("hurts", "hurts", "hurt", "hurt"),
}


class Noun(NamedTuple):
    english: str
    spanish: str
    form: int  # index into the words that agree

    @classmethod
    def parse(cls, line: str) -> "Noun":
        english, _, rest = line.partition(" = ")
        spanish, _, form = rest.rpartition(", ")
        return cls(english, spanish, ["m", "f", "m pl", "f pl"].index(form))

    def agreeing(self, word: str) -> str:
        if word == "a":
            return "an" if self.english[0] in "aeiou" else "a"
        return AGREEING[word][self.form]


def slots(frame: str) -> list[str]:
    """The slots of a frame: kinds of nouns, with " 2" for the second of a kind."""
    return sorted({match[3] + (match[4] or "") for match in SLOT.finditer(frame)})


def fill(text: str, nouns: dict[str, Noun], language: str) -> str:
    def replace(match: re.Match) -> str:
        word, alone, kind, second = match.groups()
        noun = nouns[kind + (second or "")]
        parts = ([noun.agreeing(word)] if word else []) + ([] if alone else [getattr(noun, language)])
        return " ".join(parts)

    text = SLOT.sub(replace, text)
    first = next(i for i, character in enumerate(text) if character.isalpha())
    return text[:first] + text[first].upper() + text[first + 1 :]


class Decks:
    """Draws the nouns of each kind in an order of chance, all of them before any comes again."""

    def __init__(self, lexicon: dict[str, list[Noun]], seed: str) -> None:
        self.lexicon = lexicon
        self.random = random.Random(seed)
        self.decks: dict[str, list[Noun]] = {kind: [] for kind in lexicon}

    def draw(self, kind: str, unwanted: set[Noun]) -> Noun:
        deck = self.decks[kind]
        if not set(deck) - unwanted:
            deck += self.random.sample(self.lexicon[kind], len(self.lexicon[kind]))
        noun = next(noun for noun in deck if noun not in unwanted)
        deck.remove(noun)
        return noun

    def rows(self, frame: str, count: int, seen: set[tuple[Noun, ...]]) -> list[Row]:
        """Rows of a frame with combinations of nouns that are not in `seen`, and go there."""
        english, _, spanish = frame.partition(" = ")
        kinds = slots(english)
        assert kinds == slots(spanish), frame
        result = []
        while len(result) < count:
            nouns: dict[str, Noun] = {}
            for kind in kinds:
                single = {combination[0] for combination in seen} if len(kinds) == 1 else set()
                nouns[kind] = self.draw(kind.removesuffix(" 2"), single | set(nouns.values()))
            combination = tuple(nouns.values())
            if combination not in seen:
                seen.add(combination)
                result.append(Row(english, fill(english, nouns, "english"), fill(spanish, nouns, "spanish")))
        return result


def rows() -> tuple[list[Row], list[Row]]:
    lexicon = {kind: list(map(Noun.parse, lines)) for kind, lines in read_phrases(DIRECTORY / "lexicon.txt").items()}
    frames = read_phrases(DIRECTORY / "frames.txt")
    assert not set(frames["training"]) & set(frames["held out"])
    training = [Row(line, *line.split(" = ")) for line in frames["fixed"]]
    heldout = []
    train, hold = Decks(lexicon, "training"), Decks(lexicon, "held out")
    with_heldout = set(random.Random(1).sample(frames["training"], SEEN_FRAMES))
    for frame in frames["training"]:
        seen: set[tuple[Noun, ...]] = set()
        kinds = slots(frame.partition(" = ")[0])
        # A frame with one noun leaves a noun for heldout.jsonl.
        count = min(TRAINING_ROWS, len(lexicon[kinds[0]]) - 1) if len(kinds) == 1 else PAIR_ROWS
        training += train.rows(frame, count, seen)
        if frame in with_heldout:
            heldout += hold.rows(frame, 1, seen)
    for frame in frames["held out"]:
        heldout += hold.rows(frame, ALTERED_ROWS, set())
    random.Random(1).shuffle(training)
    return training, heldout


if __name__ == "__main__":
    main(DIRECTORY, SYSTEM, *rows(), new_phrases=False)
