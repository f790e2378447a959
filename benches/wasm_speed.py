#!/usr/bin/env python3
"""The engine in WebAssembly relative to native AVX2, on one thread, interleaved (A B A B ...).

    .venv/bin/python benches/wasm_speed.py [--rounds 5] [--formats int4,bitnet] [--engines wasmtime,node,chromium]

Models are SmolLM2-135M-Instruct, converted from the catalogue's GGUF; modules are wasm/parity, with SIMD128 and with
relaxed SIMD. Each engine opens a model once, and runs a prompt and greedy tokens untimed before the rounds, so that
V8's optimizing compiler is done. All must give native's tokens. Ratios are taken within a round. `scripts/setup`
installs the compilers and Python packages; missing engines are named on stderr and left out.
Writes benches/results/wasm_speed.json and prints a Markdown table.
"""

import argparse
import importlib.metadata
import json
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from machine import machine

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benches/wasm_speed.mjs"
MODEL = "smollm2-135m-instruct"
FORMATS = {
    "int4": [],
    "int4, int4 head": ["--head", "int4"],
    "int2, int4 head": ["--head", "int4"],
    "bitnet, int4 head": ["--head", "int4"],
}
VARIANTS = ["simd", "relaxed"]


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, cwd=ROOT, **options)


class Native:
    """`speed` with AVX2. Opens the model for each command, outside the timing."""

    def __init__(self, model):
        self.model = model

    def command(self, what, tokens):
        prompt, generate = (tokens, 1) if what == "prefill" else (4, tokens)
        out = run(
            ROOT / "target/release/speed",
            self.model,
            "--kernel",
            "avx2",
            "--prompt",
            prompt,
            "--generate",
            generate,
            stdout=subprocess.PIPE,
        ).stdout
        result = json.loads(out)
        return tokens / result[f"{what}_tokens_per_second"], result["answer_hash"] if what == "decode" else None

    def close(self):
        pass


class Wasmtime:
    def __init__(self, module, model):
        from wasmtime import Config, Engine, Instance, Module, Store

        config = Config()
        config.cranelift_opt_level = "speed"
        engine = Engine(config)
        self.store = Store(engine)
        self.exports = Instance(self.store, Module.from_file(engine, str(module)), []).exports(self.store)
        data = model.read_bytes()
        at = self.exports["parity_model"](self.store, len(data)) & 0xFFFF_FFFF
        self.exports["memory"].write(self.store, data, at)
        self.exports["speed_open"](self.store)

    def command(self, what, tokens):
        start = time.perf_counter()
        result = self.exports[f"speed_{what}"](self.store, tokens)
        seconds = time.perf_counter() - start
        return seconds, None if result is None else f"{result & (1 << 64) - 1:016x}"

    def close(self):
        self.store.close()


class V8:
    """A process that answers lines; subclasses define the transport."""

    def command(self, what, tokens):
        seconds, *hash_ = self.ask(f"{what} {tokens}").split()
        return float(seconds), hash_[0] if hash_ else None

    def ready(self, text):
        if text.strip() != "ready":
            self.close()
            raise SystemExit(f"{type(self).__name__}: {text}")


