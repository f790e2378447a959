"""Varied lines of text to tokenize: prose, code, numbers, emoji, many scripts, odd spaces, invalid UTF-8."""

import random

PIECES = {
    "prose": "The lamp went out, and nobody had noticed when; it's what they'd said we'll do, isn't it? "
    "Naïve café façade — “quoted” ‘single’ … 100% of MP3s cost $3.50/kg. DON'T SHOUT, I'M HERE".split(" "),
    "code": ["fn main() {", "    let x = a[i] << 2;", "\tif (p == NULL) return -1;", "x += 0x1F_u8;", "/* é */",
             "def f(self, *args, **kw):", "<div class=\"a\">&nbsp;</div>", "SELECT * FROM t;", "=> ::<T>()", "#!/bin/sh",
             "print(f'{x:>10.3f}')", "}}}\r", "//////////", "====", "!!!???", "a_b-c.d"],
    "numbers": ["1234567890", "3.14159", "1,000,000", "2^10", "٣٤٥", "१२३", "½", "²³", "Ⅷ", "12:30:59", "-0", "1e-9"],
    "emoji": ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️", "☕", "🤷🏾‍♂️", "🧑‍🚀"],
    "scripts": ["漢字仮名交じり文", "今天天气很好。", "한국어 문장", "Привет, мир", "مرحبا بالعالم", "שלום", "ไทยภาษา",
                "ελληνικά", "हिन्दी", "Tiếng Việt", "İstanbul", "ﬁ", "Å", "Å", "é", "e\u0301", "\u1e9b\u0323", "ǅ", "ſ"],
    "space": ["  ", "   ", "\t", "\t\t", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\r", "\x0b", "\x85",
              "\u2028", " \t ", "\u200d"],
    "special": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "im_start|>", "<|", "|>", "<s>", "</s>"],
}
INVALID = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80", b"\x80", b"\x00"]


def lines(count: int = 2000, seed: int = 1) -> list[bytes]:
    """Lines without line feeds, the same ones every time."""
    chosen = random.Random(seed)
    out = []
    for index in range(count):
        kinds = chosen.sample(sorted(PIECES), chosen.randint(1, 4))
        pieces = []
        for _ in range(chosen.randint(1, 14)):
            piece = chosen.choice(PIECES[chosen.choice(kinds)])
            pieces.append(piece.encode())
            pieces.append(chosen.choice([b"", b" ", b" ", b"  "]))
            if index % 10 == 9 and chosen.random() < 0.3:
                pieces.append(chosen.choice(INVALID))
        out.append(b"".join(pieces))
    return out
