"""A frozen Llama with PARSCALE streams, in plain torch, made for training.

Streams share the batch dimension, [streams * B] rows, stream-major. Stream 0
has no prefix, hence no parameters, and runs apart without a graph. The
residual, norms, softmax and loss are float32; the frozen products run in
`dtype`, bfloat16 for AMX or float32 to be judged by. `compiled`: layers and head
go through torch.compile, which fuses what lies between the products.
"""
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

PROJECTIONS = ("q", "k", "v", "o")
MLP = ("gate", "up", "down")


class Adapter(nn.Module):
    """Prefixes of streams 1..P-1 and the aggregator; float32 while trained."""

    def __init__(self, config, streams, prefix_tokens, smoothing=0.1):
        super().__init__()
        self.streams, self.prefix_tokens = streams, prefix_tokens
        self.smoothing = smoothing
        hidden = config["hidden_size"]
        shape = (config["num_hidden_layers"], streams - 1,
                 config["num_key_value_heads"], prefix_tokens,
                 config["head_dim"])
        self.prefix_k = nn.Parameter(torch.zeros(shape))
        self.prefix_v = nn.Parameter(torch.zeros(shape))
        self.w1 = nn.Parameter(
            torch.randn(hidden, streams * hidden) / (streams * hidden) ** 0.5)
        self.b1 = nn.Parameter(torch.zeros(hidden))
        # Zero: all streams weigh the same until they are told apart.
        self.w2 = nn.Parameter(torch.zeros(streams, hidden))
        self.b2 = nn.Parameter(torch.zeros(streams))

    def prefix_parameters(self):
        return [self.prefix_k, self.prefix_v]

    def aggregator_parameters(self):
        return [self.w1, self.b1, self.w2, self.b2]

    def stream_weights(self, hidden):
        """hidden [p, ..., h] of streams 0..p-1 -> weights [..., p]."""
        p = len(hidden)
        blocks = self.w1.view(len(self.b1), -1, self.streams)
        a = self.b1 + sum(F.linear(hidden[s], blocks[:, :, s])
                          for s in range(p))
        logits = F.linear(F.silu(a), self.w2[:p], self.b2[:p])
        weights = torch.softmax(logits, dim=-1)
        return weights * (1 - self.smoothing) + self.smoothing / p

    def aggregate(self, hidden):
        """hidden [p, ..., h] -> ([..., h], weights [..., p])."""
        weights = self.stream_weights(hidden)
        return torch.einsum("...p,p...h->...h", weights, hidden), weights


def fastest_dtype():
    """bfloat16 where the processor multiplies it in tiles."""
    cpu = pathlib.Path("/proc/cpuinfo")
    tiles = cpu.exists() and "amx_bf16" in cpu.read_text()
    return "bfloat16" if tiles else "float32"


def normalise(x, eps, dtype):
    scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return (x * scale).to(dtype)


