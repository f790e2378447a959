#!/usr/bin/env bash
# Everything that ARTIFACT.md describes: builds, fetches, measures, evaluates and draws, into target/artifact.
#
#   benches/run_all.sh            everything; measuring is limited to 38 minutes
#   benches/run_all.sh --quick    the same with few runs, to check that all parts work
#
# Parts whose requirements are missing are reported and left out. Run it on an idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."

MODEL=smollm2-135m-instruct
OUT=target/artifact
settings=(--iterations 100 --warmup 10 --cold-starts 10 --generate 32 --minutes 38)
limit=1000
windows=20
if [ "${1:-}" = --quick ]; then
    settings=(--iterations 6 --warmup 1 --cold-starts 1 --generate 16 --minutes 4)
    limit=20
    windows=2
fi
mkdir -p "$OUT"

step() { printf '\n=== %s\n' "$*"; }

step "building"
scripts/setup python wasm browser peers || echo "some parts are missing and will be left out"
features=()
scripts/build-web || echo "scripts/build-web failed: the browser will be left out"
if scripts/build-plugin; then features=(--features plugin); else echo "scripts/build-plugin failed: the plugin will be left out"; fi
cargo build --release --locked -p edgellm-host "${features[@]}"
EDGELLM=target/release/edgellm
GGUF=$($EDGELLM pull $MODEL)

step "speed: native, plugin, browser, llama.cpp, wllama"
$EDGELLM benchmark --model $MODEL --targets native,plugin,browser --peers llama.cpp,wllama --threads 1,2 \
    "${settings[@]}" --output "$OUT/report"

step "quality of the formats"
python3 scripts/evaluation/fetch.py
evaluations=()
for format in int8 int4 int3 int2; do
    options=(--task target/evaluation/hellaswag.jsonl --task target/evaluation/arc_easy.jsonl
        --task target/evaluation/piqa.jsonl --task target/evaluation/lambada.jsonl --limit "$limit")
    # No script can download the text: WIKITEXT is the path of WikiText-2's wiki.test.raw.
    if [ -n "${WIKITEXT:-}" ]; then options+=(--text "$WIKITEXT" --chunks "$windows"); fi
    $EDGELLM evaluate --model "$GGUF" --format $format "${options[@]}" --json >"$OUT/evaluation-$format.json"
    evaluations+=("$OUT/evaluation-$format.json")
done

step "figures"
target/peers/bin/python scripts/figures/figures.py --output "$OUT/figures" "$OUT/report/report.json" "${evaluations[@]}" ||
    echo "no figures: scripts/setup peers installs matplotlib"

step "what to expect, by ARTIFACT.md"
python3 benches/expected.py "$OUT/report/report.json"
