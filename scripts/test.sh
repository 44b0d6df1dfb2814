#!/usr/bin/env bash
# Runs every test: `cargo test` against Open MPI, then the packages where nothing else is installed, then their binary, which
# opens MPI at run time, under every MPI, then the batch scripts under a Slurm of its own, then jobs on three hosts.
#
#   scripts/test.sh [CARGO TEST ARGUMENTS]     e.g. scripts/test.sh --release, scripts/test.sh -- plan
#
# On a busy machine one of hundreds of tests with real servers and launchers may fail by chance. Without arguments, up to three
# tests that failed run once more, each alone. Those that pass then are listed as FLAKY: such a test is to be repaired.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh --test
choose_mpi
# The tests let numpy open what dlio-rs wrote.
export DLIO_RS_PYTHON=$PYTHON_VENV/bin/python

# again LOG: runs the tests that failed in LOG once more; fails unless all pass.
again() {
    local failed name sum
    mapfile -t failed < <(sed -n 's/^    \([a-z0-9_]*\(::[a-z0-9_]*\)*\)$/\1/p' "$1" | sort -u)
    [ "${#failed[@]}" -ge 1 ] && [ "${#failed[@]}" -le 3 ] || return 1
    # A program that ended before its tests did has no result.
    [ "$(grep -c '^    `-' "$1")" = "$(grep -c '^test result: FAILED' "$1")" ] || return 1
    ! grep -q '(signal: ' "$1" || return 1
    # Every failure has a name of its own.
    sum=$(sed -n 's/^test result: FAILED.* \([0-9]*\) failed;.*/\1/p' "$1" | awk '{ sum += $1 } END { print sum }')
    [ "$sum" = "${#failed[@]}" ] || return 1
    for name in "${failed[@]}"; do
        step "once more, alone: $name"
        cargo test --locked -- --exact "$name" </dev/null 2>&1 | tee "$1.again" || return 1
        grep -q '^test result: ok. 1 passed' "$1.again" || return 1
    done
    printf '%s\n' "${failed[@]}" >"$FLAKY"
}

step "cargo test (MPI: ${MPICC:-mpicc})"
LOG=$TARGET/tmp/cargo-test.log
FLAKY=$TARGET/tmp/flaky
mkdir -p "$TARGET/tmp"
: >"$FLAKY"
if [ $# -gt 0 ]; then
    cargo test --locked "$@" </dev/null
else
    cargo test --locked --no-fail-fast </dev/null 2>&1 | tee "$LOG" || again "$LOG" || die 101 "tests failed"
fi

step "order, datasets and DLIO's files equal the recording"
cargo build --locked </dev/null
"$DLIO_RS_PYTHON" tests/python/recorded.py "$TARGET/debug/dlio-rs"

step "the packages"
scripts/package.sh --profile dev --output "$TARGET/package-dev"
scripts/test-packages.sh "$TARGET/package-dev"
# The binary of the packages opens MPI at run time.
PACKAGED=$TARGET/package-dev/dlio-rs
step "what ranks do together, and files of its own libhdf5, with that binary"
# But for a test of the linked library; test-mpi.sh has the like.
DLIO_RS_TEST_BIN=$PACKAGED cargo test --locked --test it -- --skip a_launcher_of_another_mpi_is_named \
    barrier:: checkpoint:: formats::hdf5 order:: ranks:: results:: stalls:: virtual_time:: </dev/null
step "one binary under every MPI"
DLIO_RS=$PACKAGED scripts/test-mpi.sh
step "the batch scripts under Slurm"
cargo build --locked </dev/null
DLIO_RS=$TARGET/debug/dlio-rs DLIO_RS_ANYMPI=$PACKAGED scripts/test-slurm.sh
step "jobs on three hosts"
DLIO_RS=$TARGET/debug/dlio-rs DLIO_RS_ANYMPI=$PACKAGED scripts/test-hosts.sh
step "all tests passed"
sed 's/^/FLAKY, to be repaired: /' "$FLAKY" >&2
