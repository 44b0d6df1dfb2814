#!/usr/bin/env bash
# Runs every test: `cargo test` against Open MPI, then a second build against MPICH and two jobs under its launcher, then
# the batch scripts under a Slurm of its own, then jobs on three hosts.
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

step "cargo build against MPICH"
# mpi-sys does not notice another MPICC, hence the directory of its own.
# The features have nothing to do with MPI.
MPICC=mpicc.mpich cargo build --locked --no-default-features --features mpi-linked --target-dir "$TARGET/mpich" </dev/null
mpich_bin=$TARGET/mpich/debug/dlio-rs
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step "MPICH: info on 2 ranks"
timeout 60 mpirun.mpich -np 2 "$mpich_bin" info </dev/null | tee "$scratch/info"
grep -q 'MPI library: .*MPICH' "$scratch/info" || die 1 "the binary in $TARGET/mpich is not built with MPICH"
grep -q '^ranks: 2,' "$scratch/info" || die 1 "2 ranks under MPICH's launcher do not see each other"

step "MPICH: the quickstart on 2 ranks"
timeout 120 mpirun.mpich -np 2 "$mpich_bin" configs/quickstart.yaml dataset.data_folder="$scratch/data" \
    --output "$scratch/out" </dev/null
"$DLIO_RS_PYTHON" tests/python/check_run_dir.py "$scratch/out" --ranks 2

step "MPICH's build under Open MPI's launcher is refused"
mpirun_words 2
status=0
timeout 60 "${MPIRUN_WORDS[@]}" "$mpich_bin" info </dev/null >"$scratch/refused" 2>&1 || status=$?
if [ "$status" = 0 ] || [ "$status" = 124 ] || ! grep -q MPICH "$scratch/refused"; then
    cat "$scratch/refused" >&2
    die 1 "expected an error that names MPICH, got exit status $status"
fi
step "the batch scripts under Slurm"
cargo build --locked </dev/null
DLIO_RS=$TARGET/debug/dlio-rs DLIO_RS_MPICH=$mpich_bin scripts/test-slurm.sh
step "jobs on three hosts"
# Under Open MPI only: MPICH does not get through MPI_Finalize over several namespaces of one machine.
DLIO_RS=$TARGET/debug/dlio-rs scripts/test-hosts.sh
step "all tests passed"
