#!/usr/bin/env python3
"""Makes the models and logits with which engine/quantize/tests/families.rs tests the model families.

    make.py --llama-cpp FOLDER [NAME...]

For each model: random weights, the folder that transformers writes, the GGUF file that llama.cpp's converter makes of
it, and what transformers computes in float32, all in engine/quantize/fixtures/families/NAME.zip. README.md has the
format of the archive.
"""

import argparse
import json
import tempfile
import zipfile
from pathlib import Path

import converter
import models
import numpy as np
import safetensors.torch
import torch
import transformers
import vocabulary
import weights

FIXTURES = Path(__file__).resolve().parents[3] / "engine/quantize/fixtures/families"
TOKENS = 256
# Logits are kept of every fourth token, the last one among them.
EVERY = 4
PROMPT, GREEDY = 40, 24
# Log-probabilities are kept in these steps, which costs 1e-8 of KL divergence if the reader scales their sum to 1.
STEP = 1 / 2048
# The text is the same whatever rounds otherwise.
SMALLEST_GAP = 0.05
FEWEST_TOKENS = 8


def write_folder(model: models.Model, folder: Path) -> None:
    """The Hugging Face folder: bfloat16, and float32 where that is not exact."""
    config = transformers.AutoConfig.for_model(model.model_type, **model.config())
    network = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    weights.fill(network, model.name, model.calm)
    network.save_pretrained(folder)
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    for name, tensor in tensors.items():
        short = tensor.to(torch.bfloat16)
        if torch.equal(short.to(torch.float32), tensor):
            tensors[name] = short
    safetensors.torch.save_file(tensors, file, {"format": "pt"})
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text()) | {"dtype": "bfloat16"}
    if model.model_type == "granitemoehybrid":
        # As in published files; transformers reads both, llama.cpp's converter only this.
        config["layer_types"] = ["attention"] * config["num_hidden_layers"]
    config_file.write_text(json.dumps(config, indent=1))
    vocabulary.write(folder)


def logits(network: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    """The logits of each token, (tokens, vocabulary)."""
    with torch.inference_mode():
        return network(torch.tensor([tokens])).logits[0]


def greedy(network: torch.nn.Module, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """A prompt and its continuation, in which no choice is close and which is no loop."""
    for _ in range(300):
        prompt = random_tokens(rng, PROMPT)
        tokens = list(prompt)
        smallest = float("inf")
        while len(tokens) < PROMPT + GREEDY and smallest >= SMALLEST_GAP:
            best = logits(network, tokens)[-1].topk(2)
            smallest = min(smallest, (best.values[0] - best.values[1]).item())
            tokens.append(best.indices[0].item())
        continuation = tokens[PROMPT:]
        if smallest >= SMALLEST_GAP and len(set(continuation)) >= FEWEST_TOKENS:
            return prompt, continuation
    raise SystemExit("no prompt has a clear continuation")


def random_tokens(rng: np.random.Generator, count: int) -> list[int]:
    return rng.integers(len(vocabulary.SPECIAL), models.VOCAB, count).tolist()


def reference(model: models.Model, folder: Path) -> tuple[dict, bytes]:
    """What transformers computes from the folder."""
    network = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    # Other numbers than the weights'.
    rng = np.random.default_rng([1, *model.name.encode()])
    tokens = random_tokens(rng, TOKENS)
    every = logits(network, tokens)[EVERY - 1 :: EVERY]
    steps = torch.round(-torch.log_softmax(every.double(), -1) / STEP)
    if not 1.5 < every.std() < 4.5 or steps.max() >= 1 << 16:
        raise SystemExit(f"{model.name}: logits have a deviation of {every.std():.2f}")
    prompt, continuation = greedy(network, rng)
    print(f"{model.name}: logits have a deviation of {every.std():.2f}, {len(set(continuation))} tokens in the text")
    about = {"tokens": tokens, "every": EVERY, "step": STEP, "prompt": prompt, "greedy": continuation}
    return about, steps.numpy().astype("<u2").tobytes()


def archive(path: Path, members: dict[str, bytes]) -> None:
    """A zip file, the same whenever it is made."""
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, content, compresslevel=9)


def make(model: models.Model, llama_cpp_source: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / model.name
        write_folder(model, folder)
        about, log_probabilities = reference(model, folder)
        members = {
            name: (folder / name).read_bytes() for name in ("config.json", "tokenizer.json", "model.safetensors")
        }
        if not model.no_gguf:
            gguf = Path(scratch) / "model.gguf"
            converter.convert(folder, gguf, llama_cpp_source)
            members["model.gguf"] = gguf.read_bytes()
        members["reference.json"] = json.dumps(about).encode()
        members["log_probabilities.u16"] = log_probabilities
        archive(FIXTURES / f"{model.name}.zip", members)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True, help="llama.cpp's source")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to make, by default all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for model in models.MODELS:
        if not arguments.names or model.name in arguments.names:
            make(model, arguments.llama_cpp)


if __name__ == "__main__":
    main()
