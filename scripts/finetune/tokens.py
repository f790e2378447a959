"""Rows as tokens, by the model's own chat template: what the model is given, and what it is to answer.

Prompt and answer are tokenized apart, as they are when the model runs. Only answers have labels; texts are labels from
end to end.
"""

from dataclasses import dataclass
from pathlib import Path

from kinds import RowError
from reading import DataError

# What the loss leaves out, as torch has it.
IGNORED = -100


@dataclass
class Tokens:
    """A row, ready to train on."""

    input_ids: list[int]
    labels: list[int]

    def answers(self) -> int:
        return sum(label != IGNORED for label in self.labels)


def load_tokenizer(model: str, template: str | None = None):
    """The tokenizer of a model's folder or repository of the hub, with the chat template in the file `template`."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{model}: no tokenizer that transformers can load: {reason}") from None
    if tokenizer.eos_token_id is None:
        raise DataError(f"{model}: the tokenizer has no end-of-sequence token, so answers could not end")
    if template:
        try:
            tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{template}: no template can be read: {error}") from None
    return tokenizer


class Encoder:
    """Rows to tokens."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.end = tokenizer.eos_token

    def messages(self, row: dict) -> list[dict] | None:
        """The row as a conversation, if the model has a template and the row is one."""
        if "messages" in row:
            return row["messages"]
        if "prompt" not in row or not self.tokenizer.chat_template:
            return None
        system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
        return [
            *system,
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["completion"]},
        ]

    def prompt(self, row: dict) -> str:
        """What the model is given before the row's last answer, as text."""
        messages = self.messages(row)
        if messages is None:
            return row.get("prompt", "")
        last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
        return self.render(messages[:last], row.get("tools"), True)

    def answer(self, row: dict) -> str:
        """The row's last answer, as text."""
        messages = self.messages(row)
        if messages is None:
            return row.get("completion", row.get("text", ""))
        return [message["content"] for message in messages if message["role"] == "assistant"][-1]

    def encode(self, row: dict) -> list[Tokens]:
        """The row's tokens: several sequences if the template shows past answers otherwise than new ones.

        Raises `RowError` if the template cannot render the row.
        """
        messages = self.messages(row)
        if messages is None:
            # Models without a template begin texts with what their tokenizer adds.
            given = self.ids(row["prompt"], True) if "prompt" in row else []
            answer = row.get("completion", row.get("text")) + self.end
            return [joined([(given, False), (self.ids(answer, "text" in row), True)])]
        tools = row.get("tools")
        turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        whole, parts, at = self.render(messages[: turns[-1] + 1], tools, False), [], 0
        for turn in turns:
            before, after = (
                self.render(messages[:turn], tools, True),
                self.render(messages[: turn + 1], tools, False),
            )
            if not (whole.startswith(before) and after.startswith(before) and whole.startswith(after.rstrip())):
                return [self.last_answer(messages[: turn + 1], tools) for turn in turns]
            end = len(self.ended(after))
            parts += [(self.ids(whole[at : len(before)]), False), (self.ids(whole[len(before) : end]), True)]
            at = end
        return [joined(parts)]

    def last_answer(self, messages: list[dict], tools: list | None) -> Tokens:
        """Only the last answer: after exactly what the model is given when it runs."""
        before = self.render(messages[:-1], tools, True)
        after = self.render(messages, tools, False)
        answer = self.ended(after)[len(before) :] if after.startswith(before) else messages[-1]["content"] + self.end
        return joined([(self.ids(before), False), (self.ids(answer), True)])

    def ended(self, text: str) -> str:
        """Without the line break that templates put after the end of a turn: the model has stopped before it."""
        return text.rstrip() if text.rstrip().endswith(self.end) else text

    def render(self, messages: list[dict], tools: list | None, answer_follows: bool) -> str:
        if not self.tokenizer.chat_template:
            raise RowError("the model has no chat template, which conversations need: give one with --template FILE")
        try:
            return self.tokenizer.apply_chat_template(
                messages, tools=tools, tokenize=False, add_generation_prompt=answer_follows
            )
        except Exception as error:  # Templates raise what they like.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RowError(f"the model's chat template cannot render it: {reason}") from None

    def ids(self, text: str, special: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]


def joined(parts: list[tuple[list[int], bool]]) -> Tokens:
    ids = [token for tokens, _ in parts for token in tokens]
    labels = [token if learned else IGNORED for tokens, learned in parts for token in tokens]
    return Tokens(ids, labels)
