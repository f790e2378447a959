#!/usr/bin/env python3
"""A model of the NEON kernels' speed on three ARM boards, for those who have none at hand.

    scripts/setup arm mca
    python3 benches/arm_model.py [--quick] [--whole MODEL.tmac2.bin] [--output FILE]

1. Builds the aarch64 kernels and runs one product by each under qemu-user, whose plugin (benches/arm/trace.c)
   records every executed instruction: exact counts, and the inner loops in execution order.
2. Passes one strip of 32 rows of that trace to llvm-mca for the boards' processors: cycles per weight, assuming that
   every load hits the first-level cache.
3. Computes tokens per second for four models from these and the boards' published clocks and bandwidths
   (benches/arm/boards.json, with sources). docs/hardware-guide.md says how far to trust that.

--whole takes the file of the first model in boards.json in its first formats, counts the instructions of decoded
tokens, and derives other_instructions, which boards.json has from such a run, from those outside products.
Writes benches/results/arm_model.json and prints Markdown tables.
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target" / "aarch64"
RELEASE = TARGET / "aarch64-unknown-linux-gnu" / "release"
COLS = 1024  # of the product that is traced
STRIP, BLOCK = 32, 32
FORMATS = ["int8", "int4", "int3", "int2", "bitnet", "ternary", "binary"]
# Board, LLVM's model of its processor, and the kernels it can run, the best one first. LLVM treats the Cortex-A76 as a
# Cortex-A57; its Neoverse N1, the server core derived from the A76, is closer.
CORES = {
    "cortex-a53": ("cortex-a53", ["neon"]),
    "cortex-a72": ("cortex-a72", ["neon"]),
    "cortex-a76": ("neoverse-n1", ["neon-dotprod", "neon"]),
}


def run(*command, **options):
    command = [str(part) for part in command]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def toolchain(script):
    """Runs a line of shell with the functions of scripts/toolchain.sh."""
    return run("bash", "-c", f"set -e; source scripts/toolchain.sh; find_arm; find_mca; {script}", cwd=ROOT).strip()


def build(*packages):
    toolchain(f"arm_cargo max build --release --locked {' '.join(packages)} >&2")
    plugin = TARGET / "trace.so"
    run("gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", plugin, ROOT / "benches/arm/trace.c")
    return plugin


class Trace:
    """The instruction blocks that a program executed under qemu after each mark, in order."""

    def __init__(self, plugin, cpu, *command):
        out = TARGET / "trace.txt"
        self.answer = json.loads(
            run("qemu-aarch64", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", "-plugin", f"{plugin},out={out}", *command)
        )
        self.words, self.regions, region = {}, {}, []
        for line in out.read_text().splitlines():
            kind, first, *words = line.split()
            if kind == "B":
                self.words[first] = words
            elif kind == "T":
                region.append(first)
            elif kind == "M":
                region = self.regions.setdefault(first, [])
            else:
                self.total = int(first)

    def expand(self, blocks):
        return [word for block in blocks for word in self.words[block]]

    def one_strip(self, strips):
        """The instructions of the last strip but one, delimited by a block that runs once per strip."""
        region = self.regions["mark_matmul"]
        counts = Counter(region)
        places = {block: [] for block, count in counts.items() if count == strips}
        for i, block in enumerate(region):
            if block in places:
                places[block].append(i)
        # Other loops may run as often: a strip is the longest distance.
        at = max(places.values(), key=lambda at: at[-1] - at[-2])
        assert at[-1] - at[-2] == at[-2] - at[-3], "strips differ"
        return self.expand(region[at[-2] : at[-1]])


def disassemble(words, llvm):
    unique = sorted(set(words))
    data = "\n".join(" ".join(f"0x{byte:02x}" for byte in bytes.fromhex(word)[::-1]) for word in unique)
    text = run(f"{llvm.replace('mca', 'mc')}", "-disassemble", "-triple=aarch64", "-mattr=+v8.2a,+dotprod", input=data)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith(".")]
    assert len(lines) == len(unique), "an instruction is unknown"
    names = dict(zip(unique, lines, strict=True))
    return [names[word] for word in words]


def mca(lines, cpu, llvm):
    """Simulated cycles of the lines, the bound of the busiest unit, and which unit that is."""
    out = json.loads(
        run(
            llvm,
            "-mtriple=aarch64",
            f"-mcpu={cpu}",
            "-mattr=+dotprod",
            "-iterations=3",
            "-call-latency=1",
            "-json",
            input="\n".join(lines),
            stderr=subprocess.DEVNULL,
        )
    )
    region = out["CodeRegions"][0]
    summary, units = region["SummaryView"], out["TargetInfo"]["Resources"]
    busy = {
        units[use["ResourceIndex"]].partition(".")[0]: use["ResourceUsage"]
        for use in region["ResourcePressureView"]["ResourcePressureInfo"]
        if use["InstructionIndex"] == len(lines)
    }
    unit = max(busy, key=busy.get)
    bound = max(busy[unit], summary["Instructions"] / summary["Iterations"] / summary["DispatchWidth"])
    return {"cycles": summary["TotalCycles"] / summary["Iterations"], "bound": bound, "unit": unit}


def measure(plugin, llvm, kernel, cpu, model_cpu, format, tokens):
    """One kernel: instructions and cycles per weight (and token), and per quantized activation."""
    strips = 4
    trace = Trace(plugin, cpu, RELEASE / "examples/product", kernel, format, strips * STRIP, COLS, tokens)
    strip = trace.one_strip(strips)
    cost = mca(disassemble(strip, llvm), model_cpu, llvm)
    quantize = trace.expand(trace.regions["mark_quantize"])
    weights = STRIP * COLS * tokens
    per_byte = weights / (trace.answer["bytes"] / strips)
    return {
        "core": cpu,
        "llvm_model": model_cpu,
        "kernel": kernel,
        "format": format,
        "tokens": tokens,
        "instructions_per_weight": len(strip) / weights,
        "instructions_per_byte": len(strip) / weights * per_byte,
        "cycles_per_weight": cost["cycles"] / weights,
        "bound_cycles_per_weight": cost["bound"] / weights,
        "busiest_unit": cost["unit"],
        "bytes_per_cycle": 1 / (cost["cycles"] / weights * per_byte),
        "quantize_instructions_per_value": len(quantize) / COLS / tokens,
        "answer_hash": trace.answer["hash"],
    }


def whole(plugin, file, cpu, costs, inputs):
    """Instructions per decoded token of a model, from runs that differ only in the number of tokens."""
    program = [RELEASE / "speed", file, "--prompt", 1, "--generate"]
    short, long = (Trace(plugin, cpu, *program, inputs["context"] + extra).total for extra in (-2, 0))
    model = inputs["models"][0]
    products, inputs_length = matrices(model)
    format, head = ((costs[cpu, CORES[cpu][1][0], name, 1]) for name in model["formats"][0])
    known = inputs_length * format["quantize_instructions_per_value"] + sum(
        rows * cols * (head if is_head else format)["instructions_per_weight"] for rows, cols, is_head in products
    )
    token = (long - short) / 2
    return {
        "instructions_per_token": token,
        "of_products_and_quantizing": known,
        "other_instructions": (token - known) / model["layers"] / model["hidden"],
    }


def matrices(model):
    """(rows, cols, is_head) of all matrices in a forward pass, and the total length of their inputs."""
    hidden, ffn, query = model["hidden"], model["ffn"], model["heads"] * model["head_dim"]
    kv = model["kv_heads"] * model["head_dim"]
    layer = [(query, hidden), (kv, hidden), (kv, hidden), (hidden, query), (ffn, hidden), (ffn, hidden), (hidden, ffn)]
    products = [(rows, cols, False) for rows, cols in layer] * model["layers"] + [(model["vocab"], hidden, True)]
    return products, model["layers"] * (2 * hidden + query + ffn) + hidden


def packed_bytes(rows, cols, format):
    """The size of a matrix in the layout of engine/kernels/src/layout.rs."""
    bits = {"int8": 8, "int4": 4, "int3": 3, "int2": 2, "bitnet": 2, "ternary": 2, "binary": 1}[format]
    group = {"bitnet": cols, "ternary": 128, "binary": 128}.get(format, BLOCK)
    groups = -(-cols // group)
    scales = 2 * STRIP if format in ("int8", "bitnet", "ternary", "binary") else 4 * STRIP
    return -(-rows // STRIP) * (groups * scales + cols // BLOCK * bits * STRIP * BLOCK // 8)


def cache_bytes(model, positions):
    return model["layers"] * 2 * model["kv_heads"] * model["head_dim"] * 2 * positions


def predict(board, model, formats, costs, inputs):
    """Tokens per second: the model's lower and upper bounds, with one and four threads."""
    products, inputs_length = matrices(model)
    kernel = CORES[board["core"]][1][0]
    cost = {format: costs[board["core"], kernel, format, 1] for format in set(formats)}
    size = sum(packed_bytes(rows, cols, formats[head]) for rows, cols, head in products)
    memory = (size + cache_bytes(model, inputs["context"])) / board["gb_per_s"] / 1e9
    hertz = board["ghz"] * 1e9
    # One instruction per cycle, on one thread whatever the number of threads.
    serial = (
        inputs_length * cost[formats[0]]["quantize_instructions_per_value"]
        + inputs["other_instructions"] * model["layers"] * model["hidden"]
    ) / hertz
    row = {
        "board": board["name"],
        "model": model["name"],
        "format": formats[0],
        "head": formats[1],
        "kernel": kernel,
        "weights_mb": size / 1e6,
        "cache_mb_2048": cache_bytes(model, 2048) / 1e6,
        "memory_ms": memory * 1e3,
    }
    for threads in (1, 4):
        slow, fast = (
            sum(rows * cols * cost[formats[head]][what] for rows, cols, head in products) / hertz / threads + serial
            for what in ("cycles_per_weight", "bound_cycles_per_weight")
        )
        row[f"compute_ms_{threads}"] = [fast * 1e3, slow * 1e3]
        row[f"tokens_per_second_{threads}"] = [1 / (slow + memory), 1 / max(fast, memory)]
        row[f"limit_{threads}"] = "memory" if memory > slow else "compute" if fast > memory else "either"
    return row


