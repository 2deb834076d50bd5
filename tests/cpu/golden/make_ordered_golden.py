"""Scores of the default model's golden text, in the kernels' own order of sums.

    python3 make_ordered_golden.py SmolLM2-135M-Instruct.Q4_1.gguf OUT

Needs what make_default_golden.py needs, and numba: 10^11 multiplications that
are each rounded in their place take minutes. The file next to this one was made
with numba 0.68.1 and transformers 5.23.

Rounding to int8 makes the network chaotic: one last bit of one sum moves logits
by 0.05. Two implementations can only be compared where every operation on
floats is rounded alike. So the model is that of transformers, its structure as
well as its weights, and what it computes with is replaced by what Braid's
kernels document:

    cpu/kernels.h          inputs rounded to int8
    cpu/kernels_avx512.cc  products: the fixed order of one element
    cpu/pointwise-inl.h    RMS norm, rotation, 2^x, SiLU
    cpu/attention-inl.h    attention, over keys and values rounded to half

All of it is computed twice: with a multiply-add that rounds once ("fused", as
all processors with FMA do), and with one that rounds twice ("portable").

OUT, little-endian, no padding; its text is that of default_golden.bin:

    char[8]  "BRDORDR1"
    u32      T, tokens of the text
    twice, fused then portable:
      i32[T]  best id after each token of the text
      f32[T]  its log probability
      f32[T]  log probability of the text's next token (the last is 0)
"""

import math
import pathlib
import struct
import sys

import gguf
import numba
import numpy as np
import torch
import transformers

from make_default_golden import load_model

f32 = np.float32
LOG2E = f32(1.44269504)
LANES = 16
SEGMENT = 512  # tokens whose scores are kept at once
# 2^f for |f| <= 1/2, the highest power first.
POLYNOMIAL = np.array([1.5403530e-4, 1.3333558e-3, 9.6181291e-3, 5.5504109e-2,
                       2.4022651e-1, 6.9314718e-1, 1.0], f32)


# Multiply-adds: a * b + c.

@numba.extending.intrinsic
def llvm_fma(typing_context, a, b, c):
    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)  # rounds once, by definition
    single = numba.float32
    return single(single, single, single), generate


@numba.njit
def fused(a, b, c):
    return llvm_fma(a, b, c)


@numba.njit
def portable(a, b, c):
    return f32(a * b) + c


# Kernels. `fma` is one of the two above.

@numba.njit
def exp2(fma, x):
    if x < f32(-126):
        return f32(0)
    bounded = min(x, f32(128))
    whole = np.rint(bounded)
    p = POLYNOMIAL[0]
    for i in range(1, len(POLYNOMIAL)):
        p = fma(p, bounded - whole, POLYNOMIAL[i])
    return f32(math.ldexp(np.float64(p), int(whole)))


@numba.njit
def sum_of(lanes):
    """Each half is added to the other until one lane is left."""
    width = LANES // 2
    while width > 0:
        lanes = lanes[:width] + lanes[width:2 * width]
        width //= 2
    return lanes[0]


@numba.njit(parallel=True)
def rms_norm(fma, x, weight, epsilon):
    y = np.empty_like(x)
    tokens, columns = x.shape
    for t in numba.prange(tokens):
        squares = np.zeros(LANES, f32)
        for c in range(columns):
            squares[c % LANES] = fma(x[t, c], x[t, c], squares[c % LANES])
        mean = sum_of(squares) / f32(columns)
        scale = f32(1) / np.sqrt(mean + f32(epsilon))
        for c in range(columns):
            y[t, c] = x[t, c] * scale * weight[c]
    return y


@numba.njit(parallel=True)
def silu(fma, x):
    y = np.empty_like(x)
    for t in numba.prange(len(x)):
        for c in range(x.shape[1]):
            y[t, c] = x[t, c] / (f32(1) + exp2(fma, x[t, c] * -LOG2E))
    return y


