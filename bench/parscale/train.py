#!/usr/bin/env python3
"""Trains a nested PARSCALE adapter on a frozen base model; resumable.

    bench/parscale/train.py --text tokens.npz --run RUN --steps 800
    bench/parscale/train.py --text tokens.npz --run CONTROL --kind prefix ...

--kind nested: the adapter. Stream 0 is the base model itself; streams 1..P-1
start from the unrotated K/V of a text each, and are trained together with the
aggregator on the mean loss of p = 2..P. --kind specialist: the same streams
for the loss of p = P alone, a control. --kind prefix: another control, one
stream with one trained prefix and nothing else.

--earlier: how much of the loss of p streams is put down to streams before the
last of them. At 1 all streams serve every p; at 0 stream s is made for p = s+1
alone, given the streams before it.

--alone: weight of the loss of one prefixed stream by itself, each in its turn.
Without it the aggregator soon gives the last stream little weight, which then
learns little and gets worse than the base.

The learning rate is constant but for a warm-up and a decline over the last
quarter of --steps, so that a run can be ended at any length: start it again
with another --steps, in a copy of the folder and from an earlier state if need
be. Every step draws its text from its own number, so a resumed run goes on
exactly where it stopped. RUN/checkpoint.pt is replaced every few minutes,
RUN/at_NNNNNN.pt keeps the state at round token counts, RUN/curve.jsonl is the
curve. Between steps the run waits while --pause-file exists.
"""
import argparse
import json
import math
import os
import pathlib
import signal
import time

import numpy as np
import torch

import base_model
import streams as S

TOKENS_PER_STEP = 1024
CONTEXTS = {256: 0.50, 512: 0.40, 1024: 0.10}
ENGLISH_SHARE = 0.25
END_OF_TEXT = 0
CHECKPOINT_SECONDS = 180
DEV_EVERY = 100      # steps
DEV_WINDOWS = 8      # of each part
KEEP_EVERY = 51200   # tokens
INITIAL_TEXTS = (
    '#!/usr/bin/env python3\nimport os\nimport re\nimport sys\n'
    'from collections import defaultdict\nfrom typing import Any\n',
    'The following chapter explains in plain English how the program works, '
    'what its options mean and when to use them.\n',
    '"""Base classes and exceptions.\n\nCopyright (c) The Authors. All rights '
    'reserved.\n"""\n\n\nclass Error(Exception):\n    """An error."""\n',
)


class Text:
    """Documents of one part, and windows drawn from them."""

    def __init__(self, archive, part):
        self.tokens = archive[part].astype(np.int64)
        self.ends = archive[part + "_ends"]
        self.starts = np.concatenate([[0], self.ends[:-1]])

    def window(self, random, length):
        """Half start where a document starts; short documents are joined."""
        at = random.integers(len(self.tokens))
        document = np.searchsorted(self.ends, at, side="right")
        if random.random() < 0.5:
            at = self.starts[document]
        parts, missing = [], length
        while missing > 0:
            part = self.tokens[at:min(self.ends[document], at + missing)]
            parts += [part, [END_OF_TEXT]]
            missing -= len(part) + 1
            document = random.integers(len(self.ends))
            at = self.starts[document]
        return np.concatenate(parts)[:length]


