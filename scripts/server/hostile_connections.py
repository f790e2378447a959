#!/usr/bin/env python3
"""Hostile connections: others are served, memory stays bounded, the log stays readable, and access stays closed."""

import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import tempfile
import time

from process import MODEL, Server, connect, connect_badly, others_are_served, program, run_tests, within

ENDLESS = {"prompt": "Once upon a time", "stream": True, "max_tokens": 2000, "logit_bias": {"0": -100, "2": -100}}
HALF_BODY = b"POST /tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"


def answer(server: Server, request: bytes, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Status and text of the answer, up to the end of the connection; 0 if there is none."""
    with connect(server, host) as stream:
        text = b""
        with contextlib.suppress(ConnectionError):
            stream.sendall(request)
        with contextlib.suppress(ConnectionError):
            text = b"".join(iter(lambda: stream.recv(65536), b""))
    return (int(text[9:12]) if text.startswith(b"HTTP/1.1 ") else 0), text


def get(path: str, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers or ("host: localhost",))
    return f"GET {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n".encode()


def health_is_quick(server: Server) -> None:
    start = time.monotonic()
    assert answer(server, get("/health"))[0] == 200
    waited = time.monotonic() - start
    assert waited < within(1), f"/health took {waited:.1f} s"


@contextlib.contextmanager
def many(server: Server, count: int, request: bytes, hosts: tuple[str, ...] = ("127.0.0.1",)):
    """Connections that send `request` and then nothing more."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(connect(server, hosts[index % len(hosts)])) for index in range(count)]
        for stream in streams:
            with contextlib.suppress(ConnectionError):
                stream.sendall(request)
        yield streams


def idle_floods() -> None:
    """Connections that say nothing, send half a request, or stay after an answer."""
    with Server("--max-connections", "50") as server:
        for request in (b"", b"GET /health HTTP/1.1\r\nho", get("/health").replace(b"close", b"keep-alive")):
            with others_are_served(server), many(server, 55, request):
                for _ in range(5):
                    health_is_quick(server)
                    time.sleep(0.1)
        # From many addresses, too.
        addresses = tuple(f"127.0.1.{host}" for host in range(1, 61))
        with others_are_served(server), many(server, 300, b"", addresses):
            health_is_quick(server)
            time.sleep(0.5)


def busy_floods() -> None:
    """Connections at work: one address cannot take all, and there is room for /health when all are taken."""
    with Server("--max-connections", "50", "--queue", "100") as server:
        for request in (HALF_BODY, post("/v1/completions", json.dumps(ENDLESS).encode())[:-1]):
            with others_are_served(server), many(server, 60, request):
                time.sleep(0.3)
                health_is_quick(server)
                status, text = answer(server, get("/v1/models"))
                assert status == 503 and b"too_many_connections" in text and b"retry-after: 1\r\n" in text, text
        with many(server, 80, HALF_BODY, tuple(f"127.0.1.{host}" for host in range(1, 9))):
            time.sleep(0.3)
            for _ in range(20):
                health_is_quick(server)
            assert answer(server, get("/v1/models"), "127.0.0.3")[0] == 503


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def are_closed(streams: list[socket.socket], seconds: float, turn) -> None:
    """Calls `turn` with each open stream, four times a second, until the server has closed all."""
    open_streams, deadline = list(streams), time.monotonic() + within(seconds)
    while open_streams:
        assert time.monotonic() < deadline, f"{len(open_streams)} connections are kept"
        for stream in list(open_streams):
            try:
                if turn(stream) is False:
                    open_streams.remove(stream)
            except OSError:
                open_streams.remove(stream)
        time.sleep(0.25)


def slow_readers() -> None:
    """Readers at 256 B/s, at one byte, and in bursts lose their answers; one that keeps pace gets on."""
    path = f"/v1/models/{MODEL}/file"
    with Server("--client-timeout", "2", "--allow-download") as server:
        for size, pause in ((64, 1), (1, 1), (1024, 16)):  # bytes, and in which turn
            with others_are_served(server), contextlib.ExitStack() as stack:
                slow = [stack.enter_context(connect_badly(server)) for _ in range(10)]
                for stream in slow:
                    stream.sendall(get(path))
                turns = dict.fromkeys(slow, 0)

                def read(stream: socket.socket, turns=turns, size=size, pause=pause) -> bool:
                    turns[stream] += 1
                    if turns[stream] % pause == 0:
                        stream.recv(size)
                    return is_open(stream)

                are_closed(slow, 15, read)
        with connect_badly(server) as stream:
            stream.sendall(get(path))
            end = time.monotonic() + 5
            while time.monotonic() < end:
                assert stream.recv(4096), "a reader of 80 KB/s lost its answer"
                time.sleep(0.05)


def is_open(stream: socket.socket) -> bool:
    """Whether the server still holds the connection, whatever there is to read."""
    established = 1
    return stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == established


def slow_senders() -> None:
    """Headers, bodies and chunks that come byte by byte end at the time limit."""
    beginnings = (
        b"GET /health HTTP/1.1\r\nx: ",
        HALF_BODY,
        b"POST /tokenize HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    with Server("--client-timeout", "2", "--max-connections", "50") as server, others_are_served(server):
        for beginning, piece in zip(beginnings, (b"a", b" ", b"1\r\n \r\n"), strict=True):
            with many(server, 15, beginning) as streams:

                def send(stream: socket.socket, piece=piece) -> bool:
                    stream.sendall(piece)
                    return is_open(stream)

                are_closed(streams, 8, send)


def header_floods() -> None:
    """Too many headers, too long ones, and ones without end get 431 in JSON."""
    with Server("--max-connections", "50") as server, others_are_served(server):
        for lines in (
            "".join(f"x-{index}: {index}\r\n" for index in range(5000)),
            f"x: {'y' * (1 << 20)}\r\n",
            f"{'z' * (1 << 20)}",
        ):
            for _ in range(10):
                status, text = answer(server, f"GET / HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n".encode())
                assert status == 431 and b'"headers_too_large"' in text, text[:300]
        status, text = answer(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500))
        assert status == 400 and b'"invalid_http"' in text, text[:300]


def large_bodies() -> None:
    """Bodies that never end, in one piece, in small chunks and as bombs, stay within their memory."""
    almost = b"x" * ((4 << 20) - 1)
    whole = f"POST /tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: {4 << 20}\r\n\r\n".encode() + almost
    head = b"POST /tokenize HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    with Server("--client-timeout", "5") as server:
        with others_are_served(server), contextlib.ExitStack() as stack:
            streams = [stack.enter_context(connect(server)) for _ in range(100)]
            for stream in streams:
                stream.settimeout(2)
                with contextlib.suppress(OSError):
                    stream.sendall(whole)
        with others_are_served(server), contextlib.ExitStack() as stack:
            for _ in range(8):
                stream = stack.enter_context(connect(server))
                stream.settimeout(2)
                with contextlib.suppress(OSError):
                    stream.sendall(head + b"1\r\nx\r\n" * (1 << 20))


# A line of the log begins with its time and level.
LINE = {"text": re.compile(r"^\d{4}-\d\d-\d\dT\S+ +(ERROR|WARN|INFO|DEBUG) "), "json": re.compile(r'^\{"timestamp":"')}
FORGED = "x\n2026-01-01T00:00:00Z  INFO request status=999\r\n\x1b[2J\x1b]0;owned\x07\u009b31m\u202e\u2028secret-word"


def log_forging() -> None:
    """Roles, names, schemas, paths and ids with newlines and escapes stay in one field of one line."""
    message = {"role": "user", "content": "Hi"}
    schema = {"type": "object", "properties": {FORGED: {"type": FORGED}}}
    named = {"type": "json_schema", "json_schema": {"name": FORGED, "schema": schema}}
    function = {"type": "function", "function": {"name": FORGED, "description": FORGED, "parameters": schema}}
    chats = [
        {"messages": [{"role": FORGED, "content": FORGED}]},
        {"messages": [{**message, FORGED: FORGED}], FORGED: 1},
        {"messages": [message], "response_format": named},
        {"messages": [message], "tools": [function]},
        {"messages": [message], "tool_choice": {"type": "function", "function": {"name": FORGED}}},
        {"messages": [message], "user": FORGED},
        {"messages": [message], "model": FORGED},
        {"messages": [message], "logit_bias": {FORGED: "x"}},
        {"messages": [message], "stop": FORGED, "user": FORGED * 10_000},
    ]  # fmt: skip
    raw = [
        get("/%0a2026-01-01T00:00:00Z%20INFO%1b%5b2J"),
        get("/v1/models/%0d%0ax%1b%5b2J"),
        get("/", "host: localhost", "x-request-id: a\x1b[2J"),
        get("/\x1b[2J"),
        get("/", "host: \x1b[2J"),
        get("/", "host: localhost", "origin: http://\x1b[2J\u009b"),
    ]
    for form, options in (("text", ()), ("json", ()), ("text", ("--log-prompts",))):
        with Server("--log-format", form, "--log-level", "debug", *options) as server:
            with others_are_served(server):
                for body in chats:
                    answer(server, close(post("/v1/chat/completions", json.dumps({**body, "max_tokens": 1}).encode())))
                for request in raw:
                    answer(server, request)
            deadline = time.monotonic() + within(5)
            while sum('"request"' in line or " request " in line for line in server.log) < len(chats) + len(raw) - 2:
                assert time.monotonic() < deadline, "".join(server.log)
                time.sleep(0.05)
        log = server.log
        for line in log:
            assert LINE[form].match(line), f"a forged line: {line[:300]!r}"
            assert line.rstrip("\n").isprintable(), f"a control character: {line[:300]!r}"
            assert len(line) < 3000 or options, f"a line of {len(line)} characters"
            if form == "json":
                json.loads(line)
        said = [line for line in log if "secret-word" in line and "user=" not in line and '"user"' not in line]
        # A model's name is no part of a prompt.
        said = [line for line in said if "model_not_found" not in line]
        assert bool(said) == bool(options), f"parts of prompts are in the log: {said[:2]}"


def close(request: bytes) -> bytes:
    return request.replace(b"host: localhost\r\n", b"host: localhost\r\nconnection: close\r\n", 1)


def rebinding() -> None:
    """Foreign names get nothing but /health; requests without one valid host nothing at all."""
    with Server("--allow-download") as server, others_are_served(server):
        for path in ("/v1/models", "/metrics", f"/v1/models/{MODEL}/file", "/", "/site.json", "/openapi.json"):
            for name in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "xlocalhost", "localhost.evil"):
                status, text = answer(server, get(path, f"host: {name}", f"origin: http://{name}"))
                assert status == 403 and b"host_not_allowed" in text, text[:300]
            for lines in ((), ("host: a", "host: localhost"), ("host:",), ("host: localhost@evil.example",)):
                status, text = answer(server, get(path, *(lines or ("x: y",))))
                assert status == 400 and b"invalid_host" in text, text[:300]
        assert answer(server, get("http://evil.example/v1/models", "host: localhost"))[0] == 400
        assert answer(server, get("/health", "host: probe.example"))[0] == 200
        assert answer(server, get("/v1/models", f"host: localhost.:{server.port}"))[0] == 200
        answer_of_ff, text = answer(server, get("/v1/models/%ff"))
        assert answer_of_ff == 400 and json.loads(text.split(b"\r\n\r\n", 1)[1])["error"]["message"], text


