#!/usr/bin/env bash
# AU of every workload of configs/ on storage that answers at once: what dlio-rs itself costs.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-harness.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench harness -- "$@"
