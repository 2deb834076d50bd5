#!/bin/sh
# Builds every fuzzer (clang) and runs each for SECONDS, one after the other:
#   tests/fuzz/run.sh [SECONDS]        default 20
# What they learn stays in build/fuzz/corpus/, what they find is written to
# build/fuzz/findings/, and the exit status is then 1.
set -eu
cd "$(dirname "$0")/../.."

seconds=${1:-20}
build=build/fuzz
fuzzers=$(sed -n 's/^braid_fuzzer(\([a-z_]*\) .*/\1/p' tests/fuzz/CMakeLists.txt)

cmake --preset fuzz >/dev/null
# shellcheck disable=SC2086  # a list of names
cmake --build "$build" --target $fuzzers

mkdir -p "$build/findings"
failed=""
for fuzzer in $fuzzers; do
  mkdir -p "$build/corpus/$fuzzer"
  dictionary=tests/fuzz/$fuzzer.dict
  [ -f "$dictionary" ] || dictionary=""
  log=$build/findings/$fuzzer.log
  if "$build/tests/fuzz/$fuzzer" -max_total_time="$seconds" -timeout=10 \
      -print_final_stats=1 -artifact_prefix="$build/findings/$fuzzer-" \
      ${dictionary:+"-dict=$dictionary"} \
      "$build/corpus/$fuzzer" >"$log" 2>&1; then
    echo "$fuzzer: $(sed -n 's/^stat::number_of_executed_units: //p' "$log") inputs, nothing found"
  else
    failed="$failed $fuzzer"
    echo "$fuzzer: FOUND SOMETHING, see $log"
    tail -n 30 "$log"
  fi
done
[ -z "$failed" ] || { echo "found by:$failed"; exit 1; }
