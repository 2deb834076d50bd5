#!/usr/bin/env bash
# Unit tests, and a soak of the server, under a sanitizer.
#
#   tests/sanitize.sh address|thread [extra ctest arguments]
#
# The tests that read the default model end to end take minutes under a
# sanitizer and are left to the soak, which runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  address) preset=asan ;;
  thread) preset=tsan ;;
  *)
    echo "usage: tests/sanitize.sh address|thread [extra ctest arguments]" >&2
    exit 2
    ;;
esac
shift

deploy/install_deps.sh tests
deploy/fetch_model.sh >/dev/null
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/tests/tsan.supp"

cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
BRAID_BINARY=build/$preset/braid python3 tests/e2e/soak.py --seconds 10 --clients 16 -- \
  --kv-memory 256MiB --split on --kv-transport copy
exec ctest --preset "$preset" --parallel "$(nproc)" \
  --exclude-regex '^(bits|tidy|e2e_.*)$|DefaultModel|RunnerDefault|RunnerOrdered|ReferenceDefault' "$@"
