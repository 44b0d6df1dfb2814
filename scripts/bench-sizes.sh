#!/usr/bin/env bash
# Sizes and layout of every format's files: dlio-rs against both DLIOs, whose own code writes theirs.
# Prints Markdown tables. Options: scripts/bench-sizes.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench sizes --test -- "$@"
