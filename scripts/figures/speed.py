"""The README's chart: how many times as fast as llama.cpp and wllama, from the committed results in benches/results.

`scripts/benchmarks_doc.py` writes it to docs/images/speed.svg, and its `--check` notices where it differs.
"""

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent.parent / "benches/results"

WIDTH, MARGIN, GUTTER = 800, 16, 24
LABELS, PANEL, BAR, GAP = 56, (WIDTH - 2 * MARGIN - GUTTER) // 2, 13, 10
COLOURS = {1: "#4477aa", 2: "#99bbdd"}
STYLE = "text{font:13px system-ui,sans-serif;fill:#24292f}.h{font-weight:600}.s{font-size:11.5px;fill:#57606a}"


def load(path: str) -> dict:
    return json.loads((RESULTS / path).read_text())


def against_llama_cpp(machine: str, what: str) -> list[float]:
    """`benches/llama_cpp.py` on one thread and on two: the same Q4_0 weights on both sides, median of paired ratios."""
    rows = load(f"{machine}/llama_cpp.json")["rows"]
    found = [
        row["ratio"]["median"]
        for row in rows
        if row["comparison"] == f"{what}-int4" and row["format"] == "int4 from Q4_0" and not row["avx2"]
    ]
    assert len(found) == 2
    return found


def in_report(machine: str, ours: str, peer: str, what: str) -> list[float]:
    """`edgellm benchmark` on one thread and on two: ratio of medians after a prompt of 128 tokens."""
    figure = f"{what}_tokens_per_second"
    median = {
        (row["target"], row["threads"]): row[figure]["median"]
        for row in load(f"{machine}/benchmark.json")["rows"]
        if row["prompt_tokens"] == 128 and row[figure]
    }
    return [median[ours, threads] / median[peer, threads] for threads in (1, 2)]


def in_browser(machine: str, what: str) -> list[float]:
    """`benches/browser_speed` on one thread and on two: ratio of medians, the Q4_1 weights on both sides."""
    median = {row["name"]: row[what]["median"] for row in load(f"{machine}/browser_speed.json")["rows"]}
    ours, peer = "browser threads int4", "wllama Q4_1"
    return [median[f"{ours} {threads}T"] / median[f"{peer} {threads}T"] for threads in (1, 2)]


def panel(x: float, y: float, title: str, peer: str, rows: dict[str, list[float]]) -> tuple[str, float]:
    """One panel with its upper left corner at (x, y), and its height."""
    scale = (PANEL - LABELS - 48) / max(max(ratios) for ratios in rows.values())
    left = x + LABELS
    top = y + 26
    parts = [f'<text class="h" x="{x}" y="{y + 12}">{title}</text>']
    at = top
    for machine, ratios in rows.items():
        parts.append(f'<text x="{x}" y="{at + BAR + 5}">{machine}</text>')
        for threads, ratio in enumerate(ratios, 1):
            end = scale * (1 if 0.7 < ratio < 1 else ratio)  # keeps the label off the dashed line
            parts.append(
                f'<rect x="{left}" y="{at}" width="{ratio * scale:.1f}" height="{BAR}" fill="{COLOURS[threads]}"/>'
                f'<text class="s" x="{left + end + 5:.1f}" y="{at + BAR - 2}">{ratio:.1f} &#215;</text>'
            )
            at += BAR + 1
        at += GAP
    line = left + scale
    parts.append(
        f'<line x1="{line:.1f}" y1="{top - 4}" x2="{line:.1f}" y2="{at - GAP + 4}" '
        'stroke="#cf222e" stroke-dasharray="3 2"/>'
    )
    parts.append(f'<text class="s" x="{line:.1f}" y="{at + 8}" text-anchor="middle">{peer}</text>')
    return "\n".join(parts), at + 20 - y


def svg() -> str:
    """The chart."""
    native = {
        what: {
            "Zen 4": against_llama_cpp("zen4", what),
            "Xeon": against_llama_cpp("xeon", what),
            "Zen 3": in_report("zen3", "native", "llama.cpp", what),
        }
        for what in ("decode", "prefill")
    }
    browser = {
        what: {
            "Zen 4": in_report("zen4", "browser", "wllama", what),
            "Xeon": in_browser("xeon", what),
            "Zen 3": in_report("zen3", "browser", "wllama", what),
        }
        for what in ("decode", "prefill")
    }
    names = {"decode": "Decode", "prefill": "Prefill"}
    parts = []
    y = MARGIN
    for where, peer, rows in (("native", "llama.cpp", native), ("in Chromium", "wllama", browser)):
        for column, what in enumerate(("decode", "prefill")):
            content, height = panel(MARGIN + column * (PANEL + GUTTER), y, f"{names[what]}, {where}", peer, rows[what])
            parts.append(content)
        y += height + 14
    legend = MARGIN + LABELS
    for threads, name in ((1, "1 thread"), (2, "2 threads")):
        parts.append(
            f'<rect x="{legend}" y="{y}" width="{BAR}" height="{BAR}" fill="{COLOURS[threads]}"/>'
            f'<text class="s" x="{legend + BAR + 6}" y="{y + BAR - 2}">{name}</text>'
        )
        legend += 90
    height = y + BAR + MARGIN
    title = "EdgeLLM's speed in multiples of llama.cpp's and wllama's"
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
