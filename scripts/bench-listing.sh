#!/usr/bin/env bash
# Memory and time of dataset.listing over 10^7 names of an S3 server that makes them up. Prints a Markdown table.
# Options: scripts/bench-listing.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench listing -- "$@"
