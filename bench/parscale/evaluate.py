#!/usr/bin/env python3
"""Held-out NLL of an adapter for every p, by position, and of its controls.

    bench/parscale/evaluate.py --text tokens.npz --checkpoint RUN/checkpoint.pt
        --control CONTROL/checkpoint.pt --work FOLDER
        [--curve RUN/curve.jsonl]

Text is that of whole packages which nobody trained on, and of two other
domains; windows of 1,024 tokens, scored once, never tuned on. The rows:
  p = 1..4     streams 0..p-1 under the trained aggregator; p = 1 is the base
  solo s       stream s alone
  uniform 4    the trained streams, plain mean in place of the aggregator
  prefix       control: one stream with one trained prefix (--control)
  text 4       control: the prefixes that training started from, plain mean
Sums go to files in --work window by window, so that a stopped run goes on;
without --checkpoint only the controls are scored. Writes
bench/results/parscale_nll.{json,md} and the training curve beside them.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch

import adapter_file
import base_model
import streams as S
import train

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results"
PARTS = {"test_python": "held-out Python", "test_english":
         "English manual", "test_news": "English news"}
WINDOW = 1024
EDGES = [0, 64, 128, 256, 512, 1024]


def windows(archive, part, count):
    """Windows inside one document each, document starts among them."""
    text = train.Text(archive, part)
    every = [(start + at) for start, end in zip(text.starts, text.ends)
             for at in range(0, end - start - WINDOW, WINDOW)]
    chosen = np.random.default_rng(11).permutation(len(every))[:count]
    return [torch.from_numpy(text.tokens[every[i]:every[i] + WINDOW + 1])
            for i in sorted(chosen)]


@torch.no_grad()
def score_controls(base, start, control, row):
    """name -> NLL of every position [WINDOW]: what no adapter is needed for."""
    ids, targets = row[None, :-1], row[None, 1:]
    one = base.hidden(ids)
    text = torch.cat([one, base.hidden(ids, start.prefix_k, start.prefix_v)])
    prefixed = base.hidden(ids, control.prefix_k, control.prefix_v)
    hidden = {"p=1": one[0], f"text {len(text)}": text.mean(0),
              "prefix": prefixed[0]}
    return {name: S.losses(base, h, targets)[0] for name, h in hidden.items()}


@torch.no_grad()
def score_adapter(base, adapter, row):
    """name -> NLL of every position [WINDOW], and the weights' entropy."""
    ids, targets = row[None, :-1], row[None, 1:]
    streams = base.streams(ids, adapter, adapter.streams)
    hidden = {f"solo {s}": streams[s] for s in range(1, len(streams))}
    hidden[f"uniform {len(streams)}"] = streams.mean(0)
    for p in range(2, len(streams) + 1):
        hidden[f"p={p}"], weights = adapter.aggregate(streams[:p])
    return {name: S.losses(base, h, targets)[0]
            for name, h in hidden.items()} | {
                "entropy": -(weights * weights.log()).sum(-1)[0]}


def sums(found):
    """name -> sum over each bucket of positions."""
    return {name: [round(v[a:b].double().sum().item(), 4)
                   for a, b in zip(EDGES, EDGES[1:])]
            for name, v in found.items()}


def run(arguments, archive, score, path):
    """(part, window) -> sums; those that the file at `path` has are done."""
    done = {}
    if path.exists():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            done[record["part"], record["window"]] = record["sums"]
    todo = [(part, i, row) for part in PARTS if part in archive.files
            for i, row in enumerate(windows(archive, part, arguments.windows))
            if (part, i) not in done]
    todo.sort(key=lambda item: item[1])  # all parts grow alike
    with open(path, "a", buffering=1) as file:
        for part, i, row in todo:
            while arguments.pause_file and arguments.pause_file.exists():
                time.sleep(2)
            done[part, i] = sums(score(row))
            file.write(json.dumps({"part": part, "window": i,
                                   "sums": done[part, i]}) + "\n")
    return done


def table(done, part):
    """name -> mean, by bucket, and paired differences from two other rows."""
    records = [s for (p, _), s in sorted(done.items()) if p == part]
    values = {name: np.array([r[name] for r in records])
              for name in records[0]}

    def against(name, other):
        difference = (values[name] - values[other]).sum(1) / WINDOW
        return [difference.mean(),
                difference.std(ddof=1) / len(records) ** 0.5]

    return len(records), {
        name: {"mean": rows.sum() / len(rows) / WINDOW,
               "against p=1": against(name, "p=1"),
               "against prefix": against(name, "prefix"),
               "buckets": list(rows.mean(0) / np.diff(EDGES))}
        for name, rows in values.items()}


def gain(tables):
    """Nats won by p streams: mean over the parts, in all and by position."""
    count = sum(name.startswith("p=") for name in next(iter(tables.values())))

    def won(pick):
        return [round(float(np.mean([pick(t["p=1"]) - pick(t[f"p={p}"])
                                     for t in tables.values()])), 5) + 0.0
                for p in range(1, count + 1)]

    def joined(values):
        return ",".join(f"{v:g}" for v in values)

    return {"gain": joined(won(lambda row: row["mean"])),
            "gain_positions": joined(EDGES[:-1]),
            "gain_table": ";".join(joined(won(
                lambda row, i=i: row["buckets"][i]))
                for i in range(len(EDGES) - 1))}


