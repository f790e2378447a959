#!/usr/bin/env python3
"""Quality for size: EdgeLLM's formats beside llama.cpp's, auto-round's and GPTQModel's, from the same F16 weights.

    python3 benches/quality.py --model smollm2-135m-instruct --text wiki.test.raw [--rows 'int4*;Q4_K_M*']

A row is a file made from the model's F16 file: its perplexity, KL divergence and most likely tokens relative to that
F16 file in llama.cpp, on the first --chunks windows of 512 tokens of the text, of which both programs score the second
half. llama.cpp's importance matrix is measured on the text that `edgellm quantize` calibrates on. --kinds adds the KL
divergence on code and on conversations (quality_texts.py), --tasks HellaSwag and ARC-Easy, where `edgellm evaluate`
runs llama.cpp's files with the codes that they have. --folder adds a checkpoint of another program (quality_peers.py).

benches/results/quality.json keeps each row until it is measured again. Needs numpy, and 3 to 10 GB in target.
"""

import argparse
import fnmatch
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from divergence import Logits, compare
from llama_cpp import PACKAGE, ROOT, build_llama, llama_file, run
from quality_texts import write

sys.path.append(str(ROOT / "scripts/reference"))
from sources import gguf_path, sha256_of

EDGELLM = ROOT / "target/release/edgellm"
WORK = ROOT / "target" / "quality"
CONTEXT = 512
# llama.cpp's file types; those marked exist with an importance matrix alone.
PEERS = ["Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "IQ4_XS"]
WITH_MATRIX = ["IQ2_M", "IQ3_XXS", "IQ3_M"]
# Our rows: options of `edgellm quantize`.
OURS = {
    "int8": ["--format", "int8"],
    "int4": ["--format", "int4"],
    "int4, groups of 64": ["--format", "int4", "--group-size", "64"],
    "int4, six-bit scales": ["--format", "int4", "--scales", "six"],
    "int4, six-bit scales, int4 head": ["--format", "int4", "--scales", "six", "--head", "int4"],
    "int3": ["--format", "int3"],
    "int3, int4 head": ["--format", "int3", "--head", "int4"],
    "int2": ["--format", "int2"],
}
# What `int3` is calibrated on in place of all of the built-in text: a part of it, or what the model itself writes.
CALIBRATIONS = {
    "prose": ROOT / "engine/quantize/calibration/prose.txt",
    "code": ROOT / "engine/quantize/calibration/code.txt",
    "chats": ROOT / "engine/quantize/calibration/chats.jsonl",
    "its own text": WORK / "own.txt",
}
# Texts that the model writes, and tokens of each.
OWN_TEXTS, OWN_TOKENS = 128, 512
# Our files of the bytes of a file of llama.cpp's.
BUDGETS = ["Q2_K", "Q3_K_M", "Q4_K_M"]


def quietly(*command):
    done = subprocess.run([str(part) for part in command], check=False, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-500:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


class Model:
    """A model's F16 file, and what was measured of it."""

    def __init__(self, name, binaries, args):
        self.name, self.binaries, self.args = name, binaries, args
        self.f16 = llama_file(binaries, gguf_path(name), "F16")
        self.texts = write(WORK) | {"wikitext": args.text}

    def kinds(self):
        return ["wikitext", "code", "chat"] if self.args.kinds else ["wikitext"]

    def base(self, text):
        """Log-probabilities of the F16 file, as llama-perplexity keeps them."""
        path = WORK / f"{self.name}-{text}.base"
        if not path.exists():
            draft = path.with_suffix(".draft")
            self.perplexity(self.f16, text, "--save-all-logits", draft)
            draft.rename(path)
        return path

    def perplexity(self, gguf, text, *options):
        return quietly(self.binaries / "llama-perplexity", "-m", gguf, "-f", self.texts[text], "-c", CONTEXT,
                       "--chunks", self.args.chunks, *options)  # fmt: skip

    def reference(self):
        out = self.perplexity(self.f16, "wikitext")
        return {"bytes": self.f16.stat().st_size, "perplexity": figure(out, r"Final estimate: PPL = ([\d.]+)")}

    def matrix(self):
        path = WORK / f"{self.name}.imatrix"
        if not path.exists():
            draft = path.with_suffix(".draft")
            # Runs twice as fast as the F16 file.
            q8_0 = llama_file(self.binaries, self.f16, "Q8_0")
            quietly(self.binaries / "llama-imatrix", "-m", q8_0, "-f", self.texts["calibration"], "-o", draft,
                    "-c", CONTEXT, "--no-ppl", "--output-format", "dat")  # fmt: skip
            draft.rename(path)
        return path

    def peer_file(self, row):
        """llama.cpp's file of a row: a type, and perhaps `imatrix`."""
        kind, *rest = row.split()
        path = WORK / f"{self.name}-{row.replace(' ', '-').lower()}.gguf"
        if not path.exists():
            draft = path.with_suffix(".draft")
            options = ["--imatrix", self.matrix()] if rest else []
            quietly(self.binaries / "llama-quantize", *options, self.f16, draft, kind)
            draft.rename(path)
        return path

    def our_file(self, row):
        """Our file of a row, and the seconds that it took."""
        path = WORK / f"{self.name}.tmac2.bin"
        calibration = row.removeprefix("int3 calibrated on ")
        if calibration in CALIBRATIONS:
            if calibration == "its own text":
                self.write_own_text(CALIBRATIONS[calibration])
            options = [*OURS["int3"], "--calibration-data", CALIBRATIONS[calibration]]
        elif row.startswith("bytes of "):
            options = ["--target-size", str(self.peer_file(row.removeprefix("bytes of ")).stat().st_size)]
        else:
            options = OURS[row]
        began = time.monotonic()
        quietly(EDGELLM, "quantize", "--input", self.f16, "--output", path, "--skip-quality", *options)
        return path, time.monotonic() - began

    def write_own_text(self, path):
        """Samples of the int8 file, at temperature 1 and from nothing but a line break."""
        model = path.with_suffix(".tmac2.bin")
        quietly(EDGELLM, "quantize", "--input", self.f16, "--output", model, "--skip-quality", "--format", "int8")
        options = ["--raw", "--prompt", "\n", "--temperature", 1, "--top-k", 0, "--top-p", 1, "--min-p", 0,
                   "--max-tokens", OWN_TOKENS, "--json"]  # fmt: skip
        generate = [EDGELLM, "generate", "--model", model, *options]
        texts = [quietly(*generate, "--seed", seed) for seed in range(OWN_TEXTS)]
        path.write_text("\n\n".join(json.loads(text[text.index("{") : text.rindex("}") + 1])["text"] for text in texts))
        model.unlink()

    def measure_peer(self, row):
        path = self.peer_file(row)
        found = {"engine": "llama.cpp", "row": row, "bytes": path.stat().st_size}
        for text in self.kinds():
            out = self.perplexity(path, text, "--kl-divergence", "--kl-divergence-base", self.base(text))
            figures = {
                "perplexity": figure(out, r"Mean PPL\(Q\)\s*:\s*([\d.]+)"),
                "kl": figure(out, r"Mean\s+KLD:\s*([-\d.]+)"),
                "same_top": figure(out, r"Same top p:\s*([\d.]+)") / 100,
            }
            found |= named(text, figures)
        return found | self.tasks(path)

    def measure_ours(self, row, source=None):
        """A row of ours, or `source` (a folder) as another program quantized it."""
        if source:
            path, seconds = WORK / f"{self.name}.tmac2.bin", None
            quietly(EDGELLM, "quantize", "--input", source, "--output", path, "--skip-quality")
        else:
            path, seconds = self.our_file(row)
        found = {"engine": row.split(":")[0] if source else "edgellm", "row": row, "bytes": path.stat().st_size}
        found |= {"seconds": round(seconds)} if seconds else {}
        logits = WORK / "logits.f32"
        for text in self.kinds():
            base = Logits.of_llama(self.base(text))
            out = quietly(EDGELLM, "perplexity", "--model", path, "--text", self.texts[text], "--context", CONTEXT,
                          "--chunks", self.args.chunks, "--save-logits", logits, "--json")  # fmt: skip
            kl, same_top = compare(base, Logits.of_ours(logits, base.vocabulary))
            perplexity = json.loads(out[out.index("{") : out.rindex("}") + 1])["perplexity"]
            found |= named(text, {"perplexity": perplexity, "kl": kl, "same_top": same_top})
        logits.unlink()
        found |= self.tasks(path)
        path.unlink()
        return found

    def tasks(self, path):
        if not self.args.tasks:
            return {}
        files = [ROOT / "target/evaluation" / f"{task}.jsonl" for task in ("hellaswag", "arc_easy")]
        if not all(file.exists() for file in files):
            quietly(sys.executable, ROOT / "scripts/evaluation/fetch.py")
        # A GGUF file runs with the codes that it has.
        convert = ["--format", "auto"] if path.suffix == ".gguf" else []
        out = quietly(EDGELLM, "evaluate", "--model", path, *convert, "--limit", self.args.tasks, "--json",
                      "--task", files[0], "--task", files[1])  # fmt: skip
        tasks = json.loads(out[out.index("{") : out.rindex("}") + 1])["tasks"]
        return {"tasks": {name: tasks[name]["acc_norm"] | {"n": tasks[name]["n"]} for name in tasks}}


def named(text, figures):
    """Figures on WikiText-2 by their own names, of other texts under the text's."""
    return figures if text == "wikitext" else {text: figures}


def figure(out, pattern):
    found = re.search(pattern, out)
    if not found:
        sys.exit(f"llama-perplexity printed no {pattern!r}:\n{out[-2000:]}")
    return float(found[1])


def table(model):
    print(f"| F16: {model['f16']['perplexity']:.3f} | bytes | perplexity | KL | same top |\n|---|---|---|---|---|")
    for row in [*model["rows"], *model.get("calibrations", [])]:
        print(f"| {row['engine']} {row['row']} | {row['bytes']:,} | {row['perplexity']:.3f} | {row['kl']:.4f} | "
              f"{row['same_top']:.3f} |")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a name that scripts/reference/sources.py knows")
    parser.add_argument("--text", required=True, type=Path, help="WikiText-2's test text")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--rows", default="*", help="patterns of rows to measure, with ; between two")
    parser.add_argument("--folder", action="append", default=[], help="PROGRAM: FORMAT=FOLDER, a checkpoint")
    parser.add_argument("--tasks", type=int, default=0, help="documents of HellaSwag and ARC-Easy")
    parser.add_argument("--kinds", action="store_true", help="two texts more")
    parser.add_argument("--llama", type=Path, help="folder of llama.cpp's programs")
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/quality.json")
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    flags = run(ROOT / "scripts/llama_cpp_flags", stdout=subprocess.PIPE).stdout.split()
    binaries = args.llama or build_llama(flags, "llama.cpp")
    run("cargo", "build", "-q", "--release", "--locked", "-p", "edgellm-host", cwd=ROOT)
    model = Model(args.model, binaries, args)
    peers = [f"{kind}{suffix}" for kind in PEERS for suffix in ("", " imatrix")]
    peers += [f"{kind} imatrix" for kind in WITH_MATRIX]
    folders = dict(given.split("=", 1) for given in args.folder)
    calibrations = [f"int3 calibrated on {name}" for name in CALIBRATIONS]
    rows = [*peers, *OURS, *(f"bytes of {kind}" for kind in BUDGETS), *calibrations, *folders]
    for row in rows:
        if row not in folders and not any(fnmatch.fnmatchcase(row, wanted) for wanted in args.rows.split(";")):
            continue
        print(f"{args.model}: {row}", file=sys.stderr, flush=True)
        folder = Path(folders[row]) if row in folders else None
        found = model.measure_peer(row) if row in peers else model.measure_ours(row, folder)
        report = json.loads(args.output.read_text()) if args.output.exists() else {"models": {}}
        common = {"llama_cpp": PACKAGE, "text": sha256_of(args.text), "context": CONTEXT, "chunks": args.chunks}
        models = report["models"]
        entry = models.get(args.model) or {"f16": model.reference(), "rows": [], "calibrations": []}
        models[args.model] = entry
        kind = "calibrations" if row in calibrations else "rows"
        earlier = [other for other in entry.get(kind, []) if other["row"] != row]
        entry[kind] = sorted([*earlier, found | {"date": time.strftime("%Y-%m-%d")}], key=lambda r: r["bytes"])
        draft = args.output.with_suffix(".draft")
        draft.write_text(json.dumps(common | {"models": models}, indent=1) + "\n")
        draft.rename(args.output)
    table(json.loads(args.output.read_text())["models"][args.model])


if __name__ == "__main__":
    main()
