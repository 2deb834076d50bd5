#!/usr/bin/env python3
"""Held-out NLL of an adapter for every p, by position, and of its controls.

    bench/parscale/evaluate.py --text tokens.npz --checkpoint RUN/checkpoint.pt
        --control CONTROL/checkpoint.pt --work FOLDER
        [--shorter nested=A.pt --shorter specialist-2=B.pt ...]
        [--curve nested=RUN/curve.jsonl ...] [--engine braid]

Text is that of whole packages which nobody trained on, and of two other
domains; windows of 1,024 tokens, scored once, never tuned on. The rows:
  p = 1..4     streams 0..p-1 under the trained aggregator; p = 1 is the base
  solo s       stream s alone
  uniform 4    the trained streams, plain mean in place of the aggregator
  prefix       control: one stream with one trained prefix (--control)
  text 4       control: the prefixes that training started from, plain mean
and of --shorter, runs of fewer tokens that are compared with each other:
  NAME         kind prefix
  NAME p = 2.. kind nested or specialist; a specialist was trained for its
               largest p alone, and below that is masked naively
--engine: the same windows with `braid parscale eval`, in the arithmetic that
serves. Sums go to files in --work window by window, so that a stopped run goes
on. Writes bench/results/parscale_nll.{json,md} and the curves beside them.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
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
ENGINE_MORE = 200  # the engine may make fewer tokens of the same text
EDGES = [0, 64, 128, 256, 512, 1024]


def windows(archive, part, count, more=1):
    """Windows inside one document each, document starts among them.

    WINDOW + more tokens; the last of many may be another document's.
    """
    text = train.Text(archive, part)
    every = [(start + at) for start, end in zip(text.starts, text.ends)
             for at in range(0, end - start - WINDOW, WINDOW)]
    chosen = np.random.default_rng(11).permutation(len(every))[:count]
    return [torch.from_numpy(text.tokens[every[i]:every[i] + WINDOW + more])
            for i in sorted(chosen)]


@torch.no_grad()
def score_start(base, start, row):
    """name -> NLL of every position [WINDOW]: what needs no training."""
    ids, targets = row[None, :-1], row[None, 1:]
    streams = base.streams(ids, start, start.streams)
    hidden = torch.stack([streams[0], streams.mean(0)])
    nll = S.losses(base, hidden, targets)[:, 0]
    return {"p=1": nll[0], f"text {len(streams)}": nll[1]}


@torch.no_grad()
def score_prefix(base, adapter, row):
    ids, targets = row[None, :-1], row[None, 1:]
    hidden = base.hidden(ids, adapter.prefix_k, adapter.prefix_v)
    return {"prefix": S.losses(base, hidden[0], targets)[0]}


@torch.no_grad()
def score_adapter(base, adapter, row):
    """name -> NLL of every position [WINDOW], and the weights' entropy."""
    ids, targets = row[None, :-1], row[None, 1:]
    streams = base.streams(ids, adapter, adapter.streams)
    hidden = {f"solo {s}": streams[s] for s in range(1, len(streams))}
    hidden[f"uniform {len(streams)}"] = streams.mean(0)
    for p in range(2, len(streams) + 1):
        hidden[f"p={p}"], weights = adapter.aggregate(streams[:p])
    nll = S.losses(base, torch.stack(list(hidden.values())), targets)[:, 0]
    return dict(zip(hidden, nll)) | {
        "entropy": -(weights * weights.log()).sum(-1)[0]}


def score_engine(braid, model, adapter, tokenizer, row):
    """What `braid parscale eval` says of a text: sums over the buckets."""
    text = tokenizer.decode(row.tolist(), clean_up_tokenization_spaces=False)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        out = subprocess.run(
            [braid, "parscale", "eval", "--model", model, "--parscale",
             adapter, "--text", file.name, "--windows", "1", "--context",
             str(WINDOW)], check=True, stdout=subprocess.PIPE, text=True).stdout
    report = json.loads(out[out.index("\n{"):])
    assert report["edges"] == EDGES
    return {f"p={r['streams']}": [mean * (b - a) for mean, a, b in
                                  zip(r["by_position"], EDGES, EDGES[1:])]
            for r in report["nll"]}


def sums(found):
    """name -> sum over each bucket of positions."""
    return {name: [round(v[a:b].double().sum().item(), 4)
                   for a, b in zip(EDGES, EDGES[1:])]
            for name, v in found.items()}


