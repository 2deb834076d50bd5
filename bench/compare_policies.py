#!/usr/bin/env python3
"""Our placement policy against the tuned baselines, and the automatic split
against static layouts, in the replay of public traces.

  bench/compare_policies.py --binary build/release/tests/simulator/braid_simulate \
      [--parts capacity,regret] [--requests 0] [--out bench/results/replay]

capacity: 16 x H200, Qwen3-32B, TP2, conversation trace: the highest load at
which 90 % of the requests that could meet their targets at all do (TTFT 2 s,
mean time between tokens 25 ms), with the settings of tune_policies.py.
regret: three traces x three clusters, our policy, one load per cell: the
automatic split against every static layout and none. The load is found per
cell: the recorded rate times a power of two at which the even layouts are
pressed (their best serves under 95 % of what is feasible).

Writes OUT_capacity.json, OUT_regret.json, OUT.md and OUT.png.
"""
import argparse
import json
import pathlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tune_policies import ROOT, replay, workers_of

TRACES = ["conversation_trace.jsonl.gz", "synthetic_trace.jsonl.gz",
          "AzureLLMInferenceTrace_conv.csv.gz"]
CLUSTERS = ["h200x16_qwen3_32b.json", "h100x8_llama3_8b.json",
            "b200x8_llama3_70b.json"]
SCENARIO_A = (TRACES[0], CLUSTERS[0])


def trace_path(name):
    return str(ROOT / "bench/traces" / name)


def cluster_path(name):
    return str(ROOT / "bench/clusters" / name)


def done(out, part, requests, key):
    """What an earlier run that was interrupted has left."""
    path = pathlib.Path(f"{out}_{part}.json")
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    return found[key] if found["requests"] == requests else []


def refuses(row):
    """Whether our admission control refuses for a baseline; Mooncake's early
    rejection is its own."""
    return "refuse=1" in row["policy"] and "mooncake" not in row["policy"]


def capacity(binary, requests, tuning, jobs, rows, save):
    runs = {"braid, untuned": ("braid", "auto")}
    for name, tuned in tuning["policies"].items():
        runs[name] = (tuned["best"]["policy"], tuned["best"]["layout"])
        # What does better on the part that was tuned on need not do so on all.
        for what, other in (("as published", False), ("refusing as we do", True)):
            of = [row for row in tuned["trials"] if refuses(row) == other]
            if of and refuses(tuned["best"]) != other:
                best = max(of, key=lambda row: row["goodput_requests_per_s"])
                runs[f"{name}, {what}"] = (best["policy"], best["layout"])

    def search(run):
        name, (policy, layout) = run
        found = replay(binary, trace_path(SCENARIO_A[0]),
                       cluster_path(SCENARIO_A[1]), policy, layout,
                       "--goodput-search", "--attainments", "0.9",
                       *(["--max-requests", requests] if requests else []))
        return {"name": name, "policy": policy, "layout": layout,
                **found["capacity"][0]}
    missing = [(name, run) for name, run in runs.items()
               if not any(row["name"] == name for row in rows)]
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(search, missing):
            rows.append(row)
            print(f"{row['policy']:36} {row['layout']:6} scale "
                  f"{row['scale']:.3f} goodput "
                  f"{row['goodput_requests_per_s']:.3f}/s", flush=True)
            save("capacity", {"trace": SCENARIO_A[0], "cluster": SCENARIO_A[1],
                              "requests": requests,
                              "tuned_on": tuning["requests"], "rows": rows})
    return rows


