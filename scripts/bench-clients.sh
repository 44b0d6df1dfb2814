#!/usr/bin/env bash
# How many accelerators one client emulates: dlio-rs against both DLIOs, and fio on the same files, in memory.
# Prints a Markdown table per workload. Options: scripts/bench-clients.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench clients --test -- "$@"
