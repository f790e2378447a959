#!/usr/bin/env python3
"""BLEU scores of some corpora by sacrebleu, which host/benchmark/tests/bleu.rs compares with.

pip install sacrebleu==2.6.0
python3 scripts/evaluation/bleu_fixtures.py >host/benchmark/tests/bleu.json
"""

import json

import sacrebleu

PAIRS = [
    ("The cat sat on the mat.", "The cat sat on the mat."),
    ("The cat is on the mat, isn't it?", "There is a cat on the mat, isn't there?"),
    ("It costs 1,234.56 dollars (about 5-6% more).", "It costs 1,234.50 dollars, about 5-6 % more."),
    ("He said: &quot;no&quot; & left...", 'He said: "no" and left.'),
    ("Ein Vogel, zwei Vögel; drei – nein, vier!", "Ein Vogel, zwei Vögel, drei; nein: vier!"),
    ("one two\nthree four-\nfive", "one two three fourfive"),
    ("a/b [c] {d} ~e `f` x=y #1 @2", "a / b [c] {d} ~ e `f` x = y # 1 @2"),
    ("日本語 の 文 。", "日本語 の 文章 。"),
    ("", "Something was expected here."),
    ("Paris", "Paris"),
    ("Nothing in common whatsoever here", "Completely different words stand there"),
    ("the the the the the the the", "the cat the dog"),
]
CORPORA = [PAIRS, PAIRS[:2], PAIRS[2:4], PAIRS[4:8], [PAIRS[8]], [PAIRS[9]], [PAIRS[10]], [PAIRS[11]], PAIRS[9:11]]


def score(pairs: list[tuple[str, str]]) -> float:
    return sacrebleu.corpus_bleu([sentence for sentence, _ in pairs], [[reference for _, reference in pairs]]).score


print(json.dumps([{"pairs": pairs, "bleu": score(pairs)} for pairs in CORPORA], ensure_ascii=False, indent=1))
