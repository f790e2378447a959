#!/usr/bin/env python3
"""Tests the files in deploy/ as far as possible without a cluster.

nginx runs in front of a server; systemd and the Kubernetes schema check the other files. The Dockerfile is not
built, which would need a container engine and a registry.
"""

import contextlib
import http.client
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from process import ROOT, Server, program, run_tests, within

DEPLOY = ROOT / "deploy"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def nginx(server: Server):
    """Runs nginx with deploy/nginx.conf, adapted to local ports and a local certificate; yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)  # fmt: skip
        site = (DEPLOY / "nginx.conf").read_text()
        for old, new in {
            "127.0.0.1:8080": f"127.0.0.1:{server.port}",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "llm.example.org;": "localhost;",
            "/etc/letsencrypt/live/llm.example.org/fullchain.pem": str(folder / "cert.pem"),
            "/etc/letsencrypt/live/llm.example.org/privkey.pem": str(folder / "key.pem"),
        }.items():
            assert old in site, f"deploy/nginx.conf has no {old!r}"
            site = site.replace(old, new)
        paths = "\n".join(
            f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off;\npid {folder / 'pid'};\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}\n{site}\n}}\n"
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        process = subprocess.Popen([program, "-c", config], stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + within(10)
            while True:
                assert process.poll() is None, f"nginx exited: {process.stderr.read()}"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < deadline, "nginx does not accept connections"
                time.sleep(0.05)
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def ask(url: str, body: dict | None = None, timeout: float = 60):
    """A response from the proxy, whose certificate is self-signed."""
    context = ssl._create_unverified_context()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=timeout, context=context)


def status(url: str, body: dict | None = None) -> int:
    try:
        with ask(url, body) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def wait(condition, seconds: float, failure: str) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + within(seconds)
    while not condition():
        assert time.monotonic() < deadline, failure
        time.sleep(0.02)


def reverse_proxy() -> None:
    """Tokens are streamed one by one, a disconnect reaches the server, and /metrics is not exposed."""
    body = {"prompt": "Once upon a time", "stream": True, "max_tokens": 60, "logit_bias": {"0": -100, "2": -100}}
    with Server("--trust-proxy") as server, nginx(server) as url:
        assert status(url + "/health") == 200
        assert status(url + "/metrics") == 404

        with ask(url + "/v1/completions", body) as stream:
            times = [time.monotonic() for line in stream if line.startswith(b"data: {")]
        assert len(times) >= 20, f"{len(times)} pieces"
        # A buffering proxy would deliver everything at the end.
        gaps = sum(after - before > 0.0005 for before, after in itertools.pairwise(times))
        assert gaps >= len(times) / 2, f"{gaps} gaps between {len(times)} pieces: the proxy buffers"

        stream = ask(url + "/v1/completions", {**body, "max_tokens": 3000})
        wait(lambda: server.total("edgellm_active_sequences") == 1, 10, "no sequence began")
        stream.close()
        wait(lambda: server.total("edgellm_active_sequences") == 0, 2, "the server goes on for a client that left")


def rates_behind_the_proxy() -> None:
    """Rate limits apply to the addresses of the clients, not of the proxy."""
    with Server("--trust-proxy", "--rate-limit", "3") as server, nginx(server) as url:
        address = url.removeprefix("https://")

        def status_for(client: str) -> int:
            connection = http.client.HTTPSConnection(
                address, source_address=(client, 0), context=ssl._create_unverified_context(), timeout=60
            )
            with contextlib.closing(connection):
                connection.request("GET", "/v1/models")
                return connection.getresponse().status

        codes = [status_for("127.0.0.2") for _ in range(5)]
        assert codes[:3] == [200] * 3 and 429 in codes, codes
        assert status_for("127.0.0.3") == 200, "one client's limit stops another"


def systemd_unit() -> None:
    """systemd finds no mistake in the unit and rates it as well confined."""
    with tempfile.TemporaryDirectory() as name:
        # systemd checks that the program exists.
        unit = Path(name) / "edgellm.service"
        text = (DEPLOY / "edgellm.service").read_text()
        assert "/usr/local/bin/edgellm" in text
        unit.write_text(text.replace("/usr/local/bin/edgellm", "/bin/true"))
        verify = subprocess.run(["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True)
        complaints = [line for line in verify.stderr.splitlines() if "edgellm" in line]
        assert verify.returncode == 0 and not complaints, verify.stderr
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
        security = subprocess.run(command, check=False, capture_output=True, text=True)
        assert security.returncode == 0, [*security.stdout.splitlines()[-1:], security.stderr]


def kubernetes() -> None:
    """All objects match the Kubernetes schema, without unknown fields, and refer to each other correctly."""
    import kubernetes_validate
    import yaml

    objects, of_wasm = (
        list(yaml.safe_load_all((DEPLOY / name).read_text())) for name in ("kubernetes.yaml", "kubernetes-wasm.yaml")
    )
    for each in objects + of_wasm:
        try:
            kubernetes_validate.validate(each, "1.31", strict=True)
        except kubernetes_validate.ValidationError as error:  # its text contains the whole schema
            raise AssertionError(f"{each['kind']}: {error.message} at {error.path}") from None
    kinds = {each["kind"]: each for each in objects}
    pod = kinds["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    assert kinds["Service"]["spec"]["selector"].items() <= labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    target = kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == kinds["Deployment"]["metadata"]["name"]
    secrets = {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
    assert secrets == {kinds["Secret"]["metadata"]["name"]}


def command_lines() -> None:
    """The server accepts the options in the files: its only error is the invalid port added here."""
    import yaml

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["edgellm"]["command"]
    objects = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    pod = next(each for each in objects if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    unit = next(line for line in (DEPLOY / "edgellm.service").read_text().splitlines() if line.startswith("ExecStart="))
    for words in (compose, pod["containers"][0]["args"], unit.split()[1:]):
        assert words[0] == "serve"
        result = subprocess.run([program(), *words, "--port", "none"], check=False, capture_output=True, text=True)
        assert result.returncode == 2 and "'--port <PORT>'" in result.stderr, result.stderr


if __name__ == "__main__":
    run_tests(
        {
            test.__name__: test
            for test in (reverse_proxy, rates_behind_the_proxy, systemd_unit, kubernetes, command_lines)
        }
    )
