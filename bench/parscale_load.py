#!/usr/bin/env python3
"""What streams that fill idle rows cost and gain, on the live server: a bursty
open-loop load with `parscale: auto` against the same load with `off`.

  bench/parscale_load.py --parscale FILE [--rounds 3] [--seconds 120]
                         [--out bench/results/parscale_load]

Arrivals and lengths are those of a recorded trace, bursts and all, stretched to
a share of what the server gets through. Both modes meet requests of
the same arrivals and lengths, one load after the other on the same server, in
turns, each of a text of its own: else the second would find the first one's
prompts cached; ratios are taken within a
round and their median is quoted. Of `auto` it is told which share of the rows
that idled was filled, and how many streams answered each token; with the gain
that the adapter's file states for so many streams, that is the NLL per token
that the load won.
"""
import argparse
import json
import pathlib
import shlex
import struct
import sys
import tempfile
import threading
import urllib.request

import live_run
from live_run import Braid, Load, Report, load, percentile, spread, tpot

TRACE = live_run.ROOT / "bench/traces/AzureLLMInferenceTrace_conv.csv.gz"
MODES = ("off", "auto")
ROWS = 'braid_parscale_rows_total{outcome="%s"}'


def stated_gain(path):
    """Nats per token that p = i + 1 streams gain, as the adapter's file says."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(size))["__metadata__"]
    if "gain" in metadata:
        return [float(g) for g in metadata["gain"].split(",")]
    return None


class Watch:
    """Samples /metrics while a load runs."""
    EVERY = 0.25

    def __init__(self, server):
        self.server, self.samples, self.stop = server, [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.wait(self.EVERY):
            m = self.server.metrics()
            self.samples.append({
                "at": len(self.samples) * self.EVERY,
                "decoding": m['braid_requests{state="decoding"}'],
                "queued": m['braid_requests{state="queued"}'],
                "streams": m["braid_parscale_streams"],
                "offered": m[ROWS % "offered"], "filled": m[ROWS % "filled"]})

    def finish(self):
        self.stop.set()
        self.thread.join()
        return self.samples


def measure(server, mode, options, trace, rate, seed):
    """Figures of one load."""
    before = server.metrics()
    watch = Watch(server)
    under_way = Load(server, arrivals="trace", trace=trace, rate=rate,
                     trace_from=options.trace_from, seconds=options.seconds,
                     warm_up=options.seconds / 12, seed=seed, parscale=mode,
                     prompt_tokens=options.prompt, output_tokens=options.output,
                     max_tokens=options.max_tokens, ttft=options.ttft,
                     tpot=options.tpot)
    summary, records = under_way.finish()
    samples = watch.finish()
    after = server.metrics()
    rows = {name: after[ROWS % name] - before[ROWS % name]
            for name in ("offered", "filled", "shed", "caught_up")}
    gain = "braid_parscale_gain_nats_total"
    answered = [r for r in records if r["outcome"] == "ok"]
    return {"mode": mode, "summary": summary, "rows": rows, "samples": samples,
            "predicted_gain": after[gain] - before[gain],
            "allowance": allowance(server),
            "ttft_by_request": [
                (r["first_token"] - r["due"]) * 1e3 if r["outcome"] == "ok" else None
                for r in sorted(records, key=lambda r: r["index"])],
            "ttft": [(r["first_token"] - r["due"]) * 1e3 for r in answered],
            "tpot": [tpot(r) * 1e3 for r in answered if r["output_tokens"] > 1]}


def allowance(server):
    """What the server takes streams to cost first tokens, at the end."""
    with urllib.request.urlopen(server.url + "/debug/scheduler", timeout=30) as reply:
        streams = json.load(reply)["streams"]
    return {name: streams[name] for name in
            ("newcomers_meet_rows", "first_token_s", "beside_rows_s")}


def filled_share(run):
    """Rows that answered, of all that idled: what a stream has to catch up is
    work that nobody offered, and counted apart."""
    rows = run["rows"]
    return rows["filled"] / rows["offered"] if rows["offered"] else float("nan")


def paired_ttft(rounds):
    """auto over off of the same request of a round (arrival and lengths are the
    trace's, only the text differs), median of all: where few requests have very
    different prompts, steadier than a ratio of medians."""
    ratios = []
    for r in rounds:
        off, auto = (r[mode]["ttft_by_request"] for mode in MODES)
        ratios += [a / o for o, a in zip(off, auto) if o and a]
    return percentile(ratios, .5)


def tokens_by_streams(run):
    counts = run["summary"].get("tokens_by_streams") or [0, 1]
    return counts[1:]


def weighted_gain(run, gain):
    counts = tokens_by_streams(run)
    return sum(n * g for n, g in zip(counts, gain)) / sum(counts)


def row(number, run, gain):
    s = run["summary"]
    return {"round": number, "parscale": run["mode"],
            "mean p": s.get("mean_streams", float("nan")),
            "rows filled": filled_share(run) if run["mode"] == "auto" else None,
            "NLL, nats": -weighted_gain(run, gain) if gain else None,
            "attainment": s["attainment"], "goodput/s": s["goodput_per_second"],
            "refused": s["refused_share"],
            "TTFT p50 ms": s["ttft_ms"]["p50"], "TTFT p99 ms": s["ttft_ms"]["p99"],
            "TPOT p50 ms": s["tpot_ms"]["p50"], "TPOT p99 ms": s["tpot_ms"]["p99"],
            "others": s["taken_by_others"]}


def plot(rounds, options, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, ((load_axis, idle_axis), (ttft_axis, tpot_axis)) = plt.subplots(
        2, 2, figsize=(13, 8))
    auto = rounds[-1]["auto"]
    at = [s["at"] for s in auto["samples"]]
    load_axis.plot(at, [s["decoding"] for s in auto["samples"]], label="requests decoding")
    load_axis.plot(at, [s["decoding"] + s["streams"] for s in auto["samples"]],
                   label="with their streams", alpha=0.7)
    load_axis.plot(at, [s["queued"] for s in auto["samples"]], label="queued")
    load_axis.set(xlabel="seconds", ylabel="now", title="one load, auto")
    load_axis.legend()

    def per_second(name):
        values = [s[name] for s in auto["samples"]]
        return [(b - a) / Watch.EVERY for a, b in zip(values, values[1:])]
    idle_axis.plot(at[1:], per_second("offered"), label="rows that idled")
    idle_axis.plot(at[1:], per_second("filled"), label="rows of streams", alpha=0.7)
    idle_axis.set(xlabel="seconds", ylabel="rows/s", title="the same, idle rows")
    idle_axis.legend()
    for axis, name, limit in ((ttft_axis, "ttft", options.ttft),
                              (tpot_axis, "tpot", options.tpot)):
        for mode in MODES:
            values = sorted(v for r in rounds for v in r[mode][name])
            axis.plot(values, [(i + 1) / len(values) for i in range(len(values))], label=mode)
        axis.axvline(limit * 1e3, color="grey", linestyle="--", label="target")
        axis.set(xlabel=f"{name.upper()}, ms", ylabel="share of requests", xscale="log")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    print(f"written: {path}")


def judge(report, rounds, options, gain):
    def ratios(of):
        return spread([of(r["auto"]) / of(r["off"]) for r in rounds])

    def latency(name, p):
        return ratios(lambda run: percentile(run[name], p))

    autos = [r["auto"] for r in rounds]
    report.claim("share of idle rows that streams filled, least of the rounds",
                 min(map(filled_share, autos)), 0.7, aim=0.9)
    report.claim("streams per token, mean of the rounds",
                 sum(a["summary"].get("mean_streams", 1) for a in autos) / len(autos), 1.01)
    if gain:
        report.claim("nats per token gained, weighted by tokens, least of the rounds",
                     min(weighted_gain(a, gain) for a in autos), 1e-6)
    report.claim("attainment, auto less off, median",
                 spread([r["auto"]["summary"]["attainment"] - r["off"]["summary"]["attainment"]
                         for r in rounds])["median"], -0.005)
    report.claim("goodput, auto over off, median",
                 ratios(lambda run: run["summary"]["goodput_per_second"])["median"], 0.995,
                 aim=1)
    report.claim("TTFT p50, auto over off, median", latency("ttft", .5)["median"], 1.02,
                 at_least=False)
    report.claim("TTFT of a request, auto over off, median of all", paired_ttft(rounds),
                 1.02, at_least=False)
    report.claim("TPOT p99 under auto, ms, median",
                 spread([percentile(a["tpot"], .99) for a in autos])["median"],
                 options.tpot * 1e3, at_least=False)
    report.table("auto over off", [
        {"of": f"{name.upper()} p{round(p * 100)}", **latency(name, p)}
        for name in ("ttft", "tpot") for p in (.5, .99)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parscale", required=True, help="adapter of the default model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120, help="of each load")
    parser.add_argument("--share", type=float, default=0.5,
                        help="of the capacity, as mean rate")
    parser.add_argument("--capacity", type=float, help="requests/s; not measured then")
    parser.add_argument("--capacity-seconds", type=float, default=30)
    parser.add_argument("--trace", default=TRACE, type=pathlib.Path)
    parser.add_argument("--trace-from", type=int, default=0)
    parser.add_argument("--prompt", default="trace*0.25", help="tokens")
    parser.add_argument("--output", default="trace*0.5", help="tokens")
    parser.add_argument("--max-tokens", type=int, default=1500,
                        help="of prompt and answer together")
    parser.add_argument("--ttft", type=float, default=2, help="target, seconds")
    parser.add_argument("--tpot", type=float, default=0.1, help="target, seconds")
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(live_run.RESULTS / "parscale_load"))
    options = parser.parse_args()
    gain = stated_gain(options.parscale)
    report = Report(
        "PARSCALE under a bursty load",
        shlex.join(["bench/parscale_load.py", *sys.argv[1:]]),
        f"Arrivals and lengths of {options.trace.name}, {options.seconds:g} s a load at "
        f"{options.share:g} of the capacity; prompts of {options.prompt} and answers of "
        f"{options.output} tokens; targets TTFT {options.ttft:g} s, TPOT "
        f"{options.tpot * 1e3:g} ms. NLL is against one stream, by the gain that the "
        "adapter's file states. 'others' is the share of the processors that other "
        "processes took meanwhile.")
    rounds = []
    with tempfile.TemporaryDirectory() as folder, \
            Braid("--parscale", options.parscale,
                  *shlex.split(options.server_flags)) as server:
        trace = live_run.unpack_trace(options.trace, folder)
        mix = {"trace": trace, "prompt_tokens": options.prompt,
               "output_tokens": options.output, "max_tokens": options.max_tokens}
        for mode in MODES:  # Warms up: step times are learned.
            load(server, arrivals="closed:4", rate=20, seconds=options.seconds / 10,
                 seed=90, parscale=mode, **mix)
        capacity = options.capacity
        if capacity is None:
            capacity = load(server, arrivals="closed:16", rate=100, seed=91,
                            seconds=options.capacity_seconds,
                            warm_up=options.capacity_seconds / 5,
                            parscale="off", **mix)[0]["ended_per_second"]
        print(f"capacity: {capacity:.3g} requests/s", flush=True)
        for i in range(options.rounds):
            order = MODES if i % 2 == 0 else MODES[::-1]
            rounds.append({mode: measure(server, mode, options, trace,
                                         capacity * options.share,
                                         options.seed + 2 * i + MODES.index(mode))
                           for mode in order})
            print(f"round {i + 1} of {options.rounds}", file=sys.stderr)
    report.data["capacity_per_second"] = capacity
    report.data["stated_gain"] = gain
    report.table("Loads", [row(i + 1, r[mode], gain)
                           for i, r in enumerate(rounds) for mode in MODES])
    counts = [sum(column) for column in zip(*(
        tokens_by_streams(r["auto"]) + [0] * 8 for r in rounds))]
    while counts and counts[-1] == 0:
        counts.pop()
    report.table("Tokens by streams, auto", [
        {"streams": p + 1, "share of tokens": n / sum(counts),
         "nats gained": gain[p] if gain and p < len(gain) else None}
        for p, n in enumerate(counts)])
    judge(report, rounds, options, gain)
    report.data["rounds"] = [
        {mode: {k: r[mode][k] for k in ("summary", "rows", "predicted_gain", "allowance")}
         for mode in MODES} for r in rounds]
    report.write(options.out)
    plot(rounds, options, pathlib.Path(options.out).with_suffix(".png"))
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
