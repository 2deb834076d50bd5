#!/usr/bin/env python3
"""Held-out NLL of an adapter for every p, by position, and of its controls.

    bench/parscale/evaluate.py --text tokens.npz --checkpoint RUN/checkpoint.pt
        --control CONTROL/checkpoint.pt [--equal RUN/at_NNNNNNN.pt]
        --work sums.jsonl [--curve RUN/curve.jsonl]

Text is that of whole packages which nobody trained on, and of two other
domains; windows of 1,024 tokens, scored once, never tuned on. The rows:
  p = 1..4     streams 0..p-1 under the trained aggregator; p = 1 is the base
  solo s       stream s alone
  uniform p    the trained streams, plain mean in place of the aggregator
  prefix       control: one stream with one trained prefix (--control)
  p (equal)    the adapter when it had seen as many tokens as the control
  text p       control: the prefixes that training started from, plain mean
Sums go to --work window by window, so that a stopped run goes on. Writes
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


def mean_of_streams(hidden):
    return hidden.mean(dim=0)


@torch.no_grad()
def score(base, adapter, start, control, equal, row):
    """name -> NLL of every position [WINDOW]."""
    ids, targets = row[None, :-1], row[None, 1:]

    def nll(hidden):
        return S.losses(base, hidden, targets)[0]

    hidden = base.streams(ids, adapter, adapter.streams)
    found, count = {}, adapter.streams
    for p in range(1, count + 1):
        mixed, weights = adapter.aggregate(hidden[:p])
        found[f"p={p}"] = nll(mixed)
    entropy = -(weights * weights.log()).sum(-1)[0]
    for s in range(1, count):
        found[f"solo {s}"] = nll(hidden[s])
    for p in range(2, count + 1):
        found[f"uniform {p}"] = nll(mean_of_streams(hidden[:p]))
    text = torch.cat([hidden[:1], base.hidden(ids, start.prefix_k,
                                              start.prefix_v)])
    for p in range(2, count + 1):
        found[f"text {p}"] = nll(mean_of_streams(text[:p]))
    if control:
        found["prefix"] = nll(base.hidden(ids, control.prefix_k,
                                          control.prefix_v)[0])
    if equal:
        same = torch.cat([hidden[:1], base.hidden(ids, equal.prefix_k,
                                                  equal.prefix_v)])
        for p in range(2, count + 1):
            found[f"p={p} (equal)"] = nll(equal.aggregate(same[:p])[0])
    return found | {"entropy": entropy}


def sums(found):
    """name -> sum over each bucket of positions."""
    return {name: [round(v[a:b].double().sum().item(), 4)
                   for a, b in zip(EDGES, EDGES[1:])]
            for name, v in found.items()}


def run(arguments, base, models, archive):
    """All windows, those in --work already excepted."""
    done = {}
    if arguments.work.exists():
        for line in arguments.work.read_text().splitlines():
            record = json.loads(line)
            done[record["part"], record["window"]] = record["sums"]
    todo = [(part, i, row) for part in PARTS if part in archive.files
            for i, row in enumerate(windows(archive, part, arguments.windows))]
    todo.sort(key=lambda item: item[1])  # all parts grow alike
    with open(arguments.work, "a", buffering=1) as file:
        for part, i, row in todo:
            if (part, i) in done:
                continue
            while arguments.pause_file and arguments.pause_file.exists():
                time.sleep(2)
            found = sums(score(base, *models, row))
            done[part, i] = found
            file.write(json.dumps({"part": part, "window": i,
                                   "sums": found}) + "\n")
    return done


def table(done, part):
    """name -> {mean, by bucket, and of the paired difference from p=1}."""
    records = [s for (p, _), s in sorted(done.items()) if p == part]
    lengths = np.diff(EDGES)
    one = np.array([r["p=1"] for r in records])
    result = {}
    for name in records[0]:
        values = np.array([r[name] for r in records])
        difference = (values - one).sum(1) / WINDOW
        result[name] = {
            "mean": values.sum() / values.shape[0] / WINDOW,
            "difference": difference.mean(),
            "standard_error": difference.std(ddof=1) / len(records) ** 0.5,
            "buckets": list(values.mean(0) / lengths)}
    return len(records), result


def gain(tables):
    """Nats won by p streams: mean over the parts, in all and by position."""
    count = sum(name.startswith("p=") and "(" not in name
                for name in next(iter(tables.values())))

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


def markdown(tables, counts, facts):
    lines = ["# Held-out NLL of the PARSCALE adapter", ""] + facts
    buckets = [f"{a}-{b - 1}" for a, b in zip(EDGES, EDGES[1:])]
    for part, rows in tables.items():
        lines += ["", f"## {PARTS[part]}", "",
                  f"{counts[part]} windows of {WINDOW} tokens; nats per token.",
                  "", "| | all | against p=1 | " + " | ".join(buckets) + " |",
                  "|---|---|---|" + "---|" * len(buckets)]
        for name, row in rows.items():
            if name == "entropy":
                continue
            mark = f"{row['difference']:+.4f} ± {row['standard_error']:.4f}"
            if name == "p=1":
                mark = "base"
            elif row["difference"] > 0:
                mark += " (worse)"
            lines.append(f"| {name} | {row['mean']:.4f} | {mark} | "
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
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--control")
    parser.add_argument("--equal")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--windows", type=int, default=48)
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

    def load(path):
        return adapter_file.from_checkpoint(path, config) if path else None

    adapter = load(arguments.checkpoint)
    start = S.Adapter(config, adapter.streams, adapter.prefix_tokens)
    train.initialise(start, base, base_model.tokenizer(arguments.model))
    done = run(arguments, base, (adapter, start, load(arguments.control),
                                 load(arguments.equal)), archive)
    tables, counts = {}, {}
    for part in PARTS:
        if any(p == part for p, _ in done):
            counts[part], tables[part] = table(done, part)

    def tokens(path):
        return torch.load(path)["tokens"] if path else None

    facts = [f"Adapter after {tokens(arguments.checkpoint):,} tokens; products"
             f" in {arguments.dtype}; files sha256 {archive['files_sha256']}."]
    if arguments.control:
        facts.append(f"`prefix`: one stream with one trained prefix after "
                     f"{tokens(arguments.control):,} tokens.")
    if arguments.equal:
        facts.append(f"`(equal)`: the adapter after "
                     f"{tokens(arguments.equal):,} tokens.")
    facts.append("`uniform`: the trained streams under a plain mean; `text`: "
                 "untrained prefixes, those of the first texts, likewise.")
    arguments.out.with_suffix(".json").write_text(json.dumps(
        {"base_sha256": base_model.sha256(arguments.model),
         "files_sha256": str(archive["files_sha256"]),
         "tokens": tokens(arguments.checkpoint),
         "control_tokens": tokens(arguments.control),
         "equal_tokens": tokens(arguments.equal),
         "dtype": arguments.dtype, "edges": EDGES, "windows": counts,
         "gain": gain(tables), "nll": tables}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(
        markdown(tables, counts, facts))
    if arguments.curve:
        plot(arguments.curve, RESULTS / "parscale_training.png")


if __name__ == "__main__":
    main()
