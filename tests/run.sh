#!/usr/bin/env bash
# Installs what is needed, builds, and runs every test; ends with ctest's
# summary. Extra arguments go to ctest (-R NAME, -V ...).
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/install_deps.sh tests
deploy/fetch_model.sh >/dev/null

# Clients and oracles in Python live in an environment of their own.
venv=build/venv
if ! cmp -s tests/requirements.txt "$venv/installed.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt
  cp tests/requirements.txt "$venv/installed.txt"
fi

cmake --preset release -DPython3_EXECUTABLE="$PWD/$venv/bin/python" >/dev/null
cmake --build --preset release
exec ctest --preset release --parallel "$(nproc)" "$@"
