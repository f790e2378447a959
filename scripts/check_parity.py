#!/usr/bin/env python3
"""Checks that all targets compute the same bits: runs the wasm module of wasm/parity, and compares results.

    check_parity.py wasm MODULE [--model FILE]   run the module in wasmtime and print its result lines
    check_parity.py compare FILE...              fail unless all files have the same results

A line is "what hash kernels threads". All files must have the same set of `what`, with the same hash for each.
"""

import argparse
import sys
from pathlib import Path


class Parity:
    """The exports of the module. A test returns its number of failures and writes a report to memory."""

    def __init__(self, module: str):
        from wasmtime import Config, Engine, Instance, Module, Store

        config = Config()
        config.cranelift_opt_level = "speed"
        engine = Engine(config)
        self.store = Store(engine)
        module = Module.from_file(engine, module)
        imports = [f"{i.module}.{i.name}" for i in module.imports]
        if imports:
            raise SystemExit(f"the module must have no imports, but it has {', '.join(imports)}")
        self.exports = Instance(self.store, module, []).exports(self.store)

    def call(self, name: str, *arguments: int) -> int:
        # wasmtime returns 32-bit integers as signed.
        return self.exports[name](self.store, *arguments) & 0xFFFF_FFFF

    def report(self) -> str:
        start = self.call("parity_report")
        end = start + self.call("parity_report_len")
        return self.exports["memory"].read(self.store, start, end).decode()

    def give_model(self, path: Path) -> None:
        data = path.read_bytes()
        self.exports["memory"].write(self.store, data, self.call("parity_model", len(data)))

    def run(self, test: str) -> str:
        from wasmtime import Trap

        try:
            failures = self.call(test)
        except Trap as trap:
            raise SystemExit(f"{test}: {self.report()}\n{trap}") from None
        if failures:
            raise SystemExit(f"{test}: {self.report()}")
        return self.report()


def wasm(args: argparse.Namespace) -> None:
    parity = Parity(args.module)
    tests = ["parity_deep_templates", "parity_check_kernels", "parity_seeded_models"]
    if args.model:
        parity.give_model(args.model)
        tests.append("parity_given_model")
    for test in tests:
        print(parity.run(test), end="", flush=True)


def compare(args: argparse.Namespace) -> None:
    results: dict[str, dict[str, list[str]]] = {}  # what -> hash -> who
    names = []
    for path in args.files:
        seen = set()
        for line in path.read_text().splitlines():
            what, hash_, kernels, threads = line.split()
            who = f"{path.stem} {kernels} {threads}T"
            results.setdefault(what, {}).setdefault(hash_, []).append(who)
            seen.add(what)
        names.append((path, seen))
    problems = [f"{path}: no line for {what}" for path, seen in names for what in sorted(results.keys() - seen)]
    for what, hashes in sorted(results.items()):
        if len(hashes) > 1:
            problems.append(f"{what} differs:")
            problems += [f"  {hash_} {', '.join(who)}" for hash_, who in hashes.items()]
    if problems or not results:
        sys.exit("\n".join(problems or ["no results to compare"]))
    who = sorted({who for hashes in results.values() for list_ in hashes.values() for who in list_})
    print(f"{len(results)} results are the same bits in all of: {', '.join(who)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("wasm")
    command.set_defaults(run=wasm)
    command.add_argument("module")
    command.add_argument("--model", type=Path)
    command = commands.add_parser("compare")
    command.set_defaults(run=compare)
    command.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
