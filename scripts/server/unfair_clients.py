#!/usr/bin/env python3
"""One client that takes all it can, beside another that wants a token now and then."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator

from process import Server, others_are_served, run_tests, within

SECONDS = 4  # of each attack
# The model's end tokens are forbidden: nothing ends before its time.
ENDLESS = {"logit_bias": {"0": -100, "2": -100}}
LONG = "Once upon a time there was a fox who knew a great deal about rivers. " * 50


class Attack:
    """A connection that sends a request and reads what comes, until it is closed."""

    def __init__(self, server: Server, path: str, body: dict):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        self.status = 0
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            response = self.connection.getresponse()
            self.status = response.status
            while response.read1(65536):
                pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(2)
        self.thread.join()
        self.connection.close()


@contextlib.contextmanager
def attacks(server: Server, requests: list[tuple[str, dict]]) -> Iterator[list[Attack]]:
    """All of these at once; they end with the block."""
    sent = [Attack(server, path, body) for path, body in requests]
    try:
        yield sent
    finally:
        for attack in sent:
            attack.close()


def beside(requests: list[tuple[str, dict]], *options: str) -> None:
    """While one client sends these, another gets its tokens."""
    with Server(*options) as server:
        with others_are_served(server), attacks(server, requests):
            time.sleep(SECONDS)
            busy = server.total("edgellm_active_sequences") + server.total("edgellm_queue_depth")
            assert busy > 0, "the attack was over before it could hurt"
        deadline = time.monotonic() + within(5)
        while server.total("edgellm_active_sequences") + server.total("edgellm_paused_sequences") > 0:
            assert time.monotonic() < deadline, "sequences were left behind"
            time.sleep(0.05)


def many_choices() -> None:
    beside([("/v1/completions", {"prompt": "A", "n": 128, "max_tokens": 700, **ENDLESS})])


def many_prompts() -> None:
    prompts = [f"{index}: Once upon" for index in range(128)]
    beside([("/v1/completions", {"prompt": prompts, "max_tokens": 700, **ENDLESS})])


def many_inputs() -> None:
    inputs = [f"{index}: {LONG[:400]}" for index in range(2048)]
    beside([("/v1/embeddings", {"input": inputs})])


def long_prompts() -> None:
    requests = [("/v1/completions", {"prompt": f"{index}: {LONG * 3}", "max_tokens": 9}) for index in range(64)]
    beside(requests)


def many_connections() -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "n": 16, "max_tokens": 700, **ENDLESS}
    beside([("/v1/chat/completions", {**body, "stream": True})] * 100)


def little_memory() -> None:
    """All memory is taken: KV caches are dropped for the newcomer."""
    body = {"prompt": "A", "n": 128, "max_tokens": 700, **ENDLESS}
    beside([("/v1/completions", body)] * 3, "--kv-memory", "64", "--prefix-memory", "0")


def full_queue() -> None:
    """Whoever fills the queue is refused, nobody else."""
    body = {"prompt": ["A"] * 8, "n": 16, "max_tokens": 700, **ENDLESS}
    with Server("--queue", "8") as server:
        with others_are_served(server), attacks(server, [("/v1/completions", body)] * 40) as sent:
            time.sleep(SECONDS)
        statuses = [attack.status for attack in sent]
        assert statuses.count(503) > 20, statuses


if __name__ == "__main__":
    run_tests(
        {
            "many_choices": many_choices,
            "many_prompts": many_prompts,
            "many_inputs": many_inputs,
            "long_prompts": long_prompts,
            "many_connections": many_connections,
            "little_memory": little_memory,
            "full_queue": full_queue,
        }
    )
