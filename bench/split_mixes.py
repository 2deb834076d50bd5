#!/usr/bin/env python3
"""Split against not: --split on, off and auto on three mixes of requests.

  bench/split_mixes.py [--rounds 3] [--mixes both] [--add] [--out bench/results/split_mixes]

Long prompts, long answers, both. In a round every layout gets the same requests
at the same times, one layout after the other: Poisson at a share of the capacity
that the best of them reached in a closed loop; for latencies, and above capacity
for goodput (requests/s within targets). All in short turns, there and back, each
turn with other requests: a machine that gets slower meanwhile is slower for all of
them. No two loads of a server share a seed, or prompts would be found in its cache.

Not splitting has two forms: a device with every core, and two devices that each
do both. The first is served by two servers: what these two differ by is noise.

TTFT, TPOT and the time to the last token are means over the requests that every
layout has answered, of all rounds. Whoever computes prompts first has earlier
first tokens and later others, so no layout is the best at all of them: auto is
compared with the best of the others at each figure, and in TTFT and TPOT also
with the layout whose requests end soonest.

A round of a mix takes four minutes. --add puts rounds with those that
are in --out already.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shlex
import sys

import live_run
from live_run import Braid, Report, load, tpot

MIXES = {  # tokens of prompt, of answer
    "long prompts": ("600-1000", "8-24"),
    "long answers": ("16-64", "150-250"),
    "both": ("400-800", "80-160"),
}
AUTO, NOISE = "auto", "off, again"
CALM_TURNS, HOT_TURNS = 6, 2  # of a round, even
LATENCIES = ("TTFT ms", "TPOT ms", "last token ms")
GOODPUT = "goodput/s"


def layouts(cores):
    one_device = ["--split", "off", "--devices", "both=cpu:" + "+".join(map(str, cores))]
    return {"on": ["--split", "on"], "off": one_device, "off, two devices": ["--split", "off"],
            AUTO: ["--split", "auto"], NOISE: one_device}


def statics(names):
    """What auto has to keep up with."""
    return [name for name in names if name not in (AUTO, NOISE)]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def latencies(records, chosen):
    records = [records[i] for i in chosen]
    return {"TTFT ms": 1e3 * mean(r["first_token"] - r["due"] for r in records),
            "TPOT ms": 1e3 * mean(map(tpot, records)),
            "last token ms": 1e3 * mean(r["last_token"] - r["due"] for r in records)}


def capacity_of(options, servers, lengths, seed):
    """Requests per second of the layout that ends most of them."""
    seconds = options.capacity_seconds
    return max(load(servers[name], arrivals=f"closed:{options.clients}", rate=100,
                    seconds=seconds, warm_up=seconds / 4, seed=seed,
                    **lengths)[0]["ended_per_second"] for name in statics(servers))


def measure_round(options, servers, mix, capacity, number, seeds):
    """{"requests": compared, "layouts": {layout: {figure: value}}}"""
    prompt, output = MIXES[mix]
    common = {"prompt_tokens": prompt, "output_tokens": output, "ttft": options.ttft,
              "tpot": options.tpot, "patience": options.patience}
    # Whoever is first, last or after whom: no two rounds alike.
    names = list(servers)
    names = names[number % len(names):] + names[:number % len(names)]
    figures = {name: {"others": 0.0, "refused": 0, GOODPUT: 0.0} for name in names}
    answered = {name: {} for name in names}
    for kind, share, seconds, turns in (
            ("calm", options.calm, options.seconds, CALM_TURNS),
            ("hot", options.hot, options.hot_seconds, HOT_TURNS)):
        warm_up = seconds / 8
        for turn in range(turns):
            seed = next(seeds)
            for name in names if turn % 2 == 0 else reversed(names):
                summary, records = load(servers[name], rate=capacity * share, seconds=seconds,
                                        warm_up=warm_up, seed=seed, **common)
                entry = figures[name]
                entry["others"] = max(entry["others"], summary["taken_by_others"])
                if kind == "hot":
                    entry[GOODPUT] += summary["goodput_per_second"] / turns
                    continue
                answered[name].update({(turn, r["index"]): r for r in records
                                       if r["outcome"] == "ok" and r["due"] >= warm_up})
                entry["refused"] += summary["refused"]
    chosen = set.intersection(*(set(records) for records in answered.values()))
    if not chosen:
        sys.exit(f"{mix}: no request was answered by every layout")
    for name, records in answered.items():
        figures[name].update(latencies(records, chosen))
    return {"requests": len(chosen), "layouts": figures}


def pooled(rounds):
    """{layout: {figure: mean}}, of all requests compared and of the rounds."""
    requests = sum(r["requests"] for r in rounds)
    return {name: {**{m: sum(r["requests"] * r["layouts"][name][m] for r in rounds) / requests
                      for m in LATENCIES},
                   GOODPUT: mean(r["layouts"][name][GOODPUT] for r in rounds),
                   "refused": sum(r["layouts"][name]["refused"] for r in rounds),
                   "others": max(r["layouts"][name]["others"] for r in rounds)}
            for name in rounds[0]["layouts"]}


def worse(metric, figures, name, other):
    """`name` over `other`; above 1 is worse, whatever the metric."""
    own, theirs = figures[name][metric], figures[other][metric]
    if metric == GOODPUT:
        own, theirs = theirs, own
    return own / theirs if theirs else float("inf")


def compare(report, mix, rounds):
    """Rows of the comparison's table; makes the claims."""
    figures = pooled(rounds)
    others = statics(figures)
    soonest = min(others, key=lambda name: figures[name]["last token ms"])
    rows = []
    for metric in (*LATENCIES, GOODPUT):
        ratios = {name: worse(metric, figures, AUTO, name) for name in others}
        best = max(ratios, key=ratios.get)
        by_round = [worse(metric, r["layouts"], AUTO, best) for r in rounds]
        noise = [worse(metric, r["layouts"], NOISE, "off") for r in rounds]
        rows.append({"mix": mix, "of": metric, "best": best, "auto over it": ratios[best],
                     "least": min(by_round), "greatest": max(by_round),
                     **{f"over {name}": ratios[name] for name in others},
                     "off again over off": worse(metric, figures, NOISE, "off"),
                     "noise least": min(noise), "noise greatest": max(noise)})
        report.claim(f"{mix}, {metric}: auto over the best of the others", ratios[best], 1.03,
                     at_least=False)
    for metric in ("TTFT ms", "TPOT ms"):
        report.claim(f"{mix}, {metric}: auto over '{soonest}', whose requests end soonest",
                     worse(metric, figures, AUTO, soonest), 1.03, at_least=False)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of a calm load")
    parser.add_argument("--hot-seconds", type=float, default=8, help="of a hot one")
    parser.add_argument("--capacity-seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--calm", type=float, default=0.5, help="of capacity, for latencies")
    parser.add_argument("--hot", type=float, default=1.3, help="of capacity, for goodput")
    parser.add_argument("--ttft", type=float, default=2, help="target, seconds")
    parser.add_argument("--tpot", type=float, default=0.1, help="target, seconds")
    parser.add_argument("--patience", type=float, default=60,
                        help="seconds to wait for answers after a load")
    parser.add_argument("--mixes", default=",".join(MIXES), help="comma-separated")
    parser.add_argument("--add", action="store_true", help="to the rounds in --out")
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--out", default=str(live_run.RESULTS / "split_mixes"))
    options = parser.parse_args()
    data, earlier = {}, pathlib.Path(options.out).with_suffix(".json")
    if options.add and earlier.exists():
        data = json.loads(earlier.read_text())["data"]
    with contextlib.ExitStack() as stack:
        flags = ["--kv-memory", "512MiB", *shlex.split(options.server_flags)]
        servers = {name: stack.enter_context(Braid(*layout, *flags))
                   for name, layout in layouts(sorted(os.sched_getaffinity(0))).items()}
        for mix in options.mixes.split(","):
            known = data.setdefault(mix, {"rounds": []})
            first = len(known["rounds"])
            # Of rounds before this one, none is used again.
            seeds = itertools.count(1 + 10_000 * list(MIXES).index(mix) + 10 * first)
            if "capacity" not in known:
                lengths = dict(zip(("prompt_tokens", "output_tokens"), MIXES[mix]))
                known["capacity"] = capacity_of(options, servers, lengths,
                                                seed=999_999 - list(MIXES).index(mix))
            print(f"{mix}: capacity {known['capacity']:.3g} requests/s", flush=True)
            for number in range(first, first + options.rounds):
                known["rounds"].append(measure_round(options, servers, mix, known["capacity"],
                                                     number, seeds))
                print(f"  round {number + 1}", file=sys.stderr)
    rounds = max(len(known["rounds"]) for known in data.values())
    report = Report(
        "Split against not", shlex.join(["bench/split_mixes.py", *sys.argv[1:]]),
        f"TTFT, TPOT and the time to the last token at {options.calm:g} of the best layout's "
        f"capacity, goodput at {options.hot:g}; {rounds} rounds, their requests taken together. "
        "Ratios above 1 are worse; 'off, again' is another server of the layout 'off'.")
    report.data.update(data)
    rows, ratios = [], []
    for mix in MIXES:
        if mix not in data:
            continue
        for name, entry in pooled(data[mix]["rounds"]).items():
            rows.append({"mix": mix, "layout": name, **entry})
        ratios += compare(report, mix, data[mix]["rounds"])
    report.table("Means", rows)
    report.table("Auto over the others", ratios)
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
