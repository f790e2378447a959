#!/usr/bin/env python3
"""Trains a model in the few bits in which it will be stored: int3, int2 or ternary (bitnet), distilled from itself.

    python3 scripts/finetune/train_low_bit.py --model merged --data prepared --kind int2 --output low-bit

The student begins with the rounded weights of --model, which is also the teacher: the loss is the KL divergence from
its predictions, and to a share of --hard that of the answers themselves. OUTPUT is a checkpoint (GPTQ, or BitNet) whose
codes `edgellm quantize` keeps: the file computes what was trained. Ctrl-C leaves a checkpoint, from which --resume goes
on.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from reading import DataError
from tokens import IGNORED, Encoder, load_tokenizer
from train_qlora import clock, load_rows

# Tokens of a sequence that is cut from a text.
WINDOW = 256


def sequences(args: argparse.Namespace, tokenizer) -> list[tuple[list[int], list[int]]]:
    """Tokens and labels: rows of prepare_dataset.py, or windows of a text."""
    if args.data.is_dir():
        rows = load_rows(args.data / "train.jsonl", Encoder(tokenizer), args.max_length)
        return [(row.input_ids, row.labels) for row in rows]
    try:
        ids = tokenizer(args.data.read_text(encoding="utf-8"))["input_ids"]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{args.data} is no text: {error}") from None
    found = [(ids[at : at + WINDOW], ids[at : at + WINDOW]) for at in range(0, len(ids) - WINDOW + 1, WINDOW)]
    if not found:
        raise DataError(f"{args.data} has {len(ids)} tokens, and {WINDOW} are a window: give a longer text")
    return found


def batch(found: list, indices: list[int], pad: int, device: str):
    """Sequences side by side, padded at the end."""
    import torch

    longest = max(len(found[index][0]) for index in indices)
    rows = [found[index] for index in indices]
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows], device=device)
    labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in rows], device=device)
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows], device=device)
    return ids, labels, mask


def losses(student, teacher, ids, labels, mask):
    """KL divergence from the teacher's predictions of the labelled tokens, and their cross entropy."""
    import torch
    from torch.nn import functional

    chosen = labels[:, 1:] != IGNORED
    given = student(ids, attention_mask=mask).logits[:, :-1][chosen].float()
    with torch.no_grad():
        wanted = teacher(ids, attention_mask=mask).logits[:, :-1][chosen].float()
    log_given, log_wanted = functional.log_softmax(given, -1), functional.log_softmax(wanted, -1)
    divergence = functional.kl_div(log_given, log_wanted, log_target=True, reduction="batchmean")
    return divergence, functional.nll_loss(log_given, labels[:, 1:][chosen])


def train(args: argparse.Namespace, say) -> dict:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from low_bit import replace, save

    logging.disable_progress_bar()
    if args.output.exists() and any(args.output.iterdir()):
        raise DataError(f"{args.output} is there already, with files: give another --output, or remove it")
    tokenizer = load_tokenizer(args.model)
    found = sequences(args, tokenizer)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teacher = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).to(device).eval()
    student = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    try:
        layers = replace(student, args.kind)
    except ValueError as error:
        raise DataError(f"{args.model}: {error}") from None
    student.to(device).train()
    scales = [value for name, value in student.named_parameters() if name.endswith(".scale")]
    others = [value for name, value in student.named_parameters() if not name.endswith(".scale")]
    # Scales are a thousandth of the weights' number, and far fewer steps move them.
    groups = [{"params": others, "lr": args.learning_rate}, {"params": scales, "lr": args.learning_rate / 10}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0)
    warm, steps = max(1, args.steps // 20), args.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1))))
    )
    checkpoint = args.output.with_name(f"{args.output.name}.checkpoint")
    first, log = 0, []
    if args.resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first, log = state["step"], state["log"]
    say(f"{args.kind}: {len(layers)} matrices, {steps} steps of {args.batch} sequences on {device}")
    interrupted = []
    signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    began = time.monotonic()
    for step in range(first, steps):
        # The order depends on seed and step alone, so that a resumed run sees the same.
        epoch, at = divmod(step * args.batch, len(found))
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(args.seed + epoch)).tolist()
        indices = [(order * 2)[at + offset] for offset in range(min(args.batch, len(found)))]
        ids, labels, mask = batch(found, indices, tokenizer.pad_token_id or tokenizer.eos_token_id, device)
        divergence, hard = losses(student, teacher, ids, labels, mask)
        loss = (1 - args.hard) * divergence + args.hard * hard
        if not torch.isfinite(loss):
            raise DataError(f"the loss is {loss.item()} at step {step + 1}: lower --learning-rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        log.append({"step": step + 1, "kl": divergence.item(), "loss": hard.item()})
        if (step + 1) % args.log_steps == 0 or step + 1 == steps:
            left = (time.monotonic() - began) / (step + 1 - first) * (steps - step - 1)
            say(f"step {step + 1} of {steps}, KL {divergence.item():.4f}, loss {hard.item():.3f}, {clock(left)} left")
        if interrupted or (step + 1) % args.save_steps == 0:
            state = {"model": student.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"schedule": schedule.state_dict(), "step": step + 1, "log": log}
            draft = checkpoint.with_suffix(".draft")
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, draft)
            os.replace(draft, checkpoint)
        if interrupted and step + 1 < steps:
            say(f"stopped after step {step + 1} of {steps}; --resume goes on from there")
            sys.exit(130)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{args.output.name}.", suffix=".draft", dir=args.output.parent))
    try:
        save(student.cpu(), args.kind, draft)
        tokenizer.save_pretrained(draft)
        teacher.generation_config.save_pretrained(draft)
        (draft / "training.json").write_text(json.dumps(log) + "\n")
        draft.chmod(0o755)
        if args.output.exists():
            args.output.rmdir()
        draft.rename(args.output)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    checkpoint.unlink(missing_ok=True)
    tail = log[-max(1, len(log) // 10) :]
    return {"steps": steps, "seconds": round(time.monotonic() - began), "first_kl": log[0]["kl"],
            "kl": sum(entry["kl"] for entry in tail) / len(tail)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or repository of the float model: teacher and start")
    parser.add_argument("--data", required=True, type=Path, help="folder that prepare_dataset.py wrote, or a text file")
    parser.add_argument("--kind", required=True, choices=["int3", "int2", "bitnet"], help="what it is to be stored as")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument("--steps", type=int, default=1000, help="[%(default)s]")
    parser.add_argument("--batch", type=int, default=4, help="sequences of a step [%(default)s]")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="the largest [%(default)s]")
    parser.add_argument(
        "--hard", type=float, default=0.2, help="share of the answers themselves in the loss [%(default)s]"
    )
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of a row, at most [%(default)s]")
    parser.add_argument("--save-steps", type=int, default=100, help="steps between checkpoints [%(default)s]")
    parser.add_argument("--log-steps", type=int, default=10, help="steps between lines of progress [%(default)s]")
    parser.add_argument("--threads", type=int, help="of the CPU [torch's default]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint beside --output, if there is one"
    )
    args = parser.parse_args()
    try:
        found = train(args, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
    except DataError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
