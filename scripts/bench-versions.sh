#!/usr/bin/env bash
# Two builds of dlio-rs doing the same work in turns: this one, and another one given by --old.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-versions.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench versions -- "$@"
