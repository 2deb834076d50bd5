#!/usr/bin/env python3
"""One request alone on the machine: TTFT and tokens/s under --split auto, next
to one device that has all the cores, in turn.

  bench/alone.py [--rounds 15] [--out bench/results/alone]

Both servers are up during the whole run; the one that is not asked sleeps. A
ratio is taken within a round; their median is quoted with its quartiles.
"""
import argparse
import http.client
import json
import os
import pathlib
import random
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
from braid_server import BraidServer  # noqa: E402

WORDS = "river stone light engine copper winter garden signal paper music".split()
OUTPUT_TOKENS = 100


def ask(server, prompt):
    """(seconds to the first token, tokens per second after it)"""
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    body = json.dumps({"stream": True, "temperature": 0, "ignore_eos": True,
                       "max_tokens": OUTPUT_TOKENS,
                       "messages": [{"role": "user", "content": prompt}]})
    start = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body,
                       {"Content-Type": "application/json"})
    reply = connection.getresponse()
    stamps = []
    for line in reply:
        if line.startswith(b"data: {") and b'"content":"' in line and \
                b'"role"' not in line:
            stamps.append(time.perf_counter())
    connection.close()
    return stamps[0] - start, (OUTPUT_TOKENS - 1) / (stamps[-1] - stamps[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--words", type=int, default=400, help="of the prompt")
    parser.add_argument("--out", default=None)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    rng = random.Random(3)
    flags = ("--no-prefix-cache", "--kv-memory", "256MiB")
    one = "both=cpu:" + "+".join(map(str, cores))
    results = {"auto": [], "one device": []}
    with BraidServer("--split", "auto", *flags) as auto, \
            BraidServer("--split", "off", "--devices", one, *flags) as single:
        for i in range(-2, options.rounds):  # The first two warm up.
            prompt = " ".join(rng.choice(WORDS) for _ in range(options.words))
            order = [("auto", auto), ("one device", single)]
            for name, server in order if i % 2 else reversed(order):
                figures = ask(server, prompt)
                if i >= 0:
                    results[name].append(figures)
    for index, what in ((0, "TTFT"), (1, "tokens/s")):
        pairs = [(a[index], b[index])
                 for a, b in zip(results["auto"], results["one device"])]
        low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
        print(f"{what:9} auto {statistics.median(a for a, _ in pairs):.4g}, one device "
              f"{statistics.median(b for _, b in pairs):.4g}, auto / one device "
              f"{middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    if options.out:
        pathlib.Path(options.out).with_suffix(".json").write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
