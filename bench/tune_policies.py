#!/usr/bin/env python3
"""Finds each placement policy's best settings, with equal effort: eight trials
each over the grid below, one search for the capacity a trial, the most requests
per second within both targets wins: what compare_policies.py compares.

  bench/tune_policies.py --binary build/release/tests/simulator/braid_simulate \
      [--trace bench/traces/conversation_trace.jsonl.gz] \
      [--cluster bench/clusters/h200x16_qwen3_32b.json] [--requests 4000] \
      [--jobs 2] [--out bench/results/replay_tuning.json]

The first 4,000 requests, so that what is compared later is mostly not what was
tuned on. compare_policies.py reads the result.
"""
import argparse
import itertools
import json
import pathlib
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent


def grid(policy, layouts, **parameters):
    names = list(parameters)
    for layout, *values in itertools.product(layouts, *parameters.values()):
        settings = ",".join(f"{n}={v}" for n, v in zip(names, values))
        yield (f"{policy}:{settings}" if settings else policy), layout


def grids(workers):
    """Eight trials a policy. Layouts keep the shares of 8 workers."""
    def split(decode):
        d = max(1, round(decode * workers / 8))
        return f"{workers - d}P{d}D"
    p7, p6, p5, p4 = split(1), split(2), split(3), split(4)
    refuse = [0, 1]
    return {
        # Ours chooses the split itself; what it is tuned on are its weights.
        "braid": list(grid("braid", ["auto"], work=[0.5, 1, 2, 4],
                           late=[8, 24])),
        "round-robin": list(grid("round-robin", [p7, p6, p5, p4],
                                 refuse=refuse)),
        "least-load": list(grid("least-load", [p7, p6, p5, p4],
                                refuse=refuse)),
        # Its weight of the overlap decides nothing where prefill workers have
        # no decode blocks.
        "dynamo": list(grid("dynamo", [p7, p6, p5, p4], refuse=refuse)),
        "mooncake": list(grid("mooncake", [p7, p6, p5, p4], refuse=refuse)),
        "sticky": list(grid("sticky", [p6, p5],
                            saturation=[32768, 131072], refuse=refuse)),
        "aggregated": list(grid(
            "aggregated", ["off"],
            router=["round-robin", "least-load", "dynamo", "sticky"],
            refuse=refuse)),
    }


def replay(binary, trace, cluster, policy, layout, *more):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [binary, "--trace", trace, "--cluster", cluster, "--policy", policy,
             "--layout", layout, "--out", out, *map(str, more)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        name = "capacity.json" if "--goodput-search" in more else "result.json"
        return json.loads((pathlib.Path(out) / name).read_text())


def workers_of(cluster):
    nodes = json.loads(pathlib.Path(cluster).read_text())["nodes"]
    return sum(n.get("count", 1) * (n.get("both", 0) + n.get("prefill", 0) +
                                    n.get("decode", 0)) for n in nodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--trace", default=str(
        ROOT / "bench/traces/conversation_trace.jsonl.gz"))
    parser.add_argument("--cluster", default=str(
        ROOT / "bench/clusters/h200x16_qwen3_32b.json"))
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--policies", default="",
                        help="only these; what --out holds of others is kept")
    parser.add_argument("--jobs", type=int, default=1,
                        help="trials at a time")
    parser.add_argument("--out", default=str(
        ROOT / "bench/results/replay_tuning.json"))
    args = parser.parse_args()

    chosen = {}
    path = pathlib.Path(args.out)
    if args.policies and path.exists():
        found = json.loads(path.read_text())
        if found["requests"] != args.requests:
            parser.error(f"{path} is of {found['requests']} requests")
        chosen = found["policies"]
    for name, trials in grids(workers_of(args.cluster)).items():
        if args.policies and name not in args.policies.split(","):
            continue
        assert len(trials) == 8, name

        def trial(settings):
            policy, layout = settings
            result = replay(args.binary, args.trace, args.cluster, policy,
                            layout, "--max-requests", args.requests,
                            "--goodput-search", "--attainments", "0.9")
            at = result["capacity"][0]
            print(f"{policy:40} {layout:6} scale {at['scale']:.3f} goodput "
                  f"{at['goodput_requests_per_s']:.3f}/s", flush=True)
            return {"policy": policy, "layout": layout, **at}
        with ThreadPoolExecutor(args.jobs) as pool:
            rows = list(pool.map(trial, trials))
        best = max(rows, key=lambda row: row["goodput_requests_per_s"])
        chosen[name] = {"best": best, "trials": rows}
        path.write_text(json.dumps(
            {"trace": pathlib.Path(args.trace).name,
             "cluster": pathlib.Path(args.cluster).name,
             "requests": args.requests,
             "policies": chosen}, indent=1) + "\n")


if __name__ == "__main__":
    main()
