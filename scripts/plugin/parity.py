#!/usr/bin/env python3
"""parity.py MODEL COMPONENT...: prints the same as host/plugin/examples/parity.rs, from a Python host."""

import json
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "examples/embedding"))
from host import Guest, session_options

PROMPT = "The capital of France is"
TOKENS = 64


def logits_hash(hash_: int, logits: list[float]) -> int:
    for byte in struct.pack(f"<{len(logits)}f", *logits):
        hash_ = (hash_ ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return hash_


def main() -> None:
    model_path = Path(sys.argv[1])
    for component in sys.argv[2:]:
        guest = Guest(component, model_path.parent, memory=1 << 30)
        model = guest("[static]model.open", model_path.name)
        session = guest("[static]session.create", model, session_options())
        prompt = guest("[method]model.tokenize", model, PROMPT, True)
        logits = guest("[method]session.prefill", session, prompt)
        hash_ = logits_hash(0xCBF29CE484222325, logits)
        tokens = []
        for _ in range(TOKENS):
            tokens.append(logits.index(max(logits)))
            logits = guest("[method]session.decode", session, tokens[-1])
            hash_ = logits_hash(hash_, logits)
        kernels = guest("[method]model.info", model).kernels
        print(json.dumps({"host": "python", "kernels": kernels, "tokens": tokens, "hash": f"{hash_:016x}"}))


if __name__ == "__main__":
    main()
