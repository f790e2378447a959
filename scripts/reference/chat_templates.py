#!/usr/bin/env python3
"""Writes engine/src/chat/fixtures/cases.json: the chat templates in that folder as rendered by Python's Jinja.

Jinja is configured as in Hugging Face transformers. Run from the root of the repository; needs jinja2 3.1.
"""

import json
import pathlib
from datetime import UTC, datetime

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

FIXTURES = pathlib.Path("engine/src/chat/fixtures")
NOW = 1_732_233_600  # 2024-11-22 00:00 UTC

CONVERSATIONS = [
    [("user", "What is the capital of France?")],
    [("system", "Answer in one word."), ("user", "  Hi there!\n")],
    [("user", "a"), ("assistant", "b"), ("user", "<|im_end|> {{ 1 + 1 }} \u00e9\u4e16\U0001f600 'quoted' & <b>")],
    [("system", ""), ("user", "")],
    [("assistant", "I begin."), ("assistant", "And go on.")],
]


def environment(date):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def raise_exception(message):
        raise TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    if date:
        env.globals["strftime_now"] = lambda f: datetime.fromtimestamp(NOW, UTC).strftime(f)
    return env


def main():
    cases = []
    for path in sorted(FIXTURES.glob("*.jinja")):
        for turns in CONVERSATIONS:
            for generation in (True, False):
                for date in (False, True):
                    source = path.read_text()
                    if date and ("strftime_now" not in source or not generation):
                        continue
                    messages = [{"role": role, "content": content} for role, content in turns]
                    try:
                        text = (
                            environment(date)
                            .from_string(source)
                            .render(
                                messages=messages,
                                add_generation_prompt=generation,
                                bos_token="<s>",
                                eos_token="</s>",
                                tools=None,
                                documents=None,
                            )
                        )
                        outcome = {"expected": text}
                    except TemplateError as error:
                        outcome = {"refused": error.message}
                    cases.append(
                        {
                            "template": path.name,
                            "messages": messages,
                            "add_generation_prompt": generation,
                            "date": NOW if date else None,
                            **outcome,
                        }
                    )
    (FIXTURES / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
    print(f"{len(cases)} cases")


main()
