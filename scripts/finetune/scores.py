"""Scores of answers, as `edgellm evaluate --questions` has them: exact match, and BLEU as sacrebleu's default."""

import math


def exact_match(answers: list[str], expected: list[str]) -> dict:
    """The share of answers that are the expected ones, but for white space around them, and its standard error."""
    count = len(answers)
    value = sum(given.strip() == right.strip() for given, right in zip(answers, expected, strict=True)) / count
    return {"value": value, "stderr": math.sqrt(value * (1 - value) / max(count - 1, 1))}


def bleu(answers: list[str], expected: list[str]) -> float:
    import sacrebleu

    return sacrebleu.corpus_bleu([text.strip() for text in answers], [[text.strip() for text in expected]]).score