def table(head, rows):
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def report(costs, predictions):
    """The tables of docs/hardware-guide.md."""
    span = lambda pair, digits=0: f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"
    fits = {}
    for row in predictions:
        whole = row["weights_mb"] + row["cache_mb_2048"] + 20
        verdict = "yes" if whole < 300 else "tight" if whole < 400 else "no"
        fits[row["model"], row["format"], row["head"]] = [
            row["model"],
            f"{row['format']}, {row['head']}",
            f"{row['weights_mb']:.0f}",
            f"{row['cache_mb_2048']:.0f}",
            f"{whole:.0f}",
            verdict,
        ]
    table(
        ["model", "format, head", "weights MB", "KV cache at 2,048 tokens, MB", "total MB", "Pi Zero 2 W"],
        fits.values(),
    )
    table(
        [
            "model",
            "format, head",
            "board",
            "weights MB",
            "memory ms",
            "compute ms, 1 thread",
            "tok/s, 1 thread",
            "tok/s, 4 threads",
            "limit at 4",
        ],
        [
            [
                row["model"],
                f"{row['format']}, {row['head']}",
                row["board"],
                f"{row['weights_mb']:.0f}",
                f"{row['memory_ms']:.1f}",
                span(row["compute_ms_1"]),
                span(row["tokens_per_second_1"], 1),
                span(row["tokens_per_second_4"], 1),
                row["limit_4"],
            ]
            for row in predictions
        ],
    )
    for tokens in sorted({key[3] for key in costs}):
        rows = []
        for kernel in ("neon", "neon-dotprod"):
            for format in FORMATS:
                cores = [costs.get((core, kernel, format, tokens)) for core in CORES]
                a76 = cores[2]
                cycles = [
                    f"{core['cycles_per_weight']:.3f} ({core['bound_cycles_per_weight']:.3f})" if core else ""
                    for core in cores
                ]
                rows.append(
                    [
                        kernel,
                        format,
                        f"{a76['instructions_per_weight']:.3f}",
                        f"{a76['instructions_per_byte']:.3f}",
                        *cycles,
                    ]
                )
        print(f"\n{tokens} token(s)")
        table(
            [
                "kernel",
                "format",
                "instructions per weight",
                "per byte of weights",
                "cycles per weight: A53",
                "A72",
                "A76",
            ],
            rows,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="decoding only")
    parser.add_argument("--whole", type=Path, metavar="MODEL.tmac2.bin")
    parser.add_argument("--output", type=Path, default=ROOT / "benches/results/arm_model.json")
    args = parser.parse_args()

    inputs = json.loads((ROOT / "benches/arm/boards.json").read_text())
    llvm = toolchain("echo $llvm_mca")
    plugin = build("-p", "edgellm-kernels-native", "--example", "product")
    rows = []
    for cpu, (model_cpu, kernels) in CORES.items():
        for kernel in kernels:
            for format in FORMATS:
                for tokens in [1] if args.quick else [1, 16]:
                    rows.append(measure(plugin, llvm, kernel, cpu, model_cpu, format, tokens))
    costs = {(row["core"], row["kernel"], row["format"], row["tokens"]): row for row in rows}
    predictions = [
        predict(board, model, formats, costs, inputs)
        for model in inputs["models"]
        for board in inputs["boards"]
        for formats in model["formats"]
    ]
    result = {
        "what": "a model computed from static analysis and published figures; nothing here was measured on a board",
        "commit": run("git", "describe", "--always", "--dirty", cwd=ROOT).strip(),
        "llvm": run(llvm, "--version").partition("version ")[2].split()[0],
        "qemu": run("qemu-aarch64", "--version").partition("version ")[2].split()[0],
        "rustc": toolchain("$arm_rustc --version"),
        "inputs": inputs,
        "kernels": rows,
        "predictions": predictions,
    }
    if args.whole:
        build("-p", "edgellm-benches", "--bin", "speed")
        result["whole"] = {cpu: whole(plugin, args.whole, cpu, costs, inputs) for cpu in ("cortex-a53", "cortex-a76")}
        print(json.dumps(result["whole"], indent=1))
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    report(costs, predictions)


if __name__ == "__main__":
    main()
