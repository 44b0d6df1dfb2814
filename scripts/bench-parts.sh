#!/usr/bin/env bash
# What parts in flight give a checkpoint on an object store that answers each upload after 50 ms. Prints a Markdown table of
# ratios measured side by side in this run. Options: scripts/bench-parts.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench parts -- "$@"
