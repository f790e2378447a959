#!/usr/bin/env python3
"""Faults against a running server: it must stay up, release its resources and respond promptly."""

import json
import os
import random
import signal
import subprocess
import threading
import time

from process import Server, connect, connect_badly, run_tests, within

GOOD = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
ENDLESS = {"prompt": "Once upon a time", "stream": True, "max_tokens": 2000, "logit_bias": {"0": -100, "2": -100}}


def is_well(server: Server) -> None:
    """The server answers within a second and has released all resources."""
    start = time.monotonic()
    answer = server.post("/v1/chat/completions", GOOD, timeout=60)
    elapsed = time.monotonic() - start
    assert answer["usage"]["completion_tokens"] >= 1, answer
    assert elapsed < within(1), f"a good request took {elapsed:.2f} s"


def drained(server: Server, seconds: float = 10) -> None:
    """Waits until no request is active."""
    deadline = time.monotonic() + within(seconds)
    while server.total("edgellm_active_sequences") + server.total("edgellm_queue_depth") > 0:
        assert time.monotonic() < deadline, "sequences were left behind"
        time.sleep(0.05)


def post(body: bytes, path: str = "/v1/chat/completions", headers: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def vanishing_clients() -> None:
    """200 clients that disconnect in the middle of their streams."""
    with Server("--queue", "300") as server:
        is_well(server)
        descriptors = server.descriptors()

        def vanish(index: int) -> None:
            with connect(server) as stream:
                stream.sendall(post(json.dumps({**ENDLESS, "seed": index}).encode(), "/v1/completions"))
                stream.settimeout(5)
                try:
                    for _ in range(index % 4):
                        stream.recv(100)
                except TimeoutError:
                    pass  # still queued: it disconnects anyway

        threads = [threading.Thread(target=vanish, args=(index,)) for index in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        drained(server, 2)
        is_well(server)
        deadline = time.monotonic() + within(5)
        while server.descriptors() > descriptors + 2:
            assert time.monotonic() < deadline, f"{server.descriptors()} descriptors, {descriptors} before"
            time.sleep(0.1)


def slow_readers() -> None:
    """Clients that do not read: others are still served, and these are disconnected."""
    with Server("--client-timeout", "2") as server:
        # With log probabilities, an answer is larger than all buffers in between.
        body = {**ENDLESS, "n": 4, "logprobs": 20, "max_tokens": 800}
        slow = [connect_badly(server) for _ in range(2)]
        for stream in slow:
            stream.sendall(post(json.dumps(body).encode(), "/v1/completions"))
        # A client that sends its headers one byte at a time.
        dripping = connect(server)
        dripping.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nho")
        time.sleep(1)
        start = time.monotonic()
        server.post("/v1/chat/completions", GOOD, timeout=within(30))
        waited = time.monotonic() - start
        assert waited < within(10), f"a good request took {waited:.1f} s beside slow readers"
        deadline = time.monotonic() + within(120)
        while server.metrics()["edgellm_connections"] > 2:  # the slow sender, and this request's own
            assert time.monotonic() < deadline, "slow readers keep their connections"
            time.sleep(0.2)
        drained(server)
        is_well(server)
        for stream in [*slow, dripping]:
            stream.close()


def malformed(random: random.Random) -> bytes:
    """A malformed request of a random kind."""
    good = json.dumps({**GOOD, "temperature": 0.5, "stop": ["x"], "tools": []}).encode()
    kind = random.randrange(9)
    if kind == 0:  # random bytes in a valid body
        body = bytearray(good)
        for _ in range(random.randrange(1, 6)):
            body[random.randrange(len(body))] = random.randrange(256)
        return post(bytes(body))
    if kind == 1:  # truncated
        return post(good[: random.randrange(len(good))])
    if kind == 2:  # deep nesting
        return post(b'{"messages": ' + random.choice([b"[", b'{"a":']) * random.randrange(100, 20000))
    if kind == 3:  # invalid UTF-8
        return post(b'{"messages": [{"role": "user", "content": "' + random.randbytes(50) + b'"}]}')
    if kind == 4:  # wrong types
        wrong = random.choice([None, -1, 1e308, "x", [], {}, [[[]]], True])
        name = random.choice(["messages", "temperature", "n", "stop", "tools", "logit_bias", "response_format", "seed"])
        return post(json.dumps({**GOOD, "max_tokens": 1, name: wrong}).encode())
    if kind == 5:  # not HTTP
        return random.randbytes(random.randrange(1, 300)) + b"\r\n\r\n"
    if kind == 6:  # too many headers
        lines = "".join(f"x-{i}: {'y' * random.randrange(50)}\r\n" for i in range(random.randrange(100, 600)))
        return post(good, headers=lines)
    if kind == 7:  # wrong content length
        length = random.choice(["-1", "99999999999999999999", "x"])
        return f"POST /tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n".encode()
    return (
        post(b'{"content": "' + b"x" * random.randrange(5 << 20, 6 << 20) + b'"}', "/tokenize")
        if random.random() < 0.02
        else post(
            b"\x00" * random.randrange(1000),
            random.choice(["/v1/embeddings", "/v1/completions", "/detokenize", "/nowhere"]),
        )
    )


def malformed_requests(count: int = 10_000) -> None:
    """Fuzzed JSON, huge bodies, deep nesting, invalid UTF-8, too many headers."""
    with Server("--client-timeout", "2", "--log-level", "error") as server:
        rounds, statuses, lock = random.Random(4), {}, threading.Lock()
        requests = [malformed(rounds) for _ in range(count)]

        def work() -> None:
            while True:
                with lock:
                    if not requests:
                        return
                    request = requests.pop()
                with connect(server) as stream:
                    stream.settimeout(within(20))
                    try:
                        stream.sendall(request)
                        answer = stream.recv(64)
                    except (ConnectionError, TimeoutError):
                        answer = b""
                status = answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") else "closed"
                with lock:
                    statuses[status] = statuses.get(status, 0) + 1

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(statuses.values()) == count
        # Some fuzzed bodies are still valid.
        assert set(statuses) <= {"200", "400", "404", "408", "413", "431", "closed"}, statuses
        assert server.process.poll() is None, "the server exited"
        drained(server)
        is_well(server)
        print(f"  answers: {dict(sorted(statuses.items()))}")


def terminated_under_load() -> None:
    """SIGTERM: active requests are finished, then the process exits."""
    with Server() as server:
        answers = []

        def ask(index: int) -> None:
            body = {**ENDLESS, "max_tokens": 60, "seed": index}
            with connect(server) as stream:
                stream.sendall(post(json.dumps(body).encode(), "/v1/completions", "connection: close\r\n"))
                answers.append(b"".join(iter(lambda: stream.recv(65536), b"")))

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(24)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + within(30)
        while server.total("edgellm_active_sequences") < 8:
            assert time.monotonic() < deadline, "fewer than 8 of 24 requests run at once"
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert server.process.wait(within(40)) == 0, server.process.returncode
        complete = sum(b"data: [DONE]" in answer for answer in answers)
        assert complete == 24, f"{complete} of 24 answers are complete"


def ended_at_once() -> None:
    """A drain that takes too long is cut short, and the response still ends properly."""
    with Server("--drain-timeout", "1") as server, connect(server) as stream:
        stream.sendall(post(json.dumps(ENDLESS).encode(), "/v1/completions"))
        stream.recv(10)
        server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        rest = b"".join(iter(lambda: stream.recv(65536), b""))
        assert server.process.wait(within(10)) == 0
        assert time.monotonic() - start < within(5)
        assert b"[DONE]" in rest


def full_disk_for_logs() -> None:
    """The server keeps running when its log cannot be written or nobody reads it."""
    with open("/dev/full", "w") as full, Server(stderr=full) as server:
        for _ in range(20):
            is_well(server)
    with Server("--log-level", "debug", stderr=subprocess.PIPE) as server:
        os.set_blocking(server.process.stderr.fileno(), False)
        for _ in range(500):  # more lines than a pipe holds
            server.post("/tokenize", {"content": "x"})
        is_well(server)


if __name__ == "__main__":
    run_tests(
        {
            "vanishing_clients": vanishing_clients,
            "slow_readers": slow_readers,
            "malformed_requests": malformed_requests,
            "terminated_under_load": terminated_under_load,
            "ended_at_once": ended_at_once,
            "full_disk_for_logs": full_disk_for_logs,
        }
    )