@numba.njit(parallel=True)
def multiply(fma, dots, scale, minimum, x_scale, x_sum):
    """Sums over blocks, left to right, of integer dot products
    [block][token][row] with scales and minima [block][row], and scales and sums
    of inputs [block][token]."""
    blocks, tokens, rows = dots.shape
    y = np.zeros((tokens, rows), f32)
    for t in numba.prange(tokens):
        for b in range(blocks):
            for r in range(rows):
                y[t, r] = fma(dots[b, t, r], scale[b, r] * x_scale[b, t],
                              y[t, r])
                y[t, r] = fma(minimum[b, r], x_sum[b, t], y[t, r])
    return y


@numba.njit(parallel=True)
def attend(fma, q, k, v):
    """Causal, [head][token][d], some heads of q for each of k and v."""
    out = np.empty_like(q)
    heads, tokens, size = q.shape
    group = heads // len(k)
    scale = LOG2E / np.sqrt(f32(size))
    for row in numba.prange(heads * tokens):
        head, token = row // tokens, row % tokens
        query = q[head, token] * scale
        keys, values = k[head // group], v[head // group]
        largest = f32(-np.inf)
        totals = np.zeros(LANES, f32)
        sums = np.zeros(size, f32)
        for first in range(0, token + 1, SEGMENT):
            count = min(SEGMENT, token + 1 - first)
            scores = np.zeros(count, f32)
            for i in range(count):
                for d in range(size):
                    scores[i] = fma(query[d], keys[first + i, d], scores[i])
            before, largest = largest, max(largest, scores.max())
            shrink = exp2(fma, before - largest)
            totals *= shrink
            sums *= shrink
            for i in range(count):
                p = exp2(fma, scores[i] - largest)
                totals[i % LANES] += p
                for d in range(size):
                    sums[d] = fma(p, values[first + i, d], sums[d])
        out[head, token] = sums * (f32(1) / sum_of(totals))
    return out


# The model. Kernels take and give arrays of [token][column].

def run(kernel, fma, *arguments):
    return torch.from_numpy(kernel(fma, *(
        a.contiguous().numpy() if isinstance(a, torch.Tensor) else a
        for a in arguments)))


def quantise(x):
    """Integers [block][token][32] with scales and sums [block][token]."""
    blocks = x.reshape(len(x), -1, 32).transpose(0, 1).contiguous()
    amax = blocks.abs().amax(-1)
    assert amax.min() >= 1e-30  # what is smaller becomes zeros
    most = torch.tensor(127.0)  # 127 / amax would multiply by a reciprocal
    quants = torch.round(blocks * (most / amax)[..., None])  # half to even
    scale = amax / most
    return quants, scale, scale * quants.sum(-1)


def blocks_of(tensor):
    """A weight is scale * quant + minimum. Quants are unsigned,
    [row][block][32]: a zero point becomes a minimum."""
    raw = np.array(tensor.data).reshape(tensor.shape[1], tensor.shape[0] // 32,
                                        -1)
    if tensor.tensor_type == gguf.GGMLQuantizationType.Q4_1:
        halves, nibbles = raw[..., :4].copy().view(np.float16), raw[..., 4:]
        quants = np.concatenate((nibbles & 15, nibbles >> 4), -1)
        scale, minimum = halves[..., 0].astype(f32), halves[..., 1].astype(f32)
    else:
        assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
        scale = raw[..., :2].copy().view(np.float16)[..., 0].astype(f32)
        quants, minimum = raw[..., 2:] ^ 0x80, scale * f32(-128)
    return [torch.from_numpy(a) for a in (quants.astype(f32), scale, minimum)]


def linear(fma, module, tensor, rotary_heads=None):
    parts = blocks_of(tensor)
    if rotary_heads:  # the file keeps their pairs of rows together
        parts = [p.unflatten(0, (rotary_heads, -1, 2)).transpose(1, 2)
                  .flatten(0, 2) for p in parts]
    quants, scale, minimum = parts
    weights = scale[..., None] * quants + minimum[..., None]
    assert torch.equal(weights.flatten(1), module.weight)
    quants = quants.permute(1, 2, 0).contiguous()

    def forward(x):
        inputs, *of_inputs = quantise(x)
        # Matrix products of integers, below 2^24: exact in any order.
        return torch.cat([
            run(multiply, fma, inputs @ quants[..., rows], scale[rows].T,
                minimum[rows].T, *of_inputs)
            for rows in torch.arange(len(scale)).split(2048)], -1)
    return Replaced(forward)


class Replaced(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x[0])[None]


class Rotary(torch.nn.Module):
    """Angles in double; transformers turns by them."""

    def __init__(self, rotary):
        super().__init__()
        pairs = torch.arange(len(rotary.inv_freq), dtype=torch.double)
        base = rotary.config.rope_parameters["rope_theta"]
        self.frequencies = (base ** (-pairs / len(pairs))).float()
        assert torch.allclose(self.frequencies, rotary.inv_freq)

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * self.frequencies.double()
        angles = torch.cat((angles, angles), -1)
        return angles.cos().float(), angles.sin().float()


def attention(fma):
    def forward(module, query, key, value, mask, **kwargs):
        key, value = (x[0].half().float() for x in (key, value))
        out = run(attend, fma, query[0], key, value)
        return out.transpose(0, 1)[None], None
    return forward


def replace_modules(model, gguf_path, fma):
    tensors = {t.name: t for t in gguf.GGUFReader(gguf_path).tensors}
    heads = dict(q_proj=model.config.num_attention_heads,
                 k_proj=model.config.num_key_value_heads)
    names = dict(q_proj="attn_q", k_proj="attn_k", v_proj="attn_v",
                 o_proj="attn_output", gate_proj="ffn_gate", up_proj="ffn_up",
                 down_proj="ffn_down")

    def norm(module):
        return Replaced(lambda x: run(rms_norm, fma, x, module.weight,
                                      module.variance_epsilon))

    for i, layer in enumerate(model.model.layers):
        for name, in_file in names.items():
            part = layer.self_attn if "attn" in in_file else layer.mlp
            setattr(part, name, linear(fma, getattr(part, name),
                                       tensors[f"blk.{i}.{in_file}.weight"],
                                       heads.get(name)))
        layer.mlp.act_fn = Replaced(lambda x: run(silu, fma, x))
        layer.input_layernorm = norm(layer.input_layernorm)
        layer.post_attention_layernorm = norm(layer.post_attention_layernorm)
    model.model.rotary_emb = Rotary(model.model.rotary_emb)
    model.model.norm = norm(model.model.norm)
    model.lm_head = linear(fma, model.lm_head, tensors["token_embd.weight"])
    # Left are the embedding, residual sums, rotations by the angles, and the
    # product of gate and up: one operation per element, or two.


def scores(gguf_path, fma, ids):
    transformers.AttentionInterface.register("ordered", attention(fma))
    model = load_model(gguf_path, "ordered")
    replace_modules(model, gguf_path, fma)
    logits = model(ids[None], use_cache=False).logits[0]
    logprobs = torch.log_softmax(logits, -1, dtype=torch.double)
    best = logprobs.max(-1)
    following = torch.zeros(len(ids))
    following[:-1] = logprobs[torch.arange(len(ids) - 1), ids[1:]]
    return (best.indices.int().numpy().tobytes()
            + best.values.float().numpy().tobytes()
            + following.numpy().tobytes())


def main():
    gguf_path, out_path = map(pathlib.Path, sys.argv[1:])
    golden = (pathlib.Path(__file__).parent / "default_golden.bin").read_bytes()
    count, = struct.unpack_from("<I", golden, 8)
    ids = torch.tensor(np.frombuffer(golden, np.int32, count, 20)).long()
    out = b"BRDORDR1" + struct.pack("<I", len(ids))
    with torch.inference_mode():
        for fma in (fused, portable):
            out += scores(gguf_path, fma, ids)
            print(fma.__name__, flush=True)
    out_path.write_bytes(out)


if __name__ == "__main__":
    main()
