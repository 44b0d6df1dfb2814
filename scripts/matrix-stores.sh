#!/usr/bin/env bash
# Every server of object stores that installs from PyPI, npm, crates.io and Debian x what dlio-rs does with it: generate, skip,
# train, evaluate, verify, uploads in parts, checkpoints, deletion, a wrong key, a missing bucket. Prints a Markdown table;
# requests on the wire are compared with the report's. Options: scripts/matrix_stores.py --help
#
#   scripts/matrix-stores.sh [--client native|sdk|both] [SERVER...] > results/stores.md
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scripts/setup.sh --test
SERVERS=$TARGET/servers

# LocalStack pins neither cbor2, whose sixth version moved what it imports, nor what its Twisted needs for TLS.
localstack_server() {
    local python
    if [ -x "$SERVERS/localstack/bin/python" ]; then return; fi
    for python in "${DLIO_RS_PYTHON_313:-python3.13}" python3.14; do
        if have "$python"; then
            step "LocalStack into $SERVERS/localstack"
            "$python" -m venv "$SERVERS/localstack"
            "$SERVERS/localstack/bin/python" -m pip install --quiet --disable-pip-version-check \
                'localstack-core[base-runtime]==2026.3.0' cbor2==5.7.1 service-identity==26.1.0 </dev/null >&2
            return
        fi
    done
    echo "LocalStack is left out: there is no Python 3.13 (DLIO_RS_PYTHON_313=PATH names one)" >&2
}

swift_server() {
    if [ -x "$SERVERS/swift/bin/swift-proxy-server" ]; then return; fi
    step "OpenStack Swift into $SERVERS/swift"
    python3 -m venv "$SERVERS/swift"
    "$SERVERS/swift/bin/python" -m pip install --quiet --disable-pip-version-check swift==2.38.3 setuptools==80.9.0 </dev/null >&2
}

# Debian's packages of Ceph, unpacked where nothing else looks for them.
ceph_server() {
    if [ -x /usr/bin/radosgw ] || [ -x "$SERVERS/bin/ceph/usr/bin/radosgw" ] || ! have apt-get; then return; fi
    step "Ceph into $SERVERS/bin/ceph"
    local packages
    packages=$(apt-get install --simulate --no-install-recommends ceph-mon ceph-osd radosgw | awk '/^Inst/ {print $2}')
    mkdir -p "$SERVERS/debs" "$SERVERS/bin/ceph"
    # shellcheck disable=SC2086  # one word a package
    (cd "$SERVERS/debs" && apt-get download $packages) >&2
    for package in "$SERVERS"/debs/*.deb; do dpkg -x "$package" "$SERVERS/bin/ceph"; done
    rm -r "$SERVERS/debs"
}

s3s_fs_server() {
    if [ -x "$SERVERS/bin/s3s-fs" ]; then return; fi
    step "cargo install s3s-fs into $SERVERS"
    cargo install --quiet --locked --root "$SERVERS" --features binary s3s-fs@0.13.0-alpha.3 </dev/null >&2
}

localstack_server
swift_server
ceph_server
s3s_fs_server
if [ -z "${DLIO_RS_BIN:-}" ]; then
    build_release
    export DLIO_RS_BIN=$BIN
fi
printf '# Object stores\n\nMade by `scripts/matrix-stores.sh %s`, commit %s, %s.\n' "$*" "$(git rev-parse --short HEAD)" "$(date -u +%F)"
cat <<'TEXT'

A cell is `ok` when the command did what it says; the numbers are those of its requests and connections on the wire, which a
forwarder counted and which the report of the run, where it leaves one, gave too (with the SDK: requests). `lost answer`: the
forwarder broke one connection, and the report shows one retry. `n/a`: the server checks no keys or knows no missing
buckets, or the service has no such checksum.

TEXT
exec "$PYTHON_VENV/bin/python" scripts/matrix_stores.py --npm "$TARGET/npm" "$@" </dev/null
