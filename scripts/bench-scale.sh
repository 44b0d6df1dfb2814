#!/usr/bin/env bash
# 100,000,000 files against 1,000,000, and 64 ranks on one host.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-scale.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench scale -- "$@"
