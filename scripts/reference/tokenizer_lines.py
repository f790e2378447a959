#!/usr/bin/env python3
"""Compares `edgellm tokenize` with Hugging Face tokenizers on 2,000 varied lines.

    .venv/bin/python scripts/reference/tokenizer_lines.py --model M.tmac2.bin (--gguf SOURCE.gguf | --tokenizer tokenizer.json)

The lines are the same in every run: code, prose in many scripts, emoji, combining marks, runs of white space, control
characters, special tokens within text, invalid UTF-8 decoded with replacement characters, very long words, numbers.
With --gguf, tokenizer.py builds the reference from the vocabulary in the file, without this project's converter.
Exits with 0 if all token ids are the same.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import gguf
from tokenizers import Tokenizer

from tokenizer import from_gguf

LINES = 2000

# fmt: off
PROSE = [
    "The quick brown fox jumps over the lazy dog.", "I'll say it's done, WE'VE got they're 'quoted' don't",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich", "Portez ce vieux whisky au juge blond qui fume",
    "Съешь же ещё этих мягких французских булок", "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία", "Příliš žluťoučký kůň úpěl",
    "いろはにほへと ちりぬるを", "敏捷的棕色狐狸跳过懒狗。标点,测试!", "다람쥐 헌 쳇바퀴에 타고파", "ภาษาไทยไม่มีช่องว่างระหว่างคำ",
    "هذا نص عربي مع أرقام ١٢٣ وعلامات", "שלום עולם, זה טקסט בעברית", "हिन्दी में एक वाक्य है क्षत्रिय", "ქართული ენა", "አማርኛ ጽሑፍ",
    "Tiếng Việt có nhiều dấu thanh: ộ ặ ễ", "İstanbul'da ılık ŞİŞLİ ǅ ﬁ ﬂ ß ẞ", "𝕸𝖆𝖙𝖍 𝒷ℴ𝓁𝒹 𝟙𝟚𝟛 ½ ² ³ Ⅷ ㊗ ①",
]
CODE = [
    "def f(x: int) -> str:\treturn f\"{x!r:>10}\"", "for (int i = 0; i < n; ++i) { a[i] += b[i] * 0x1F; }",
    "SELECT * FROM t WHERE a != 'b' -- comment", "let v: Vec<&'static str> = s.split(\"::\").collect();",
    "<div class=\"a\" data-x='1'>&nbsp;</div>", "#include <stdio.h> // ---- ==== ****", "{\"key\": [1, 2.5e-10, null, true]}",
    "        return self.__init__(**kwargs)", "x=>y??z?.w||!a&&~b^c", "$ grep -rn 'foo\\|bar' --include=*.py . | wc -l",
    "\\frac{a}{b} \\sum_{i=0}^{n} \\alpha_i", "https://example.com/path?q=a%20b&c=d#frag_1", "a\tb\t\tc   d     e", "snake_case camelCase PascalCase kebab-case",
]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "🏳️‍🌈", "1️⃣", "🤷🏻‍♀️", "☺", "🫠"]
SPACES = [" ", "  ", "    ", "\t", "\t\t", "\r", " \r ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u0085", "\v", "\f", " " * 40]
MARKS = ["e\u0301", "o\u0308\u0304", "\u0915\u094d\u0937", "a" + "\u0300" * 12, "\u1112\u1161\u11ab", "\u212b", "\u0344", "\ufb1d"]
CONTROLS = ["\x00", "\x01", "\x1b[31m", "\x7f", "\x9f", "\ufeff", "\u202e", "\u2066", "\ufffe", "\U0010ffff", "\ue000", "\ufffd"]
NUMBERS = ["0", "42", "1234567890", "3.14159", "-1e10", "1,000,000", "0b1010", "٣٤٥", "१२३", "10²", "2024-11-22T09:30:00Z", "v1.2.3"]
# fmt: on


def lines(specials):
    """2,000 lines without line feeds, the same in every run."""
    rng = random.Random(20241122)
    specials = [*sorted(specials), "<|im_start|", "<|im_end |>", "<|IM_END|>", "<s>", "</s>", "<|eot_id|>"]

    def invalid():
        return bytes(
            rng.choice([0x61, 0x20, 0x80, 0xBF, 0xC0, 0xC3, 0xE2, 0x82, 0xED, 0xA0, 0xF0, 0x9F, 0xFF])
            for _ in range(rng.randrange(1, 12))
        ).decode("utf-8", "replace")

    def anything():
        return "".join(
            chr(c)
            for c in (rng.randrange(1, 0x110000) for _ in range(rng.randrange(1, 12)))
            if not 0xD800 <= c < 0xE000
        )

    def word():
        letters = rng.choice(
            ["abcdefghijklmnopqrstuvwxyz", "ETAOIN", "äöüßéèñ", "日本語漢字", "аеиноті", "ab", "=-*#_", "0123456789"]
        )
        return "".join(
            rng.choice(letters)
            for _ in range(rng.choice([1, 3, 8, 20, 200, 3000] if rng.random() < 0.2 else [2, 5, 9]))
        )

    kinds = [
        lambda: rng.choice(PROSE),
        lambda: rng.choice(CODE),
        lambda: rng.choice(EMOJI),
        lambda: rng.choice(SPACES),
        lambda: rng.choice(MARKS),
        lambda: rng.choice(CONTROLS),
        lambda: rng.choice(NUMBERS),
        invalid,
        anything,
        word,
        lambda: rng.choice(specials),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 20))),
    ]
    fixed = PROSE + CODE + EMOJI + SPACES + MARKS + CONTROLS + NUMBERS + specials + [""]
    made = []
    while len(fixed) + len(made) < LINES:
        parts = [rng.choice(kinds)() for _ in range(rng.randrange(1, 10))]
        made.append(rng.choice(["", " ", "", "  "]).join(parts))
    return [line.replace("\n", " ") for line in fixed + made]


def differing_lines(edgellm, model, reference):
    """Prints the first lines whose ids differ from the reference. Returns how many differ, and how many tokens there are."""
    specials = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = lines(specials)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "lines.txt"
        path.write_bytes("".join(text + "\n" for text in texts).encode())
        command = [edgellm, "tokenize", "--model", model, "--file", str(path), "--json"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    found = [json.loads(line) for line in output.splitlines()]
    if len(found) != len(texts):
        sys.exit(f"{len(texts)} lines went in, {len(found)} came out")
    expected = [encoding.ids for encoding in reference.encode_batch(texts, add_special_tokens=True)]
    wrong = [i for i in range(len(texts)) if found[i] != expected[i]]
    for i in wrong[:10]:
        print(f"line {i + 1}: {texts[i][:80]!r}\n  expected {expected[i][:40]}\n  found    {found[i][:40]}")
    return len(wrong), sum(map(len, expected))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="the model file for edgellm")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--gguf", help="the GGUF file that the model was converted from")
    source.add_argument("--tokenizer", help="the tokenizer.json of the model")
    parser.add_argument(
        "--edgellm", default="target/release/edgellm", help="the program to test [default: %(default)s]"
    )
    args = parser.parse_args()
    reference = from_gguf(gguf.GGUFReader(args.gguf)) if args.gguf else Tokenizer.from_file(args.tokenizer)
    wrong, tokens = differing_lines(args.edgellm, args.model, reference)
    print(f"{LINES - wrong} of {LINES} lines are the same ({tokens} tokens)")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
