#!/usr/bin/env python3
"""Publishes how well the step times of GPUs are predicted.

    bench/gpu_validation.py --braid build/release/braid [--plot]

Runs `braid simulate --validate` on the committed measurements and writes
bench/results/gpu_validation.md, and with --plot (needs matplotlib)
gpu_validation.png beside it: every row, outliers included.
"""
import argparse
import csv
import gzip
import itertools
import pathlib
import platform
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "simulator/profiles/silicon_e2e.csv.gz"
RESULTS = ROOT / "bench/results"


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def errors(rows, name):
    return [100 * abs(float(r[f"predicted_{name}_ms"]) / float(r[f"{name}_ms"]) - 1)
            for r in rows]


def distribution(rows):
    lines = ["| part | figure | rows | 10 % | 25 % | 50 % | 75 % | 90 % | 95 % | 99 % | max |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for part in ("held_out", "fitting"):
        for unsaturated, label in (("1", "unsaturated"), ("0", "saturated")):
            of_part = [r for r in rows if r["part"] == part
                       and r["unsaturated"] == unsaturated]
            if not of_part:
                continue
            for name in ("tpot", "ttft"):
                e = errors(of_part, name)
                cells = [f"{quantile(e, q):.1f}" for q in
                         (.1, .25, .5, .75, .9, .95, .99)]
                lines.append(f"| {part}, {label} | {name.upper()} | {len(e)} | "
                             + " | ".join(cells) + f" | {max(e):.0f} |")
    return "\n".join(lines)


# Columns that tell two measurements of one test apart.
OF_A_DAY = ("id", "backend_version", "measured", "silicon_ttft_ms", "silicon_tpot_ms")


def repeats(rows):
    """How far measurements of one test on different days are apart: no
    prediction from what a row declares can be nearer to all of them."""
    with gzip.open(DATA, "rt") as file:
        declared = {r["id"]: r for r in csv.DictReader(file)}
    tests, copies, once = {}, 0, []
    for r in rows:
        if r["unsaturated"] != "1":
            continue
        d = declared[r["id"]]
        test = tests.setdefault(tuple(v for k, v in d.items()
                                      if k not in OF_A_DAY), [])
        if any(abs(float(o["ttft_ms"]) / float(r["ttft_ms"]) - 1) < 1e-5
               and abs(float(o["tpot_ms"]) / float(r["tpot_ms"]) - 1) < 1e-5
               for o in test):
            copies += 1
            continue
        test.append(r)
        once.append(r)
    lines = []
    for part in ("held_out", "fitting"):
        of_part = [t for t in tests.values() if len(t) > 1 and t[0]["part"] == part]
        members = [r for t in of_part for r in t]
        if not members:
            continue
        for name in ("tpot", "ttft"):
            apart = [100 * abs(float(a[f"{name}_ms"]) / float(b[f"{name}_ms"]) - 1)
                     for t in of_part for a, b in itertools.permutations(t, 2)]
            lines.append(f"| {part} | {name.upper()} | {len(of_part)} | {len(members)} | "
                         f"{quantile(apart, .5):.1f} | {quantile(apart, .9):.1f} | "
                         f"{quantile(errors(members, name), .5):.1f} |")
    single = [r for r in once if r["part"] == "held_out"]
    return "\n".join([
        "| part | figure | tests | measurements | apart, median % | 90 % | predicted, median % |",
        "|---|---|---|---|---|---|---|", *lines, "",
        f"{copies} unsaturated rows are copies of another row of their test. Counted once, the "
        f"{len(single)} rows kept out have medians of "
        f"{quantile(errors(single, 'tpot'), .5):.2f} % TPOT and "
        f"{quantile(errors(single, 'ttft'), .5):.2f} % TTFT."])


def plot(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(11, 5))
    for axis, name in zip(axes, ("tpot", "ttft")):
        for part, colour in (("fitting", "#bbbbbb"), ("held_out", "#c03030")):
            for unsaturated, mark in (("1", "."), ("0", "x")):
                of = [r for r in rows if r["part"] == part
                      and r["unsaturated"] == unsaturated]
                axis.plot([float(r[f"{name}_ms"]) for r in of],
                          [float(r[f"predicted_{name}_ms"]) for r in of],
                          mark, color=colour, markersize=3,
                          label=f"{part}{'' if unsaturated == '1' else ', saturated'}")
        low, high = axis.get_xlim()
        axis.plot([low, high], [low, high], "k-", linewidth=.6)
        axis.set(xscale="log", yscale="log", xlabel=f"measured {name.upper()}, ms",
                 ylabel="predicted, ms")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--braid", default=str(ROOT / "build/release/braid"))
    parser.add_argument("--plot", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        predictions = pathlib.Path(scratch) / "predictions.csv"
        run = subprocess.run(
            [args.braid, "simulate", "--validate", str(DATA), "--predictions",
             str(predictions)], capture_output=True, text=True, check=True)
        with open(predictions) as file:
            rows = list(csv.DictReader(file))
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    waited = sum(r["unsaturated"] == "1" and float(r["waited_for_memory"]) > 0
                 for r in rows)
    text = f"""# Step times of GPUs against hardware

`bench/gpu_validation.py`, commit {commit}, {platform.machine()}. The figures are a matter of arithmetic: the same on every machine.
Measurements, split and parameters: simulator/profiles/README.md.

    {run.stdout.strip().splitlines()[-1]}

(rows of the file; unsaturated rows of groups kept out of fitting; their median absolute errors)

## Distribution of absolute errors, %

{distribution(rows)}

## Tests measured more than once

What one measurement says of another of the same test (all that a row declares is equal, the day and the engine's version aside).

{repeats(rows)}

The rule lets in {waited} rows in which the prediction has requests wait for KV memory.

## What the tool prints

```
{run.stdout.strip()}
```
"""
    if args.plot:
        plot(rows, RESULTS / "gpu_validation.png")
        text += "\n![every row, measured against predicted](gpu_validation.png)\n"
    (RESULTS / "gpu_validation.md").write_text(text)
    print(run.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