def batch(texts, seed, step):
    """(ids [B, S], targets [B, S]) of one step."""
    random = np.random.default_rng([seed, step])
    length = int(random.choice(list(CONTEXTS), p=list(CONTEXTS.values())))
    rows = [texts["train_english" if random.random() < ENGLISH_SHARE
                  else "train_python"].window(random, length + 1)
            for _ in range(TOKENS_PER_STEP // length)]
    rows = torch.from_numpy(np.stack(rows))
    return rows[:, :-1], rows[:, 1:]


def with_part_of_gradient(x, part):
    return x if part == 1 else part * x + (1 - part) * x.detach()


def alikeness(hidden, earlier):
    """Mean squared cosine between the streams' differences from stream 0."""
    different = torch.nn.functional.normalize(hidden[1:] - hidden[:1], dim=-1)
    before = with_part_of_gradient(different, earlier)
    pairs = [(different[i] * before[j]).sum(-1).square().mean()
             for i in range(len(different)) for j in range(i)]
    return sum(pairs) / max(1, len(pairs))


def streams_loss(base, adapter, ids, targets, trained, arguments, alone):
    """trained: the values of p whose mean loss is taken, P last.

    alone: the stream that is also made to answer by itself in this step.
    """
    earlier = arguments.earlier
    hidden = base.streams(ids, adapter, adapter.streams)
    mixed = []
    for p in trained:
        before = with_part_of_gradient(hidden[:p - 1], earlier)
        mix, weights = adapter.aggregate(
            torch.cat([before, hidden[p - 1:p]]))
        mixed.append(mix)
    if arguments.alone > 0:
        mixed.append(hidden[alone])
    nll = S.losses(base, torch.stack(mixed), targets).mean((1, 2))
    alike = alikeness(hidden, earlier)
    entropy = -(weights * weights.log()).sum(-1).mean()
    loss = (nll[:len(trained)].mean() + arguments.decorrelation * alike +
            arguments.alone * nll[len(trained):].sum())
    seen = {"alike": float(alike.detach()), "entropy": entropy.item()}
    seen |= {f"p{p}": value for p, value in zip(trained, nll.tolist())}
    if arguments.alone > 0:
        seen[f"solo{alone}"] = nll[-1].item()
    return loss, seen


def prefix_loss(base, adapter, ids, targets):
    hidden = base.hidden(ids, adapter.prefix_k, adapter.prefix_v)
    loss = S.losses(base, hidden[0], targets).mean()
    return loss, {"nll": loss.item()}


@torch.no_grad()
def watch(base, adapter, kind, archive, wait):
    """NLL on the dev parts: p = 1.., each stream alone, entropy."""
    result = {}
    for part in ("dev_python", "dev_english"):
        text = Text(archive, part)
        random = np.random.default_rng(1)
        sums = {}
        for _ in range(DEV_WINDOWS // 2):
            wait()
            rows = torch.from_numpy(np.stack(
                [text.window(random, 513) for _ in range(2)]))
            ids, targets = rows[:, :-1], rows[:, 1:]
            if kind == "prefix":
                hidden = base.hidden(ids, adapter.prefix_k, adapter.prefix_v)
                found = {"prefix": S.losses(base, hidden[0], targets).mean()}
            else:
                mixed = {}
                hidden = base.streams(ids, adapter, adapter.streams)
                for p in range(1, adapter.streams + 1):
                    mixed[f"p{p}"], weights = adapter.aggregate(hidden[:p])
                for s in range(1, adapter.streams):
                    mixed[f"solo{s}"] = hidden[s]
                mixed["uniform"] = hidden.mean(0)
                found = {name: S.losses(base, h, targets).mean()
                         for name, h in mixed.items()}
                found["entropy"] = -(weights * weights.log()).sum(-1).mean()
                for s in range(adapter.streams):
                    found[f"weight{s}"] = weights[..., s].mean()
            for name, value in found.items():
                sums[name] = (sums.get(name, 0) +
                              value.item() / (DEV_WINDOWS // 2))
        result[part] = {name: round(value, 5) for name, value in sums.items()}
    return result


def initialise(adapter, base, tokenizer):
    for stream in range(adapter.streams - 1):
        ids = tokenizer(INITIAL_TEXTS[stream % len(INITIAL_TEXTS)],
                        add_special_tokens=False)["input_ids"]
        assert len(ids) >= adapter.prefix_tokens, "a longer text is needed"
        k, v = base.text_prefix(torch.tensor(ids[:adapter.prefix_tokens]))
        adapter.prefix_k.data[:, stream] = k[:, 0]
        adapter.prefix_v.data[:, stream] = v[:, 0]


def learning_rate(step, steps, warm_up=20, decline=0.25):
    """Factor: linear warm-up, constant, linear down to a fiftieth."""
    left = (steps - step) / (decline * steps)
    return min((step + 1) / warm_up, 1, max(0.02, left))


def save(path, state):
    torch.save(state, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=base_model.DEFAULT)
    parser.add_argument("--text", required=True)
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--kind", default="nested",
                        choices=["nested", "specialist", "prefix"])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--until", type=int, default=10**9,
                        help="stop at this step, to go on later")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--prefix-tokens", type=int, default=16)
    parser.add_argument("--prefix-lr", type=float, default=5e-3)
    parser.add_argument("--aggregator-lr", type=float, default=5e-4)
    parser.add_argument("--decorrelation", type=float, default=0.02)
    parser.add_argument("--earlier", type=float, default=1.0)
    parser.add_argument("--alone", type=float, default=0.0)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"],
                        default=S.fastest_dtype(),
                        help="of the frozen products")
    parser.add_argument("--eager", action="store_true",
                        help="do without torch.compile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause-file", type=pathlib.Path)
    return parser.parse_args()


def main():
    arguments = parse()
    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))

    def wait():
        while arguments.pause_file and arguments.pause_file.exists():
            if stopping:
                return
            time.sleep(2)

    wait()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.run.mkdir(parents=True, exist_ok=True)
    config, weights = base_model.load(arguments.model)
    base = S.Base(config, weights, getattr(torch, arguments.dtype),
                  compiled=not arguments.eager)
    archive = np.load(arguments.text)
    texts = {part: Text(archive, part)
             for part in ("train_python", "train_english")}
    count = 2 if arguments.kind == "prefix" else arguments.streams
    adapter = S.Adapter(config, count, arguments.prefix_tokens)
    groups = [{"params": adapter.prefix_parameters(), "weight_decay": 0.0,
               "peak": arguments.prefix_lr}]
    if arguments.kind != "prefix":
        groups.append({"params": adapter.aggregator_parameters(),
                       "weight_decay": 0.01, "peak": arguments.aggregator_lr})
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99))
    step, active = 0, 0.0
    path = arguments.run / "checkpoint.pt"
    if path.exists():
        state = torch.load(path)
        adapter.load_state_dict(state["adapter"])
        optimiser.load_state_dict(state["optimiser"])
        for group, now in zip(optimiser.param_groups, groups):
            group["peak"] = now["peak"]
        step, active = state["step"], state["active_seconds"]
    else:
        initialise(adapter, base, base_model.tokenizer(arguments.model))

    def state():
        return {"adapter": adapter.state_dict(), "step": step,
                "active_seconds": active, "steps": arguments.steps,
                "kind": arguments.kind, "tokens": step * TOKENS_PER_STEP,
                "arguments": {k: str(v) for k, v in vars(arguments).items()},
                "files_sha256": str(archive["files_sha256"]),
                "optimiser": optimiser.state_dict()}

    trained = range(2, count + 1)
    if arguments.kind == "specialist":
        trained, arguments.earlier = [count], 1.0
    curve = open(arguments.run / "curve.jsonl", "a", buffering=1)
    saved = time.monotonic()
    while True:
        if step and (step % DEV_EVERY == 0 or step == arguments.steps):
            found = watch(base, adapter, arguments.kind, archive, wait)
            curve.write(json.dumps({"step": step, "dev": found,
                                    "tokens": step * TOKENS_PER_STEP}) + "\n")
        if step and step * TOKENS_PER_STEP % KEEP_EVERY == 0:
            save(arguments.run / f"at_{step * TOKENS_PER_STEP:07}.pt",
                 state())
        done = step >= min(arguments.steps, arguments.until) or stopping
        if done or time.monotonic() - saved > CHECKPOINT_SECONDS:
            save(path, state())
            saved = time.monotonic()
        if done:
            break
        wait()
        began = time.monotonic()
        factor = learning_rate(step, arguments.steps)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        ids, targets = batch(texts, arguments.seed, step)
        if arguments.kind == "prefix":
            loss, seen = prefix_loss(base, adapter, ids, targets)
        else:
            loss, seen = streams_loss(base, adapter, ids, targets, trained,
                                      arguments, 1 + step % (count - 1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norms = [torch.nn.utils.clip_grad_norm_(group["params"], 1.0).item()
                 for group in optimiser.param_groups]
        optimiser.step()
        seconds = time.monotonic() - began
        active += seconds
        step += 1
        curve.write(json.dumps(
            {"step": step, "context": ids.shape[1], "seconds":
             round(seconds, 2), "norms": [round(n, 4) for n in norms],
             "active": round(active)} |
            {k: round(v, 5) for k, v in seen.items()}) + "\n")


if __name__ == "__main__":
    main()
