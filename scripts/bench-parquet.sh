#!/usr/bin/env bash
# Parquet with DLRM's columns against pyarrow and fio; memory for a 3 GiB file.
# Prints Markdown tables of ratios measured side by side in this run. Options: scripts/bench-parquet.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench parquet --test -- "$@"
