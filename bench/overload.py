#!/usr/bin/env python3
"""Braid at half, full and twice its capacity, in open loop.

  bench/overload.py [--seconds 120] [--out bench/results/overload]
                    [--server-flags='--split on']

Capacity is what a closed loop of many clients gets through. Then the same mix
arrives by Poisson at 0.5x, 1x and 2x of it. At 2x, what is let in must keep its
targets, the rest must be refused at once and told when to come back, and no
less may be got through than at 1x. Whether the time told is right is measured
by bursts: when a burst is over, a request that is refused with retry-after-ms R
is offered again and again until it is let in, after D. R is right within 2x when
D <= 2 R and R <= 2 D. Nobody is told less than 50 ms: that much R may be more.
Bursts are repeated until as many as asked for told something, or twice as many
were tried: now and then there is a place for whoever comes when one ends.
The stages of each answered request must sum to its wall time.
"""
import argparse
import http.client
import json
import random
import shlex
import sys
import time

import live_run
from live_run import Braid, Load, Report, load

BURST = 6  # of capacity
LEAST_TOLD = 0.05  # seconds: the server's least
TIMED = '"return_timings":true'
# Stages: every "..._ms" of the server's timings but these, which span several or are guesses.
SPANS = ("total_ms", "time_to_first_token_ms", "predicted_time_to_first_token_ms")


