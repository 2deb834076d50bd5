#!/usr/bin/env python3
"""Compares Braid's tokenizer with the Hugging Face library on a fuzzed corpus.

  pip install tokenizers gguf
  cmake --build build/release --target tokenizer_oracle
  tests/model/check_tokenizer.py build/release/tests/model/tokenizer_oracle \\
      [--model FILE.gguf] [--pre NAME] [--count 20000] [--seed 1]
      [--nfc] [--ignore-merges]

The vocabulary and merges are those of the GGUF (the default model when no other
is named), which the oracle reads by itself; --pre and the flags swap the pipeline
around them, so that each pre-tokenizer is checked with a real vocabulary. Exit
status 1 and the first differences when there are any.
"""

import argparse
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

from gguf import GGUFReader

from tokenizer_reference import Corpus, PRE_TOKENIZERS, Vocabulary

DEFAULT_MODEL = os.path.join(
    os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
    "braid/models/SmolLM2-135M-Instruct.Q4_1.gguf",
)
KINDS = {1: "n", 3: "c", 4: "u", 5: "x"}  # GGUF's token types


def read_gguf(path):
    fields = GGUFReader(path).fields
    get = lambda name: fields["tokenizer.ggml." + name].contents()
    kinds = "".join(KINDS.get(t, "n") for t in get("token_type"))
    return Vocabulary(get("pre"), get("tokens"), kinds, get("merges"))


def ask(oracle, spec, lines):
    run = subprocess.run(
        [oracle, spec], input="\n".join(lines) + "\n", text=True,
        stdout=subprocess.PIPE, check=True,
    )
    return run.stdout.split("\n")[:-1]


def texts_to_check(vocabulary, count, seed):
    corpus = Corpus(seed, vocabulary.special())
    texts = [corpus.text() for _ in range(count)]
    # Every code point, between letters and after a space.
    for first in range(0, 0x110000, 64):
        block = [chr(c) for c in range(first, first + 64) if not 0xD800 <= c < 0xE000]
        texts += ["".join("a" + c for c in block), "".join(" " + c for c in block)]
        texts += ["".join("  " + c + c for c in block), "".join("'" + c for c in block)]
    for c in [" ", "a", "\n", "7", "😀", "!", "é", "\r\n", "\u3000", "ab"]:
        texts += [c * n for n in (47, 48, 49, 64, 257, 5000)]
    texts.append(corpus.english(200_000))
    return texts


def check_encoding(reference, oracle, spec, texts):
    failures = 0
    for special in (False, True):
        reference.encode_special_tokens = not special
        mode = "s" if special else "p"
        answers = ask(oracle, spec, [mode + t.encode().hex() for t in texts])
        encodings = reference.encode_batch(texts, add_special_tokens=False)
        for text, answer, encoding in zip(texts, answers, encodings):
            ids = [int(i) for i in answer.split()]
            if ids != encoding.ids:
                failures += 1
                if failures <= 10:
                    print(f"DIFFERS ({mode}) {text[:80]!r}\n  braid {ids[:40]}\n"
                          f"  hf    {encoding.ids[:40]}")
    return failures


def check_decoding(vocabulary, reference, oracle, spec, count, seed):
    r = random.Random(seed)
    lists = [
        [r.randrange(len(vocabulary.tokens)) if r.random() < 0.5
         else r.choice(range(17, 17 + 256)) for _ in range(r.randrange(1, 40))]
        for _ in range(count)
    ]
    answers = ask(oracle, spec, ["d" + struct.pack(f"<{len(l)}i", *l).hex() for l in lists])
    expected = reference.decode_batch(lists, skip_special_tokens=True)
    wrong = [(l, a, e) for l, a, e in zip(lists, answers, expected)
             if bytes.fromhex(a).decode() != e]
    for ids, answer, text in wrong[:5]:
        print(f"DECODES DIFFERENTLY {ids}\n  braid {bytes.fromhex(answer)!r}\n  hf    {text!r}")
    return len(wrong)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("oracle")
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    arguments.add_argument("--pre", choices=PRE_TOKENIZERS)
    arguments.add_argument("--count", type=int, default=20000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--nfc", action="store_true")
    arguments.add_argument("--ignore-merges", action="store_true")
    options = arguments.parse_args()

    vocabulary = read_gguf(options.model)
    vocabulary.pre = options.pre or vocabulary.pre
    vocabulary.normalize_nfc = options.nfc
    vocabulary.ignore_merges = options.ignore_merges
    reference = vocabulary.reference()
    texts = texts_to_check(vocabulary, options.count, options.seed)
    with tempfile.NamedTemporaryFile(suffix=".spec") as spec:
        vocabulary.write(spec.name)
        swapped = options.pre or options.nfc or options.ignore_merges
        source = spec.name if swapped else options.model
        start = time.monotonic()
        failures = check_encoding(reference, options.oracle, source, texts)
        failures += check_decoding(
            vocabulary, reference, options.oracle, source, options.count, options.seed)
        seconds = time.monotonic() - start
    print(f"{vocabulary.pre}{' nfc' * options.nfc}{' ignore_merges' * options.ignore_merges}: "
          f"{len(texts)} texts, plain and with special tokens, {options.count} id "
          f"lists decoded, {failures} differ ({seconds:.0f} s)")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
