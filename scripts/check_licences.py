#!/usr/bin/env python3
"""Checks that every crate in Cargo.lock may be shipped in an MIT-licensed program.

Each crate's SPDX expression must be satisfiable from ALLOWED. Standard library only.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",  # file-level: its own files stay MPL, ours stay MIT
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def allowed(expression: str) -> bool:
    """Evaluates an SPDX expression: OR binds loosest, then AND, then WITH."""
    # "MIT/Apache-2.0" is how crates wrote OR before SPDX.
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek() -> str | None:
        return tokens[position] if position < len(tokens) else None

    def take() -> str:
        nonlocal position
        position += 1
        return tokens[position - 1]

    def any_of() -> bool:
        value = all_of()
        while peek() == "OR":
            take()
            value = all_of() or value
        return value

    def all_of() -> bool:
        value = one()
        while peek() == "AND":
            take()
            value = one() and value
        return value

    def one() -> bool:
        name = take()
        if name == "(":
            value = any_of()
            if take() != ")":
                raise ValueError(f"unbalanced licence expression {expression!r}")
            return value
        if peek() == "WITH":
            take()
            name = f"{name} WITH {take()}"
        return name in ALLOWED

    value = any_of()
    if peek() is not None:
        raise ValueError(f"cannot read licence expression {expression!r}")
    return value


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    refused = []
    for package in metadata["packages"]:
        licence = package["license"]
        if not licence or not allowed(licence):
            refused.append(f"{package['name']} {package['version']}: {licence or 'no licence stated'}")
    for line in refused:
        print(f"licence not on the list: {line}")
    print(f"{len(metadata['packages'])} crates checked, {len(refused)} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
