#!/usr/bin/env python3
"""Checks the forward passes here against each other and transformers.

    bench/parscale/check.py [--model GGUF] [--adapter FILE]

1. torch streams against reference.py: a random tiny model, nested, p = 1..4.
2. reference.py with biases (Qwen2) against transformers, p = 1.
3. torch p = 1, float32, and reference.py against transformers on the base.
4. torch against reference.py with a trained adapter file, p = 1..4.
5. a training step in bfloat16, compiled, against float32: loss and gradient.
"""
import argparse
import pathlib

import numpy as np
import safetensors
import torch
import transformers

import adapter_file
import base_model
import reference
import streams as S
import train


def tiny(random, heads=6, kv_heads=2, width=8, layers=3, vocab=97, bias=False):
    hidden, inner = heads * width, 64
    config = {"hidden_size": hidden, "num_hidden_layers": layers,
              "num_attention_heads": heads, "num_key_value_heads": kv_heads,
              "head_dim": width, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
              "intermediate_size": inner, "vocab_size": vocab}

    def normal(*shape):
        return random.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    def norm():
        return random.uniform(0.5, 1.5, hidden).astype(np.float32)

    weights = {"model.embed_tokens.weight": normal(vocab, hidden),
               "model.norm.weight": norm()}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name, rows in (("q", heads * width), ("k", kv_heads * width),
                           ("v", kv_heads * width)):
            weights[at + f"self_attn.{name}_proj.weight"] = normal(rows,
                                                                   hidden)
            if bias:
                weights[at + f"self_attn.{name}_proj.bias"] = normal(rows)
        weights |= {at + "self_attn.o_proj.weight": normal(hidden, hidden),
                    at + "mlp.gate_proj.weight": normal(inner, hidden),
                    at + "mlp.up_proj.weight": normal(inner, hidden),
                    at + "mlp.down_proj.weight": normal(hidden, inner),
                    at + "input_layernorm.weight": norm(),
                    at + "post_attention_layernorm.weight": norm()}
    return config, weights


def report(name, a, b, bound):
    error = float(np.abs(np.asarray(a) - np.asarray(b)).max())
    print(f"{name}: largest difference {error:.2e} (bound {bound:.0e})")
    assert error < bound, name


@torch.no_grad()
def check_streams(random):
    config, weights = tiny(random)
    adapter = S.Adapter(config, streams=4, prefix_tokens=5)
    for parameter in adapter.parameters():
        parameter.data = torch.from_numpy(
            random.normal(0, 0.7, parameter.shape).astype(np.float32))
    base = S.Base(config, weights, torch.float32)
    ids = random.integers(97, size=23)
    prefixes = {}
    for name in ("k", "v"):
        prefix = getattr(adapter, "prefix_" + name).numpy()
        prefixes["prefix_" + name] = np.concatenate(
            [np.full_like(prefix[:, :1], np.nan), prefix], axis=1)
    aggregator = {name: getattr(adapter, name).numpy()
                  for name in ("w1", "b1", "w2", "b2")}
    parscale = prefixes | aggregator | {"prefix_length": [0, 5, 5, 5],
                                        "smoothing": adapter.smoothing}
    for p in range(1, 5):
        hidden = base.streams(torch.from_numpy(ids)[None], adapter, p)
        mixed, _ = adapter.aggregate(hidden)
        report(f"torch against NumPy, p={p}", (mixed[0] @ base.head.T),
               reference.logits(config, weights, ids, p, parscale), 2e-5)


@torch.no_grad()
def check_qwen2(random):
    config, weights = tiny(random, bias=True)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"][::-1] \
        .copy()
    known = {k: v for k, v in config.items()
             if k not in ("rope_theta", "head_dim")}
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        **known, rope_parameters={"rope_theta": config["rope_theta"],
                                  "rope_type": "default"},
        tie_word_embeddings=False))
    missing = model.load_state_dict(
        {k: torch.from_numpy(v) for k, v in weights.items()}, strict=True)
    ids = random.integers(97, size=19)
    report(f"NumPy against transformers' Qwen2 {missing}",
           model(torch.from_numpy(ids)[None]).logits[0],
           reference.logits(config, weights, ids), 2e-5)


