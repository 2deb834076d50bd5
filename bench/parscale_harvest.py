#!/usr/bin/env python3
"""What PARSCALE streams harvest on GPUs, and what that costs anybody: the
Mooncake conversation trace replayed in the simulator on 16 x H200, with streams
(auto) against without (off), from a fifth of the capacity to one and a half.

  bench/parscale_harvest.py --binary build/release/braid [--requests 4000]

The capacity is the highest load at which 90 % of what is feasible meets both
targets without streams; it is searched first. Arrivals of the trace fall on
ticks of 3 s; --arrivals says whether they are spread over them (jittered, anew
with every seed) or come as recorded (raw). Who is refused, and whose prefix is
still cached, hangs on trifles: figures are means over the seeds, and "again" is
off with arrivals a thousandth faster, which tells how much is chance. Requests
are compared one by one as well: those that are served with and without streams.
Writes bench/results/parscale_harvest.md, .json, .png.
"""
import argparse
import csv
import json
import math
import pathlib
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import live_run
from live_run import ROOT, Report

LOADS = [0.2, 0.5, 0.8, 1.0, 1.25, 1.5]
MODES = ["off", "auto"]
AGAIN = "again"


def simulate(options, *flags):
    """The JSON that it writes: capacity.json of a search, or result.json, to
    which the first tokens of its requests are added: seconds, None: not served."""
    command = [options.binary]
    if pathlib.Path(options.binary).name == "braid":
        command.append("simulate")
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [*command, "--trace", options.trace, "--cluster", options.cluster,
             "--out", out, *(["--jitter"] if options.arrivals == "jittered" else []),
             *(["--max-requests", str(options.requests)] if options.requests else []),
             *map(str, flags)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        name = "capacity.json" if "--goodput-search" in flags else "result.json"
        result = json.loads((pathlib.Path(out) / name).read_text())
        if name == "result.json":
            with open(pathlib.Path(out) / "requests.csv", encoding="utf-8") as file:
                result["first_tokens"] = [
                    float(row["first_token_s"]) if row["end"] == "served" else None
                    for row in csv.DictReader(file)]
        return result


def run(options, capacity, load, mode, seed):
    scale = load * capacity * (1.001 if mode == AGAIN else 1)
    return simulate(options, "--scale", scale, "--parscale",
                    "off" if mode == AGAIN else mode, "--seed", seed)


def mean_of(results):
    """One result of several: means of numbers, in lists and objects too."""
    first = results[0]
    if isinstance(first, dict):
        return {k: mean_of([r[k] for r in results]) for k in first
                if all(k in r for r in results)}
    if isinstance(first, list):
        return [mean_of(list(column)) for column in zip(*results)]
    if isinstance(first, str):
        return first
    return statistics.fmean(results)


def row(load, mode, result):
    streams = result["parscale"]
    offered = streams.get("offered", 0)
    return {
        "load": load, "streams": mode,
        "mean p": streams.get("mean_streams", 1.0),
        "rows offered": round(offered),
        "of them filled": streams["filled"] / offered if offered else None,
        "nats/token": streams.get("gain_nats_per_token", 0.0),
        "rows to catch up": round(streams.get("caught_up", 0)),
        "KV of streams": streams.get("kv_share", 0.0),
        "attainment": result["attainment"],
        "goodput/s": result["goodput_requests_per_s"],
        "refused": round(result["refused"] + result["shed"]),
        "TTFT p50 ms": result["ttft_s"]["p50"] * 1e3,
        "TTFT p99 ms": result["ttft_s"]["p99"] * 1e3,
        "TPOT p50 ms": result["tpot_s"]["p50"] * 1e3,
        "TPOT p99 ms": result["tpot_s"]["p99"] * 1e3,
        "cache hits": result["hit_share"],
    }


def standard_error(values):
    return (statistics.stdev(values) / math.sqrt(len(values))
            if len(values) > 1 else float("nan"))


def paired(offs, others):
    """TTFT of requests over that of the same ones under off: the median, and
    bounds of it that 95 % of samples of whole seeds keep; the geometric mean;
    and the share of those that are later by a hundredth."""
    ratios = [[b / a for a, b in zip(off["first_tokens"], other["first_tokens"])
               if a is not None and b is not None] for off, other in zip(offs, others)]
    rng = random.Random(1)
    medians = sorted(statistics.median(sum(rng.choices(ratios, k=len(ratios)), []))
                     for _ in range(200))
    pooled = sum(ratios, [])
    return {"median": statistics.median(pooled), "from": medians[5], "to": medians[-6],
            "geometric mean": math.exp(statistics.fmean(map(math.log, pooled))),
            "later by 1 %": sum(r > 1.01 for r in pooled) / len(pooled),
            "sooner by 1 %": sum(r < 0.99 for r in pooled) / len(pooled)}


def waited(result):
    """Share of requests by steps with streams that they waited through."""
    steps = result["parscale"]["steps_waited"]
    return {"none": steps[0] / sum(steps), "one": steps[1] / sum(steps),
            "more": sum(steps[2:]) / sum(steps)}


def shed_latency(result):
    """Steps that ended with streams since somebody came to wait for their device
    or blocks, the one that ran then included: in the mean and at most."""
    streams = result["parscale"]
    return {"times": round(streams["pressures"]),
            "steps": streams["shed_steps"] / max(streams["pressures"], 1),
            "at most": streams["most_shed_steps"]}


def judge(report, options, runs):
    def pairs(load, get):
        """off and auto, by seed."""
        return zip(*([get(r) for r in runs[load, mode]] for mode in MODES))

    def worst(of, over):
        """Of the loads, by the mean over the seeds."""
        return over(statistics.fmean(of(load)) for load in options.loads)

    def ratios(get):
        return lambda load: [b / a for a, b in pairs(load, get)]

    def autos(load, get):
        return statistics.fmean(get(r["parscale"]) for r in runs[load, "auto"])

    low = min(options.loads)
    report.claim(f"streams per token at {low:g} of the capacity",
                 autos(low, lambda p: p["mean_streams"]), 1.5, aim=2.5)
    report.claim(f"share of offered rows filled at {low:g} of the capacity",
                 autos(low, lambda p: p["filled"] / max(p["offered"], 1)), 0.7, aim=0.9)
    report.claim("attainment, auto less off, worst load",
                 worst(lambda load: [b - a for a, b in
                                     pairs(load, lambda r: r["attainment"])], min), -0.005)
    report.claim("goodput, auto over off, worst load",
                 worst(ratios(lambda r: r["goodput_requests_per_s"]), min), 0.995, aim=1)
    report.claim(f"TTFT p50, auto over off, at {low:g} of the capacity",
                 statistics.fmean(ratios(lambda r: r["ttft_s"]["p50"])(low)), 1.02,
                 at_least=False)
    report.claim("TTFT p50, auto over off, worst load",
                 worst(ratios(lambda r: r["ttft_s"]["p50"]), max), 1.02, at_least=False)
    pairs_of = {(load, mode): paired(runs[load, "off"], runs[load, mode])
                for load in options.loads for mode in ("auto", AGAIN)}
    report.claim("TTFT of a request, auto over off, median, worst load",
                 max(pairs_of[load, "auto"]["median"] for load in options.loads), 1.02,
                 at_least=False)
    report.claim("TPOT p99 under auto, ms, worst load",
                 worst(lambda load: [1e3 * r["tpot_s"]["p99"] for r in runs[load, "auto"]],
                       max),
                 1e3 * runs[low, "off"][0]["targets"]["tpot_s"], at_least=False)
    report.claim("steps until streams are shed, mean of the worst load",
                 worst(lambda load: [shed_latency(r)["steps"] for r in runs[load, "auto"]],
                       max), 1, at_least=False)
    report.table("TTFT p50 over that of off, mean of the seeds and its standard error: "
                 "of auto, and of off again with arrivals a thousandth faster; and the "
                 "same of single requests", [
                     {"load": load, "streams": mode,
                      "p50 ratio": statistics.fmean(of), "standard error":
                      standard_error(of), **pairs_of[load, mode]}
                     for load in options.loads for mode in ("auto", AGAIN)
                     for of in [[b["ttft_s"]["p50"] / a["ttft_s"]["p50"] for a, b in
                                 zip(runs[load, "off"], runs[load, mode])]]])
    report.table("Auto against off, by seed", [
        {"load": load, **{
            f"{name}, {what}": value
            for name, of in (("attainment", [b - a for a, b in pairs(
                load, lambda r: r["attainment"])]),
                ("TTFT p50", ratios(lambda r: r["ttft_s"]["p50"])(load)))
            for what, value in live_run.spread(of).items()}}
        for load in options.loads])


def plot(options, results, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(2, 3, figsize=(14, 7.5))
    colors = {"off": "#999999", "auto": "#0072b2"}

    def lines(axis, get, label, modes=MODES, **style):
        for mode in modes:
            axis.plot(options.loads, [get(results[x, mode]) for x in options.loads],
                      marker="o", color=colors[mode], label=f"{mode}{label}", **style)

    shares = [[n / sum(results[x, "auto"]["parscale"]["tokens_by_streams"]) for n in
               results[x, "auto"]["parscale"]["tokens_by_streams"][1:]]
              for x in options.loads]
    below = [0.0] * len(options.loads)
    for p, color in enumerate(["#d9d9d9", "#9ecae1", "#4292c6", "#084594"]):
        part = [share[p] for share in shares]
        axes[0][0].bar([f"{x:g}" for x in options.loads], part, bottom=below, color=color,
                       label=f"p = {p + 1}")
        below = [a + b for a, b in zip(below, part)]
    for i, x in enumerate(options.loads):
        mean = results[x, "auto"]["parscale"]["mean_streams"]
        axes[0][0].text(i, 1.01, f"{mean:.2f}", ha="center", fontsize=8)
    axes[0][0].set(ylabel="share of tokens (above: mean p)", ylim=(0, 1.1))
    axes[0][0].legend(fontsize=8, loc="lower right")
    lines(axes[0][1], lambda r: 100 * r["attainment"], "")
    axes[0][1].set(ylabel="within both targets, % of requests")
    lines(axes[0][2], lambda r: r["goodput_requests_per_s"], "")
    axes[0][2].set(ylabel="goodput, requests/s")
    lines(axes[1][0], lambda r: r["ttft_s"]["p50"], ", p50")
    lines(axes[1][0], lambda r: r["ttft_s"]["p99"], ", p99", linestyle="--")
    axes[1][0].set(ylabel="TTFT, s", yscale="log")
    lines(axes[1][1], lambda r: r["tpot_s"]["p50"] * 1e3, ", p50")
    lines(axes[1][1], lambda r: r["tpot_s"]["p99"] * 1e3, ", p99", linestyle="--")
    axes[1][1].set(ylabel="TPOT, ms")
    lines(axes[1][2], lambda r: 100 * r["parscale"]["kv_share"], ", mean", ["auto"])
    lines(axes[1][2], lambda r: 100 * r["parscale"]["kv_share_max"], ", most", ["auto"],
          linestyle="--")
    axes[1][2].set(ylabel="KV blocks that streams hold, %")
    for axis in axes.flat:
        axis.set_xlabel("load, of the capacity")
        if not axis.get_legend():
            axis.legend(fontsize=8)
    figure.suptitle(f"{pathlib.Path(options.trace).name.split('.')[0]}, {options.arrivals}, "
                    f"{pathlib.Path(options.cluster).stem}: PARSCALE streams in idle rows",
                    fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    print(f"written: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--trace", default=str(
        ROOT / "bench/traces/conversation_trace.jsonl.gz"))
    parser.add_argument("--cluster", default=str(
        ROOT / "bench/clusters/h200x16_qwen3_32b.json"))
    parser.add_argument("--requests", type=int, default=4000,
                        help="the first N of the trace; 0: all")
    parser.add_argument("--arrivals", choices=["jittered", "raw"], default="jittered")
    parser.add_argument("--seeds", type=int, default=3, help="of jittered arrivals")
    parser.add_argument("--capacity", type=float,
                        help="as a multiple of the recorded rate; not searched then")
    parser.add_argument("--loads", type=lambda text: [float(x) for x in text.split(",")],
                        default=LOADS)
    parser.add_argument("--jobs", type=int, default=2, help="replays at a time")
    parser.add_argument("--out", default=str(live_run.RESULTS / "parscale_harvest"))
    options = parser.parse_args()
    capacity = options.capacity
    if capacity is None:
        found = simulate(options, "--goodput-search", "--attainments", "0.9")
        capacity = found["capacity"][0]["scale"]
    print(f"capacity: {capacity:.3f} of the recorded rate", flush=True)
    cells = [(load, mode) for load in options.loads for mode in (*MODES, AGAIN)]
    seeds = range(1, options.seeds + 1) if options.arrivals == "jittered" else [1]
    with ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(
            lambda one: run(options, capacity, *one),
            [(*cell, seed) for cell in cells for seed in seeds])
        runs = {cell: [next(done) for _ in seeds] for cell in cells}
    results = {cell: mean_of([{k: v for k, v in result.items()
                               if k not in ("timeline", "placements", "command", "wall_s",
                                            "requests_per_wall_s", "first_tokens")}
                              for result in of])
               for cell, of in runs.items()}
    first = runs[cells[0]][0]
    report = Report(
        "PARSCALE streams on GPUs, simulated",
        shlex.join(["bench/parscale_harvest.py", *sys.argv[1:]]),
        f"{first['requests']} requests of {first['trace']['name']}, {options.arrivals} arrivals "
        f"({len(seeds)} seeds, means), on {first['cluster']['name']}; targets TTFT "
        f"{first['targets']['ttft_s']:g} s, TPOT {first['targets']['tpot_s'] * 1e3:g} ms. The "
        f"capacity is {capacity:.2f} of the recorded rate. Nobody has trained streams for "
        "this model: nats are those of the adapter for the default model, in contexts beyond "
        "512 tokens.")
    report.table("Loads", [row(load, mode, results[load, mode]) for load in options.loads
                           for mode in MODES])
    report.table("Shed: times that somebody came to wait for a device or blocks that a step "
                 "with streams used, and how many such steps ended until one had none; and "
                 "steps with streams launched where a prompt was to run while it waited, "
                 "share of requests", [
                     {"load": load, **shed_latency(results[load, "auto"]),
                      **{f"waited {k}": v for k, v in waited(results[load, "auto"]).items()}}
                     for load in options.loads])
    judge(report, options, runs)
    report.data["capacity_of_recorded"] = capacity
    report.data["runs"] = [{"load": load, "mode": mode, **results[load, mode]}
                           for load, mode in cells]
    report.write(options.out)
    plot(options, results, pathlib.Path(options.out).with_suffix(".png"))
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
