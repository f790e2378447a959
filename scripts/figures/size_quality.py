"""The chart of docs/quantization.md: size against perplexity, from benches/results/quality.json.

`scripts/benchmarks_doc.py` writes it to docs/images/quality.svg, and its `--check` notices where it differs.
"""

import json
import math
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent.parent / "benches/results"

PANEL, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 300, 230, 52, 34, 36, 10
STYLE = "text{font:12px system-ui,sans-serif;fill:#24292f}.h{font-weight:600}.s{font-size:11px;fill:#57606a}"
# Paul Tol's bright colours, which colour-blind readers can tell apart.
SERIES = {"edgellm": "#ee6677", "llama.cpp, imatrix": "#4477aa", "llama.cpp": "#bbbbbb", "others": "#228833"}
# Above the F16 file's perplexity; what is outside stands at the edge.
LEAST, MOST = 0.003, 10.0
TICKS = {0.01: "1 %", 0.03: "3 %", 0.1: "10 %", 0.3: "30 %", 1: "100 %", 3: "300 %"}


def series(row: dict) -> str:
    if row["engine"] == "llama.cpp":
        return "llama.cpp, imatrix" if row["row"].endswith("imatrix") else "llama.cpp"
    return row["engine"] if row["engine"] == "edgellm" else "others"


def best(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no smaller file beats."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points):
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return kept


def panel(left: float, name: str, model: dict) -> str:
    rows = [row for row in model["rows"] if row["row"] != "int8"]
    sizes = [row["bytes"] / 1e6 for row in rows]
    low, high = min(sizes) * 0.96, max(sizes) * 1.04

    def at(row: dict) -> tuple[float, float]:
        above = min(max(row["perplexity"] / model["f16"]["perplexity"] - 1, LEAST), MOST)
        share = math.log(above / LEAST) / math.log(MOST / LEAST)
        x = left + LEFT + (row["bytes"] / 1e6 - low) / (high - low) * (PANEL - LEFT - RIGHT)
        return round(x, 1), round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<text class="h" x="{left + LEFT}" y="20">{name}</text>']
    for value, label in TICKS.items():
        share = math.log(value / LEAST) / math.log(MOST / LEAST)
        y = TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
        ends = f'x1="{left + LEFT}" y1="{y:.1f}" x2="{left + PANEL - RIGHT}" y2="{y:.1f}"'
        parts.append(f'<line {ends} stroke="#d0d7de"/>')
        parts.append(f'<text class="s" x="{left + LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for index in range(4):
        size = low + (high - low) * index / 3
        x = left + LEFT + (PANEL - LEFT - RIGHT) * index / 3
        anchor = "end" if index == 3 else "middle"
        parts.append(
            f'<text class="s" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{size:.0f} MB</text>'
        )
    for kind, colour in reversed(SERIES.items()):
        points = [at(row) for row in rows if series(row) == kind]
        # y grows downwards: less loss is a larger one.
        line = best([(x, -y) for x, y in points]) if kind != "others" else []
        joined = " ".join(f"{x},{-y}" for x, y in line)
        if joined:
            parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in points]
    return "\n".join(parts)


def svg() -> str:
    """The chart."""
    models = json.loads((RESULTS / "quality.json").read_text())["models"]
    width, height = PANEL * len(models), HEIGHT + 26
    parts = [panel(PANEL * index, name, model) for index, (name, model) in enumerate(models.items())]
    x = LEFT
    for kind, colour in SERIES.items():
        name = "auto-round, GPTQModel" if kind == "others" else kind
        parts.append(f'<circle cx="{x}" cy="{HEIGHT + 8}" r="4" fill="{colour}"/>')
        parts.append(f'<text class="s" x="{x + 9}" y="{HEIGHT + 12}">{name}</text>')
        x += 40 + 7 * len(name)
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f"<title>Perplexity above the F16 file's, against the size of the file</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
