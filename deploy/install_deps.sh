#!/usr/bin/env bash
# Installs what building, running and testing Braid needs, on Debian 12 or
# Ubuntu 24.04. The one list of packages: quickstart.sh and tests/run.sh call
# this. Quick when everything is there.
#
#   deploy/install_deps.sh         to build and run
#   deploy/install_deps.sh tests   to run the tests as well
set -euo pipefail

build=(
  build-essential cmake ninja-build ccache pkg-config ca-certificates
  libabsl-dev libgrpc++-dev libprotobuf-dev protobuf-compiler
  protobuf-compiler-grpc prometheus-cpp-dev libpcre2-dev libsimdjson-dev
  libcli11-dev libxxhash-dev libgtest-dev libgmock-dev libbenchmark-dev
  libutf8proc-dev zlib1g-dev
  python3 python3-pip
)
tests=(
  clang clang-format curl git nodejs python3-venv python3-jinja2 python3-grpcio
)

[ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null || {
  echo "install_deps.sh: needs Debian 12 or Ubuntu 24.04 (apt-get not found)" >&2
  exit 2
}
wanted=("${build[@]}")
[ "${1:-}" = tests ] && wanted+=("${tests[@]}")

missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null |
      grep -qx installed || echo "$package"
  done
}

# Asio and Beast are headers only; 1.81 where it is offered. A fresh machine has
# no package lists yet, so which Boost that is can be asked only after them.
has_boost() {
  [ -z "$(missing libboost1.81-dev)" ] || [ -z "$(missing libboost-dev)" ]
}

if [ -n "$(missing "${wanted[@]}")" ] || ! has_boost; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "install_deps.sh: run it as root, or install sudo" >&2
      exit 2
    }
    as_root=(sudo)
  fi
  echo "Installing packages ..."
  "${as_root[@]}" apt-get update -qq
  boost=()
  if ! has_boost; then
    boost=(libboost-dev)
    # Not `apt-cache show`: it also finds names that others merely mention.
    ! apt-cache policy libboost1.81-dev | grep 'Candidate: [0-9]' >/dev/null ||
      boost=(libboost1.81-dev)
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${wanted[@]}" "${boost[@]}" >/dev/null
fi
