#!/usr/bin/env python3
"""Load test of `edgellm serve`: concurrent streaming clients, compared with a single client.

    scripts/setup python && cargo build --release -p edgellm-host
    .venv/bin/python benches/server_load.py --clients 16 --seconds 180 --json benches/results/server_load.json

Every client asks one question after the other, each with its own seed; every answer is compared with that of the same
request alone, on another server. Then the first token of a 32-token prompt at idle is timed. Standard library only.
"""

import argparse
import http.client
import json
import statistics
import sys
import threading
import time
from pathlib import Path

from machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "server"))
import itertools

from process import MODEL, Server

TOPICS = (
    "the sea", "a clock that runs backwards", "how bread rises", "the moon", "a small town in winter", "trains",
    "why leaves are green", "a lighthouse", "the first computer", "chess", "rain", "an old map", "honey", "glass",
    "mountains", "a letter that came late",
)  # fmt: skip


def request(index: int, tokens: int) -> dict:
    """Question `index`: the same index always gives the same question and seed."""
    content = f"Write about {TOPICS[index % len(TOPICS)]}. Be number {index // len(TOPICS) + 1}."
    # The model's end tokens are forbidden, so that all answers have the same length.
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "seed": index,
        "max_tokens": tokens,
        "temperature": 0.8,
        "logit_bias": {"0": -100, "2": -100},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def ask(port: int, body: dict) -> tuple[str, list[float], int]:
    """The answer's text, the times of its chunks since the request, and its tokens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    start = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {answer.read()[:200]}")
    text, times, tokens, done = [], [], 0, False
    for line in answer:
        if not line.startswith(b"data: "):
            continue
        if line.strip() == b"data: [DONE]":
            done = True
            continue
        piece = json.loads(line[6:])
        if piece.get("usage"):
            tokens = piece["usage"]["completion_tokens"]
        for choice in piece["choices"]:
            if choice["delta"].get("content"):
                times.append(time.perf_counter() - start)
                text.append(choice["delta"]["content"])
    connection.close()
    if not done:
        raise RuntimeError("the stream ended without [DONE]")
    return "".join(text), times, tokens


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(values: list[float]) -> dict:
    """Seconds in milliseconds."""
    points = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * percentile(values, share), 2) for name, share in points.items()} | {"count": len(values)}


def one_client(port: int, tokens: int, runs: int) -> dict:
    """A single client: tokens per second of each answer, prompt included."""
    ask(port, request(10_000, 8))
    rates, gaps = [], []
    for index in range(runs):
        _, times, count = ask(port, request(20_000 + index, tokens))
        rates.append(count / times[-1])
        gaps += [b - a for a, b in itertools.pairwise(times)]
    return {
        "tokens_per_second": [round(rate, 1) for rate in rates],
        "median_tokens_per_second": round(statistics.median(rates), 1),
        "inter_token_ms": spread(gaps),
    }


def under_load(server: Server, clients: int, seconds: float, tokens: int) -> tuple[dict, dict[int, str]]:
    """`clients` concurrent clients for `seconds`."""
    answers, gaps, firsts, failures, total = {}, [], [], [], [0]
    lock, start = threading.Lock(), time.perf_counter()
    counter = iter(range(1_000_000))
    memory: list[tuple[float, int]] = []

    def work() -> None:
        while time.perf_counter() - start < seconds:
            with lock:
                index = next(counter)
            try:
                text, times, count = ask(server.port, request(index, tokens))
            except Exception as error:  # counted, and the load goes on
                with lock:
                    failures.append(f"{type(error).__name__}: {error}")
                continue
            with lock:
                answers[index] = text
                firsts.append(times[0])
                gaps.extend(b - a for a, b in itertools.pairwise(times))
                total[0] += count

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append((time.perf_counter() - start, server.rss()))
        time.sleep(1)
    elapsed = time.perf_counter() - start
    time.sleep(0.5)
    third = seconds / 3
    minute = lambda low, high: [rss for at, rss in memory if low <= at < high]
    second, last = minute(third, 2 * third), minute(2 * third, seconds)
    result = {
        "clients": clients,
        "seconds": round(elapsed, 1),
        "answers": len(answers),
        "failures": failures[:10],
        "tokens": total[0],
        "tokens_per_second": round(total[0] / elapsed, 1),
        "time_to_first_token_ms": spread(firsts),
        "inter_token_ms": spread(gaps),
        "resident_mib_second_third": round(statistics.mean(second) / 2**20, 1) if second else None,
        "resident_mib_last_third": round(statistics.mean(last) / 2**20, 1) if last else None,
        "active_sequences_left": server.total("edgellm_active_sequences"),
        "queue_left": server.total("edgellm_queue_depth"),
    }
    return result, answers


def first_token(server: Server, runs: int) -> dict:
    """Time to the first token of a prompt of 32 tokens, different each time, at idle."""
    times, tokens = [], set()
    words = [
        "river",
        "stone",
        "lamp",
        "garden",
        "winter",
        "paper",
        "silver",
        "window",
        "morning",
        "forest",
        "bread",
        "ocean",
    ]
    for index in range(runs):
        varied = " ".join(words[(index * 5 + at * 7) % len(words)] for at in range(32))
        prompt = server.post("/tokenize", {"content": f"{index} {varied}"})["tokens"][:32]
        body = {"model": MODEL, "prompt": prompt, "max_tokens": 2, "stream": True, "temperature": 0,
                "stream_options": {"include_usage": True}}  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        start = time.perf_counter()
        connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        lines = (line for line in answer if line.startswith(b"data: {"))
        next(lines)
        times.append(time.perf_counter() - start)
        for line in lines:
            usage = json.loads(line[6:]).get("usage")
            if usage:
                tokens.add(usage["prompt_tokens"])
        connection.close()
        time.sleep(0.2)
    return {"prompt_tokens": sorted(tokens), "ms": spread(times)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--tokens", type=int, default=96, help="of each answer")
    parser.add_argument("--runs", type=int, default=7, help="answers of the client alone, before and after")
    parser.add_argument(
        "--compare", type=int, default=48, help="answers compared with those of a single client; 0 for all"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("options", nargs="*", help="more options of the server, after --")
    options = parser.parse_args()
    with Server("--log-level", "error", *options.options) as server:
        before = one_client(server.port, options.tokens, options.runs)
        load, answers = under_load(server, options.clients, options.seconds, options.tokens)
        after = one_client(server.port, options.tokens, options.runs)
        first = first_token(server, 30)
    chosen = sorted(answers)
    if options.compare:
        chosen = chosen[:: max(1, len(chosen) // options.compare)]
    different = []
    with Server("--log-level", "error", "--parallel", "1", "--prefix-memory", "0") as alone:
        for index in chosen:
            if ask(alone.port, request(index, options.tokens))[0] != answers[index]:
                different.append(index)
    single = statistics.median(before["tokens_per_second"] + after["tokens_per_second"])
    report = {
        "machine": machine(),
        "model": MODEL,
        "answer_tokens": options.tokens,
        "one_client_before": before,
        "load": load,
        "one_client_after": after,
        "first_token_at_idle": first,
        "compared_with_alone": {"answers": len(chosen), "different": different},
        "ratios": {
            "tokens_per_second_to_one_client": round(load["tokens_per_second"] / single, 2),
            "inter_token_p99_to_p50": round(load["inter_token_ms"]["p99"] / load["inter_token_ms"]["p50"], 2),
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 1 if load["failures"] or different or load["active_sequences_left"] else 0


if __name__ == "__main__":
    sys.exit(main())
