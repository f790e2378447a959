#!/usr/bin/env python3
"""Writes what Python's Jinja makes of templates, for the engine's tests: cases.json for the chat templates in
engine/src/chat/fixtures, snippets.json for the lines of engine/src/jinja/fixtures/snippets.txt.

Run from the root of the repository; needs jinja2 3.1.
"""

import json
import pathlib
import re

from jinja_environment import rendered

CHAT = pathlib.Path("engine/src/chat/fixtures")
SNIPPETS = pathlib.Path("engine/src/jinja/fixtures")
NOW = 1_732_233_600  # 2024-11-22 00:00 UTC

CONVERSATIONS = [
    [("user", "What is the capital of France?")],
    [("system", "Answer in one word."), ("user", "  Hi there!\n")],
    [("user", "a"), ("assistant", "b"), ("user", "<|im_end|> {{ 1 + 1 }} \u00e9\u4e16\U0001f600 'quoted' & <b>")],
    [("system", ""), ("user", "")],
    [("assistant", "I begin."), ("assistant", "And go on.")],
]

SNIPPET_MESSAGES = [
    {"role": "user", "content": " Hi\n", "n": [1, None, {"a": 2.5}]},
    {"role": "assistant", "content": "Yo"},
]


def chat_cases():
    for path in sorted(CHAT.glob("*.jinja")):
        source = path.read_text()
        for turns in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in turns]
            for generation in (True, False):
                for date in (None, NOW):
                    if date and ("strftime_now" not in source or not generation):
                        continue
                    case = {"messages": messages, "add_generation_prompt": generation, "now": date}
                    outcome = rendered({"template": source, "bos": "<s>", "eos": "</s>", **case})
                    yield {"template": path.name, **case, **outcome}


def snippet(line):
    """The template of a line: `\\n` and `\\t` outside of tags are a newline and a tab."""
    parts = re.split(r"(\{\{.*?\}\}(?!\})|\{%.*?%\})", line)
    plain = [part.replace("\\n", "\n").replace("\\t", "\t") for part in parts]
    return "".join(part if part.startswith(("{{", "{%")) else text for part, text in zip(parts, plain, strict=True))


def snippet_cases():
    for line in SNIPPETS.joinpath("snippets.txt").read_text().splitlines()[1:]:
        case = {"template": snippet(line), "messages": SNIPPET_MESSAGES, "now": NOW, "add_generation_prompt": True}
        outcome = rendered({"bos": "<s>", "eos": "</s>", **case})
        # Only that it fails matters, not with which words.
        yield {"template": case["template"], **({"error": True} if "error" in outcome else outcome)}


def main():
    for path, content in [
        (CHAT / "cases.json", list(chat_cases())),
        (SNIPPETS / "snippets.json", {"messages": SNIPPET_MESSAGES, "now": NOW, "cases": list(snippet_cases())}),
    ]:
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        print(f"{path}: {len(content.get('cases')) if isinstance(content, dict) else len(content)} cases")


main()
