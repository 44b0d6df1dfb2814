#!/usr/bin/env bash
# Checkpoints against fio and PyTorch: saves and loads of the same sizes on tmpfs and on disk, generation to a null sink, memory.
# Prints Markdown tables of ratios measured side by side in this run. Options: scripts/bench-checkpoint.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench checkpoint --test -- "$@"
