#!/usr/bin/env bash
# GET and PUT against s3dlio, boto3, awscrt (PyPI) and a bare hyper loop: the same objects on SeaweedFS and on a server that
# answers from memory, in turns, with and without TLS. Prints Markdown tables of ratios. Options: scripts/bench-object.sh --help
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scripts/setup.sh --test
step "s3dlio, boto3, awscrt into $TARGET/venv-bench"
[ -x "$TARGET/venv-bench/bin/python" ] || python3 -m venv "$TARGET/venv-bench"
"$TARGET/venv-bench/bin/python" -m pip install --quiet --disable-pip-version-check s3dlio==0.10.0 boto3==1.44.5 awscrt==0.38.0 </dev/null >&2
choose_mpi
step "cargo build --release of benches/object-client"
cargo build --release --locked --manifest-path benches/object-client/Cargo.toml --target-dir "$TARGET/object-client" </dev/null
export BENCH_CLIENT=$TARGET/object-client/release/object-client BENCH_PYTHON="$TARGET/venv-bench/bin/python" BENCH_WEED="${DLIO_RS_WEED:-$PYTHON_VENV/bin/weed}"
bench object -- "$@"
