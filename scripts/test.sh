#!/usr/bin/env bash
# Runs every test: `cargo test` against Open MPI, then a second binary, which opens MPI at run time, under every MPI, then the
# batch scripts under a Slurm of its own, then jobs on three hosts.
#
#   scripts/test.sh [CARGO TEST ARGUMENTS]     e.g. scripts/test.sh --release, scripts/test.sh -- plan
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh --test
choose_mpi
# The tests let numpy open what dlio-rs wrote.
export DLIO_RS_PYTHON=$PYTHON_VENV/bin/python

step "cargo test (MPI: ${MPICC:-mpicc})"
cargo test --locked "$@" </dev/null

step "order, datasets and DLIO's files equal the recording"
cargo build --locked </dev/null
"$DLIO_RS_PYTHON" tests/python/recorded.py "$TARGET/debug/dlio-rs"

build_anympi
step "one binary under every MPI"
DLIO_RS=$TARGET/anympi/debug/dlio-rs scripts/test-mpi.sh
step "the batch scripts under Slurm"
cargo build --locked </dev/null
DLIO_RS=$TARGET/debug/dlio-rs DLIO_RS_ANYMPI=$TARGET/anympi/debug/dlio-rs scripts/test-slurm.sh
step "jobs on three hosts"
DLIO_RS=$TARGET/debug/dlio-rs DLIO_RS_ANYMPI=$TARGET/anympi/debug/dlio-rs scripts/test-hosts.sh
step "all tests passed"
