#!/usr/bin/env bash
# Plants each error of this folder into a scratch copy of the tree and expects
# parscale_golden_test to fail. All of them are mistakes that implementations of
# PARSCALE do make, and after which the text still reads well.
#
#   tests/parscale/planted_errors/run.sh [PATCH ...]
#
# Prints the first test that each fails; exits 1 when one was not noticed. ctest
# only looks whether every patch still applies.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)

patches=()
for patch in "$@"; do patches+=("$(realpath "$patch")"); done
[[ ${#patches[@]} -gt 0 ]] || patches=("$here"/*.patch)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/tree"
(cd "$root" && tar --exclude=./build --exclude=./.git --exclude=__pycache__ \
  -cf - .) | tar -xf - -C "$scratch/tree"
cd "$scratch/tree"

build=$scratch/build
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DBRAID_BENCH=OFF >"$scratch/cmake.log" || { cat "$scratch/cmake.log"; exit 1; }
compile() {
  cmake --build "$build" --target parscale_golden_test >"$scratch/build.log" 2>&1 ||
    { cat "$scratch/build.log"; exit 1; }
}
run() { "$build/tests/parscale/parscale_golden_test" >"$scratch/out.txt" 2>&1; }

compile
run || { cat "$scratch/out.txt"; echo "fails without any error"; exit 1; }

missed=0
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  git apply "$patch"
  compile
  if run; then
    printf '%-26s NOT NOTICED\n' "$name"
    missed=$((missed + 1))
  else
    failed=$(sed -n 's/^\[  FAILED  \] \([^ ,]*\/[^ ,]*\),.*/\1/p' "$scratch/out.txt" | sort -u)
    printf '%-26s %2d tests, such as %s\n' "$name" "$(wc -l <<<"$failed")" \
      "$(head -n 1 <<<"$failed")"
  fi
  git apply -R "$patch"
done
echo "planted ${#patches[@]} noticed $((${#patches[@]} - missed))"
exit $((missed > 0))
