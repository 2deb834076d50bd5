#!/usr/bin/env python3
"""Split against not: --split on, off and auto on three mixes of requests.

  bench/split_mixes.py [--rounds 5] [--out bench/results/split_mixes]

Long prompts, long answers, both. For each, all layouts take turns within a
round, under one load: Poisson at a share of the capacity that the best of them
reached in a closed loop; once for latencies, once above capacity for goodput.
TTFT, TPOT (means over the requests) and goodput (requests/s within targets) of
auto are compared with the better of on and off within a round; the median of
the rounds is quoted. Not splitting has two forms here: a device with every core,
and two devices that each do both; auto must keep up with the better.
"""
import argparse
import contextlib
import math
import os
import shlex
import statistics
import sys

import live_run
from live_run import Braid, Report, load, spread

MIXES = {  # tokens of prompt, of answer
    "long prompts": ("600-1000", "8-24"),
    "long answers": ("16-64", "150-250"),
    "both": ("400-800", "80-160"),
}


def layouts(cores):
    every = "both=cpu:" + "+".join(map(str, cores))
    return {"on": ["--split", "on"], "off": ["--split", "off", "--devices", every],
            "off, two devices": ["--split", "off"], "auto": ["--split", "auto"]}


# Larger is better for the last alone.
METRICS = {"TTFT ms": lambda s: s["ttft_ms"]["mean"], "TPOT ms": lambda s: s["tpot_ms"]["mean"],
           "goodput/s": lambda s: s["goodput_per_second"]}


def relative(metric, figures, name, others):
    """`name` over the better of `others`; above 1 is worse, whatever the metric.
    Nothing answered is infinitely bad."""
    own = figures[name][metric]
    theirs = [v for o in others if not math.isnan(v := figures[o][metric])]
    if math.isnan(own) or not own:
        return math.inf
    if not theirs:
        return 0.0
    return max(theirs) / own if metric == "goodput/s" else own / min(theirs)


def measure_mix(options, servers, mix, seed):
    """Per round, {layout: {metric: value}}."""
    prompt, output = MIXES[mix]
    common = {"prompt_tokens": prompt, "output_tokens": output, "ttft": options.ttft,
              "tpot": options.tpot, "patience": options.patience}
    capacity = 0
    for name, server in servers.items():
        summary, _ = load(server, arrivals=f"closed:{options.clients}", rate=100,
                          seconds=options.capacity_seconds,
                          warm_up=options.capacity_seconds / 4, seed=seed, **common)
        capacity = max(capacity, summary["ended_per_second"])
    print(f"{mix}: capacity {capacity:.3g} requests/s", flush=True)
    rounds = []
    for i in range(options.rounds):
        figures = {}
        names = list(servers) if i % 2 else list(reversed(servers))
        # All layouts of a round get the same requests.
        for kind, share in (("calm", options.calm), ("hot", options.hot)):
            for name in names:
                summary, _ = load(servers[name], rate=capacity * share,
                                  seconds=options.seconds, seed=seed + 10 * i + (kind == "hot"),
                                  warm_up=options.seconds / 6, **common)
                entry = figures.setdefault(name, {})
                if kind == "calm":
                    entry.update({m: f(summary) for m, f in METRICS.items()
                                  if m != "goodput/s"})
                    entry["TTFT p99 ms"] = summary["ttft_ms"]["p99"]
                    entry["TPOT p99 ms"] = summary["tpot_ms"]["p99"]
                else:
                    entry["goodput/s"] = summary["goodput_per_second"]
                entry["others"] = max(entry.get("others", 0), summary["taken_by_others"])
        rounds.append(figures)
        print(f"  round {i + 1} of {options.rounds}", file=sys.stderr)
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12, help="of a load")
    parser.add_argument("--capacity-seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--calm", type=float, default=0.6, help="of capacity, for latencies")
    parser.add_argument("--hot", type=float, default=1.3, help="of capacity, for goodput")
    parser.add_argument("--ttft", type=float, default=2, help="target, seconds")
    parser.add_argument("--tpot", type=float, default=0.1, help="target, seconds")
    parser.add_argument("--patience", type=float, default=60,
                        help="seconds to wait for answers after a load")
    parser.add_argument("--mixes", default=",".join(MIXES), help="comma-separated")
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(live_run.RESULTS / "split_mixes"))
    options = parser.parse_args()
    report = Report(
        "Split against not", shlex.join(["bench/split_mixes.py", *sys.argv[1:]]),
        f"TTFT and TPOT at {options.calm:g} of the best layout's capacity, goodput at "
        f"{options.hot:g}; medians of {options.rounds} rounds. Ratios of auto are to the better "
        "of the others in the same round, above 1 is worse.")
    with contextlib.ExitStack() as stack:
        flags = ["--kv-memory", "768MiB", *shlex.split(options.server_flags)]
        servers = {name: stack.enter_context(Braid(*layout, *flags))
                   for name, layout in layouts(sorted(os.sched_getaffinity(0))).items()}
        others = [name for name in servers if name != "auto"]
        ratios, rows = [], []
        for index, mix in enumerate(options.mixes.split(",")):
            rounds = measure_mix(options, servers, mix, options.seed + 1000 * index)
            report.data[mix] = rounds
            for name in servers:
                rows.append({"mix": mix, "layout": name,
                             **{k: statistics.median(r[name][k] for r in rounds)
                                for k in rounds[0][name]}})
            for metric in METRICS:
                values = [relative(metric, r, "auto", others) for r in rounds]
                ratios.append({"mix": mix, "of": metric, **spread(values)})
    report.table("Medians", rows)
    report.table("Auto over the better of the others", ratios)
    for ratio in ratios:
        report.claim(f"{ratio['mix']}, {ratio['of']}: auto over the better of the others",
                     ratio["median"], 1.03, at_least=False)
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
