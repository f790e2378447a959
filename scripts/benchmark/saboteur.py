#!/usr/bin/env python3
"""Degrades a worker, to show that the benchmark detects it: saboteur.py HOW WORKER ARGUMENTS...

HOW is `slow` (all times 10 % longer), `token` (one wrong token in each answer) or `logits` (a wrong hash).
"""

import json
import subprocess
import sys

how, *command = sys.argv[1:]
worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def worse(done: dict) -> dict:
    if how == "slow":
        for key in ("prefill_ms", "ttft_ms"):
            done[key] *= 1.1
        done["inter_token_ms"] = [gap * 1.1 for gap in done["inter_token_ms"]]
    elif how == "token":
        done["token_ids"][len(done["token_ids"]) // 2] += 1
    elif how == "logits":
        done["logits_hash"] = done.get("logits_hash") and "0" * 16
    return done


print(worker.stdout.readline(), end="", flush=True)
for request in sys.stdin:
    worker.stdin.write(request)
    answer = json.loads(worker.stdout.readline())
    if "done" in answer:
        answer["done"] = worse(answer["done"])
    print(json.dumps(answer), flush=True)
worker.stdin.close()
worker.wait()
