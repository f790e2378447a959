#!/usr/bin/env python3
"""Requests that are expensive to prepare: others are served meanwhile, and memory stays within bounds."""

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time

from process import Server, others_are_served, run_tests, within

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
SIZE = 4_000_000
# Without a code, a text is refused because no tokenizer splits words of megabytes.
REFUSED = ("context_length_exceeded", "text_too_long", "")


def texts() -> dict[str, str]:
    """Four megabytes of what is expensive to split."""
    units = {
        "digits": "0123456789",
        "spaces": " ",
        "letter": "a",
        "special": "<|im_end|>",
        "marks": "é̂",
        "words": "ab ",
    }
    return {name: unit * (SIZE // len(unit.encode())) for name, unit in units.items()}


def post(server: Server, path: str, body: bytes | dict, client: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    """Status and error code of the answer to a client with this address."""
    body = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    address = (client, 0)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=within(60), source_address=address)
    with contextlib.closing(connection):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            connection.request("POST", path, body, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        answer = json.load(response)
        return response.status, answer.get("error", {}).get("code") or ""


def send(server: Server, path: str, body: bytes, client: str = "127.0.0.1", more: int = 0) -> socket.socket:
    """Sends a request without waiting for its answer. It announces `more` bytes than it has."""
    stream = socket.create_connection(("127.0.0.1", server.port), timeout=within(30), source_address=(client, 0))
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body) + more}\r\n\r\n"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.sendall(head.encode() + body)
    return stream


def at_once(work, count: int) -> None:
    """Calls `work` with 0, 1, ... at the same time. The first error is raised."""
    errors = []

    def call(index: int) -> None:
        try:
            work(index)
        except Exception as error:  # any exception fails the test
            errors.append(error)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def is_idle(server: Server, seconds: float = 2) -> None:
    """No preparation is left within `seconds`."""
    deadline = time.monotonic() + within(seconds)
    while server.total("edgellm_preparations_running") + server.total("edgellm_preparations_waiting") > 0:
        assert time.monotonic() < deadline, "preparations were left behind"
        time.sleep(0.02)


def texts_that_cannot_fit() -> None:
    """Megabytes of text, in every place that takes text."""
    with Server() as server, others_are_served(server):
        for name, text in texts().items():
            bodies = {
                CHAT: {"messages": [{"role": "user", "content": text}]},
                COMPLETIONS: {"prompt": text},
                EMBEDDINGS: {"input": ["a", text]},
                "/tokenize": {"content": text},
            }
            for path, body in bodies.items():
                start = time.monotonic()
                status, code = post(server, path, body)
                took = time.monotonic() - start
                assert status == 400, (name, path, status, code)
                assert code in REFUSED, (name, path, code)
                assert took < within(2), f"{path} refused {name} after {took:.1f} s"
        is_idle(server)


def texts_that_almost_fit() -> None:
    """As many texts as a request may have, all of which fit but the last."""
    with Server() as server, others_are_served(server):
        # No text has more tokens than the context, and few of them as many.
        short = {name: text.encode()[:1900].decode(errors="ignore") for name, text in texts().items()}
        for name, text in short.items():
            many = [text] * 127 + [texts()[name][: SIZE // 4]]
            status, code = post(server, COMPLETIONS, {"prompt": many, "max_tokens": 1})
            assert status == 400 and code in REFUSED, (name, status, code)
        many = [short["digits"]] * 1900 + ["7" * 5000]
        status, code = post(server, EMBEDDINGS, {"input": many})
        assert (status, code) == (400, "context_length_exceeded"), (status, code)
        # The most that /tokenize takes, all at once.
        content = {"content": "0123456789" * 26_000, "with_pieces": True}
        at_once(lambda index: post(server, "/tokenize", content, f"127.0.0.{3 + index % 4}"), 8)
        is_idle(server)


def bodies_of_many_values() -> None:
    """JSON that takes a hundred times its length in memory, also compressed."""
    message = '{"role":"user","content":"x"}'
    bodies = [
        b'{"messages":[' + b"[]," * (SIZE // 3) + b"[]]}",
        b'{"messages":[' + b"[0]," * (SIZE // 4) + b"[0]]}",
        b'{"messages":[],"x":[' + b'{"":0},' * (SIZE // 7) + b"{}]}",
        b'{"messages":[' + f"{message},".encode() * (SIZE // (len(message) + 1)) + message.encode() + b"]}",
        b'{"prompt":[' + b"1," * (SIZE // 2) + b"1]}",
    ]
    with Server() as server, others_are_served(server):
        for body in bodies:
            for path in (CHAT, COMPLETIONS):
                assert post(server, path, body) == (413, "body_too_complex"), body[:30]
        zipped = gzip.compress(bodies[0])
        headers = {"content-encoding": "gzip"}
        at_once(lambda _: post(server, CHAT, zipped, **headers), 8)
        assert post(server, CHAT, zipped, **headers) == (413, "body_too_complex")
        bomb = gzip.compress(bytes(200 << 20))
        assert post(server, CHAT, bomb, **headers) == (413, "body_too_large")
        is_idle(server)


def bodies_of_as_many_values_as_allowed() -> None:
    """The largest JSON that is read, from several clients at once."""
    message = b'{"messages":[{"role":"user","content":"x"}],"max_tokens":1,'
    tool = b'{"type":"function","function":{"name":"a"}}'
    bodies = [
        message + b'"x":[' + b"[0]," * 60_000 + b"[]]}",
        message + b'"x":[' + b'{"":0},' * 38_000 + b"{}]}",
        message + b'"x":[' + b'"a",' * 200_000 + b'""]}',
        message + b'"x":[' + b"1," * 300_000 + b"1]}",
        message + b'"tools":[' + (tool + b",") * 15_000 + tool + b"]}",
    ]
    with Server() as server, others_are_served(server):
        for body in bodies:
            status, code = post(server, CHAT, body)
            assert (status, code) in ((200, ""), (400, ""), (400, "context_length_exceeded")), (
                body[60:90],
                status,
                code,
            )
        at_once(lambda index: post(server, CHAT, bodies[index % 5], f"127.0.0.{3 + index % 4}"), 20)
        is_idle(server)


def clients_that_leave() -> None:
    """Six clients that leave after a second: what they asked for is not worked on."""
    bodies = [
        (EMBEDDINGS, {"input": ["0123456789" * 190] * 2048}),
        ("/tokenize", {"content": "0123456789" * 26_000, "with_pieces": True}),
        (CHAT, {"messages": [{"role": "user", "content": "7"}] * 10_000}),
    ]
    with Server() as server:
        with others_are_served(server):
            for path, body in bodies:
                streams = [send(server, path, json.dumps(body).encode()) for _ in range(6)]
                time.sleep(1)
                for stream in streams:
                    stream.close()
                is_idle(server)
        assert server.total("edgellm_active_sequences") == 0


def bodies_that_are_held() -> None:
    """Large bodies that never end, and large answers that nobody reads, from many addresses."""
    with Server() as server:
        unfinished = json.dumps({"prompt": "a" * SIZE}).encode()[:-1]
        content = json.dumps({"content": "0123456789" * 26_000, "with_pieces": True}).encode()
        with others_are_served(server), contextlib.ExitStack() as open_streams:
            for index in range(60):
                client = f"127.0.0.{3 + index % 6}"
                open_streams.enter_context(send(server, COMPLETIONS, unfinished, client, more=1))
            for index in range(20):
                open_streams.enter_context(send(server, "/tokenize", content, f"127.0.0.{9 + index % 4}"))
            time.sleep(2)
        refused = server.metrics().get('edgellm_rejected_total{reason="body_memory"}', 0)
        assert refused > 0, "all bodies were taken"
        is_idle(server)


if __name__ == "__main__":
    run_tests(
        {
            "texts_that_cannot_fit": texts_that_cannot_fit,
            "texts_that_almost_fit": texts_that_almost_fit,
            "bodies_of_many_values": bodies_of_many_values,
            "bodies_of_as_many_values_as_allowed": bodies_of_as_many_values_as_allowed,
            "clients_that_leave": clients_that_leave,
            "bodies_that_are_held": bodies_that_are_held,
        }
    )
