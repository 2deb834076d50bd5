#!/usr/bin/env python3
"""Speed of the Hugging Face tokenizers library on a text, for comparison with
tokenizer_bench: the same vocabulary and pipeline, one thread, processor time.

  pip install tokenizers gguf
  build/release/bench/tokenizer_bench --write /tmp/english.txt
  bench/tokenizer_hf.py /tmp/english.txt
"""

import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/model"))

from check_tokenizer import DEFAULT_MODEL, read_gguf


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    size = len(text.encode())
    vocabulary = read_gguf(DEFAULT_MODEL)
    for pre in ("smollm", "llama-bpe", "qwen2"):
        vocabulary.pre = pre
        tokenizer = vocabulary.reference()
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            best = min(best, time.process_time() - start)
        print(f"{pre}: {size / best / 1e6:.2f} MB/s, {len(ids)} tokens")


if __name__ == "__main__":
    main()
