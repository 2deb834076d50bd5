#!/usr/bin/env python3
"""What best-of-n costs those who did not ask for it, on the live server.

  bench/best_of_load.py [--rounds 3] [--seconds 24] [--best-of 4]
                        [--out bench/results/best_of_load]

An open-loop load of other requests, and beside it a client that asks for an
answer every few seconds: in turns for one candidate and for the best of several.
Both modes meet the same load, and the prefix cache is off, so that the second
finds nothing of the first. Ratios are taken within a round, and their median is
quoted. Of the client it is told how many candidates were complete in time, how
often the best was not the first, and how much longer it waited.
"""
import argparse
import json
import shlex
import statistics
import sys
import threading
import time
import urllib.request

import live_run
from live_run import Braid, Load, Report, load, percentile, spread, tpot


class Asker:
    """Asks every `period` seconds, whether the last answer is there or not."""

    def __init__(self, server, best_of, options, number=0):
        self.server, self.best_of, self.options = server, best_of, options
        self.number = number
        self.answers, self.stop = [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def ask(self, number):
        body = {"prompt": f"Number {number}. Once upon a time there was a",
                "max_tokens": self.options.answer, "seed": 1000 * number}
        if self.best_of > 1:
            body["best_of"] = self.best_of
        started = time.monotonic()
        request = urllib.request.Request(
            self.server.url + "/v1/completions", json.dumps(body).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            usage = json.load(reply)["usage"]
        self.answers.append({"seconds": time.monotonic() - started,
                             **usage.get("best_of", {})})

    def run(self):
        threads = []
        while not self.stop.wait(self.options.period):
            self.number += 1
            threads.append(threading.Thread(target=self.ask, args=(self.number,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def finish(self):
        self.stop.set()
        self.thread.join()
        return self.answers


def measure(server, best_of, options, seed):
    asker = Asker(server, best_of, options)
    under_way = Load(server, arrivals="poisson", rate=options.rate,
                     seconds=options.seconds, warm_up=options.seconds / 8, seed=seed,
                     prompt_tokens=options.prompt, output_tokens=options.output,
                     ttft=2, tpot=0.1)
    summary, records = under_way.finish(settle=False)
    answers = asker.finish()
    server.settle()
    answered = [r for r in records if r["outcome"] == "ok"]
    return {"best_of": best_of, "summary": summary, "answers": answers,
            "ttft": [(r["first_token"] - r["due"]) * 1e3 for r in answered],
            "tpot": [tpot(r) * 1e3 for r in answered if r["output_tokens"] > 1]}


def row(number, run):
    s = run["summary"]
    asked = [a for a in run["answers"] if "complete" in a]
    return {"round": number, "best of": run["best_of"],
            "complete": statistics.mean(a["complete"] for a in asked) if asked else None,
            "not the first": (sum(a["chosen"] > 0 for a in asked) / len(asked)
                              if asked else None),
            "its seconds": statistics.median(a["seconds"] for a in run["answers"]),
            "attainment": s["attainment"],
            "TTFT p50 ms": percentile(run["ttft"], .5),
            "TTFT p90 ms": percentile(run["ttft"], .9),
            "TPOT p50 ms": percentile(run["tpot"], .5),
            "TPOT p99 ms": percentile(run["tpot"], .99),
            "others": s["taken_by_others"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=24, help="of each load")
    parser.add_argument("--rate", type=float, default=1, help="others' requests/s")
    parser.add_argument("--prompt", default="96", help="others' tokens")
    parser.add_argument("--output", default="40", help="others' tokens")
    parser.add_argument("--period", type=float, default=2, help="seconds")
    parser.add_argument("--answer", type=int, default=64, help="most tokens")
    parser.add_argument("--best-of", type=int, default=4)
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(live_run.RESULTS / "best_of_load"))
    options = parser.parse_args()
    report = Report(
        "What best-of-n costs others",
        shlex.join(["bench/best_of_load.py", *sys.argv[1:]]),
        f"{options.rate:g} other requests a second (Poisson), prompts of "
        f"{options.prompt} and answers of {options.output} tokens, latencies are "
        f"theirs; an answer of at most {options.answer} tokens asked for every "
        f"{options.period:g} s, as the best of so many. 'others' is the share of the "
        "processors that other processes took meanwhile.")
    rounds = []
    with Braid("--no-prefix-cache", *shlex.split(options.server_flags)) as server:
        load(server, arrivals="closed:3", rate=20, seconds=6, seed=90,
             prompt_tokens=options.prompt, output_tokens=options.output)
        # What rows of candidates cost is learned from such rows.
        warm_up = Asker(server, options.best_of, options, number=1000)
        time.sleep(3 * options.period)
        warm_up.finish()
        for number in range(options.rounds):
            order = (1, options.best_of) if number % 2 == 0 else (options.best_of, 1)
            rounds.append({n: measure(server, n, options, options.seed + number)
                           for n in order})
    report.table("rounds", [row(i + 1, run) for i, r in enumerate(rounds)
                            for run in r.values()])

    def ratios(of):
        return spread([of(r[options.best_of]) / of(r[1]) for r in rounds])

    table = []
    for name, p in (("ttft", .5), ("ttft", .9), ("tpot", .5), ("tpot", .99)):
        table.append({"of": f"others' {name.upper()} p{round(p * 100)}",
                      **ratios(lambda run: percentile(run[name], p))})
    table.append({"of": "the client's seconds",
                  **ratios(lambda run: statistics.median(
                      a["seconds"] for a in run["answers"]))})
    report.table(f"best of {options.best_of} over one", table)
    report.claim("others' TTFT p50, ratio", table[0]["median"], 1.05, aim=1.02,
                 at_least=False)
    report.claim("others' attainment, difference",
                 spread([r[options.best_of]["summary"]["attainment"]
                         - r[1]["summary"]["attainment"] for r in rounds])["median"],
                 -0.005)
    report.data = {"answers": [{n: run["answers"] for n, run in r.items()}
                               for r in rounds]}
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
