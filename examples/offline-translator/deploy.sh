#!/usr/bin/env bash
# Fine-tunes and converts the model (or goes on with what an earlier run left), measures it, serves it, and asks it a
# held-out question. EDGELLM names the program; further arguments go to `edgellm finetune`.
set -euo pipefail
cd "$(dirname "$0")"
model=build/translator.tmac2.bin
mkdir -p build
"${EDGELLM:-edgellm}" finetune --base-model smollm2-135m-instruct --data dataset.jsonl \
    --evaluation-data heldout.jsonl --output "$model" --epochs 2 --learning-rate 1e-3 --max-tokens 48 --resume "$@"
python3 ../ask.py --model "$model" --rows heldout.jsonl
