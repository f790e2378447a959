#!/usr/bin/env python3
"""check.py MODEL [TEST...]: tests the components with a real model in every host that has an example.

64 tokens and their logits must be the same bits natively and in the sandbox, from Rust, Python and Node. Memory and
loading time must stay within the documented limits. The embedding examples, `wasmtime run`, `wasmtime serve` and
`edgellm --target plugin` must work. `scripts/test plugin` builds what this needs.
"""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts/server"))

import openai  # noqa: E402

from process import MODEL, Server, program, run_tests, within  # noqa: E402

PLUGIN = ROOT / "target/plugin"
VARIANTS = ["simd", "relaxed"]
EXAMPLES = ROOT / "examples/embedding"
PYTHON = ROOT / ".venv/bin/python"
WASMTIME = ROOT / ".venv/bin/wasmtime"
QUESTION = "What is the capital of France? Answer in one sentence."
ASK = [{"role": "user", "content": QUESTION}]
# The documented limits, in bytes and milliseconds.
MAX_MEMORY_BESIDE_FILE = 60_000_000
MAX_START_MS = 100
MAX_OPEN_MS = 1_000

model = Path()


def component(world: str, variant: str) -> Path:
    return PLUGIN / f"edgellm-{world}-{variant}.wasm"


def run(*command: object, **options) -> str:
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, cwd=ROOT, **options
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def node() -> list[str]:
    """The command for Node, which before version 22 needs a flag for relaxed SIMD."""
    flag = "--experimental-wasm-relaxed-simd"
    return ["node", flag] if flag in run("node", "--v8-options") else ["node"]


def example(name: str) -> Path:
    return program().parent / "examples" / name


def transpiled(variant: str) -> Path:
    """The component, transpiled to a JavaScript module."""
    folder = PLUGIN / f"node-{variant}"
    if not (folder / "edgellm.js").exists() or newer(component("engine", variant), folder / "edgellm.js"):
        shutil.rmtree(folder, ignore_errors=True)
        run("node", EXAMPLES / "node/transpile.mjs", component("engine", variant), folder)
    return folder


def newer(a: Path, b: Path) -> bool:
    return a.stat().st_mtime > b.stat().st_mtime


def same_bits_from_every_host() -> None:
    components = [component("engine", variant) for variant in VARIANTS]
    lines = run(example("parity"), model, *components)
    lines += run(PYTHON, ROOT / "scripts/plugin/parity.py", model, *components)
    lines += run(*node(), ROOT / "scripts/plugin/parity.mjs", model, *map(transpiled, VARIANTS))
    results = [json.loads(line) for line in lines.splitlines()]
    for result in results:
        who = f"{result['host']} on {result['kernels']}"
        assert len(result["tokens"]) == 64, who
        for what in ["tokens", "hash"]:
            assert result[what] == results[0][what], f"{who}: {what} {result[what]}, natively {results[0][what]}"
    hosts = ", ".join(f"{result['host']} on {result['kernels']}" for result in results)
    print(f"64 tokens and their logits are the same bits: {hosts}")
    # If the first round is too slow, the best of several: what else the machine does must not count.
    rounds = [results[1:3]]
    while len(rounds) < 5 and not all(within_limits(best) for best in map(fastest, zip(*rounds, strict=True))):
        rounds.append([json.loads(line) for line in run(example("parity"), model, *components).splitlines()][1:3])
    for best in map(fastest, zip(*rounds, strict=True)):
        times = f"start {best['start_ms']:.0f} ms, model open in {best['open_ms']} ms"
        print(f"{best['kernels']}: {times}, {best['memory_beside_the_file'] / 1e6:.1f} MB beside the file")
        assert within_limits(best), best


def fastest(results: tuple[dict, ...]) -> dict:
    """The shortest times of several rounds, and the most memory."""
    times = {name: min(result[name] for result in results) for name in ["start_ms", "open_ms"]}
    memory = max(result["memory_beside_the_file"] for result in results)
    return {**results[0], **times, "memory_beside_the_file": memory}


def within_limits(result: dict) -> bool:
    return (
        result["memory_beside_the_file"] <= MAX_MEMORY_BESIDE_FILE
        and result["start_ms"] <= within(MAX_START_MS)
        and result["open_ms"] <= within(MAX_OPEN_MS)
    )


def embedding_examples() -> None:
    relaxed = component("engine", "relaxed")
    for command in [
        [example("host"), relaxed, model, QUESTION],
        [PYTHON, EXAMPLES / "host.py", relaxed, model, QUESTION],
        [*node(), EXAMPLES / "node/host.mjs", transpiled("relaxed"), model, QUESTION],
    ]:
        first, *answer = run(*command).splitlines()
        assert "simd128-relaxed" in first, first
        assert len("".join(answer)) > 20, answer
        print(f"{Path(command[0]).name}: {answer[0]}")


