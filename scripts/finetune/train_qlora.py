#!/usr/bin/env python3
"""Trains LoRA adapters on what prepare_dataset.py wrote: QLoRA where there is CUDA, LoRA in float32 on a CPU.

    python3 scripts/finetune/train_qlora.py --model FOLDER --data prepared --output tuned

Writes the adapter, in PEFT's format, to OUTPUT/adapter, the losses to OUTPUT/log.jsonl, and checkpoints to
OUTPUT/checkpoints. Ctrl-C ends it with a checkpoint, and --resume goes on from the last one with the losses that it
would have had. Rows are packed, so that nothing is computed for padding; no row sees another. Needs the packages of
requirements.txt beside it.
"""

import argparse
import json
import math
import signal
import sys
import time
from pathlib import Path

import memory
from reading import DataError, prepared
from tokens import Encoder, Tokens, load_tokenizer

# Files of a checkpoint that was written to its end.
COMPLETE = ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
# Tokens of a packed sequence, at most, unless a row is longer.
PACKED = {"cpu": 512, "cuda": 2048}
# Steps of an epoch that a small data set has at least, and tokens of a step at most.
STEPS, LARGEST_STEP = 64, 8192


def step_tokens(tokens: int, longest: int) -> int:
    """Tokens of an optimizer step by default: few for few rows, so that there are enough steps."""
    return max(longest, min(LARGEST_STEP, max(256, 2 ** round(math.log2(tokens / STEPS)))))


def load_rows(path: Path, encoder: Encoder, limit: int) -> list[Tokens]:
    found = [sequence for row in prepared(path) for sequence in encoder.encode(row)]
    for number, sequence in enumerate(found, 1):
        if len(sequence.input_ids) > limit:
            raise DataError(f"{path}, sequence {number} has more than {limit:,} tokens: prepare with this --max-length")
    return found


def data_set(found: list[Tokens]):
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [s.input_ids for s in found], "labels": [s.labels for s in found]})


def load_model(name: str, device: str, four_bit: bool):
    import torch
    from transformers import AutoModelForCausalLM

    if not four_bit:
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(name, quantization_config=quantization)
    return prepare_model_for_kbit_training(model)


def last_checkpoint(folder: Path) -> Path | None:
    """The last that was written to its end: a killed program leaves parts of one."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    complete = [path for path in found if all((path / name).exists() for name in COMPLETE)]
    return complete[-1] if complete else None


def callback(total_steps: int, log: Path, say):
    """Progress, the log, and an orderly end on Ctrl-C."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        interrupted = False

        def on_train_begin(self, args, state, control, **others):
            self.began, self.first = time.monotonic(), state.global_step
            signal.signal(signal.SIGINT, self.interrupt)

        def interrupt(self, *_):
            if not self.interrupted:
                say("\ninterrupted: a checkpoint follows at the end of this step")
            self.interrupted = True

        def on_step_end(self, args, state, control, **others):
            if self.interrupted:
                control.should_save = control.should_training_stop = True

        def on_log(self, args, state, control, logs=None, **others):
            with log.open("a") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
            spent, done = time.monotonic() - self.began, state.global_step - self.first
            left = spent / max(done, 1) * (total_steps - state.global_step)
            if "loss" in logs:
                say(f"step {state.global_step} of {total_steps}, loss {logs['loss']:.3f}, {clock(left)} left")
            if "eval_loss" in logs:
                say(f"after {state.global_step} steps: validation loss {logs['eval_loss']:.3f}")

    return Callback()


def clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{round(seconds)} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def measure(trainer, steps: int, say) -> dict:
    """Seconds and memory of all steps, from two that are made."""
    import resource

    trainer.args.max_steps = 2
    trainer.args.eval_strategy = trainer.args.save_strategy = "no"
    seconds = trainer.train().metrics["train_runtime"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    found = {"steps": steps, "seconds": round(seconds / 2 * steps), "memory": peak}
    say(f"{steps} steps, about {clock(found['seconds'])} as measured on two of them; {peak / 1e9:.1f} GB of memory")
    return found


def train(args: argparse.Namespace, say) -> dict:
    tokenizer = load_tokenizer(args.model, args.template)
    encoder = Encoder(tokenizer)
    rows = load_rows(args.data / "train.jsonl", encoder, args.max_length)
    validation = load_rows(args.data / "validation.jsonl", encoder, args.max_length)
    import datasets
    import torch
    from peft import LoraConfig
    from transformers.utils import logging
    from trl import SFTConfig, SFTTrainer

    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    four_bit = device == "cuda" if args.four_bit == "auto" else args.four_bit == "yes"
    if four_bit and device == "cpu":
        raise DataError("--four-bit yes needs CUDA; on a CPU adapters are trained in float32")
    tokens, longest = sum(len(row.input_ids) for row in rows), max(len(row.input_ids) for row in rows)
    a_step = args.step_tokens or step_tokens(tokens, longest)
    packed = max(longest, min(PACKED[device], a_step))
    checkpoints = args.output / "checkpoints"
    resumed = last_checkpoint(checkpoints) if args.resume else None
    if not args.resume and not args.plan and last_checkpoint(checkpoints):
        raise DataError(f"{checkpoints} has checkpoints: go on with --resume, or give another --output")
    config = SFTConfig(
        output_dir=str(checkpoints),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=max(1, round(a_step / packed)),
        num_train_epochs=args.epochs,
        learning_rate=args.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.0,
        max_grad_norm=1.0,
        packing=True,
        max_length=packed,
        loss_type="chunked_nll",
        bf16=device == "cuda",
        use_cpu=device == "cpu",
        gradient_checkpointing=device == "cuda",
        logging_steps=args.log_steps,
        eval_strategy="epoch" if validation else "no",
        save_strategy="steps",
        save_steps=args.save_steps,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        seed=args.seed,
        dataloader_pin_memory=device == "cuda",
    )
    torch.manual_seed(args.seed)
    if device == "cpu":
        memory.check(args.model, memory.available())
    model = load_model(args.model, device, four_bit)
    lora = LoraConfig(
        r=args.rank,
        lora_alpha=args.alpha or 2 * args.rank,
        lora_dropout=args.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data_set(rows),
        eval_dataset=data_set(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=lora,
    )
    a_epoch = math.ceil(len(trainer.train_dataset) / config.gradient_accumulation_steps)
    steps = math.ceil(a_epoch * args.epochs)
    if args.plan:
        return measure(trainer, steps, say)
    args.output.mkdir(parents=True, exist_ok=True)
    log = args.output / "log.jsonl"
    keep_log(log, int(resumed.name.split("-")[1]) if resumed else 0)
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    progress = callback(steps, log, say)
    trainer.add_callback(progress)
    precision = "4 bits and bfloat16" if four_bit else "bfloat16" if device == "cuda" else "float32"
    say(f"LoRA of rank {args.rank} in {precision} on {device}: {steps} steps of about {a_step:,} tokens")
    result = trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if progress.interrupted and trainer.state.global_step < steps:
        say(f"stopped after step {trainer.state.global_step} of {steps}; --resume goes on from there")
        sys.exit(130)
    trainer.save_model(str(args.output / "adapter"))
    evaluations = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    found = {"steps": steps, "seconds": round(result.metrics["train_runtime"])}
    found |= {"loss": result.training_loss, "validation_loss": evaluations[-1] if evaluations else None}
    (args.output / "training.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def keep_log(log: Path, steps: int) -> None:
    """Leaves out what a resumed run does once more."""
    lines = log.read_text().splitlines() if steps and log.exists() else []
    log.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or repository of the hub")
    parser.add_argument("--data", required=True, type=Path, help="folder that prepare_dataset.py wrote")
    parser.add_argument("--output", required=True, type=Path, help="folder for adapter, log and checkpoints")
    parser.add_argument("--template", help="file with a chat template, in place of the model's")
    parser.add_argument("--epochs", type=float, default=3, help="passes over the data [%(default)s]")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="the largest [%(default)s]")
    parser.add_argument("--rank", type=int, default=16, help="of the adapters [%(default)s]")
    parser.add_argument("--alpha", type=int, help="of the adapters [twice the rank]")
    parser.add_argument("--dropout", type=float, default=0.0, help="in the adapters [%(default)s]")
    parser.add_argument("--step-tokens", type=int, help="of an optimizer step [by the size of the data]")
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of a row, at most [%(default)s]")
    parser.add_argument(
        "--four-bit", choices=["auto", "yes", "no"], default="auto", help="base in 4 bits [auto: on CUDA]"
    )
    parser.add_argument("--save-steps", type=int, default=50, help="steps between checkpoints [%(default)s]")
    parser.add_argument("--log-steps", type=int, default=10, help="steps between lines of the log [%(default)s]")
    parser.add_argument("--threads", type=int, help="of the CPU [torch's default]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    parser.add_argument("--plan", action="store_true", help="measure two steps, print time and memory, and stop")
    parser.add_argument("--json", action="store_true", help="print what came out as JSON")
    args = parser.parse_args()
    try:
        found = train(args, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
    except DataError as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        wanted = Path(__file__).with_name("requirements.txt")
        sys.exit(f"error: the Python package {error.name} is missing: pip install -r {wanted}")
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