class Node(V8):
    def __init__(self, module, model):
        # Before V8 11.4 relaxed SIMD is behind a flag.
        flag = "--experimental-wasm-relaxed-simd"
        flags = [flag] if flag in run("node", "--v8-options", stdout=subprocess.PIPE).stdout else []
        self.process = subprocess.Popen(
            ["node", *flags, SCRIPT, module, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready(self.process.stdout.readline())

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Chromium(V8):
    def __init__(self, module, model):
        self.commands, self.answers = queue.Queue(), queue.Queue()
        files = {"/module": module, "/model": model, "/wasm_speed.mjs": SCRIPT}
        page = b'<!doctype html><script type="module">import("./wasm_speed.mjs").then(({serve}) => serve())</script>'

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                path = handler.path
                body = (
                    self.commands.get().encode()
                    if path == "/command"
                    else files[path].read_bytes()
                    if path in files
                    else page
                )
                kind = "text/javascript" if path.endswith(".mjs") else "text/html"
                handler.send_response(200)
                handler.send_header("Content-Type", kind)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def do_POST(handler):
                self.answers.put(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
                handler.send_response(204)
                handler.end_headers()

            def log_message(handler, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={self.profile.name}",
                f"http://127.0.0.1:{self.server.server_port}/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.ready(self.answers.get(timeout=120))

    def ask(self, line):
        self.commands.put(line)
        return self.answers.get(timeout=600)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.server.shutdown()
        self.profile.cleanup()


ENGINES = {"wasmtime": Wasmtime, "node": Node, "chromium": Chromium}


def spread(values):
    values = sorted(values)
    quarter = lambda q: values[round((len(values) - 1) * q)]
    return {
        "median": statistics.median(values),
        "lower_quartile": quarter(0.25),
        "upper_quartile": quarter(0.75),
        "min": values[0],
        "max": values[-1],
        "n": len(values),
    }


def build():
    """The modules, the native program, and the models by format."""
    modules = {}
    for variant in VARIANTS:
        run("bash", "-c", f"source scripts/toolchain.sh && find_wasm && wasm_build {variant} edgellm-wasm-parity")
        modules[variant] = ROOT / f"target/wasm/{variant}/edgellm_wasm_parity.wasm"
    run("cargo", "build", "--release", "--locked", "-p", "edgellm-benches", "-p", "edgellm-host")
    gguf = run(sys.executable, "scripts/reference/sources.py", MODEL, stdout=subprocess.PIPE).stdout.strip()
    folder = ROOT / "target/bench-models"
    folder.mkdir(parents=True, exist_ok=True)
    models = {}
    for name, options in FORMATS.items():
        models[name] = folder / f"{MODEL}-{name.replace(', ', '-').replace(' ', '-')}.tmac2.bin"
        if not models[name].exists():
            run(
                "target/release/edgellm",
                "quantize",
                "--input",
                gguf,
                "--format",
                name.split(",")[0],
                *options,
                "--output",
                models[name],
                # Speed is measured, not quality.
                "--calibration",
                "none",
                "--skip-quality",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    return modules, models


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--formats", help="prefixes of the formats' names, separated by commas [default: all]")
    parser.add_argument("--engines", default="wasmtime,node,chromium")
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/wasm_speed.json")
    args = parser.parse_args()

    modules, models = build()
    if args.formats:
        models = {name: path for name, path in models.items() if name.startswith(tuple(args.formats.split(",")))}
    wanted = args.engines.split(",")
    for name in [name for name in wanted if name != "wasmtime" and not shutil.which(name)]:
        print(f"no {name} here: left out", file=sys.stderr)
        wanted.remove(name)

    runs = []
    for format_, model in models.items():
        engines = {("native", "avx2"): Native(model)}
        engines |= {(name, variant): ENGINES[name](modules[variant], model) for name in wanted for variant in VARIANTS}
        answer = None
        for round_ in range(args.rounds + 1):
            for (engine, variant), instance in engines.items():
                result = {}
                for what, tokens in (("prefill", args.prompt), ("decode", args.generate)):
                    seconds, hash_ = instance.command(what, tokens)
                    result[what] = tokens / seconds
                answer = answer or hash_
                if hash_ != answer:
                    raise SystemExit(f"{format_}: {engine} {variant} gave another answer than native")
                if round_:  # the first round warms up
                    runs.append({"engine": engine, "variant": variant, "format": format_, "round": round_} | result)
            print(f"{format_}: round {round_} of {args.rounds}", file=sys.stderr)
        for instance in engines.values():
            instance.close()

    series = {}
    for row in runs:
        for what in ("prefill", "decode"):
            series.setdefault((row["format"], row["engine"], row["variant"], what), []).append(row[what])
    summary = []
    for format_, engine, variant in dict.fromkeys(key[:3] for key in series):
        row = {"format": format_, "engine": engine, "variant": variant}
        for what in ("decode", "prefill"):
            values, native = series[format_, engine, variant, what], series[format_, "native", "avx2", what]
            row[what] = spread(values)
            row[f"{what}_of_native"] = spread([a / b for a, b in zip(values, native, strict=True)])
        summary.append(row)

    first = lambda *command: run(*command, stdout=subprocess.PIPE).stdout.strip()
    versions = {
        "wasmtime": lambda: importlib.metadata.version("wasmtime"),
        "chromium": lambda: first("chromium", "--version"),
        "node": lambda: first("node", "-p", "'node ' + process.version + ', V8 ' + process.versions.v8"),
    }
    report = {
        "machine": machine(),
        "commit": first("git", "rev-parse", "--short", "HEAD"),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: versions[name]() for name in wanted},
        "load_average": os.getloadavg(),
        "prompt": args.prompt,
        "generate": args.generate,
        "summary": summary,
        "runs": runs,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=1) + "\n")

    print("| format | engine | decode tok/s | of native | prefill tok/s | of native |\n|---|---|---|---|---|---|")
    for row in summary:
        cells = [f"{row['format']}", f"{row['engine']} {row['variant']}"]
        for what in ("decode", "prefill"):
            value, ratio = row[what], row[f"{what}_of_native"]
            cells.append(f"{value['median']:.1f} ({value['lower_quartile']:.1f} to {value['upper_quartile']:.1f})")
            cells.append("" if row["engine"] == "native" else f"{ratio['median']:.2f}")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
