#!/usr/bin/env bash
# AU of every workload of configs/ on storage that answers at once: what dlio-rs itself costs.
# With --opened: the linked binary against the one that opens MPI at run time.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-harness.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case " $* " in
*" --opened "*)
    scripts/setup.sh
    build_anympi --release
    export DLIO_RS_OPENED=$TARGET/anympi/release/dlio-rs
    ;;
esac
bench harness -- "$@"