def offer(server, options, seed):
    """Asks once: (status, seconds to come back after, when it was sent)."""
    rng = random.Random(seed)
    body = {"prompt": [rng.randrange(1000, 10000) for _ in range(options.probe_tokens)],
            "max_tokens": 1, "ignore_eos": True}
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=120)
    sent = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body),
                       {"Content-Type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    after = float(reply.getheader("retry-after-ms") or "nan") / 1e3
    connection.close()
    return reply.status, after, sent


def drain_episode(server, options, rate, seed):
    """A burst, then the drain: what was told, and what was true."""
    burst = Load(server, records=False, rate=rate, seconds=options.burst, seed=seed,
                 prompt_tokens=options.prompt, output_tokens=options.output)
    # It takes a moment to start; a little early is as good.
    time.sleep(options.burst)
    status, told, first = offer(server, options, seed)
    episode = {"first_status": status, "told": told, "seen": None}
    while status == 429 and time.monotonic() - first < 60:
        time.sleep(max(0.01, min(told / 40, 0.05)))
        status, _, sent = offer(server, options, seed)
        episode["seen"] = sent - first
    burst.finish()
    return episode


def right_within_2x(episode):
    told, seen = episode["told"], episode["seen"]
    return seen <= 2 * told and (told <= 2 * seen or told - seen <= LEAST_TOLD)


def stage_error(record, wall):
    stages = sum(v for k, v in record["timings"].items()
                 if k.endswith("_ms") and k not in SPANS)
    return abs(stages - wall) / wall


def check_stages(report, phases):
    answered = [r for _, records in phases.values() for r in records
                if r["outcome"] == "ok"]
    timed = [r for r in answered if "timings" in r]
    report.claim("answered requests that came with stage times",
                 len(timed) / max(len(answered), 1), 1)
    if not timed:
        return
    server = [stage_error(r, r["timings"]["total_ms"]) for r in timed]
    client = [stage_error(r, (r["ended"] - r["sent"]) * 1e3) for r in timed]
    report.claim("largest error of the stages' sum against the server's wall time",
                 max(server), 0.01, at_least=False)
    report.claim("share of requests whose stages sum to the client's wall time within 1 %",
                 sum(e <= 0.01 for e in client) / len(client), 0.99)
    report.data["stage_error_client"] = {
        p: live_run.percentile(client, q) for p, q in
        (("p50", .5), ("p99", .99), ("max", 1))}


def row(name, summary):
    return {"load": name, "offered/s": summary["offered_per_second"],
            "answered/s": summary["ended_per_second"],
            "tokens/s in": summary["prompt_tokens_per_second"],
            "tokens/s out": summary["output_tokens_per_second"],
            "refused": summary["refused_share"],
            "of admitted in target": summary["attainment_of_admitted"],
            "goodput/s": summary["goodput_per_second"],
            "TTFT p50 ms": summary["ttft_ms"]["p50"],
            "TTFT p99 ms": summary["ttft_ms"]["p99"],
            "TPOT p50 ms": summary["tpot_ms"]["p50"],
            "TPOT p99 ms": summary["tpot_ms"]["p99"],
            "others": summary["taken_by_others"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=120, help="of each load")
    parser.add_argument("--capacity-seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=32, help="of the closed loop")
    parser.add_argument("--capacity", type=float, help="requests/s; not measured then")
    parser.add_argument("--prompt", default="100-600", help="tokens")
    parser.add_argument("--output", default="20-100", help="tokens")
    parser.add_argument("--ttft", type=float, default=2, help="target, seconds")
    parser.add_argument("--tpot", type=float, default=0.1, help="target, seconds")
    parser.add_argument("--episodes", type=int, default=12, help="bursts that tell")
    parser.add_argument("--burst", type=float, default=6, help="seconds")
    parser.add_argument("--probe-tokens", type=int, default=350)
    parser.add_argument("--server-flags", default="", help="more of braid serve's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=str(live_run.RESULTS / "overload"))
    options = parser.parse_args()
    mix = {"prompt_tokens": options.prompt, "output_tokens": options.output,
           "ttft": options.ttft, "tpot": options.tpot, "more_body": TIMED}
    report = Report("Overload", shlex.join(["bench/overload.py", *sys.argv[1:]]),
                    f"Poisson arrivals, {options.seconds:g} s each; prompts of "
                    f"{options.prompt} and answers of {options.output} tokens; targets "
                    f"TTFT {options.ttft:g} s, TPOT {options.tpot * 1e3:g} ms. 'others' is "
                    "the share of the processors that other processes took meanwhile.")
    warm = options.seconds / 12
    with Braid(*shlex.split(options.server_flags)) as server:
        load(server, arrivals="closed:8", rate=20, seconds=5, seed=90, **mix)  # warms up
        capacity = options.capacity
        if capacity is None:
            summary, _ = load(server, arrivals=f"closed:{options.clients}", rate=100,
                              seconds=options.capacity_seconds, seed=options.seed,
                              warm_up=options.capacity_seconds / 5, **mix)
            capacity = summary["ended_per_second"]
            report.data["capacity_run"] = summary
        print(f"capacity: {capacity:.3g} requests/s", flush=True)
        phases = {}
        for i, share in enumerate((0.5, 1, 2)):
            phases[share] = load(server, rate=capacity * share, seconds=options.seconds,
                                 warm_up=warm, seed=options.seed + 1 + i, **mix)
        episodes, told = [], []
        while len(told) < options.episodes and len(episodes) < 2 * options.episodes:
            episodes.append(drain_episode(server, options, BURST * capacity,
                                          options.seed + 10 + len(episodes)))
            if episodes[-1]["first_status"] == 429 and episodes[-1]["seen"] is not None:
                told.append(episodes[-1])

    report.data["capacity_per_second"] = capacity
    report.table("Loads", [row(f"{share}x", phases[share][0]) for share in phases])
    full, double = phases[1][0], phases[2][0]
    report.claim("at 2x, admitted requests that kept their targets",
                 double["attainment_of_admitted"], 0.95)
    tokens = lambda s: s["prompt_tokens_per_second"] + s["output_tokens_per_second"]  # noqa: E731
    report.claim("tokens/s at 2x over 1x", tokens(double) / tokens(full), 0.95)
    wrong = [r for _, records in phases.values() for r in records
             if r["outcome"] not in ("ok", "refused")]
    report.claim("requests that were neither answered nor refused", len(wrong), 0,
                 at_least=False)
    refused = [r for r in phases[2][1] if r["outcome"] == "refused"]
    report.claim("at 2x, share refused", double["refused_share"], 0.2)
    report.claim("refusals with a Retry-After",
                 sum(r["retry_after"] > 0 for r in refused) / len(refused)
                 if refused else float("nan"), 1)
    report.claim("bursts that told when to come back", len(told), options.episodes)
    report.claim("bursts whose Retry-After was right within 2x",
                 sum(map(right_within_2x, told)) / len(told) if told else float("nan"), 0.95)
    report.table("Drains after bursts, seconds",
                 [{"told": e["told"], "seen": e["seen"]} for e in told])
    check_stages(report, phases)
    report.data["summaries"] = {str(k): v[0] for k, v in phases.items()}
    report.data["episodes"] = episodes
    report.write(options.out)
    sys.exit(report.exit_code())


if __name__ == "__main__":
    main()