@torch.no_grad()
def check_base(path):
    config, weights = base_model.load(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32)
    ids = torch.tensor(base_model.tokenizer(path)(
        "def gang(streams):\n    return sum(s.rows for s in streams)\n" * 3,
        add_special_tokens=False)["input_ids"])
    expected = model(ids[None]).logits[0]
    base = S.Base(config, weights, torch.float32)
    report("torch against transformers, base model",
           base.hidden(ids[None])[0, 0] @ base.head.T, expected, 2e-3)
    rough = S.Base(config, weights, torch.bfloat16)
    difference = (S.losses(rough, rough.hidden(ids[None, :-1])[0], ids[None, 1:])
                  - S.losses(base, base.hidden(ids[None, :-1])[0],
                             ids[None, 1:])).mean()
    print(f"bfloat16 products shift the NLL by {difference:+.4f}")
    report("NumPy against transformers, base model",
           reference.logits(config, weights, ids[:12].numpy()),
           expected[:12], 2e-3)


def stored_adapter(path, config):
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
        stored = {name: file.get_tensor(tensor).float()
                  for name, tensor in adapter_file.NAMES.items()}
    adapter = S.Adapter(config, int(metadata["streams"]),
                        int(metadata["prefix_tokens"]),
                        float(metadata["smoothing"]))
    adapter.load_state_dict(stored)
    return adapter


@torch.no_grad()
def check_adapter(path, adapter_path):
    config, weights = base_model.load(path)
    with safetensors.safe_open(adapter_path, "pt") as file:
        assert file.metadata()["base_sha256"] == base_model.sha256(path)
    adapter = stored_adapter(adapter_path, config)
    count, length = adapter.streams, adapter.prefix_tokens
    parscale = {name: value.numpy()
                for name, value in adapter.state_dict().items()}
    for name in ("prefix_k", "prefix_v"):  # stream 0 has none
        parscale[name] = np.pad(parscale[name],
                                [(0, 0), (1, 0)] + [(0, 0)] * 3)
    parscale |= {"prefix_length": [0] + [length] * (count - 1),
                 "smoothing": adapter.smoothing}
    base = S.Base(config, weights, torch.float32)
    ids = torch.tensor(base_model.tokenizer(path)(
        "import os\n\n\ndef main():\n    return os.environ",
        add_special_tokens=False)["input_ids"])
    for p in range(1, count + 1):
        mixed, _ = adapter.aggregate(base.streams(ids[None], adapter, p))
        report(f"torch against NumPy, trained adapter, p={p}",
               mixed[0] @ base.head.T, reference.logits(
                   config, weights, ids.numpy(), p, parscale), 2e-3)


def check_gradient(path, adapter_path):
    """bfloat16 products, fused, against float32: loss and gradient."""
    config, weights = base_model.load(path)
    ids = torch.tensor(base_model.tokenizer(path)(
        pathlib.Path(S.__file__).read_text(),
        add_special_tokens=False)["input_ids"])[:4 * 257].view(4, 257)
    found = {}
    for dtype, compiled in ((torch.float32, False), (torch.bfloat16, True)):
        base = S.Base(config, weights, dtype, compiled)
        torch.manual_seed(3)
        adapter = stored_adapter(adapter_path, config)
        loss, seen = train.streams_loss(base, adapter, ids[:, :-1],
                                        ids[:, 1:], range(2, 5), 0.0, 0.02)
        loss.backward()
        found[dtype] = loss.item(), [
            torch.cat([p.grad.flatten() for p in group])
            for group in (adapter.prefix_parameters(),
                          adapter.aggregator_parameters())]
    (exact, gradients), (rough, others) = found.values()
    cosines = [torch.nn.functional.cosine_similarity(a, b, dim=0).item()
               for a, b in zip(gradients, others)]
    print(f"training step in bfloat16: loss {rough - exact:+.5f} of "
          f"{exact:.4f}, cosine of the gradients: prefixes {cosines[0]:.4f}, "
          f"aggregator {cosines[1]:.4f}")
    assert abs(rough - exact) < 0.01 and min(cosines) > 0.98


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=base_model.DEFAULT)
    parser.add_argument("--adapter")
    arguments = parser.parse_args()
    random = np.random.default_rng(3)
    check_streams(random)
    check_qwen2(random)
    check_base(arguments.model)
    if arguments.adapter:
        check_adapter(arguments.model, arguments.adapter)
        check_gradient(arguments.model, arguments.adapter)


if __name__ == "__main__":
    main()
