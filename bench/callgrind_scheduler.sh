#!/usr/bin/env bash
# Instructions that the scheduler's verbs take per turn, by callgrind: they do
# not depend on what else the machine does. Needs valgrind.
#
#   bench/callgrind_scheduler.sh [build/release]
#
# Each line: running and waiting requests, and instructions per turn in Plan (of
# both devices), Apply, Commit and TakeRefused, with all that they call.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=${1:-build/release}/bench/scheduler_bench
turns=64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "running waiting cache  plan apply commit housekeeping  total  per row"
for running in 256 1024 4096; do
for cache in 0 1; do
  filter="Counted/running:$running/waiting:64/split:1/cache:$cache/"
  valgrind --tool=callgrind --callgrind-out-file="$work/out" \
    --collect-atstart=no --toggle-collect='*World::Step*' \
    "$bench" --benchmark_filter="$filter" \
    >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
  callgrind_annotate --inclusive=yes --threshold=100 "$work/out" >"$work/text"
  python3 - "$work/text" "$running" "$turns" "$cache" <<'EOF'
import re, sys
path, cache = sys.argv[1], sys.argv[4]
running, turns = int(sys.argv[2]), int(sys.argv[3])
counts = {}
for line in open(path):
    match = re.match(r"\s*([\d,]+) .*:(?:braid::)(Scheduler::(?:Plan|Apply|Commit|TakeRefused)|\(anonymous namespace\)::World::Step)\(", line)
    if match:
        counts.setdefault(match[2].split("::")[-1], int(match[1].replace(",", "")))
steps = counts["Step"]
names = ["Plan", "Apply", "Commit", "TakeRefused"]
each = [counts.get(name, 0) / turns for name in names]
print(f"{running:7} {64:7} {cache:>5}  " + " ".join(f"{n:.0f}" for n in each) +
      f"  {steps / turns:.0f}  {steps / turns / running:.1f}")
EOF
done
done