def the_stock_wasmtime_runs_the_command() -> None:
    for variant in VARIANTS:
        command = [WASMTIME, "run", "--dir", f"{model.parent}::models", component("command", variant)]
        words = ["--model", f"models/{model.name}"]
        info = json.loads(run(*command, "info", *words))
        assert info["num_hidden_layers"] == 30, info
        report = json.loads(
            run(*command, "generate", *words, "--prompt", QUESTION, "--temperature", 0, "-n", 24, "--json")
        )
        options = ["--prompt", QUESTION, "--temperature", 0, "-n", 24, "--json"]
        native = json.loads(run(program(), "generate", "--model", model, *options))
        assert report["token_ids"] == native["token_ids"], (report, native)
        assert report["finish_reason"] == native["finish_reason"]
        assert report["timings"]["decode_tokens_per_second"] > 0
    failed = subprocess.run(
        [*map(str, command), "generate", "--model", "../secret", "--prompt", "x"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert failed.returncode and "models" in failed.stderr, failed
    assert "Usage" in run(*command, "--help")
    print(f"wasmtime run: {report['text']}")


class WasmtimeServe:
    """`wasmtime serve` with the http component and the folder of the model."""

    def __init__(self, variant: str):
        command = [WASMTIME, "serve", "-S", "cli", "--dir", f"{model.parent}::/models", "--addr", "127.0.0.1:0"]
        self.process = subprocess.Popen([*command, component("http", variant)], stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            if "http://" in line:
                self.url = line[line.index("http://") :].split()[0].rstrip("/")
                break
        else:
            raise AssertionError("".join(self.lines))
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()

    def __enter__(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0)

    def __exit__(self, kind, *_) -> None:
        self.process.terminate()
        self.process.wait()
        if kind:
            print("".join(self.lines), file=sys.stderr)


def the_stock_wasmtime_serves_chat_completions() -> None:
    options = {"messages": ASK, "max_tokens": 24, "temperature": 0}
    native = json.loads(
        run(program(), "generate", "--model", model, "--prompt", QUESTION, "--temperature", 0, "-n", 24, "--json")
    )
    for variant in VARIANTS:
        with WasmtimeServe(variant) as api:
            names = [entry.id for entry in api.models.list()]
            assert names == [model.name.removesuffix(".tmac2.bin")], names
            whole = api.chat.completions.create(model=names[0], **options)
            assert whole.choices[0].message.content == native["text"], (whole, native)
            assert whole.usage.completion_tokens == len(native["token_ids"])
            chunks = list(
                api.chat.completions.create(
                    model=names[0], **options, stream=True, stream_options={"include_usage": True}
                )
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == native["text"], text
            assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
            for wrong in [
                {"model": "other"},
                {"model": names[0], "tools": [{"type": "function", "function": {"name": "f"}}]},
            ]:
                try:
                    api.chat.completions.create(**{**options, **wrong})
                    raise AssertionError(wrong)
                except (openai.NotFoundError, openai.BadRequestError):
                    pass
    print(f"wasmtime serve: {text}")


def edgellm_generates_in_the_sandbox() -> None:
    options = ["--model", model, "--prompt", QUESTION, "--temperature", 0, "-n", 24, "--json"]
    native = json.loads(run(program(), "generate", *options))
    for variant in [None, *VARIANTS]:
        given = [] if variant is None else ["--plugin", component("engine", variant)]
        plugin = json.loads(run(program(), "generate", "--target", "plugin", *given, *options))
        assert plugin["target"] == "plugin" and "simd" in plugin["kernel"], plugin
        for what in ["text", "token_ids", "prompt_token_ids", "finish_reason"]:
            assert plugin[what] == native[what], (what, plugin, native)
    wrong = subprocess.run(
        [program(), "generate", "--target", "plugin", "--threads", "2", *map(str, options)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert wrong.returncode and "--threads" in wrong.stderr, wrong


def edgellm_serves_from_the_sandbox() -> None:
    """The server gives the same answers as natively, to concurrent requests, streams and embeddings."""
    asks = [[{"role": "user", "content": text}] for text in [QUESTION, "Name three rivers.", "What is bread made of?"]]
    answers = []
    for target in ["native", "plugin"]:
        with Server("--target", target) as server:
            api = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)

            def ask(messages, api=api, **more):
                options = {"model": MODEL, "messages": messages, "max_tokens": 24, "temperature": 0, **more}
                return api.chat.completions.create(**options)

            with ThreadPoolExecutor(3) as pool:
                together = [whole.choices[0].message.content for whole in pool.map(ask, asks)]
            again = [ask(messages).choices[0].message.content for messages in asks]
            assert together == again, (together, again)
            stream = ask(asks[0], stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == again[0]
            two = ask(asks[1], n=2, temperature=1, seed=5)
            embedding = api.embeddings.create(model=MODEL, input=QUESTION, encoding_format="float").data[0].embedding
            answers.append((again, [choice.message.content for choice in two.choices], embedding))
            # When a client disconnects, its completion ends and the next one is served.
            next(iter(ask(asks[0], max_tokens=1000, stream=True))).model_dump()
            assert ask(asks[2]).choices[0].message.content == again[2]
    assert answers[0] == answers[1], answers
    print(f"edgellm serve --target plugin: {answers[1][0]}")


def main() -> None:
    global model
    model = Path(sys.argv.pop(1)).resolve()
    run_tests(
        {
            "parity": same_bits_from_every_host,
            "examples": embedding_examples,
            "wasmtime-run": the_stock_wasmtime_runs_the_command,
            "wasmtime-serve": the_stock_wasmtime_serves_chat_completions,
            "generate": edgellm_generates_in_the_sandbox,
            "serve": edgellm_serves_from_the_sandbox,
        }
    )


if __name__ == "__main__":
    main()
