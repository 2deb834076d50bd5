#!/usr/bin/env bash
# Plants each defect of this folder into a scratch copy of the tree, and asks
# `braid simulate` to find it.
#
#   tests/planted_bugs/run.sh [--seeds N] [--check] [PATCH ...]
#
# --seeds N  must be found among the first N seeds (default 1000)
# --check    only looks whether every patch still applies and compiles
#
# Prints a table (bug, seed, what was seen); exits 1 when a bug was not found.
# The patches exist for this only: no flag of the product turns them on.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

seeds=1000
check=0
patches=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --check) check=1; shift ;;
    *) patches+=("$(realpath "$1")"); shift ;;
  esac
done
[[ ${#patches[@]} -gt 0 ]] || patches=("$here"/*.patch)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree
mkdir "$tree"
# What a patch may touch, and what is needed to build the command.
(cd "$root" && tar --exclude=./build --exclude=./.git --exclude=__pycache__ \
  -cf - .) | tar -xf - -C "$tree"
cd "$tree"

if [[ $check == 1 ]]; then
  for patch in "${patches[@]}"; do
    git apply "$patch" || { echo "does not apply: $patch"; exit 1; }
    git apply --numstat "$patch" | sed -n 's/.*\t\(.*\.cc\)$/\1/p' |
      xargs -r -n 1 "${CXX:-c++}" -std=c++20 -w -I. -fsyntax-only ||
      { echo "does not compile: $patch"; exit 1; }
    git apply -R "$patch"
  done
  echo "${#patches[@]} patches apply and compile"
  exit 0
fi

build=$scratch/build
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DBRAID_BENCH=OFF >"$scratch/cmake.log" || { cat "$scratch/cmake.log"; exit 1; }
compile() {
  cmake --build "$build" --target braid_simulate >"$scratch/build.log" 2>&1 ||
    { cat "$scratch/build.log"; exit 1; }
}
simulate=$build/tests/simulator/braid_simulate

compile
clean=$("$simulate" --seeds "1:$seeds" | tail -n 1)
echo "without any: $clean"
[[ $clean == *"violations 0" ]] || exit 1

missed=0
printf '%-36s %6s  %s\n' bug seed seen
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  git apply "$patch"
  compile
  "$simulate" --seeds "1:$seeds" --stop-after 1 >"$scratch/out.txt" || true
  seed=$(sed -n 's/^seed \([0-9]*\)$/\1/p' "$scratch/out.txt" | head -n 1)
  seen=$(grep -m 1 -a -e 'CHECK failed:' -e '^violation: ' \
    "$scratch/out.txt" | cut -c 1-110 || true)
  if [[ -n $seed ]]; then
    printf '%-36s %6s  %s\n' "$name" "$seed" "$seen"
  else
    printf '%-36s %6s  %s\n' "$name" - 'NOT FOUND'
    missed=$((missed + 1))
  fi
  git apply -R "$patch"
done
echo "planted ${#patches[@]} found $((${#patches[@]} - missed))"
exit $((missed > 0))
