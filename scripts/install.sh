#!/usr/bin/env bash
# Builds dlio-rs and installs it with a `dlio_benchmark` beside it, for mlpstorage and for scripts made for DLIO.
#
#   scripts/install.sh PREFIX [--replace]
#
# PREFIX/bin/dlio-rs is the binary, PREFIX/bin/dlio_benchmark a link to it. --replace keeps a dlio_benchmark that is there
# already (DLIO's own) as dlio_benchmark.original. Every host of a job needs the same PREFIX.
set -euo pipefail
given=${1:-}
case $given in
'' | -*)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
shift
mkdir -p "$given"
prefix=$(cd "$given" && pwd)
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh
build_release
mkdir -p "$prefix/bin"
# Through another name: a running dlio-rs keeps its file.
install -m 755 "$BIN" "$prefix/bin/.dlio-rs.new"
mv -f "$prefix/bin/.dlio-rs.new" "$prefix/bin/dlio-rs"
"$prefix/bin/dlio-rs" install-shim "$prefix/bin" "$@"
step "installed; put $prefix/bin first on PATH, on every host"
