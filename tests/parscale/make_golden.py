#!/usr/bin/env python3
"""Golden logits of models with parallel streams, by two implementations that
share nothing with Braid's, nor with each other.

    python3 make_golden.py            writes golden/NAME.logits
    python3 make_golden.py --check    compares with what is there

needs torch, transformers (5.23 was used) and numpy. Deterministic.

The models are those of golden/cases.json with the weights of
generated_model.py. The logits are those of bench/parscale/reference.py, which
restates all of it in NumPy and float64. transformers' own Qwen2 and Llama have
to agree to 1e-4 (their norms are float32 inside), run as published checkpoints
are: the batch is repeated for each stream, and the KV cache starts with the
prefix. What a mistake leads to is computed by them alone.

NAME.logits (little-endian f32) of a model with P streams and vocabulary V:

    [runs][4][V]  logits after tokens 0, 1, 9 and 33 of the model's text. Runs:
                  p = 1 .. P streams of a nested model, P of a published one
    [6][V]        after token 33, P streams, with one mistake each, in the order
                  of MISTAKES; not there for P = 1

Each mistake gives plausible text. A right engine has to be far from all of them.
"""
import argparse
import pathlib
import sys

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "bench" / "parscale"))
import reference  # noqa: E402

from generated_model import (  # noqa: E402
    make_streams, make_weights, read_cases, tokens)

POSITIONS = [0, 1, 9, 33]
TOKENS = 34
EPSILON = 1e-6
MISTAKES = ["streams_concatenated", "smoothing_0.01", "prefix_rotated",
            "positions_after_prefix", "norm_after_aggregation",
            "adjacent_key_layout"]