def difference(row, other):
    mean, error = row["against " + other]
    if error == 0:
        return "-"
    return f"{mean:+.4f} ± {error:.4f}" + (" (worse)" if mean > 0 else "")


def markdown(tables, counts, facts):
    lines = ["# Held-out NLL of the PARSCALE adapter", ""] + facts
    buckets = [f"{a}-{b - 1}" for a, b in zip(EDGES, EDGES[1:])]
    for part, rows in tables.items():
        lines += ["", f"## {PARTS[part]}", "",
                  f"{counts[part]} windows of {WINDOW} tokens; nats per token, "
                  "by position; paired differences ± standard error.", "",
                  "| | all | against p=1 | against prefix | "
                  + " | ".join(buckets) + " |",
                  "|---|---|---|---|" + "---|" * len(buckets)]
        for name, row in rows.items():
            if name == "entropy":
                continue
            lines.append(f"| {name} | {row['mean']:.4f} | "
                         f"{difference(row, 'p=1')} | "
                         f"{difference(row, 'prefix')} | "
                         + " | ".join(f"{b:.4f}" for b in row["buckets"])
                         + " |")
        lines += ["", f"Entropy of the weights at p=4: "
                  f"{rows['entropy']['mean']:.3f} of {np.log(4):.3f} nats."]
    return "\n".join(lines) + "\n"


def plot(curve, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    records = [json.loads(line) for line in open(curve)]
    dev = [r for r in records if "dev" in r]
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5))
    for axis, part in zip(axes, ("dev_python", "dev_english")):
        for name in ("p1", "p2", "p3", "p4", "solo1", "solo2", "solo3"):
            axis.plot([r["tokens"] / 1e3 for r in dev],
                      [r["dev"][part][name] for r in dev], label=name,
                      linestyle="--" if name.startswith("solo") else "-")
        axis.set(title=part, xlabel="thousand tokens", ylabel="NLL, nats")
        axis.legend()
    for name in ("alike", "entropy"):
        steps = [r for r in records if name in r]
        axes[2].plot([r["step"] * train.TOKENS_PER_STEP / 1e3 for r in steps],
                     [r[name] for r in steps], label=name, linewidth=0.7)
    axes[2].set(title="training: entropy of the weights, alikeness of streams",
                xlabel="thousand tokens")
    axes[2].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=base_model.DEFAULT)
    parser.add_argument("--text", required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--control", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--dtype", default="bfloat16",
                        choices=["bfloat16", "float32"])
    parser.add_argument("--curve")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause-file", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path,
                        default=RESULTS / "parscale_nll")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config, weights = base_model.load(arguments.model)
    base = S.Base(config, weights, getattr(torch, arguments.dtype))
    archive = np.load(arguments.text)

    arguments.work.mkdir(parents=True, exist_ok=True)
    control = adapter_file.from_checkpoint(arguments.control, config)
    start = S.Adapter(config, arguments.streams, control.prefix_tokens)
    train.initialise(start, base, base_model.tokenizer(arguments.model))
    controls = run(arguments, archive,
                   lambda row: score_controls(base, start, control, row),
                   arguments.work / "controls.jsonl")
    if not arguments.checkpoint:
        return
    adapter = adapter_file.from_checkpoint(arguments.checkpoint, config)
    adapted = run(arguments, archive,
                  lambda row: score_adapter(base, adapter, row),
                  arguments.work / "adapter.jsonl")
    done = {at: {"p=1": controls[at]["p=1"]} | dict(sorted(
        adapted[at].items())) | controls[at] for at in adapted}
    tables, counts = {}, {}
    for part in PARTS:
        if any(p == part for p, _ in done):
            counts[part], tables[part] = table(done, part)

    def tokens(path):
        return torch.load(path)["tokens"]

    facts = [f"Adapter after {tokens(arguments.checkpoint):,} tokens; products"
             f" in {arguments.dtype}; sha256 of the list of files "
             f"{archive['files_sha256']}.", "",
             f"`solo`: one stream alone. `uniform`: the trained streams under a"
             f" plain mean. `prefix`: one stream with one trained prefix after "
             f"{tokens(arguments.control):,} tokens of the same text. `text`: "
             "the prefixes that training started from, under a plain mean."]
    arguments.out.with_suffix(".json").write_text(json.dumps(
        {"base_sha256": base_model.sha256(arguments.model),
         "files_sha256": str(archive["files_sha256"]),
         "tokens": tokens(arguments.checkpoint),
         "control_tokens": tokens(arguments.control),
         "dtype": arguments.dtype, "edges": EDGES, "windows": counts,
         "gain": gain(tables), "nll": tables}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(
        markdown(tables, counts, facts))
    if arguments.curve:
        plot(arguments.curve, RESULTS / "parscale_training.png")


if __name__ == "__main__":
    main()
