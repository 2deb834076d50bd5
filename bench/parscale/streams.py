"""A frozen Llama with PARSCALE streams, in plain torch, made for training.

Streams share the batch dimension, [streams * B] rows, stream-major. Stream 0
has no prefix, hence no parameters, and runs apart without a graph. Layer 0's
q/k/v are computed once. The residual, norms, softmax and loss are float32; the
frozen products run in `dtype`, bfloat16 for AMX or float32 to be judged by.
"""
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


class Normalise(torch.autograd.Function):
    """x / rms(x) in `dtype`; only the result is kept for the gradient."""

    @staticmethod
    def forward(context, x, eps, dtype):
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(eps))
        y = (x * scale).to(dtype)
        context.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(context, gradient):
        y, scale = context.saved_tensors
        along = (gradient * y).sum(-1, keepdim=True, dtype=torch.float32)
        along = along.div_(-y.shape[-1]).to(y.dtype)
        return torch.addcmul(gradient, y, along).float().mul_(scale), None, \
            None


class Rotate(torch.autograd.Function):
    """heads [rows, S, n, d] -> rotated, [rows, n, S, d]."""

    @staticmethod
    def turn(x, cos, sin):
        a, b = x.float().chunk(2, dim=-1)
        out = torch.empty_like(x, dtype=torch.float32)
        first, second = out.chunk(2, dim=-1)
        torch.mul(a, cos, out=first).addcmul_(b, sin, value=-1)
        torch.mul(b, cos, out=second).addcmul_(a, sin)
        return out.to(x.dtype)

    @staticmethod
    def forward(context, x, cos, sin):
        context.save_for_backward(cos, sin)
        return Rotate.turn(x.transpose(1, 2).contiguous(), cos, sin)

    @staticmethod
    def backward(context, gradient):
        cos, sin = context.saved_tensors
        turned = Rotate.turn(gradient.contiguous(), cos, -sin)
        return turned.transpose(1, 2), None, None


class Gate(torch.autograd.Function):
    """[..., gate and up] -> silu(gate) * up."""

    @staticmethod
    def forward(context, gate_up):
        context.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(context, gradient):
        gate_up, = context.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        out = torch.empty_like(gate_up)
        d_gate, d_up = out.chunk(2, dim=-1)
        torch.mul(F.silu(gate), gradient, out=d_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate,
                                                grad_input=d_gate)
        return out


class Base:
    """The frozen model; rows of any streams, forward from ids to final norm."""

    def __init__(self, config, weights, dtype=torch.bfloat16):
        self.config, self.dtype = config, dtype
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

    def project(self, layer, x):
        """x [rows, S, h] -> heads of q, k, v [rows, S, heads, d], unrotated."""
        y = F.linear(Normalise.apply(x, self.eps, self.dtype), layer["qkv"])
        return y.view(*y.shape[:2], -1, self.width)

    def rotated(self, heads, rotation):
        """-> q, k, v [rows, heads, S, d], q and k rotated."""
        turned = Rotate.apply(heads[:, :, :-self.kv_heads], *rotation)
        q, k = turned.split([self.heads, self.kv_heads], dim=1)
        return q, k, heads[:, :, -self.kv_heads:].transpose(1, 2)

    def attend(self, q, k, v, prefix):
        """The prefix, [streams, kv_heads, T, d] twice, is seen by all."""
        rows, _, tokens, width = q.shape
        length = 0
        if prefix is not None:
            length = prefix[0].shape[2]
            k, v = (torch.cat([
                part.to(self.dtype).repeat_interleave(
                    rows // len(part), dim=0), real], dim=2)
                for part, real in zip(prefix, (k, v)))
        # The heads of a group become rows of one: k and v need no copies.
        group = self.heads // self.kv_heads
        q = q.reshape(rows, self.kv_heads, group * tokens, width)
        mask = torch.ones(tokens, length + tokens, dtype=torch.bool).tril(
            diagonal=length).repeat(group, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out.view(rows, self.heads, tokens, width).transpose(1, 2) \
                  .reshape(rows, tokens, -1)

    def mlp(self, layer, x):
        y = Normalise.apply(x, self.eps, self.dtype)
        y = Gate.apply(F.linear(y, layer["gate_up"]))
        return F.linear(y, layer["down"]).float()

    def hidden(self, ids, prefix_k=None, prefix_v=None):
        """ids [B, S]; prefixes [layers, streams, kv_heads, T, d] or None.

        -> [streams, B, S, h] after the final norm.
        """
        streams = 1 if prefix_k is None else prefix_k.shape[1]
        rotation = self.rotation(ids.shape[1])
        x = self.embedding[ids]
        for index, layer in enumerate(self.layers):
            q, k, v = self.rotated(self.project(layer, x), rotation)
            if index == 0:  # the same in all streams
                x, q, k, v = (t.repeat(streams, *[1] * (t.dim() - 1))
                              for t in (x, q, k, v))
            prefix = None
            if prefix_k is not None:
                prefix = prefix_k[index], prefix_v[index]
            attended = self.attend(q, k, v, prefix)
            x = x + F.linear(attended, layer["o"]).float()
            x = x + self.mlp(layer, x)
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
            heads = self.project(layer, x)
            k, v = heads.transpose(1, 2)[:, self.heads:].float().split(
                self.kv_heads, dim=1)
            keys.append(k)
            values.append(v)
            attended = self.attend(*self.rotated(heads, rotation), None)
            x = x + F.linear(attended, layer["o"]).float()
            x = x + self.mlp(layer, x)
        return torch.stack(keys), torch.stack(values)


class HeadLoss(torch.autograd.Function):
    """Sum of cross entropies under the frozen head, a chunk at a time.

    The gradient is made in the forward pass: no logits outlive their chunk.
    """
    CHUNK = 128

    @staticmethod
    def forward(context, hidden, head, targets):
        gradient = torch.empty_like(hidden)
        losses = torch.empty(len(hidden))
        for at in range(0, len(hidden), HeadLoss.CHUNK):
            part = slice(at, at + HeadLoss.CHUNK)
            logits = F.linear(hidden[part].to(head.dtype), head).float()
            if not context.needs_input_grad[0]:
                losses[part] = F.cross_entropy(logits, targets[part],
                                               reduction="none")
                continue
            target = targets[part, None]
            log_sum = torch.logsumexp(logits, dim=-1, keepdim=True)
            losses[part] = (log_sum - logits.gather(1, target))[:, 0]
            p = logits.sub_(log_sum).exp_()
            p.scatter_add_(1, target, torch.full_like(target, -1,
                                                      dtype=p.dtype))
            gradient[part] = (p.to(head.dtype) @ head).float()
        context.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(context, upstream):
        gradient, = context.saved_tensors
        return gradient * upstream[:, None], None, None


def losses(base, hidden, targets):
    """hidden [B, S, h] -> NLL of every target [B, S], in nats."""
    return HeadLoss.apply(hidden.reshape(-1, hidden.shape[-1]), base.head,
                          targets.reshape(-1)).view(targets.shape)