def regret(binary, requests, cells, save):
    for cluster in CLUSTERS:
        n = workers_of(cluster_path(cluster))
        static = ["off"] + [f"{n - d}P{d}D" for d in range(1, n)
                            if d in (1, 2, 3, n // 2, 3 * n // 4)]
        for trace in TRACES:
            if any((c["trace"], c["cluster"]) == (trace, cluster)
                   for c in cells):
                continue

            def met(layout, scale):
                return replay(binary, trace_path(trace), cluster_path(cluster),
                              "braid", layout, "--scale", scale,
                              *(["--max-requests", requests]
                                if requests else []))
            scale = 1.0
            for _ in range(8):
                probe = max(met(layout, scale)["attainment_of_feasible"]
                            for layout in (static[0], static[2]))
                if 0.75 <= probe < 0.95:
                    break
                scale *= 2 if probe >= 0.95 else 0.7
            results = {layout: met(layout, scale) for layout in static}
            auto = met("auto", scale)
            best = max(results, key=lambda layout: results[layout]["met"])
            cell = {"trace": trace, "cluster": cluster, "scale": scale,
                    "feasible": auto["feasible"], "bound": auto["bound"],
                    "auto": auto["met"],
                    "best": best, "best_met": results[best]["met"],
                    "regret": 1 - auto["met"] / results[best]["met"],
                    "layouts": {k: v["met"] for k, v in results.items()}}
            cells.append(cell)
            print(f"{cluster:26} {trace:36} x{scale:g} auto {cell['auto']} "
                  f"best {best} {cell['best_met']} regret "
                  f"{cell['regret']:.1%}", flush=True)
            save("regret", {"requests": requests, "cells": cells})
    return cells


def ratios(ours, others):
    """Over the best baseline as its authors describe it, and over the best of
    those that refuse by our admission control as well."""
    lines = []
    for what, rows in (
            ("the best baseline as published",
             [r for r in others if not refuses(r)]),
            ("the best baseline under our admission control",
             [r for r in others if refuses(r)])):
        best = max(rows, key=lambda r: r["goodput_requests_per_s"],
                   default=None)
        if best is None or not best["goodput_requests_per_s"] > 0:
            continue
        lines += [f"- {r['name']} ({r['policy']}) over {what} "
                  f"({best['policy']}, {best['layout']}): "
                  f"{r['goodput_requests_per_s'] / best['goodput_requests_per_s']:.2f}x"
                  for r in ours]
    return lines


def count_of(requests):
    return f"the first {requests}" if requests else "all"


def write_report(out):
    def load(part):
        path = pathlib.Path(f"{out}_{part}.json")
        return json.loads(path.read_text()) if path.exists() else None
    lines = ["# Replay: placement policies and the automatic split", "",
             "Simulated; see simulator/replay/README.md and "
             "bench/compare_policies.py for what is real and how it was run.",
             ""]
    found = load("capacity")
    if found:
        rows = found["rows"]
        ours = [r for r in rows if r["policy"].startswith("braid")]
        others = [r for r in rows if not r["policy"].startswith("braid")]
        lines += [f"## Goodput on {found['cluster']}, {found['trace']}", "",
                  f"Commit {found['commit']}; {count_of(found['requests'])} "
                  "requests, 90 % of what is feasible within both targets; "
                  f"settings tuned on {count_of(found['tuned_on'])}.", "",
                  "| policy | layout | load x recorded | goodput, requests/s |",
                  "|---|---|---|---|"]
        lines += [f"| {r['policy']} | {r['layout']} | {r['scale']:.2f} | "
                  f"{r['goodput_requests_per_s']:.2f} |"
                  for r in sorted(rows, key=lambda r:
                                  -r["goodput_requests_per_s"])]
        if "bound_scale" in rows[0]:
            lines += ["", "No policy exceeds "
                      f"{rows[0]['bound_requests_per_s']:.1f} requests/s (load x "
                      f"{rows[0]['bound_scale']:.1f}; it picks the cheapest "
                      "requests, and is granted more than any cluster has). With "
                      "nobody refused every worker would be busy all the time at "
                      f"x{rows[0]['full_load_scale']:.2f}."]
        lines += [""] + ratios(ours, others)
    found = load("regret")
    if found:
        lines += ["", "## Regret of the automatic split", "",
                  f"Commit {found['commit']}; requests within both targets; "
                  f"{count_of(found['requests'])} requests of each trace.", "",
                  "| cluster | trace | load | feasible | bound | auto | best "
                  "static | regret |", "|---|---|---|---|---|---|---|---|"]
        lines += [f"| {c['cluster']} | {c['trace']} | x{c['scale']:g} | "
                  f"{c['feasible']} | {c['bound']} | {c['auto']} | {c['best']}: "
                  f"{c['best_met']} | {c['regret']:.1%} |"
                  for c in found["cells"]]
        lost = [c for c in found["cells"] if c["regret"] > 0.02]
        lines += ["", f"Cells that lose more than 2 %: {len(lost)} of "
                  f"{len(found['cells'])}."]
    pathlib.Path(f"{out}.md").write_text("\n".join(lines) + "\n")
    draw(out, load("capacity"), load("regret"))


def draw(out, capacity_found, regret_found):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2))
    if capacity_found:
        rows = sorted(capacity_found["rows"],
                      key=lambda r: r["goodput_requests_per_s"])
        axes[0].barh([f"{r['policy']} ({r['layout']})" for r in rows],
                     [r["goodput_requests_per_s"] for r in rows],
                     color=["#0072b2" if r["policy"].startswith("braid")
                            else "#999999" for r in rows])
        axes[0].set_xlabel("goodput at 90 % of feasible, requests/s")
        axes[0].tick_params(axis="y", labelsize=7)
    if regret_found:
        cells = regret_found["cells"]
        labels = [f"{c['cluster'].split('_')[0]}, {c['trace'].split('_')[0][:12]}"
                  for c in cells]
        axes[1].bar(labels, [100 * c["regret"] for c in cells],
                    color="#0072b2")
        axes[1].axhline(8, color="#b00", linestyle="--", linewidth=1)
        axes[1].set_ylabel("regret of auto, % of the best static layout")
        axes[1].tick_params(axis="x", labelsize=7, rotation=60)
    figure.tight_layout()
    figure.savefig(f"{out}.png", dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--parts", default="capacity,regret")
    parser.add_argument("--requests", type=int, default=0,
                        help="the first N of each trace; 0: all")
    parser.add_argument("--jobs", type=int, default=2,
                        help="searches for capacity at a time")
    parser.add_argument("--resume", action="store_true",
                        help="keep what OUT_*.json hold already")
    parser.add_argument("--tuning", default=str(
        ROOT / "bench/results/replay_tuning.json"))
    parser.add_argument("--out", default=str(ROOT / "bench/results/replay"))
    args = parser.parse_args()
    if "capacity" in args.parts and not pathlib.Path(args.tuning).exists():
        parser.error(f"no {args.tuning}: run bench/tune_policies.py first")

    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short",
                             "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()

    def save(part, value):
        pathlib.Path(f"{args.out}_{part}.json").write_text(
            json.dumps({"commit": commit, **value}, indent=1) + "\n")

    def kept(part, key):
        return (done(args.out, part, args.requests, key) if args.resume
                else [])
    if "capacity" in args.parts:
        capacity(args.binary, args.requests,
                 json.loads(pathlib.Path(args.tuning).read_text()), args.jobs,
                 kept("capacity", "rows"), save)
    if "regret" in args.parts:
        regret(args.binary, args.requests, kept("regret", "cells"), save)
    write_report(args.out)


if __name__ == "__main__":
    main()
