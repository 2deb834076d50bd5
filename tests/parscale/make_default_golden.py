#!/usr/bin/env python3
"""Golden log probabilities of the default model with streams.

    python3 make_default_golden.py SmolLM2-135M-Instruct.Q4_1.gguf \\
        [--adapter FILE] OUT

needs torch, transformers (5.23 was used), gguf, accelerate, safetensors and
numpy. transformers loads the GGUF file, dequantises it, and computes in float64
(its norms in float32); streams as make_golden.py has them. Without --adapter
the streams are those of DEFAULT, by the formula of generated_model.h, and OUT is
golden/default_generated.bin; of model/adapters/NAME.safetensors it is
golden/NAME.bin.

OUT, little-endian, for the first T = 24 tokens of tests/cpu/golden's text:

    u32        P, T
    P times    f32[T]  with p = 1 .. P streams: log probability of the text's
                       next token
               i32[T]  the best token
"""
import argparse
import pathlib
import struct

import numpy as np
import safetensors
import torch
import transformers

from generated_model import make_streams
from make_golden import log_softmax, logits

HERE = pathlib.Path(__file__).parent
TOKENS = 24
# The same in default_model_test.cc.
DEFAULT = {"name": "default", "kind": "nested", "streams": 4,
           "prefix_tokens": 16, "smoothing": 0.1, "dtype": "BF16",
           "hidden": 576, "layers": 30, "kv_heads": 3, "head_dim": 64,
           # More would ruin the text, and a ruined text amplifies roundings.
           "prefix_spread": 0.25}


def read_text():
    """Ids of tests/cpu/golden/default_golden.bin."""
    golden = (HERE.parent / "cpu/golden/default_golden.bin").read_bytes()
    assert golden[:8] == b"BRDGOLD1"
    return np.frombuffer(golden, "<i4", TOKENS + 1, 20).astype(np.int64)


def read_adapter(path):
    with safetensors.safe_open(path, "pt") as file:
        fields = file.metadata()
        tensors = {name: file.get_tensor(name).double().numpy()
                   for name in file.keys()}
    assert fields["key_layout"] == "halves"
    streams = int(fields["streams"])
    made = {"smoothing": float(fields["smoothing"])}
    for name in "prefix_k", "prefix_v":
        none = np.zeros_like(tensors[name][:, :1])
        made[name] = np.concatenate([none, tensors[name]], axis=1)
    made["prefix_length"] = [0] + [made["prefix_k"].shape[3]] * (streams - 1)
    made |= {n: tensors["aggregator." + n] for n in ("w1", "b1", "w2", "b2")}
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--adapter", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.model.parent, gguf_file=arguments.model.name,
        attn_implementation="eager").double().eval()
    streams = (read_adapter(arguments.adapter) if arguments.adapter
               else make_streams(DEFAULT))
    most = len(streams["b2"])
    text = read_text()
    out = struct.pack("<II", most, TOKENS)
    for p in range(1, most + 1):
        run = log_softmax(logits(model, DEFAULT | {"streams": most}, streams,
                                 text[:-1], p))
        next_logprobs = run[np.arange(TOKENS), text[1:]]
        print(f"p={p} NLL {-next_logprobs.mean():.4f}")
        out += next_logprobs.astype("<f4").tobytes()
        out += run.argmax(-1).astype("<i4").tobytes()
    arguments.out.write_bytes(out)


if __name__ == "__main__":
    main()
