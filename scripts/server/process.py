"""A running `edgellm serve`, for tests and measurements."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = "smollm2-135m-instruct"


def program() -> Path:
    """The `edgellm` program of the release build, or of the profile that EDGELLM_BUILD names."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / os.environ.get("EDGELLM_BUILD", "release") / "edgellm"


def within(seconds: float) -> float:
    """A limit for the machine that the tests are written for, scaled to this one at this moment.

    A fixed piece of work that takes 50 ms there is timed, so that no limit fails because a machine is slow or busy.
    """
    start = time.monotonic()
    for _ in range(5):
        zlib.crc32(bytes(10 << 20))
    return seconds * max(1.0, (time.monotonic() - start) / 0.05)


class Server:
    """A server on a free port, stopped at the end of the block: `with Server("--queue", "4") as server`."""

    def __init__(
        self,
        *options: str,
        model: str = MODEL,
        stderr=None,
        environment: dict | None = None,
        edgellm: Path | str | None = None,
    ):
        command = [edgellm or program(), "serve", "--model", model, "--port", "0", *options]
        self.log: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr if stderr is not None else subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        if stderr is None:
            threading.Thread(target=self._read_log, daemon=True).start()
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.process.wait()
            raise RuntimeError(f"the server did not start: {line}{''.join(self.log)}")
        self.url = line.split()[-1]
        deadline = time.monotonic() + within(60)
        while self.health() != 200:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("the server did not become ready: " + "".join(self.log))
            time.sleep(0.02)

    def _read_log(self) -> None:
        for line in self.process.stderr:
            self.log.append(line)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def health(self) -> int:
        """Status code of /health; 0 if there is no response."""
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def post(self, path: str, body: dict, timeout: float = 60) -> dict:
        """The JSON response to a JSON request."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def metrics(self) -> dict[str, float]:
        """All metrics, by name and labels."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def total(self, name: str) -> float:
        """Sum of a metric over its labels."""
        return sum(value for key, value in self.metrics().items() if key.split("{")[0] == name)

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def descriptors(self) -> int:
        """Number of open files and connections."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextlib.contextmanager
def others_are_served(server: Server, seconds: float = 2, megabytes: float = 300):
    """Within the block, another client asks for one token again and again: each answer must come within `seconds`, and
    the server's memory must stay within `megabytes` of what it was."""
    _one_token(server)  # loads what is loaded once
    before, over = server.rss(), threading.Event()
    limit = within(seconds)  # and again at the end, because a machine may be busy for a moment only
    waits, errors, most = [], [], [before]

    def ask() -> None:
        while not over.is_set():
            start = time.monotonic()
            try:
                _one_token(server)
            except OSError as error:
                errors.append(str(error))
            waits.append(time.monotonic() - start)
            time.sleep(0.05)

    def weigh() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, StopIteration):
                most.append(server.rss())
            time.sleep(0.02)

    threads = [threading.Thread(target=ask), threading.Thread(target=weigh)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert server.process.poll() is None, f"the server ended: {''.join(server.log)[-1000:]}"
    assert not errors, errors[:3]
    limit = max(limit, within(seconds))
    assert max(waits) < limit, f"another client waited {max(waits):.2f} s for a token"
    grown = (max(most) - before) / 1e6
    assert grown < megabytes, f"the server's memory grew by {grown:.0f} MB"


def connect(server: Server, host: str = "127.0.0.1") -> socket.socket:
    """A connection from `host`, an address of this machine."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=30, source_address=(host, 0))


def connect_badly(server: Server) -> socket.socket:
    """Connects as over a poor connection: with a small window and small packets. With the loopback's defaults, the
    kernel buffers megabytes for a client that does not read, which a slow machine takes minutes to generate."""
    stream = socket.socket()
    stream.settimeout(30)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    stream.connect(("127.0.0.1", server.port))
    return stream


def _one_token(server: Server) -> None:
    """A token for a client with an address of its own."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
    address = ("127.0.0.2", 0)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=address)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise OSError(f"{response.status}: {text[:200].decode(errors='replace')}")


def run_tests(tests: dict) -> None:
    """Runs the tests, or those named on the command line, and exits with 1 if one fails."""
    wanted, failed = sys.argv[1:] or list(tests), 0
    for name in wanted:
        start = time.monotonic()
        try:
            tests[name]()
            print(f"{name}: ok ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception as error:  # any exception fails the test; the others still run
            failed += 1
            print(f"{name}: FAILED: {type(error).__name__}: {error}", flush=True)
            if os.environ.get("TRACE"):
                raise
    sys.exit(1 if failed else 0)
