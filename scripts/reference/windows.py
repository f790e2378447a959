"""Perplexity over the same windows and scored positions as llama.cpp's llama-perplexity."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model import Model


def read_text(path: Path) -> str:
    """A text file as llama.cpp reads it: without the final line feed."""
    return path.read_bytes().decode("utf-8", errors="replace").removesuffix("\n")


def windows(model: Model, tokens: list[int], context: int, chunks: int | None) -> Iterator[list[int]]:
    """Consecutive windows of `context` tokens. BOS replaces the first token if the model expects one."""
    available = len(tokens) // context
    if available == 0:
        raise SystemExit(f"the text has {len(tokens)} tokens, fewer than one window of {context}")
    for chunk in range(min(available, chunks or available)):
        window = tokens[chunk * context : (chunk + 1) * context]
        if model.config.add_bos_token:
            window[0] = model.config.bos_token_id
        yield window


def scored(context: int) -> slice:
    """The positions whose next token is scored: the second half, without the last, which has none."""
    return slice(context // 2, context - 1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    top = logits.max(axis=-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))


def window_logits(model: Model, window: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits (scored, vocab) of the scored positions, and the token that follows each."""
    positions = scored(len(window))
    logits = model.forward(window, last=len(window) - positions.start)[:-1]
    return logits, np.asarray(window[positions.start + 1 :])


class Perplexity:
    """Running mean of the negative log likelihood, with llama-perplexity's standard error."""

    def __init__(self) -> None:
        self.losses: list[np.ndarray] = []

    def add(self, logits: np.ndarray, targets: np.ndarray) -> None:
        self.losses.append(-log_softmax(logits)[np.arange(len(targets)), targets])

    @property
    def value(self) -> float:
        return float(np.exp(np.concatenate(self.losses).mean()))

    @property
    def stderr(self) -> float:
        losses = np.concatenate(self.losses)
        return float(losses.std() / np.sqrt(len(losses) - 1) * self.value)
