#!/usr/bin/env python3
"""What prompts that arrive cost the answers under way: p99 TPOT of running
decodes with a 1,500-token prompt every second, against none.

  bench/interference.py [--rounds 5] [--out bench/results/interference]

Each measurement starts a batch of requests with short prompts and answers of
one length, which then decode side by side; TPOT is that of each of them, p99
over all of a round. Four of them per round, one after the other: with and
without prompts, under --split on without core lending (decode on cores of its
own) and under --split auto. Ratios are taken within a round; their median is
quoted. Servers not asked sleep.
"""
import argparse
import contextlib
import shlex
import sys
import time

import live_run
from live_run import Braid, Load, Report, percentile, spread, tpot


def measure(server, options, prompts, seed):
    """Figures of one batch of decodes, in ms."""
    decodes = Load(server, arrivals="uniform", rate=options.decodes / 0.1, seconds=0.1,
                   prompt_tokens=options.decode_prompt, output_tokens=options.tokens,
                   seed=seed, token_times=True, patience=300)
    disturbance = None
    if prompts:
        # They decode by then: what is asked for is not what prompts cost prompts.
        time.sleep(options.lead)
        disturbance = Load(server, arrivals="uniform", rate=options.rate,
                           seconds=600, prompt_tokens=options.prompt, output_tokens=1,
                           seed=seed + 1)
    summary, records = decodes.finish(settle=False)
    prompts_sent, prompts_answered, prompts_refused = 0, 0, 0
    if disturbance:
        outcomes = [r["outcome"] for r in disturbance.stop()[1]]
        prompts_sent = len(outcomes)
        prompts_answered, prompts_refused = outcomes.count("ok"), outcomes.count("refused")
    server.settle()
    bad = [r for r in records if r["outcome"] != "ok"]
    if bad:
        sys.exit(f"{len(bad)} of {len(records)} decodes were not answered: "
                 f"{[(r['outcome'], r['error']) for r in bad if 'error' in r]}")
    gaps = [b - a for r in records
            for a, b in zip(r["token_times"], r["token_times"][1:])]
    return {"p99_tpot": percentile(map(tpot, records), .99) * 1e3,
            "p50_tpot": percentile(map(tpot, records), .5) * 1e3,
            "p99_gap": percentile(gaps, .99) * 1e3, "longest_gap": max(gaps) * 1e3,
            "ttft_p50": summary["ttft_ms"]["p50"],
            "prompts": prompts_sent, "answered": prompts_answered,
            "refused": prompts_refused, "others": summary["taken_by_others"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--decodes", type=int, default=8, help="side by side")
    parser.add_argument("--decode-prompt", type=int, default=32, help="tokens")
    parser.add_argument("--tokens", type=int, default=1000, help="of each answer")
    parser.add_argument("--prompt", type=int, default=1500, help="tokens")
    parser.add_argument("--rate", type=float, default=1, help="prompts per second")
    parser.add_argument("--lead", type=float, default=0.5,
                        help="seconds of decode before the first prompt")
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(live_run.RESULTS / "interference"))
    options = parser.parse_args()
    report = Report(
        "Interference", shlex.join(["bench/interference.py", *sys.argv[1:]]),
        f"{options.decodes} requests decode {options.tokens} tokens each, with "
        f"{options.rate:g} prompt(s) of {options.prompt} tokens arriving per second and "
        f"without; medians of {options.rounds} rounds, ms. 'others' is the share of the "
        "processors that other processes took.")
    # Prompts that take a core a second each must not be refused for being late.
    more = ["--class", "patient:ttft=60s,tpot=100ms", *shlex.split(options.server_flags)]
    figures = {}
    with contextlib.ExitStack() as stack:
        servers = {
            "own cores": stack.enter_context(
                Braid("--split", "on", "--no-lend-cores", "--kv-memory", "1GiB", *more)),
            "auto": stack.enter_context(
                Braid("--split", "auto", "--kv-memory", "1GiB", *more))}
        for i in range(-1, options.rounds):  # The first warms up.
            for name, server in servers.items():
                for prompts in (False, True) if i % 2 else (True, False):
                    seed = options.seed + 100 * (i + 2) + 10 * prompts
                    result = measure(server, options, prompts, seed)
                    if i >= 0:
                        figures.setdefault((name, prompts), []).append(result)
            print(f"round {i + 1} of {options.rounds}", file=sys.stderr)

    def ratios(name, base, key):
        return [w[key] / b[key] for w, b in zip(figures[name, True], figures[base, False])]

    rows = []
    for (name, prompts), rounds in figures.items():
        rows.append({"server": name,
                     **{k: percentile([r[k] for r in rounds], .5) for k in rounds[0]}})
    report.table("Medians, ms", rows)
    own = spread(ratios("own cores", "own cores", "p99_tpot"))
    auto = spread(ratios("auto", "own cores", "p99_tpot"))
    report.table("p99 TPOT with prompts over without", [
        {"of": "own cores", "over": "own cores", **own},
        {"of": "auto", "over": "own cores", **auto},
        *({"of": name, "over": name, **spread(ratios(name, name, "p99_tpot"))}
          for name in servers if name != "own cores")])
    report.claim("split on, no lending: p99 TPOT with prompts over without", own["median"],
                 1.3, aim=1.1, at_least=False)
    report.claim("auto with prompts over decode on its own cores without, p99 TPOT",
                 auto["median"], 1.3, at_least=False)
    report.data["rounds"] = [{"server": name, **r}
                             for (name, prompts), rs in figures.items() for r in rs]
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
