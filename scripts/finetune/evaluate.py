#!/usr/bin/env python3
"""Measures a model, with or without an adapter, on rows of prepare_dataset.py: loss of the answers, exact match, BLEU.

    python3 scripts/finetune/evaluate.py --model FOLDER --adapter tuned/adapter --data prepared/validation.jsonl

Answers are greedy, and scored as `edgellm evaluate --questions` scores those of a model file.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

from reading import DataError, prepared
from scores import bleu, exact_match
from tokens import IGNORED, Encoder, load_tokenizer

# Rows whose answers are generated at a time.
BATCH = 16


def load(args: argparse.Namespace, device: str):
    import torch
    from transformers import AutoModelForCausalLM

    config = Path(args.model) / "config.json"
    if config.exists() and "quantization_config" in json.loads(config.read_text()):
        import low_bit

        return low_bit.load(Path(args.model)).to(device).eval()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).to(device).eval()
    if args.adapter:
        from peft import PeftModel

        if not (args.adapter / "adapter_config.json").exists():
            raise DataError(f"{args.adapter} is no adapter in PEFT's format: adapter_config.json is missing")
        model = PeftModel.from_pretrained(model, str(args.adapter)).merge_and_unload()
    return model


def loss(model, encoder: Encoder, rows: list[dict], device: str) -> float:
    """Mean loss of a token of the answers."""
    import torch

    total = count = 0
    for row in rows:
        for sequence in encoder.encode(row):
            ids, labels = (torch.tensor([part], device=device) for part in (sequence.input_ids, sequence.labels))
            with torch.no_grad():
                logits = model(ids).logits.float()
            tokens = sequence.answers() - (sequence.labels[0] != IGNORED)
            mean = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=IGNORED)
            total, count = total + mean.item() * tokens, count + tokens
    return total / max(count, 1)


def generate(model, tokenizer, prompts: list[str], limit: int, device: str, say) -> list[str]:
    """Greedy answers."""
    import torch

    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    special = tokenizer.chat_template is None
    # Prompts of similar length together: padding costs time.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers, began = [""] * len(prompts), time.monotonic()
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        given = tokenizer(
            [prompts[index] for index in batch], return_tensors="pt", padding=True, add_special_tokens=special
        ).to(device)
        with torch.no_grad():
            found = model.generate(
                **given, max_new_tokens=limit, do_sample=False, num_beams=1, pad_token_id=tokenizer.pad_token_id,
                temperature=None, top_p=None, top_k=None,
            )  # fmt: skip
        for index, tokens in zip(batch, found[:, given["input_ids"].shape[1] :], strict=True):
            answers[index] = tokenizer.decode(tokens, skip_special_tokens=True)
        say(f"{min(start + BATCH, len(order))} of {len(order)} answers, {time.monotonic() - began:.0f} s")
    return answers


def evaluate(args: argparse.Namespace, say) -> dict:
    rows = prepared(args.data)[: args.limit]
    if not rows:
        raise DataError(f"{args.data} has no rows")
    tokenizer = load_tokenizer(args.model, args.template)
    encoder = Encoder(tokenizer)
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load(args, device)
    found = {"n": len(rows), "loss": loss(model, encoder, rows, device)}
    found["perplexity"] = math.exp(min(found["loss"], 700))
    if all("text" not in row for row in rows):
        prompts, expected = [encoder.prompt(row) for row in rows], [encoder.answer(row) for row in rows]
        answers = generate(model, tokenizer, prompts, args.max_tokens, device, say)
        found |= {"exact_match": exact_match(answers, expected), "bleu": bleu(answers, expected)}
        if args.answers:
            lines = [
                {"prompt": p, "answer": a, "expected": e} for p, a, e in zip(prompts, answers, expected, strict=True)
            ]
            args.answers.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or repository of the hub")
    parser.add_argument("--adapter", type=Path, help="folder of an adapter in PEFT's format")
    parser.add_argument(
        "--data", required=True, type=Path, help="train.jsonl or validation.jsonl of prepare_dataset.py"
    )
    parser.add_argument("--template", help="file with a chat template, in place of the model's")
    parser.add_argument("--max-tokens", type=int, default=128, help="of an answer [%(default)s]")
    parser.add_argument("--limit", type=int, help="the first N rows [all]")
    parser.add_argument("--answers", type=Path, help="file to write prompts and answers to")
    parser.add_argument("--threads", type=int, help="of the CPU [torch's default]")
    args = parser.parse_args()
    try:
        found = evaluate(args, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
    except DataError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
