#!/usr/bin/env python3
"""Split against not: --split on, off and auto on three mixes of requests.

  bench/split_mixes.py [--rounds 3] [--mixes both] [--add] [--out bench/results/split_mixes]

Long prompts, long answers, both. In a turn every layout gets the same requests at
the same times, one layout after the other: Poisson, at half the capacity for
latencies, and above it for goodput (requests/s within targets). Capacity is that of
the best static layout; there and for latencies the TTFT target is so far that nobody
is refused. A machine's speed changes by a half within minutes, and by some percent
within seconds, so turns are short and many; and as who is first in a turn is some
2 % slower, each layout is at each place equally often. Servers are started anew, in
another order, in each round. No two loads of a server share a seed, or prompts would
be found in its cache.

Not splitting has two forms: a device with every core, and two devices that each
do both. The first is served by two servers: what these two differ by is noise.

TTFT, TPOT and the time to the last token are means over the requests that every
layout has answered, in turns that nothing else on the machine disturbed. Whoever
computes prompts first has earlier first tokens and later others, so no layout is the
best at all of them: auto is compared with the best of the others at each figure, and
in TTFT and TPOT also with the layout whose requests end soonest. Every ratio has its
standard error, by the jackknife over turns.

A round of a mix takes eight minutes. --add puts rounds with those that are in --out.
"""
import argparse
import contextlib
import itertools
import json
import math
import os
import pathlib
import random
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
NAMES = ("on", "off", "off, two devices", AUTO, NOISE)
# But for goodput nobody is refused: who refuses has less to do, is faster for the
# others, and lets the short prompts in.
RELAXED, RELAXED_TTFT = {"more_body": '"service_class":"relaxed"'}, "10s"
MOST_OTHERS = 0.03  # of the processors, that other processes may have had in a turn
LATENCIES = ("TTFT ms", "TPOT ms", "last token ms")
GOODPUT = "goodput/s"


def layouts(cores):
    """The flags of each."""
    one_device = ["--split", "off", "--devices", "both=cpu:" + "+".join(map(str, cores))]
    return dict(zip(NAMES, (["--split", "on"], one_device, ["--split", "off"],
                            ["--split", "auto"], one_device)))


def statics(names):
    """What auto has to keep up with."""
    return [name for name in names if name not in (AUTO, NOISE)]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def latencies(answered, chosen):
    records = [answered[i] for i in chosen]
    return {"TTFT ms": 1e3 * mean(r["first_token"] - r["due"] for r in records),
            "TPOT ms": 1e3 * mean(map(tpot, records)),
            "last token ms": 1e3 * mean(r["last_token"] - r["due"] for r in records)}


def prompt_and_answer(mix):
    return dict(zip(("prompt_tokens", "output_tokens"), MIXES[mix]))


@contextlib.contextmanager
def started(options, number):
    """{layout: server}, in the order of that round."""
    order = list(layouts(sorted(os.sched_getaffinity(0))).items())
    random.Random(number).shuffle(order)
    tpot = f"tpot={options.tpot * 1e3:.0f}ms"
    flags = ["--class", f"interactive:ttft={options.ttft * 1e3:.0f}ms,{tpot}",
             "--class", f"relaxed:ttft={RELAXED_TTFT},{tpot}",
             "--kv-memory", "512MiB", *shlex.split(options.server_flags)]
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Braid(*layout, *flags)) for name, layout in order}


def capacity_of(options, servers, mix):
    """Requests per second of the layout that ends most of them."""
    seconds = options.capacity_seconds
    return max(load(servers[name], arrivals=f"closed:{options.clients}", rate=100,
                    seconds=seconds, warm_up=seconds / 3, **RELAXED,
                    seed=999_999 - list(MIXES).index(mix),
                    **prompt_and_answer(mix))[0]["ended_per_second"]
               for name in statics(servers))


def measure_turn(servers, order, rate, seconds, **flags):
    """{layout: (summary, {index of a request: its record, if answered})}"""
    warm_up = seconds / 8
    seen = {}
    for name in order:
        summary, records = load(servers[name], rate=rate, seconds=seconds, warm_up=warm_up,
                                **flags)
        seen[name] = summary, {r["index"]: r for r in records
                               if r["outcome"] == "ok" and r["due"] >= warm_up}
    return seen


def measure_round(options, servers, mix, capacity, seeds):
    """(calm turns, hot turns), each {"requests": that every layout answered,
    "layouts": {layout: {figure: value}}}"""
    flags = {"ttft": options.ttft, "tpot": options.tpot, "patience": options.patience,
             **prompt_and_answer(mix)}
    names = list(servers)
    rotations = [names[i:] + names[:i] for i in range(len(names))]
    calm, hot = [], []
    for order in rotations + [names[::-1] for names in rotations]:
        seen = measure_turn(servers, order, capacity * options.calm, options.seconds,
                            seed=next(seeds), **RELAXED, **flags)
        chosen = set.intersection(*(set(answered) for _, answered in seen.values()))
        if not chosen:
            continue
        calm.append({"requests": len(chosen), "layouts": {
            name: {**latencies(answered, chosen), "refused": summary["refused"],
                   "others": summary["taken_by_others"]}
            for name, (summary, answered) in seen.items()}})
    for order in (names, names[::-1]):
        seen = measure_turn(servers, order, capacity * options.hot, options.hot_seconds,
                            seed=next(seeds), **flags)
        hot.append({"requests": 0, "layouts": {
            name: {GOODPUT: summary["goodput_per_second"], "others": summary["taken_by_others"]}
            for name, (summary, _) in seen.items()}})
    if not calm:
        sys.exit(f"{mix}: no request was answered by every layout")
    return calm, hot


