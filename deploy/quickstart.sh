#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 machine to a served model: installs
# what is needed, builds, fetches the default model, and serves it on
# http://127.0.0.1:8000 (gRPC on 127.0.0.1:8001). Flags go to `braid serve`.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/install_deps.sh
[ -f build/release/build.ninja ] || cmake --preset release
cmake --build --preset release --target braid
deploy/fetch_model.sh >/dev/null
# The default model's streams, unless another model or others are asked for, or
# may be by a configuration.
case " $* ${BRAID_MODEL+--model }${BRAID_PARSCALE+--parscale }${BRAID_CONFIG+--config }" in
  *" --model"* | *" --parscale "* | *" --parscale="* | *" --parscale-set"* | \
    *" --config"*) ;;
  *) set -- --parscale \
       model/adapters/SmolLM2-135M-Instruct.parscale.safetensors "$@" ;;
esac
exec build/release/braid serve "$@"