def make_backbone(case, weights):
    kind = {"qwen2": transformers.Qwen2Config,
            "llama": transformers.LlamaConfig}[case["architecture"]]
    config = kind(
        vocab_size=case["vocabulary"], hidden_size=case["hidden"],
        num_hidden_layers=case["layers"], num_attention_heads=case["heads"],
        num_key_value_heads=case["kv_heads"], head_dim=case["head_dim"],
        intermediate_size=case["ffn"], max_position_embeddings=512,
        rms_norm_eps=EPSILON, tie_word_embeddings=case["tied"],
        pad_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).double()
    state = {name: torch.from_numpy(w) for name, w in weights.items()}
    if case["tied"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model.eval()


def rotate(x, base=10000.0):
    """Keys [..., T, d] as if they stood at positions 0 .. T - 1."""
    d = x.shape[-1]
    angle = (torch.arange(x.shape[-2], dtype=torch.float64)[:, None]
             * base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d))
    turn = torch.polar(torch.ones_like(angle), angle)
    pairs = torch.complex(x[..., :d // 2].contiguous(),
                          x[..., d // 2:].contiguous()) * turn
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def hidden_states(model, case, streams, text, which, mistake):
    """[len(which), tokens, hidden] before the final norm. All streams of
    `which` have the same prefix length: they are rows of one batch."""
    length = streams["prefix_length"][which[0]] if streams else 0
    rows = len(which)
    cache = transformers.DynamicCache()
    if length:
        for layer in range(case["layers"]):
            keys, values = (
                torch.from_numpy(streams[n][layer][which])
                for n in ("prefix_k", "prefix_v"))
            if mistake == "prefix_rotated":
                keys = rotate(keys)
            if mistake == "adjacent_key_layout":
                keys = torch.cat([keys[..., 0::2], keys[..., 1::2]], dim=-1)
            cache.update(keys, values, layer)
    ids = torch.from_numpy(text)[None].repeat(rows, 1)
    count = len(text)
    mask = torch.full((count, count), -torch.inf, dtype=torch.float64).triu(1)
    mask = torch.cat([torch.zeros(count, length, dtype=torch.float64), mask],
                     dim=1).expand(rows, 1, -1, -1)
    first = length if mistake == "positions_after_prefix" else 0
    norm, model.model.norm = model.model.norm, torch.nn.Identity()
    try:
        out = model.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache,
            position_ids=torch.arange(first, first + count)[None])
    finally:
        model.model.norm = norm
    return out.last_hidden_state


def mix(case, streams, hidden, mistake):
    """[streams, tokens, hidden] -> [tokens, hidden]; the aggregator of the
    first p streams, those that are missing being zeros."""
    p, count, width = hidden.shape
    missing = torch.zeros(case["streams"] - p, count, width,
                          dtype=torch.float64)
    stacked = torch.cat([hidden, missing])
    if mistake == "streams_concatenated":
        z = torch.cat(list(stacked), dim=-1)
    else:  # hidden index slow, stream index fast
        z = stacked.permute(1, 2, 0).flatten(1)
    of = {n: torch.from_numpy(streams[n]) for n in ("w1", "b1", "w2", "b2")}
    a = torch.nn.functional.silu(z @ of["w1"].T + of["b1"])
    a = (a @ of["w2"].T + of["b2"])[:, :p]
    smoothing = 0.01 if mistake == "smoothing_0.01" else streams["smoothing"]
    w = torch.softmax(a, dim=-1) * (1 - smoothing) + smoothing / p
    return (w.T[:, :, None] * hidden).sum(0)


@torch.no_grad()
def logits(model, case, streams, text, p, mistake=None):
    norm = model.model.norm
    nested = case["kind"] == "nested"
    groups = [[0], list(range(1, p))] if nested else [list(range(p))]
    hidden = torch.cat([
        hidden_states(model, case, streams, text, which, mistake)
        for which in groups if which])
    if mistake != "norm_after_aggregation":
        hidden = norm(hidden)
    if p > 1:
        mixed = mix(case, streams, hidden, mistake)
    else:
        mixed = hidden[0]
    if mistake == "norm_after_aggregation":
        mixed = norm(mixed)
    return model.lm_head(mixed).numpy()


def restated(case, weights, streams, text, p):
    config = {"num_attention_heads": case["heads"],
              "num_key_value_heads": case["kv_heads"],
              "num_hidden_layers": case["layers"],
              "hidden_size": case["hidden"], "head_dim": case["head_dim"],
              "rms_norm_eps": EPSILON, "rope_theta": 10000.0}
    return reference.logits(config, weights, text, p,
                            None if p == 1 else streams)


def log_softmax(x):
    top = x.max(-1, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(-1, keepdims=True))


def difference(a, b):
    return np.abs(log_softmax(a) - log_softmax(b)).max()


def make(case):
    weights, streams = make_weights(case), make_streams(case)
    model = make_backbone(case, weights)
    text = tokens(case, TOKENS)
    most = case["streams"]
    runs, apart = [], 0
    for p in range(1 if case["kind"] == "nested" else most, most + 1):
        run = restated(case, weights, streams, text, p)
        apart = max(apart, difference(
            run, logits(model, case, streams, text, p)))
        runs.append(run)
    assert apart < 1e-4, f"{case['name']}: the implementations differ {apart}"
    parts = [run[POSITIONS] for run in runs]
    print(f"{case['name']:22} apart {apart:.1e}", end="")
    if most > 1:
        wrong = [logits(model, case, streams, text, most, m)[-1:]
                 for m in MISTAKES]
        parts += wrong
        for mistake, row in zip(MISTAKES, wrong):
            print(f"  {mistake} {difference(row, runs[-1][-1:]):.3f}", end="")
    print()
    return np.concatenate(parts).astype("<f4").tobytes()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for case in read_cases():
        path = HERE / "golden" / f"{case['name']}.logits"
        made = make(case)
        if not check:
            path.write_bytes(made)
            continue
        there, now = (np.frombuffer(b, "<f4")
                      for b in (path.read_bytes(), made))
        assert there.shape == now.shape, path
        assert np.abs(there - now).max() < 1e-5, path


if __name__ == "__main__":
    main()
