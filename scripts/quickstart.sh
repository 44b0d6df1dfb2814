#!/usr/bin/env bash
# From a fresh clone to a report: installs the tools, builds, generates a small dataset and trains on it with 2 ranks.
#
#   scripts/quickstart.sh [KEY=VALUE ...]      overrides for configs/quickstart.yaml
#
# A second call builds nothing and generates nothing. Not built are the object stores, which take more time than all the rest;
# scripts/install.sh builds everything.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh --quickstart
build_quickstart
mpirun_words 2
step "${MPIRUN_WORDS[*]} $BIN configs/quickstart.yaml $*"
"${MPIRUN_WORDS[@]}" "$BIN" configs/quickstart.yaml "$@" </dev/null
step "done"
