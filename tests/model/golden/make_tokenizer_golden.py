#!/usr/bin/env python3
"""Writes tokenizer.spec and tokenizer_cases.txt: a small trained vocabulary,
and what the Hugging Face library makes of fuzzed texts under each pipeline.

  pip install tokenizers==0.23.3
  tests/model/golden/make_tokenizer_golden.py

tokenizer_cases.txt holds
  text p|s HEX           a text, plain or with special tokens recognised
  ids PIPELINE,... IDS   its ids; pipelines that agree share a line
  decode HEX IDS         ids (special tokens hidden) and the UTF-8 they make
"""

import os
import random
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizer_reference import Corpus, Vocabulary, pre_tokenizer, WORDS

SEED = 20
TEXTS = 420
DECODES = 60
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im"]
USER = ["<think>", "</think>", "<tool_call>", "  \t", "ſt"]
# Not to be reached by merges: only ignore_merges finds them.
WHOLE = ["disaggregation", "Ġunmergeable", "世界世界"]
PIPELINES = {
    "gpt2": {},
    "smollm": {},
    "llama-bpe": {},
    "llama-bpe+ignore_merges": {"ignore_merges": True},
    "qwen2": {},
    "qwen2+normalize_nfc": {"normalize_nfc": True},
}


def spell(word):
    """A word in GPT-2's byte alphabet."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return level.pre_tokenize_str(word)[0][0]


def train():
    corpus = Corpus(SEED)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer("llama-bpe")
    trainer = trainers.BpeTrainer(
        vocab_size=1300, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [corpus.english(20_000)] + [corpus.text() for _ in range(3000)]
    texts += [" ".join(corpus.random.choices(WORDS, k=40)) for _ in range(100)]
    tokenizer.train_from_iterator(texts, trainer)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.model.save(folder)
        with open(os.path.join(folder, "merges.txt")) as file:
            merges = file.read().split("\n")[1:-1]
    learned = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    # Two bytes without a token, as in real vocabularies.
    absent = {spell("\x04"), spell("\x13")}
    normal = [t for t, _ in learned if t not in absent]
    merges = [m for m in merges if not absent & set("".join(m.split(" ")))]
    made = {m.replace(" ", "") for m in merges}
    normal = [t for t in normal if len(t) == 1 or t in made]
    whole = [w if w.startswith("Ġ") else spell(w) for w in WHOLE]
    assert not set(whole) & set(normal)
    tokens = CONTROL + normal + whole + USER
    kinds = "c" * len(CONTROL) + "n" * (len(normal) + len(whole)) + "u" * len(USER)
    return Vocabulary("gpt2", tokens, kinds, merges)


def cases(vocabulary, pipelines, out):
    corpus = Corpus(SEED + 1, vocabulary.special())
    texts = [corpus.text() for _ in range(TEXTS)]
    texts = [t for t in texts if len(t.encode()) < 120]
    texts += ["disaggregation unmergeable", "世界世界", "a" * 200, " " * 100 + "x",
              "ab" * 70, "\n" * 65, "7" * 64, "<|im_start|>user\n<|im_end|>"]
    for number, text in enumerate(texts):
        mode = "ps"[number % 2]
        out.write(f"text {mode} {text.encode().hex()}\n")
        same = {}
        for name, reference in pipelines.items():
            reference.encode_special_tokens = mode == "p"
            ids = tuple(reference.encode(text, add_special_tokens=False).ids)
            same.setdefault(ids, []).append(name)
        for ids, names in same.items():
            out.write(f"ids {','.join(names)} {' '.join(map(str, ids))}\n")


def decodes(vocabulary, reference, out):
    r = random.Random(SEED + 2)
    for _ in range(DECODES):
        ids = [r.randrange(len(vocabulary.tokens) if r.random() < 0.3 else 258)
               for _ in range(r.randrange(1, 20))]
        text = reference.decode(ids, skip_special_tokens=True)
        out.write(f"decode {text.encode().hex() or '-'} {' '.join(map(str, ids))}\n")


def main():
    vocabulary = train()
    pipelines = {}
    for name, flags in PIPELINES.items():
        pre = name.split("+")[0]
        pipelines[name] = Vocabulary(
            pre, vocabulary.tokens, vocabulary.kinds, vocabulary.merges, **flags
        ).reference()
    vocabulary.write(os.path.join(HERE, "tokenizer.spec"))
    with open(os.path.join(HERE, "tokenizer_cases.txt"), "w") as out:
        cases(vocabulary, pipelines, out)
        decodes(vocabulary, pipelines["gpt2"], out)


if __name__ == "__main__":
    main()
