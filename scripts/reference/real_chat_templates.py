#!/usr/bin/env python3
"""Compares the engine's chat templates with Python's Jinja, byte for byte, on the templates of real models.

They are those that the source distribution of llama-cpp-python carries, some 70, each with its model's licence;
sources.py downloads it. `--templates FOLDER` takes others.
"""

import argparse
import itertools
import json
import subprocess
from pathlib import Path

from jinja_environment import rendered
from sources import llama_cpp

NOW = 1_732_233_600  # 2024-11-22 00:00 UTC

# What Python fails on and the engine does not: its filters give lists, Python's give generators, which are no JSON.
RENDERED_ONLY_HERE = {"llama-cpp-deepseek-r1.jinja"}


def call(id, arguments):
    return {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'The weather "now" in a <city>',
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name"},
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "noon",
            "description": "Noon",
            "parameters": {"type": "object", "properties": {}},
            "strict": True,
        },
    },
]

CONVERSATIONS = {
    "question": {"messages": [{"role": "user", "content": "Hi there!"}]},
    "turns": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "  Na\u00efve \u4e16\u754c?\n"},
            {"role": "assistant", "content": '<think>\nhm\n</think>\n\nYes & "no".', "reasoning_content": "hm"},
            {"role": "user", "content": "It's <b>?"},
        ]
    },
    "tools": {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}],
        "tools": TOOLS,
    },
    "calls": {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    call("abcdefghi", {"city": "Rome", "n": 1.5, "d": [1, None, True]}),
                    call("abcdefghj", {"city": "Oslo"}),
                ],
            },
            {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": '{"t": 20}'},
            {"role": "tool", "tool_call_id": "abcdefghj", "name": "get_weather", "content": "10"},
            {"role": "assistant", "content": "20 and 10 degrees."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": TOOLS,
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renderer", required=True, help="the engine's example chat_template")
    parser.add_argument("--templates", type=Path, help="a folder of .jinja files")
    args = parser.parse_args()
    paths = sorted((args.templates or llama_cpp() / "templates").glob("*.jinja"))
    cases = []
    for path, (name, conversation), generation in itertools.product(paths, CONVERSATIONS.items(), (True, False)):
        source = path.read_bytes().decode()
        case = {"template": source, "bos": "<s>", "eos": "</s>", "now": NOW, "add_generation_prompt": generation}
        cases.append((f"{path.name}, {name}", {**case, **conversation}))
    lines = "".join(json.dumps(case) + "\n" for _, case in cases)
    answers = subprocess.run([args.renderer], input=lines, capture_output=True, text=True, check=True).stdout
    wrong = texts = 0
    for (name, case), answer in zip(cases, answers.split("\n"), strict=False):
        ours, theirs = json.loads(answer), rendered(case)
        texts += "text" in theirs
        if ours == theirs or ("error" in ours and "error" in theirs):
            continue
        if "error" in theirs and name.split(",")[0] in RENDERED_ONLY_HERE:
            continue
        wrong += 1
        print(f"{name}:\n  jinja2 {json.dumps(theirs)[:2000]}\n  engine {json.dumps(ours)[:2000]}")
    print(f"{len(paths)} templates, {len(cases)} prompts, {texts} of them texts: {wrong} differ from jinja2's")
    if wrong or not texts:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
