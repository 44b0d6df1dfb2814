#!/usr/bin/env bash
# Every server of object stores that installs from PyPI and npm x what dlio-rs does with it: generate, skip, train, evaluate,
# verify, uploads in parts, checkpoints, deletion, a wrong key, a missing bucket. Prints a Markdown table; requests on the
# wire are compared with the report's. Options: scripts/matrix_stores.py --help
#
#   scripts/matrix-stores.sh [--client native|sdk|both] [SERVER...] > results/stores.md
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scripts/setup.sh --test
if [ -z "${DLIO_RS_BIN:-}" ]; then
    build_release
    export DLIO_RS_BIN=$BIN
fi
printf '# Object stores\n\nMade by `scripts/matrix-stores.sh %s`, commit %s, %s.\n' "$*" "$(git rev-parse --short HEAD)" "$(date -u +%F)"
cat <<'TEXT'

A cell is `ok` when the command did what it says; the numbers are those of its requests and connections on the wire, which a
forwarder counted and which the report of the run, where it leaves one, gave too (with the SDK: requests). `lost answer`: the
forwarder broke one connection, and the report shows one retry. `n/a`: the server checks no keys, or the service has no such checksum.

TEXT
exec "$PYTHON_VENV/bin/python" scripts/matrix_stores.py --npm "$TARGET/npm" "$@" </dev/null
