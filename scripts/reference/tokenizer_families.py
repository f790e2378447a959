#!/usr/bin/env python3
"""Compares the tokenizers of model families with Hugging Face's library: token ids, and the texts of ids.

    .venv/bin/python scripts/reference/tokenizer_families.py --program target/debug/examples/tokenizer

The engine reads each family's own tokenizer.json as it is, and once more as llama.cpp's converter writes it to a GGUF
file, from which this project builds it anew; Mistral's also as SentencePiece's tokenizer.model. The texts are those of
tokenizer_lines.py, half of them with line feeds. Further, vocabularies that llama.cpp tests itself with, and the token
ids that it has for them from Hugging Face's library.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import gguf
from tokenizers import Tokenizer

from sources import llama_cpp, sentencepiece, tokenizer_folder
from tokenizer_lines import lines

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

# The packages of sources.tokenizer_folder, and llama.cpp's names of their pre-tokenizers; none is SentencePiece. The
# package "llama2" has the vocabulary of Mistral 7B.
FAMILIES = {"gemma3": None, "llama2": None, "llama3_1": "llama-bpe", "qwen3": "qwen2"}
MORE_FAMILIES = {"deepseek_v3": "deepseek-v3", "gpt4o": "gpt-4o", "gptoss": "gpt-4o"}

# Vocabularies in llama.cpp's source whose pre-tokenizers are supported.
LLAMA_CPP = ["command-r", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "mpt", "phi-3", "qwen2", "qwen35", "refact"]
LLAMA_CPP += ["starcoder"]


def looks_special(text: str) -> bool:
    """Whether llama.cpp's converter takes an added token for a special one."""
    bars = "|", "\uff5c"
    barred = any(text.startswith(f"<{bar}") and text.endswith(f"{bar}>") for bar in bars)
    return barred or text.startswith("<unused") or text == "<mask>"


def write_gguf(path: Path, tokenizer: dict, pre: str | None) -> None:
    """A GGUF file with nothing but the vocabulary, as llama.cpp's converter writes it."""
    model = tokenizer["model"]
    merges = [merge if isinstance(merge, list) else merge.split(" ", 1) for merge in model["merges"]]
    texts = {number: text for text, number in model["vocab"].items()}
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    tokens, kinds, scores = [], [], []
    # A token's score is as much worse as the merges that make it come later.
    best = {}
    for merge in merges:
        best.setdefault("".join(merge), -float(len(best)))
    for number in range(max([*texts, *added]) + 1):
        token = added.get(number)
        text = token["content"] if token else texts.get(number, f"[PAD{number}]")
        kind = NORMAL if number in texts else UNUSED
        score = best.get(text, -1e6)
        if token:
            kind = CONTROL if token["special"] or looks_special(text) else USER_DEFINED
            score = -1000.0
            if kind == USER_DEFINED:
                text = text.replace("▁", " ")
        elif pre is None and text.startswith("<0x") and len(text) == 6:
            kind, score = BYTE, 0.0
        tokens.append(text)
        kinds.append(kind)
        scores.append(score)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    begins = json.dumps(tokenizer["post_processor"] or {})
    begin = next((number for number, token in added.items() if json.dumps(token["content"]) in begins), None)
    if begin is not None:
        writer.add_bos_token_id(begin)
    writer.add_add_bos_token(begin is not None)
    if pre is None:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(scores)
        writer.add_unk_token_id(tokens.index(model["unk_token"]))
        writer.add_add_space_prefix("Prepend" in json.dumps(tokenizer["normalizer"]))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def found(program: str, source: Path, texts: list[str], *options: str) -> list[dict]:
    command = [program, str(source), *options]
    given = "".join(json.dumps(text) + "\n" for text in texts)
    answer = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{source}: {answer.stderr}")
    print(f"  {answer.stderr.strip()}", file=sys.stderr)
    return [json.loads(line) for line in answer.stdout.split("\n") if line]


def differing(name: str, reference: Tokenizer, texts: list[str], answers: list[dict]) -> int:
    """Prints the first texts whose ids or texts differ. Returns how many do."""
    if len(texts) != len(answers):
        raise SystemExit(f"{name}: {len(texts)} texts went in, {len(answers)} came out")
    expected = [encoding.ids for encoding in reference.encode_batch(texts, add_special_tokens=True)]
    decoded = reference.decode_batch(expected, skip_special_tokens=False)
    wrong = [i for i, answer in enumerate(answers) if answer["ids"] != expected[i] or answer["text"] != decoded[i]]
    tokens = sum(map(len, expected))
    print(f"{name}: {len(texts) - len(wrong)} of {len(texts)} texts are the same ({tokens} tokens)")
    for i in wrong[:5]:
        print(f"  {texts[i][:200]!r}\n    expected {expected[i][:60]} {decoded[i][:200]!r}")
        print(f"    found    {answers[i]['ids'][:60]} {answers[i]['text'][:200]!r}")
    return len(wrong)


def family(program: str, name: str, pre: str | None, folder: Path) -> int:
    """Compares one family's tokenizer.json, and that which is built from a GGUF file."""
    data = json.loads((folder / "tokenizer.json").read_text())
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    specials = [token["content"] for token in data["added_tokens"]]
    texts = with_line_feeds(lines(specials))
    wrong = differing(f"{name}, tokenizer.json", reference, texts, found(program, folder, texts))
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "vocabulary.gguf"
        write_gguf(path, data, pre)
        wrong += differing(f"{name}, GGUF", reference, texts, found(program, path, texts))
    if name == "llama2":
        wrong += differing("mistral, tokenizer.model", reference, texts, found(program, sentencepiece(), texts))
    return wrong


def with_line_feeds(texts: list[str]) -> list[str]:
    """The texts, half of them with line feeds for some spaces, and after one another."""
    changed = [text.replace("  ", "\n\n").replace(" ", "\n", 1) + "\n" for text in texts[1::2]]
    return texts[::2] + changed


def own_vocabularies(program: str, folder: Path) -> int:
    """Compares with the ids that llama.cpp has from Hugging Face's library."""
    wrong = 0
    for name in LLAMA_CPP:
        path = folder / f"ggml-vocab-{name}.gguf"
        texts = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")[:-1]
        rows = path.with_name(path.name + ".out").read_text().split("\n")
        # It does not bring Qwen3.5's texts into normal form C, which the model's own tokenizer does.
        as_they_are = [name != "qwen35" or unicodedata.is_normalized("NFC", text) for text in texts]
        expected = [[int(number) for number in row.split()] for row in rows[: len(texts)]]
        answers = found(program, path, texts, "plain")
        bad = [i for i, answer in enumerate(answers) if as_they_are[i] and answer["ids"] != expected[i]]
        print(f"{name}, llama.cpp's: {sum(as_they_are) - len(bad)} of {sum(as_they_are)} texts are the same")
        for i in bad[:3]:
            print(f"  {texts[i][:200]!r}\n    expected {expected[i][:60]}\n    found    {answers[i]['ids'][:60]}")
        wrong += len(bad)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", required=True, help="the example tokenizer of edgellm-quantize")
    parser.add_argument("--all", action="store_true", help="more families, 75 MB to download")
    args = parser.parse_args()
    wrong = 0
    for name, pre in (FAMILIES | (MORE_FAMILIES if args.all else {})).items():
        wrong += family(args.program, name, pre, tokenizer_folder(name))
    wrong += own_vocabularies(args.program, llama_cpp())
    if wrong:
        raise SystemExit(f"{wrong} texts differ")


if __name__ == "__main__":
    main()
