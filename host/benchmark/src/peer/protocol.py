"""The worker's side of the benchmark's protocol, for engines with a Python API. Arguments: GGUF, threads, context."""

import json
import os
import site
import sys
import time

# `python -I` leaves the user's own packages out, with the working directory. A virtual environment has none.
if sys.prefix == sys.base_prefix and os.path.isabs(site.getusersitepackages()):
    site.addsitedir(site.getusersitepackages())

GGUF, THREADS, CONTEXT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# Libraries may print anything to stdout; only the protocol may reach the benchmark.
_lines = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(message):
    print(json.dumps(message), file=_lines, flush=True)


def absent(reason):
    say({"absent": reason})
    sys.exit(0)


def milliseconds(start):
    return (time.perf_counter() - start) * 1e3


def serve(ready, run):
    """Says `ready`, then answers each request with what `run(request)` returns."""
    say({"ready": ready})
    for line in sys.stdin:
        try:
            say({"done": run(json.loads(line))})
        except Exception as error:
            say({"failed": f"{type(error).__name__}: {error}"})


def timed_stream(pieces):
    """The answer of an engine that streams text, one piece per token: `pieces` is a lazy iterator over them."""
    start = last = time.perf_counter()
    text, ttft, gaps = [], 0.0, []
    for piece in pieces:
        now = time.perf_counter()
        if text:
            gaps.append((now - last) * 1e3)
        else:
            ttft = (now - start) * 1e3
        last = now
        text.append(piece)
    return {"token_ids": [], "text": "".join(text), "ttft_ms": ttft, "inter_token_ms": gaps}
