#!/usr/bin/env bash
# Reading against fio: npz of 16 and 140 MiB and npy of 128 KiB, from tmpfs and with O_DIRECT from disk.
# With --engines: files of 4 KiB to 1 MiB, 1 to 64 reads in flight, by reader.engine against fio's psync and io_uring;
# 12 minutes with --repeat 1.
# Prints a Markdown table of ratios measured side by side in this run. Options: scripts/bench-read.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench read --test -- "$@"
