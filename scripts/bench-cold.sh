#!/usr/bin/env bash
# Cold small files: 20,000 npy of 4 KiB on a disk, each run after the kernel has dropped its caches, reader.drop_cache as it is
# by default against `system`, in alternating pairs. Needs root.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-cold.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench cold -- "$@"