def run(arguments, archive, score, path, more=1):
    """(part, window) -> sums; those that the file at `path` has are done."""
    done = {}
    if path.exists():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            done[record["part"], record["window"]] = record["sums"]
    todo = [(part, i, row) for part in PARTS if part in archive.files
            for i, row in enumerate(windows(archive, part, arguments.windows,
                                            more))
            if (part, i) not in done]
    todo.sort(key=lambda item: item[1])  # all parts grow alike
    with open(path, "a", buffering=1) as file:
        for part, i, row in todo:
            while arguments.pause_file and arguments.pause_file.exists():
                time.sleep(2)
            done[part, i] = score(row)
            file.write(json.dumps({"part": part, "window": i,
                                   "sums": done[part, i]}) + "\n")
    return done


def table(done, part, others):
    """name -> mean, by bucket, and paired differences from `others`."""
    records = [s for (p, _), s in sorted(done.items()) if p == part]
    values = {name: np.array([r[name] for r in records])
              for name in records[0]}

    def against(name, other):
        difference = (values[name] - values[other]).sum(1) / WINDOW
        return [difference.mean(),
                difference.std(ddof=1) / len(records) ** 0.5]

    return len(records), {
        name: {"mean": rows.sum() / len(rows) / WINDOW,
               "buckets": list(rows.mean(0) / np.diff(EDGES))} |
        {"against " + other: against(name, other) for other in others}
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


def markdown_table(rows, others):
    buckets = [f"{a}-{b - 1}" for a, b in zip(EDGES, EDGES[1:])]
    columns = ["", "all"] + ["against " + other for other in others] + buckets
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for name, row in rows.items():
        if "entropy" not in name:
            cells = ([name, f"{row['mean']:.4f}"] +
                     [difference(row, other) for other in others] +
                     [f"{b:.4f}" for b in row["buckets"]])
            lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def markdown(sections):
    """sections: (heading, facts, part -> rows, what they are against)."""
    lines = ["# Held-out NLL of the PARSCALE adapter", "",
             "Nats per token, by position; paired differences ± standard "
             "error over the windows.", ""]
    for heading, facts, tables, others in sections:
        lines += ["## " + heading, "", facts, ""]
        for part, rows in tables.items():
            lines += ["### " + PARTS[part], ""]
            lines += markdown_table(rows, others)
            if "entropy" in rows:
                lines += [f"Entropy of the weights of four streams: "
                          f"{rows['entropy']['mean']:.3f} of {np.log(4):.3f} "
                          "nats.", ""]
    return "\n".join(lines).rstrip() + "\n"


def plot(curves, path):
    """curves: {"nested": file, other names: files}, as train.py writes them."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    records = {name: [json.loads(line) for line in open(file)]
               for name, file in curves.items()}
    figure, axes = plt.subplots(1, 3, figsize=(17, 5))
    shown = {"nested": [f"p{p}" for p in range(1, 5)] +
             [f"solo{s}" for s in range(1, 4)], "prefix": ["prefix"]}
    for axis, part in zip(axes, ("dev_python", "dev_english")):
        for name, lines in records.items():
            dev = [r for r in lines if "dev" in r and r["tokens"]]
            kinds = shown.get(name, [f"p{name[-1]}"])
            for kind in kinds:
                axis.plot([r["tokens"] / 1e3 for r in dev],
                          [r["dev"][part][kind] for r in dev], marker=".",
                          label=kind if kind == name else f"{name} {kind}",
                          linestyle="-" if kind[0] == "p" else ":")
        axis.set(title=part, xlabel="thousand tokens", ylabel="NLL, nats")
        axis.legend(fontsize=8)
    for name in ("alike", "entropy"):
        steps = [r for r in records["nested"] if name in r]
        axes[2].plot([r["step"] * train.TOKENS_PER_STEP / 1e3 for r in steps],
                     [r[name] for r in steps], label=name, linewidth=0.7)
    axes[2].set(title="training: entropy of the weights, alikeness of streams",
                xlabel="thousand tokens")
    axes[2].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def pairs(texts):
    """["a=b", ..] -> {"a": "b", ..}"""
    return dict(text.split("=", 1) for text in texts)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=base_model.DEFAULT)
    parser.add_argument("--text", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--shorter", action="append", default=[])
    parser.add_argument("--engine", help="the daemon's binary")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--dtype", default="bfloat16",
                        choices=["bfloat16", "float32"])
    parser.add_argument("--curve", action="append", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause-file", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path,
                        default=RESULTS / "parscale_nll")
    return parser.parse_args()


class Evaluation:
    def __init__(self, arguments):
        self.arguments = arguments
        self.config, weights = base_model.load(arguments.model)
        self.base = S.Base(self.config, weights,
                           getattr(torch, arguments.dtype), compiled=True)
        self.archive = np.load(arguments.text)
        self.tokenizer = base_model.tokenizer(arguments.model)
        arguments.work.mkdir(parents=True, exist_ok=True)

    def run(self, name, score, more=1):
        return run(self.arguments, self.archive, score,
                   self.arguments.work / f"{name}.jsonl", more)

    def start(self, streams, prefix_tokens):
        start = S.Adapter(self.config, streams, prefix_tokens)
        train.initialise(start, self.base, self.tokenizer)
        return self.run("start", lambda row: sums(
            score_start(self.base, start, row)))

    def checkpoint(self, name, path):
        """(part, window) -> sums; and the tokens that the run has seen."""
        state = torch.load(path)
        adapter = adapter_file.from_checkpoint(path, self.config)
        score = score_prefix if state["kind"] == "prefix" else score_adapter
        return self.run(name, lambda row: sums(
            score(self.base, adapter, row))), state["tokens"]

    def engine(self, checkpoint):
        state = torch.load(checkpoint)
        path = self.arguments.work / "engine.safetensors"
        adapter_file.write(path, self.config, adapter_file.from_checkpoint(
            checkpoint, self.config), self.arguments.model,
            {"trained_tokens": str(state["tokens"])})
        return self.run("engine", lambda row: score_engine(
            self.arguments.engine, self.arguments.model, path,
            self.tokenizer, row), more=ENGINE_MORE)


def tables_of(done, others):
    """(windows of each part, part -> table)."""
    counts, tables = {}, {}
    for part in PARTS:
        if any(p == part for p, _ in done):
            counts[part], tables[part] = table(done, part, others)
    return counts, tables


def main():
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    evaluation = Evaluation(arguments)
    state = torch.load(arguments.checkpoint)["adapter"]
    start = evaluation.start(len(state["w2"]), state["prefix_k"].shape[3])
    control, control_tokens = evaluation.checkpoint("control",
                                                    arguments.control)
    adapted, tokens = evaluation.checkpoint("adapter", arguments.checkpoint)
    others = ["p=1", "prefix"]
    done = {at: {"p=1": start[at]["p=1"]} | dict(sorted(
        adapted[at].items())) | start[at] | control[at] for at in adapted}
    counts, tables = tables_of(done, others)
    windows = f"{min(counts.values())} windows of {WINDOW} tokens each"
    digest = str(evaluation.archive["files_sha256"])
    sections = [("The adapter", f"{windows}. Adapter after {tokens:,} tokens; "
                 f"products in {arguments.dtype}; sha256 of the list of files "
                 f"{digest}. `solo`: one stream alone. `uniform`: the trained "
                 "streams under a plain mean. `prefix`: one stream with one "
                 f"trained prefix after {control_tokens:,} tokens of the same "
                 "text. `text`: the prefixes that training started from, "
                 "under a plain mean.", tables, others)]
    result = {"base_sha256": base_model.sha256(arguments.model),
              "files_sha256": digest, "tokens": tokens,
              "control_tokens": control_tokens, "dtype": arguments.dtype,
              "edges": EDGES, "windows": counts, "gain": gain(tables),
              "nll": tables}

    if arguments.engine:
        served = evaluation.engine(arguments.checkpoint)
        counts, tables = tables_of(served, ["p=1"])
        result["engine"] = {"windows": counts, "nll": tables}
        sections.append(("The adapter as served", "Text from the same "
                         "places with `braid parscale eval`: the daemon's "
                         "tokenizer and its arithmetic, in 8 bits; "
                         f"{min(counts.values())} windows each.", tables,
                         ["p=1"]))

    shorter = {at: {"p=1": start[at]["p=1"]} for at in adapted}
    seen = {}
    for name, path in pairs(arguments.shorter).items():
        scored, seen[name] = evaluation.checkpoint("shorter-" + name, path)
        for at, found in scored.items():
            shorter[at] |= {
                name if kind == "prefix" else f"{name} {kind}": value
                for kind, value in found.items() if kind[0] == "p"}
    if seen:
        others = ["p=1"] + [n for n in shorter[next(iter(shorter))]
                            if n.endswith("prefix")]
        _, tables = tables_of(shorter, others)
        sections.append(("Controls at equal tokens", "; ".join(
            f"{name}: {count:,} tokens" for name, count in seen.items()) +
            ". A specialist was trained for its largest p alone; at a smaller "
            "p its streams are masked naively.", tables, others))
        result["shorter"] = {"tokens": seen, "nll": tables}

    arguments.out.with_suffix(".json").write_text(
        json.dumps(result, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(markdown(sections))
    if arguments.curve:
        plot(pairs(arguments.curve), RESULTS / "parscale_training.png")


if __name__ == "__main__":
    main()
