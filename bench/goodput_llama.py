#!/usr/bin/env python3
"""Goodput of Braid over llama-server's, on one model file and one trace.

  bench/goodput_llama.py --llama DIR --trace AzureLLMInferenceTrace_conv.csv.gz
                         [--scale 0.125] [--out bench/results/goodput_llama]

Goodput is the highest rate at which at least 90 % of the requests meet both
targets (TTFT 2 s from when they were due, TPOT 100 ms); what fails, is refused
or does not end misses. Arrivals keep the trace's gaps, stretched to the rate;
lengths are the trace's times --scale, to fit the host: at full length llama.cpp
needs more than 2 s for a median prompt alone, and its goodput would be 0.

Both servers are up during the whole run; probes of the two searches alternate,
then both are confirmed at what was found, in turn, on requests not seen
before, and step down until they hold. Prompts are never repeated, so nobody's
prefix cache helps. llama-server gets the best of a few settings, by what a
closed loop gets through; --llama-flags sets them instead.
"""
import argparse
import contextlib
import shlex
import sys
import tempfile

import live_run
from live_run import Braid, LlamaServer, Report, load, unpack_trace

# -np is what runs side by side; prompts are processed in pieces of -ub, between
# decode steps when they are smaller than -b.
LLAMA_CANDIDATES = [
    ["-np", 8, "-fa", "on"],
    ["-np", 16, "-fa", "on"],
    ["-np", 16, "-fa", "off"],
    ["-np", 32, "-fa", "on"],
    ["-np", 16, "-fa", "on", "-b", 256, "-ub", 256],
    ["-np", 16, "-fa", "on", "-b", 128, "-ub", 128],
]


class Search:
    """The highest rate that a server holds: up by half until it fails, down
    until it holds, then halving the interval to within 8 %."""

    def __init__(self, server, rate):
        self.server, self.rate = server, rate
        self.held, self.failed = None, None
        self.probes = []

    def done(self):
        return self.rate < 0.01 or (self.held is not None and self.failed is not None
                                    and self.failed / self.held < 1.08)

    def probe(self, options, common, row, seed):
        summary, _ = load(self.server, rate=self.rate, trace_from=row, seed=seed,
                          seconds=max(options.seconds, options.requests / self.rate),
                          **common)
        held = summary["attainment"] >= options.attainment
        self.probes.append({"server": self.server.name, "rate": self.rate,
                            "attainment": summary["attainment"],
                            "ttft_p90_ms": summary["ttft_ms"]["p90"],
                            "tpot_p90_ms": summary["tpot_ms"]["p90"],
                            "refused": summary["refused_share"],
                            "others": summary["taken_by_others"]})
        print(f"  {self.server.name:12} {self.rate:7.3f}/s attains "
              f"{summary['attainment']:.3f} (others took {summary['taken_by_others']:.2f})",
              flush=True)
        return held

    def step(self, held):
        if held:
            self.held = max(self.held or 0, self.rate)
        else:
            self.failed = min(self.failed or self.rate, self.rate)
        if self.failed is None:
            self.rate *= 1.5
        elif self.held is None:
            self.rate /= 1.5
        else:
            self.rate = (self.held * self.failed) ** 0.5


def llama_flags(options, more):
    slots = int(more[more.index("-np") + 1])
    return ["-t", 2, "-cb", "--no-webui", "-c", slots * options.max_tokens, *more]


def tune_llama(options, common, report):
    if options.llama_flags:
        return shlex.split(options.llama_flags)
    tried = []
    for round_ in range(options.tuning_rounds):
        for flags in LLAMA_CANDIDATES:
            with LlamaServer(options.llama, *llama_flags(options, flags)) as server:
                summary, _ = load(server, arrivals=f"closed:{flags[1]}", rate=30,
                                  seconds=options.tuning_seconds, warm_up=options.tuning_seconds / 5,
                                  seed=500 + round_, **common)
            tried.append((summary["ended_per_second"], flags))
            print(f"  llama-server {shlex.join(map(str, flags))}: "
                  f"{summary['ended_per_second']:.3g} requests/s", flush=True)
    best = max(LLAMA_CANDIDATES, key=lambda f: sum(rate for rate, g in tried if g is f))
    report.data["llama_tuning"] = [
        {"flags": shlex.join(map(str, flags)), "per_second": rate} for rate, flags in tried]
    return best


