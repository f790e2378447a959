#!/usr/bin/env python3
"""Runs all checks of schemathesis on the OpenAPI document of a running server; it must find nothing."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from process import ROOT, Server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("more", nargs="*", help="further options for schemathesis, after --")
    options = parser.parse_args()
    # Short answers, because random requests ask for long ones. No limit on choices times prompts, because a schema
    # cannot express it.
    with Server("--max-tokens", "8", "--max-choices", "100000", "--log-level", "error") as server:
        command = [
            ROOT / ".venv" / "bin" / "st",
            "run",
            server.url + "/openapi.json",
            "--checks=all",
            f"--max-time={options.seconds}",
            "--seed=1",
            # Many prompts with many choices take a while.
            "--request-timeout=120",
            "--max-response-time=120",
            *options.more,
        ]
        hooks = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parent)}
        result = subprocess.run(command, check=False, cwd=ROOT / "target", env={**os.environ, **hooks})
        if server.process.poll() is not None:
            print("the server exited")
            return 1
        return result.returncode


if __name__ == "__main__":
    sys.exit(main())