def undisturbed(turns):
    """For latencies: a layout must not pay for what else the machine did."""
    return [t for t in turns if GOODPUT in t["layouts"][AUTO] or
            all(entry["others"] <= MOST_OTHERS for entry in t["layouts"].values())]


def pooled(turns, metric):
    """{layout: mean}; of latencies, over requests."""
    turns = [t for t in turns if metric in t["layouts"][AUTO]]
    weights = [t["requests"] if metric in LATENCIES else 1 for t in turns]
    return {name: sum(w * t["layouts"][name][metric] for w, t in zip(weights, turns)) /
            sum(weights) for name in NAMES}


def worse(metric, turns, name, other):
    """`name` over `other`; above 1 is worse, whatever the metric."""
    figures = pooled(turns, metric)
    own, theirs = figures[name], figures[other]
    if metric == GOODPUT:
        own, theirs = theirs, own
    return own / theirs if theirs else float("inf")


def error_of(metric, turns, name, other):
    """The standard error of that ratio."""
    turns = [t for t in turns if metric in t["layouts"][AUTO]]
    n = len(turns)
    without = [worse(metric, turns[:i] + turns[i + 1:], name, other) for i in range(n)]
    return math.sqrt((n - 1) / n * sum((w - mean(without)) ** 2 for w in without))


def compare(report, mix, turns):
    """Rows of the comparison's table; makes the claims."""
    others = statics(NAMES)
    ends = pooled(turns, "last token ms")
    soonest = min(others, key=ends.get)
    rows = []
    for metric in (*LATENCIES, GOODPUT):
        ratios = {name: worse(metric, turns, AUTO, name) for name in others}
        best = max(ratios, key=ratios.get)
        row = {"mix": mix, "of": metric, "best": best}
        for name in others:
            row[f"over {name}"] = ratios[name]
            row[f"+- ({name})"] = error_of(metric, turns, AUTO, name)
        row["off again over off"] = worse(metric, turns, NOISE, "off")
        row["+-"] = error_of(metric, turns, NOISE, "off")
        rows.append(row)
        report.claim(f"{mix}, {metric}: auto over the best of the others", ratios[best], 1.03,
                     at_least=False)
    for metric in ("TTFT ms", "TPOT ms"):
        report.claim(f"{mix}, {metric}: auto over '{soonest}', whose requests end soonest",
                     worse(metric, turns, AUTO, soonest), 1.03, at_least=False)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of a calm load")
    parser.add_argument("--hot-seconds", type=float, default=24, help="of a hot one")
    parser.add_argument("--capacity-seconds", type=float, default=9)
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
    for mix in options.mixes.split(","):
        known = data.setdefault(mix, {"rounds": 0, "turns": []})
        first = known["rounds"]
        for number in range(first, first + options.rounds):
            # Of rounds before this one, none is used again.
            seeds = itertools.count(1 + 10_000 * list(MIXES).index(mix) + 20 * number)
            with started(options, number) as servers:
                if "capacity" not in known:
                    known["capacity"] = capacity_of(options, servers, mix)
                    print(f"{mix}: capacity {known['capacity']:.3g} requests/s", flush=True)
                calm, hot = measure_round(options, servers, mix, known["capacity"], seeds)
                known["turns"] += calm + hot
                known["rounds"] += 1
            print(f"{mix}, round {number + 1}", file=sys.stderr)
    rounds = ", ".join(f"{mix} {known['rounds']}" for mix, known in data.items())
    report = Report(
        "Split against not", shlex.join(["bench/split_mixes.py", *sys.argv[1:]]),
        f"TTFT, TPOT and the time to the last token at {options.calm:g} of the best static "
        f"layout's capacity, goodput at {options.hot:g}; rounds: {rounds}. Ratios above 1 are "
        "worse, +- is a standard error; 'off, again' is another server of the layout 'off'.")
    report.data.update(data)
    rows, ratios, left_out = [], [], 0
    for mix in MIXES:
        if mix not in data:
            continue
        turns = undisturbed(data[mix]["turns"])
        left_out += len(data[mix]["turns"]) - len(turns)
        means = {metric: pooled(turns, metric) for metric in (*LATENCIES, GOODPUT, "refused")}
        rows += [{"mix": mix, "layout": name, **{m: means[m][name] for m in means},
                  "others": max(t["layouts"][name]["others"] for t in turns)} for name in NAMES]
        ratios += compare(report, mix, turns)
    report.what += (f" {left_out} turns are left out, as others had more than "
                    f"{100 * MOST_OTHERS:g} % of the processors.")
    report.table("Means", rows)
    report.table("Auto over the others", ratios)
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