def refused_settings() -> None:
    """Lists of keys without a key, hosts that cannot match and more connections than files: the program says so."""

    def refuses(text: str, *options: str, keys: str | None = None, files: int | None = None) -> None:
        environment = {**os.environ, **({} if keys is None else {"EDGELLM_API_KEYS": keys})}
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        command = [program(), "serve", "--model", MODEL, "--port", "0", *options]
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, preexec_fn=limit, timeout=60
        )
        assert result.returncode != 0 and text in result.stderr and "listening" not in result.stdout, result

    for keys in ("", " ", " , ,", "\n\t", "#none"):
        refuses("EDGELLM_API_KEYS has no API key", keys=keys)
    refuses("/dev/null is a device", "--api-key-file", "/dev/null")
    with tempfile.NamedTemporaryFile("w") as empty:
        empty.write("# none\n")
        empty.flush()
        refuses("no API key", "--api-key-file", empty.name)
        refuses("no API key", "--api-key-file", empty.name, keys="good")
    refuses("no HTTP header can hold", keys="schl\u00fcssel")
    for host in ("*.example", "board.local:8080", "http://board.local"):
        refuses("is no host name", "--allowed-host", host)
    refuses("--max-connections 500 needs 596 open files", "--max-connections", "500", files=300)
    for keys in ("alpha,beta", " alpha  beta ", "alpha"):
        with Server(environment={"EDGELLM_API_KEYS": keys}) as server:
            assert answer(server, get("/v1/models"))[0] == 401
            assert answer(server, get("/v1/models", "host: any.example", "authorization: Bearer alpha"))[0] == 200


if __name__ == "__main__":
    run_tests(
        {
            test.__name__: test
            for test in (
                idle_floods,
                busy_floods,
                slow_readers,
                slow_senders,
                header_floods,
                large_bodies,
                log_forging,
                rebinding,
                refused_settings,
            )
        }
    )