def compare(options, common, braid, llama, report):
    searches = [Search(braid, options.braid_rate), Search(llama, options.llama_rate)]
    row = options.trace_from
    while not all(s.done() for s in searches) and len(searches[0].probes) < 20:
        for search in searches:
            if not search.done():
                search.step(search.probe(options, common, row, 1000 + row))
        row += 500
    # A search is lucky in its last step as often as not: what counts is what
    # holds in most of several runs.
    for search in searches:
        search.rate = search.held or 0
    confirmed = {}
    while len(confirmed) < 2:
        held = {s: [] for s in searches if s not in confirmed}
        for _ in range(options.confirmations):
            for search, outcomes in held.items():
                outcomes.append(search.rate > 0.01 and
                                search.probe(options, common, row, 1000 + row))
            row += 500
        for search, outcomes in held.items():
            if sum(outcomes) * 2 > len(outcomes) or search.rate <= 0.01:
                confirmed[search] = search.rate if search.rate > 0.01 else 0
            else:
                search.rate *= 0.93
    report.data["probes"] = searches[0].probes + searches[1].probes
    return [confirmed[s] for s in searches]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama", required=True, help="folder of llama-server")
    parser.add_argument("--trace", required=True, help="Azure's CSV, may be gzipped")
    parser.add_argument("--trace-from", type=int, default=0, help="first row")
    parser.add_argument("--scale", type=float, default=0.125, help="of the trace's lengths")
    parser.add_argument("--max-tokens", type=int, default=2048, help="prompt and answer")
    parser.add_argument("--seconds", type=float, default=30, help="of a probe, at least")
    parser.add_argument("--requests", type=int, default=30, help="in a probe, at least")
    parser.add_argument("--attainment", type=float, default=0.9)
    parser.add_argument("--ttft", type=float, default=2, help="target, seconds")
    parser.add_argument("--tpot", type=float, default=0.1, help="target, seconds")
    parser.add_argument("--confirmations", type=int, default=3)
    parser.add_argument("--tuning-seconds", type=float, default=25)
    parser.add_argument("--tuning-rounds", type=int, default=2)
    parser.add_argument("--llama-flags", help="instead of tuning: '-np 16 -fa on'")
    parser.add_argument("--braid-rate", type=float, default=6, help="where to begin")
    parser.add_argument("--llama-rate", type=float, default=0.8, help="where to begin")
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--out", default=str(live_run.RESULTS / "goodput_llama"))
    options = parser.parse_args()
    report = Report(
        "Goodput over llama-server's", shlex.join(
            ["bench/goodput_llama.py", "--llama", "DIR", "--trace", "FILE",
             *(a for a in sys.argv[1:] if a.startswith("--scale"))]),
        f"Highest rate at which {options.attainment:.0%} of the requests have TTFT <= "
        f"{options.ttft:g} s and TPOT <= {options.tpot * 1e3:g} ms; Azure's conversation "
        f"trace, lengths times {options.scale:g}.")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        lengths = f"trace*{options.scale}"
        common = {"arrivals": "trace", "trace": unpack_trace(options.trace, folder),
                  "prompt_tokens": lengths, "output_tokens": lengths,
                  "max_tokens": options.max_tokens, "ttft": options.ttft,
                  "tpot": options.tpot, "patience": 10}
        flags = tune_llama(options, {k: v for k, v in common.items() if k != "arrivals"},
                           report)
        print(f"llama-server runs with {shlex.join(map(str, flags))}", flush=True)
        braid = stack.enter_context(Braid(*shlex.split(options.server_flags)))
        llama = stack.enter_context(LlamaServer(options.llama, *llama_flags(options, flags)))
        for server in (braid, llama):
            load(server, rate=2, seconds=3, seed=999, **common)
        rates = compare(options, common, braid, llama, report)
    report.table("Goodput", [
        {"server": "braid", "requests/s": rates[0]},
        {"server": "llama-server " + shlex.join(map(str, flags)), "requests/s": rates[1]}])
    report.claim(f"goodput over llama-server's, lengths x {options.scale:g}",
                 rates[0] / rates[1] if rates[1] else float("inf"), 4, aim=8)
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