def rotate(x, cos, sin):
    """x [rows, n, S, d]; dimension i turns together with i + d / 2."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin],
                     dim=-1).to(x.dtype)


def project(x, qkv, kv_heads, width, eps):
    """x [rows, S, h] -> q, k, v [rows, heads, S, d], unrotated."""
    y = F.linear(normalise(x, eps, qkv.dtype), qkv)
    y = y.view(*y.shape[:2], -1, width).transpose(1, 2)
    return y.split([y.shape[1] - 2 * kv_heads, kv_heads, kv_heads], dim=1)


def attend(q, k, v):
    """q [rows, heads, S, d] over k, v [rows, kv_heads, T + S, d].

    The T first are a prefix that every position sees. -> [rows, S, heads * d]
    """
    rows, heads, tokens, width = q.shape
    kv_heads, seen = k.shape[1:3]
    # The heads of a group become rows of one: k and v need no copies.
    q = q.reshape(rows, kv_heads, -1, width)
    scores = torch.matmul(q, k.transpose(2, 3)).float() * width ** -0.5
    at = torch.arange(q.shape[2])[:, None] % tokens
    hidden = torch.arange(seen)[None] > at + (seen - tokens)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
    out = torch.matmul(weights.to(v.dtype), v)
    return out.view(rows, heads, tokens, width).transpose(1, 2) \
              .reshape(rows, tokens, -1)


def block(x, layer, prefix, rotation, kv_heads, width, eps):
    """One layer, x [rows, S, h]; prefix: k, v [streams, kv_heads, T, d]."""
    q, k, v = project(x, layer["qkv"], kv_heads, width, eps)
    q, k = rotate(q, *rotation), rotate(k, *rotation)
    if prefix is not None:
        rows = len(x) // len(prefix[0])
        k, v = (torch.cat([part.to(real.dtype).repeat_interleave(
            rows, dim=0), real], dim=2) for part, real in zip(prefix, (k, v)))
    x = x + F.linear(attend(q, k, v), layer["o"]).float()
    gate, up = F.linear(normalise(x, eps, layer["gate_up"].dtype),
                        layer["gate_up"]).chunk(2, dim=-1)
    gated = (F.silu(gate.float()) * up.float()).to(gate.dtype)
    return x + F.linear(gated, layer["down"]).float()


class Base:
    """The frozen model; rows of any streams, forward from ids to final norm."""

    def __init__(self, config, weights, dtype=torch.bfloat16, compiled=False):
        self.config, self.dtype, self.compiled = config, dtype, compiled
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.width = config["head_dim"]
        self.eps = config["rms_norm_eps"]
        of = {name: torch.from_numpy(np.asarray(w)) for name, w
              in weights.items()}
        self.embedding = of["model.embed_tokens.weight"]
        self.head = of.get("lm_head.weight", self.embedding).to(dtype)
        self.norm = of["model.norm.weight"]
        self.layers = []
        for layer in range(config["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            projection = [of[at + f"self_attn.{n}_proj.weight"]
                          for n in PROJECTIONS]
            mlp = [of[at + f"mlp.{n}_proj.weight"] for n in MLP]
            # The norms' weights are folded into the products behind them.
            norm1 = of[at + "input_layernorm.weight"]
            norm2 = of[at + "post_attention_layernorm.weight"]
            self.layers.append({
                "qkv": (torch.cat(projection[:3]) * norm1).to(dtype),
                "o": projection[3].to(dtype),
                "gate_up": (torch.cat(mlp[:2]) * norm2).to(dtype),
                "down": mlp[2].to(dtype),
            })

    def rotation(self, tokens):
        half = self.width // 2
        inverse = self.config["rope_theta"] ** (
            -torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(tokens, dtype=torch.float64)[:, None] * inverse
        return angle.cos().float(), angle.sin().float()

    def block(self, x, layer, prefix, rotation):
        run = compiled_block if self.compiled else block
        return run(x, layer, prefix, rotation, self.kv_heads, self.width,
                   self.eps)

    def hidden(self, ids, prefix_k=None, prefix_v=None):
        """ids [B, S]; prefixes [layers, streams, kv_heads, T, d] or None.

        -> [streams, B, S, h] after the final norm.
        """
        streams = 1 if prefix_k is None else prefix_k.shape[1]
        rotation = self.rotation(ids.shape[1])
        x = self.embedding[ids].repeat(streams, 1, 1)
        for index, layer in enumerate(self.layers):
            prefix = None
            if prefix_k is not None:
                prefix = prefix_k[index], prefix_v[index]
            x = self.block(x, layer, prefix, rotation)
        x = F.rms_norm(x, x.shape[-1:], self.norm, self.eps)
        return x.view(streams, *ids.shape, -1)

    def streams(self, ids, adapter, p):
        """Streams 0..p-1: [p, B, S, h]."""
        with torch.no_grad():
            vanilla = self.hidden(ids)
        if p == 1:
            return vanilla
        prefixed = self.hidden(ids, adapter.prefix_k[:, :p - 1],
                               adapter.prefix_v[:, :p - 1])
        return torch.cat([vanilla, prefixed])

    @torch.no_grad()
    def text_prefix(self, ids):
        """Unrotated K and V of a text from its first token: [layers, 1, ...].

        They are what a stream starts from; ids [T].
        """
        keys, values = [], []
        rotation = self.rotation(len(ids))
        x = self.embedding[ids[None]]
        for layer in self.layers:
            _, k, v = project(x, layer["qkv"], self.kv_heads, self.width,
                              self.eps)
            keys.append(k.float())
            values.append(v.float())
            x = block(x, layer, None, rotation, self.kv_heads, self.width,
                      self.eps)
        return torch.stack(keys), torch.stack(values)


def head_loss(hidden, head, targets):
    """hidden [n, h] -> losses [n] and their gradients [n, h]."""
    logits = F.linear(hidden.to(head.dtype), head).float()
    log_p = torch.log_softmax(logits, dim=-1)
    own = torch.arange(len(head))[None] == targets[:, None]
    error = (log_p.exp() - own.float()).to(head.dtype)
    return -log_p.gather(1, targets[:, None])[:, 0], (error @ head).float()


def head_loss_only(hidden, head, targets):
    logits = F.linear(hidden.to(head.dtype), head).float()
    return F.cross_entropy(logits, targets, reduction="none")


compiled_block = torch.compile(block, dynamic=False)
compiled_head_loss = torch.compile(head_loss, dynamic=False)
torch._dynamo.config.recompile_limit = 64


class HeadLoss(torch.autograd.Function):
    """Cross entropies under the frozen head, a chunk at a time.

    The gradient is made in the forward pass: no logits outlive their chunk.
    """
    CHUNK = 256

    @staticmethod
    def forward(context, hidden, base, targets):
        gradient = torch.empty_like(hidden)
        losses = torch.empty(len(hidden))
        one = compiled_head_loss if base.compiled else head_loss
        for at in range(0, len(hidden), HeadLoss.CHUNK):
            part = slice(at, at + HeadLoss.CHUNK)
            if context.needs_input_grad[0]:
                losses[part], gradient[part] = one(hidden[part], base.head,
                                                   targets[part])
            else:
                losses[part] = head_loss_only(hidden[part], base.head,
                                              targets[part])
        context.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(context, upstream):
        gradient, = context.saved_tensors
        return gradient * upstream[:, None], None, None


def losses(base, hidden, targets):
    """hidden [..., B, S, h] -> NLL of every target [..., B, S], in nats."""
    shape = hidden.shape[:-1]
    return HeadLoss.apply(hidden.reshape(-1, hidden.shape[-1]), base,
                          targets.expand(shape).reshape(-1)).view(shape)
