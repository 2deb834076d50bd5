"""The Hugging Face side of the tokenizer's tests: the reference pipelines,
built step by step, a corpus that looks for trouble, and the text form of a
vocabulary that spec_file.h reads.

The pipelines are spelled out on purpose: transformers' own conversion of a GGUF
drops the Digits step of smollm.
"""

import random
from dataclasses import dataclass, field

from tokenizers import AddedToken, Regex, Tokenizer, decoders
from tokenizers import models, normalizers, pre_tokenizers

LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = ("gpt2", "smollm", "llama-bpe", "qwen2")


def pre_tokenizer(name):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name == "gpt2":
        return byte_level
    if name == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, byte_level])
    number = {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}[name]
    split = pre_tokenizers.Split(Regex(LLAMA % number), "isolated")
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, plain])


@dataclass
class Vocabulary:
    """A TokenizerSpec in Python."""

    pre: str
    tokens: list
    kinds: str  # one letter a token: n(ormal) c(ontrol) u(ser) x (unused)
    merges: list  # "left right"
    ignore_merges: bool = False
    normalize_nfc: bool = False

    def write(self, path):
        with open(path, "w") as file:
            file.write(f"pre {self.pre}\n")
            for flag in ("ignore_merges", "normalize_nfc"):
                if getattr(self, flag):
                    file.write(flag + "\n")
            for kind, token in zip(self.kinds, self.tokens):
                file.write(f"token {kind} {token.encode().hex()}\n")
            for merge in self.merges:
                file.write(f"merge {merge.encode().hex()}\n")

    def reference(self):
        """The same as a tokenizer of the Hugging Face library."""
        vocabulary = {t: i for i, t in enumerate(self.tokens)}
        merges = [tuple(merge.split(" ")) for merge in self.merges]
        model = models.BPE(
            vocabulary, merges, ignore_merges=self.ignore_merges
        )
        tokenizer = Tokenizer(model)
        if self.normalize_nfc:
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizer(self.pre)
        tokenizer.decoder = decoders.ByteLevel()
        for kind, token in zip(self.kinds, self.tokens):
            added = AddedToken(token, special=kind == "c", normalized=False)
            if kind == "c":
                tokenizer.add_special_tokens([added])
            elif kind == "u":
                tokenizer.add_tokens([added])
        return tokenizer

    def special(self):
        return [t for k, t in zip(self.kinds, self.tokens) if k in "cu"]


def _range(first, last):
    return [chr(c) for c in range(first, last + 1)]


SPACES = list("  \t\n\r\v\f\x85\xa0\u1680\u180e\u2003\u2009\u200b\u2028\u3000\ufeff")
WORDS = (
    "the of and to in is that it was for on are with as at be this from or "
    "have by not but what all were when we there can an your which their "
    "said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than "
    "first been its who now people my made over did down only way find use "
    "water long little very after words called just where most know I'm "
    "don't we'll they've you're he'd it's can't O'Neil rock'n'roll "
    "information international implementation disaggregated tokenizer "
    "int main return const void std vector size_t def self import class "
    "Straße naïve café Zürich señor École привет мир как дела это тест "
    "Γειά κόσμε שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก "
    "你好世界 今天天气很好 日本語のテキスト カタカナ 안녕하세요 세계 "
    "გამარჯობა բարեւ ሰላም ខ្មែរ မြန်မာ"
).split()
PIECES = {
    "words": WORDS,
    "spaced": [" " + w for w in WORDS],
    "spaces": SPACES,
    "runs": [s * n for s in SPACES[:6] + ["\u3000", "\xa0"] for n in (2, 3, 5, 17)],
    "newlines": ["\r\n", "\n\n", "\n \n", " \n", "\n ", "\r", "\r\r\n", "\t\n"],
    "ascii": _range(0x20, 0x7E),
    "punctuation": list("!?.,;:-_()[]{}<>|/\\@#$%^&*+=~`\"'…—–«»“”’‘、。！？"),
    "contractions": [
        q + s
        for q in "'’"
        for s in "s S t T m M d D re RE rE ve VE ll LL Ll ſ ſx x re's".split()
    ],
    "digits": list("0123456789") + ["12", "123", "1234", "3.14", "1,000,000"],
    "numbers": list("٠١٢٣०१२３４５²³¹½¼Ⅷⅻ①②㊿一〇๔๕𝟘𝟙𐒠") + ["\U00011de5"],
    "emoji": [
        "😀", "🎉", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "🧑🏿‍🚀", "#️⃣", "☃", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    ],
    "marks": [
        "e\u0301", "o\u0302\u0323", "o\u0323\u0302", "\u0301", "a\u030a", "ñ",
        "\u1e9b\u0323", "\ud55c", "\u1112\u1161\u11ab", "\u0344", "\u2126",
        "\u212b", "\u0958", "क्षि", "ก็", "\u0f71\u0f72", "\U0001d15e", "\ufb01",
    ],
    "control": _range(0, 0x1F) + ["\x7f"] + _range(0x80, 0x9F),
    "latin": _range(0xA0, 0x17F),
    "letters": _range(0x370, 0x58F) + _range(0x5D0, 0x6FF) + _range(0x900, 0xE7F),
    "cjk": _range(0x3040, 0x30FF) + _range(0x4E00, 0x4E80) + _range(0xAC00, 0xAC40),
    "symbols": _range(0x2000, 0x27BF),
    "bmp": None,
    "any": None,
    "hidden": ["\u200b", "\u200c", "\u200d", "\u2060", "\ufe0f", "\u00ad", "\ufffd"],
    "repeat": None,
}


class Corpus:
    """Texts made of pieces that splitters and merges get wrong."""

    def __init__(self, seed, special=()):
        self.random = random.Random(seed)
        self.special = list(special)

    def _piece(self, kind):
        r = self.random
        if kind == "bmp":
            return chr(r.choice([r.randrange(0, 0xD800), r.randrange(0xE000, 0x10000)]))
        if kind == "any":
            c = r.randrange(0x110000 - 0x800)
            return chr(c if c < 0xD800 else c + 0x800)
        if kind == "repeat":
            return self._piece(r.choice(["ascii", "digits", "cjk", "emoji", "letters"])) * r.randrange(2, 60)
        if kind == "special":
            token = r.choice(self.special)
            if r.random() < 0.3:  # nearly one
                cut = r.randrange(len(token))
                token = token[:cut] + token[cut + 1 :]
            return token
        return r.choice(PIECES[kind])

    def text(self):
        r = self.random
        if r.random() < 0.05:
            junk = bytes(r.randrange(256) for _ in range(r.randrange(1, 60)))
            return junk.decode("utf-8", errors="replace")
        kinds = r.sample(list(PIECES), r.randrange(1, 5))
        if self.special and r.random() < 0.3:
            kinds.append("special")
        if r.random() < 0.5:
            kinds.append("spaced")
        return "".join(self._piece(r.choice(kinds)) for _ in range(r.randrange(1, 24)))

    def english(self, size):
        """About `size` characters of prose-like text."""
        r = self.random
        out, length = [], 0
        while length < size:
            word = r.choice(WORDS[:110])
            out.append(word + r.choice([" "] * 12 + [", ", ". ", ".\n", " 42 ", "\n\n"]))
            length += len(out[-1])
        return "".join(out)
