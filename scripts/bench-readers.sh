#!/usr/bin/env bash
# What more reader threads bring where libhdf5 has one lock for all of them: hdf5 against npy, in memory and on a slow object store.
# Prints Markdown tables. Options: scripts/bench-readers.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench readers -- "$@"
