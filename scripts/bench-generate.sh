#!/usr/bin/env bash
# Generating npz on tmpfs against fio and numpy; memory for a 4 GiB file.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-generate.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench generate --test -- "$@"
