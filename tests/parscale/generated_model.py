"""The tiny models of generated_model.h, as NumPy arrays.

The header says how a value is made; `Generator` here has the same centres and
spreads as the C++ one.
"""
import json
import math
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
AGGREGATOR_GAIN = 3.0
TORCH_TYPES = {"F32": torch.float32, "F16": torch.float16,
               "BF16": torch.bfloat16}


def read_cases():
    return json.loads((HERE / "golden" / "cases.json").read_text())


def uniform(stream, count):
    seed = 0xCBF29CE484222325
    for byte in stream.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(1, count + 1, dtype=np.uint64)
                               * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return ((z ^ z >> np.uint64(31)) >> np.uint64(11)) / 2.0**53


def tokens(case, count):
    stream = case["name"] + "/tokens"
    return (uniform(stream, count) * case["vocabulary"]).astype(np.int64)


class Generator:
    """Collects tensors in `made`: float64, rounded to the case's format."""

    def __init__(self, case):
        self.case, self.made = case, {}

    def add(self, name, shape, centre, spread):
        u = uniform(f"{self.case['name']}/{name}", math.prod(shape))
        values = (centre + spread * (2 * u - 1)).astype(np.float32)
        rounded = torch.from_numpy(values).to(TORCH_TYPES[self.case["dtype"]])
        self.made[name] = rounded.double().numpy().reshape(shape)

    def matrix(self, name, rows, columns, gain=1.5):
        self.add(name, (rows, columns), 0,
                 gain * math.sqrt(3.0) / math.sqrt(columns))

    def norm(self, name, n):
        self.add(name, (n,), 1, 0.5)

    def bias(self, name, n):
        self.add(name, (n,), 0, 0.5)


def make_weights(case):
    """Of the plain model, under Hugging Face's names."""
    g = Generator(case)
    hidden, ffn, d = case["hidden"], case["ffn"], case["head_dim"]
    q, kv = case["heads"] * d, case["kv_heads"] * d
    g.add("model.embed_tokens.weight", (case["vocabulary"], hidden), 0, 1)
    if not case["tied"]:
        g.matrix("lm_head.weight", case["vocabulary"], hidden)
    g.norm("model.norm.weight", hidden)
    for layer in range(case["layers"]):
        at = f"model.layers.{layer}."
        g.norm(at + "input_layernorm.weight", hidden)
        for name, rows in ("q", q), ("k", kv), ("v", kv):
            g.matrix(at + f"self_attn.{name}_proj.weight", rows, hidden)
            if case["architecture"] == "qwen2":
                g.bias(at + f"self_attn.{name}_proj.bias", rows)
        g.matrix(at + "self_attn.o_proj.weight", hidden, q)
        g.norm(at + "post_attention_layernorm.weight", hidden)
        g.matrix(at + "mlp.gate_proj.weight", ffn, hidden)
        g.matrix(at + "mlp.up_proj.weight", ffn, hidden)
        g.matrix(at + "mlp.down_proj.weight", hidden, ffn)
    return g.made


def make_streams(case):
    """prefix_k and prefix_v [layers, streams, kv_heads, T, d], prefix_length
    by stream, w1, b1, w2, b2, smoothing; None for one stream.

    Stream 0 of a nested case has prefix_length 0, and zeros.
    """
    streams, hidden = case["streams"], case["hidden"]
    if streams == 1:
        return None
    nested = case["kind"] == "nested"
    g = Generator(case)
    shape = (case["kv_heads"], case["prefix_tokens"], case["head_dim"])
    spread = case.get("prefix_spread", 2.5)
    made = {"smoothing": case["smoothing"],
            "prefix_length": [case["prefix_tokens"]] * streams}
    for name in "prefix_k", "prefix_v":
        if nested:
            g.add(name, (case["layers"], streams - 1, *shape), 0,
                  spread)
            made[name] = np.concatenate(
                [np.zeros((case["layers"], 1, *shape)), g.made[name]], axis=1)
            made["prefix_length"][0] = 0
            continue
        for layer in range(case["layers"]):
            g.add(f"model.layers.{layer}.self_attn.{name}", (streams, *shape),
                  0, spread)
        made[name] = np.stack(
            [g.made[f"model.layers.{layer}.self_attn.{name}"]
             for layer in range(case["layers"])])
    names = (["aggregator." + n for n in ("w1", "b1", "w2", "b2")] if nested
             else [f"model.aggregate_layer.{n}" for n in
                   ("0.weight", "0.bias", "2.weight", "2.bias")])
    g.matrix(names[0], hidden, streams * hidden, AGGREGATOR_GAIN)
    g.bias(names[1], hidden)
    g.matrix(names[2], streams, hidden, AGGREGATOR_GAIN)
    g.bias(names[3], streams)
    made.update(zip(("w1", "b1", "w2", "b2"), (g.made[n] for n in names)))
    return made
