#!/usr/bin/env python3
"""Serves a model file, asks it a held-out question over HTTP as an OpenAI client would, and compares the answer.

python3 ask.py --model build/smart-home.tmac2.bin --rows heldout.jsonl [--row 3] [--schema schema.json]
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

EDGELLM = os.environ.get("EDGELLM", "edgellm")


def ask(address: str, messages: list[dict], schema: dict | None) -> str:
    """The model's answer to the messages."""
    body = {"messages": messages, "temperature": 0, "max_tokens": 128}
    if schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def same(answer: str, wanted: str, schema: dict | None) -> bool:
    """Whether an answer is right: with a schema as JSON, in which spaces do not count."""
    return json.loads(answer) == json.loads(wanted) if schema else answer.strip() == wanted.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--rows", required=True, type=Path)
    parser.add_argument("--row", type=int, default=1, help="number of the row, from 1 [%(default)s]")
    parser.add_argument("--schema", type=Path, help="JSON schema that the answer is held to")
    args = parser.parse_args()
    row = json.loads(args.rows.read_text(encoding="utf-8").splitlines()[args.row - 1])
    *messages, wanted = row["messages"]
    schema = json.loads(args.schema.read_text()) if args.schema else None
    server = subprocess.Popen(
        [EDGELLM, "serve", "--model", args.model, "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        # "listening on http://127.0.0.1:PORT" is the first line, and there is none if the server does not start.
        address = server.stdout.readline().split()[-1:]
        if not address:
            sys.exit(f"{EDGELLM} serve did not start")
        answer = ask(address[0], messages, schema)
    finally:
        server.terminate()
        server.wait()
    right = same(answer, wanted["content"], schema)
    print(f"question  {messages[-1]['content']}\nanswer    {answer}")
    print("          right" if right else f"expected  {wanted['content']}")
    sys.exit(not right)


if __name__ == "__main__":
    main()
