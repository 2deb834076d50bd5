#!/usr/bin/env python3
"""PARSCALE restated in NumPy, to be read beside the engine and to judge it.

A whole Llama or Qwen2 forward pass with p parallel streams, written for
clarity and independence, not speed: no torch, no cache, no batching, float64.

A PARSCALE set is a dict, for the published and for the nested kind alike:
  prefix_k, prefix_v  [layers, streams, kv_heads, T, head_dim]; keys unrotated
  prefix_length       per stream, T or less (0: the stream has no prefix)
  w1 [h, P*h]  b1 [h]  w2 [P, h]  b2 [P]      the aggregator
  smoothing           epsilon, spread over the active streams
The published kind has a prefix in every stream and is run with p = P; the
nested kind has none in stream 0 and is run with any p from 1 to P.

Key layout is that of the weights given: with Hugging Face weights dimension i
of a head is rotated together with i + head_dim/2 ("halves").
"""
import numpy as np


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def rotate(x, positions, theta):
    """x [heads, tokens, d]; pairs (i, i + d/2) turn by position * theta^-2i/d."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attention(config, get, x, prefix_k, prefix_v):
    """x [tokens, h]; prefix [kv_heads, T, d], visible to every query, T >= 0."""
    heads, kv_heads = (config["num_attention_heads"],
                       config["num_key_value_heads"])
    tokens = len(x)

    def project(name, n):  # Qwen2 has biases here, Llama has none
        y = x @ get(name + "_proj.weight").T + get(name + "_proj.bias", 0.0)
        return y.reshape(tokens, n, -1).transpose(1, 0, 2)

    positions = np.arange(tokens)  # from 0: the prefix takes no positions
    q = rotate(project("q", heads), positions, config["rope_theta"])
    k = rotate(project("k", kv_heads), positions, config["rope_theta"])
    k = np.concatenate([prefix_k, k], axis=1)  # the prefix is not rotated
    v = np.concatenate([prefix_v, project("v", kv_heads)], axis=1)
    k, v = (np.repeat(t, heads // kv_heads, axis=0) for t in (k, v))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    seen = np.arange(k.shape[1])[None, :] <= (positions
                                              + prefix_k.shape[1])[:, None]
    out = softmax(np.where(seen, scores, -np.inf)) @ v
    return out.transpose(1, 0, 2).reshape(tokens, -1) @ get("o_proj.weight").T


def stream_hidden(config, weights, tokens, parscale, stream):
    """One stream from embedding to final norm: [tokens, h]."""
    def get(name, default=None):
        value = weights.get(name) if default is not None else weights[name]
        return default if value is None else np.asarray(value, np.float64)

    eps = config["rms_norm_eps"]
    width = config.get("head_dim") or (config["hidden_size"]
                                       // config["num_attention_heads"])
    none = np.zeros((config["num_key_value_heads"], 0, width))
    x = get("model.embed_tokens.weight")[np.asarray(tokens)]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        prefix_k = prefix_v = none
        if parscale is not None:
            length = parscale["prefix_length"][stream]
            prefix_k, prefix_v = (
                np.asarray(parscale[key][layer][stream], np.float64)
                [:, :length] for key in ("prefix_k", "prefix_v"))
        x = x + attention(
            config, lambda name, *default: get(at + "self_attn." + name,
                                               *default),
            rms_norm(x, get(at + "input_layernorm.weight"), eps),
            prefix_k, prefix_v)
        y = rms_norm(x, get(at + "post_attention_layernorm.weight"), eps)
        x = x + (silu(y @ get(at + "mlp.gate_proj.weight").T)
                 * (y @ get(at + "mlp.up_proj.weight").T)
                 ) @ get(at + "mlp.down_proj.weight").T
    return rms_norm(x, get("model.norm.weight"), eps)


def aggregate(hidden, parscale):
    """hidden [p, tokens, h] of streams 0..p-1 -> their weighted mean.

    The MLP reads all streams interleaved, hidden index slow and stream index
    fast; streams that are not active are zeros there and get no weight.
    """
    w1, b1, w2, b2 = (np.asarray(parscale[key], np.float64)
                      for key in ("w1", "b1", "w2", "b2"))
    p, tokens, width = hidden.shape
    z = np.zeros((tokens, width, len(b2)))
    z[:, :, :p] = hidden.transpose(1, 2, 0)
    a = silu(z.reshape(tokens, -1) @ w1.T + b1) @ w2.T + b2
    smoothing = parscale["smoothing"]
    w = softmax(a[:, :p]) * (1.0 - smoothing) + smoothing / p
    return np.einsum("tp,pth->th", w, hidden)


def logits(config, weights, tokens, p=1, parscale=None):
    """[tokens, vocab] of streams 0..p-1; weights under Hugging Face names."""
    hidden = np.stack([stream_hidden(config, weights, tokens, parscale, s)
                       for s in range(p)])
    mixed = hidden[0] if parscale is None else aggregate(hidden, parscale)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return mixed @ np.asarray(head, np.float64).T
