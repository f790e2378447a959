#!/usr/bin/env python3
"""Adds an adapter in PEFT's format to the weights of its base model: a folder that `edgellm quantize` converts.

    python3 scripts/quantize/merge_lora.py --model FOLDER --adapter tuned/adapter --output merged

The folder appears when it is complete. Weights are merged in float32, and stored in the base model's type unless
--dtype says otherwise.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path


class MergeError(Exception):
    """What is wrong, in one line."""


def read_config(adapter: Path) -> dict:
    path = adapter / "adapter_config.json"
    try:
        config = json.loads(path.read_text())
    except OSError:
        raise MergeError(f"{adapter} is no adapter in PEFT's format: adapter_config.json is missing") from None
    except ValueError:
        raise MergeError(f"{path} is damaged: not JSON") from None
    if not (adapter / "adapter_model.safetensors").exists():
        raise MergeError(f"{adapter} has no adapter_model.safetensors")
    return config


def merge(args: argparse.Namespace) -> None:
    config = read_config(args.adapter)
    if args.output.exists() and any(args.output.iterdir()):
        raise MergeError(f"{args.output} is there already, with files: give another --output, or remove it")
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    name = args.model or config["base_model_name_or_path"]
    try:
        stored = AutoModelForCausalLM.from_pretrained(name, dtype="auto")
        dtype = stored.dtype if args.dtype == "auto" else getattr(torch, args.dtype)
        merged = PeftModel.from_pretrained(stored.float(), str(args.adapter)).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MergeError(f"{args.adapter} cannot be added to {name}: {reason}") from None
    merged = merged.to(dtype)
    for tensor, weights in merged.named_parameters():
        if not torch.isfinite(weights).all():
            advice = "--dtype float32" if args.dtype != "float32" else "a lower --learning-rate"
            raise MergeError(f"{tensor} has values that are not finite in {dtype}: try {advice}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{args.output.name}.", suffix=".draft", dir=args.output.parent))
    try:
        merged.save_pretrained(draft)
        # The adapter's, if it was trained with another template.
        tokenizer = args.adapter if (args.adapter / "tokenizer_config.json").exists() else name
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(draft)
        draft.chmod(0o755)
        if args.output.exists():
            args.output.rmdir()
        draft.rename(args.output)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or repository of the base model [the one that the adapter names]")
    parser.add_argument("--adapter", required=True, type=Path, help="folder of the adapter")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument("--dtype", choices=["auto", "float32", "float16", "bfloat16"], default="auto")
    args = parser.parse_args()
    try:
        merge(args)
    except KeyboardInterrupt:
        sys.exit(130)
    except MergeError as error:
        sys.exit(f"error: {error}")
    print(f"{args.output}: merged", file=sys.stderr)


if __name__ == "__main__":
    main()
