"""The machine that results belong to; files of results do not mix machines."""

import json
import os
import platform
import sys
from pathlib import Path


def cpu_name() -> str:
    """As the system reports it; on x86 with family and model, since virtual machines name different CPUs alike."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    fields = {
        key.strip(): value.strip() for key, separator, value in (line.partition(":") for line in lines) if separator
    }
    name = fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine()
    if "cpu family" in fields and "model" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def machine() -> dict:
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "kernel": platform.release()}


def earlier(path: Path) -> dict:
    """The report at `path`, to add to, or a new one for this machine."""
    report = json.loads(path.read_text()) if path.exists() else {"machine": machine()}
    if report["machine"] != machine():
        sys.exit(f"{path} has results of another machine, {report['machine']}: choose another --output")
    return report
