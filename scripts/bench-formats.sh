#!/usr/bin/env bash
# Every format: generation against fio and the libraries that write it, reading against fio and the libraries that read
# it, memory for files of 4 GiB. Prints Markdown tables of ratios measured side by side in this run.
# Options: scripts/bench-formats.sh --help. Parquet has a bench of its own: scripts/bench-parquet.sh.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench formats --test -- "$@"
