# shellcheck shell=bash
# Functions that the scripts share. Sourced, never run.
# Sets: ROOT (top of the source tree), TARGET (cargo's target directory). Changes to ROOT.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT" || exit 1
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
# shellcheck disable=SC2034  # for the scripts that source this file
PYTHON_VENV=$TARGET/venv

# rustup's own place, for shells that have not read its profile yet.
case ":$PATH:" in
*":$HOME/.cargo/bin:"*) ;;
*) PATH=$PATH:$HOME/.cargo/bin ;;
esac
export PATH

# A step of the script, with the time since its start.
step() { printf '==> [%3d s] %s\n' "$SECONDS" "$*" >&2; }

# die STATUS MESSAGE...: ends the script.
die() {
    local status=$1
    shift
    printf '%s: error: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}

# soon COMMAND...: waits until it succeeds; fails after five minutes, which only a hang takes.
soon() {
    local end=$((SECONDS + 300))
    until "$@"; do
        [ "$SECONDS" -le "$end" ] || return 1
        sleep 0.1
    done
}

have() { command -v "$1" >/dev/null 2>&1; }

# CPUs that this process may use.
cpus() { nproc 2>/dev/null || getconf _NPROCESSORS_ONLN; }

# Debian keeps several MPI libraries side by side; mpi-sys builds against the one that $MPICC names.
# Open MPI is the default, whatever `update-alternatives` says.
choose_mpi() {
    if [ -z "${MPICC:-}" ] && [ -z "${MPI_PKG_CONFIG:-}" ] && [ -z "${CRAY_MPICH_DIR:-}" ] && have mpicc.openmpi; then
        export MPICC=mpicc.openmpi
    fi
    if [ -z "${MPIRUN:-}" ]; then
        case ${MPICC:-} in
        *.openmpi) MPIRUN=mpirun.openmpi ;;
        *.mpich) MPIRUN=mpirun.mpich ;;
        *) MPIRUN=mpirun ;;
        esac
    fi
    have "$MPIRUN" || MPIRUN=mpirun
    export MPIRUN
}

# mpirun_words RANKS: sets the array MPIRUN_WORDS to the launcher and its options for that many ranks here.
mpirun_words() {
    local ranks=$1 version
    choose_mpi
    MPIRUN_WORDS=("$MPIRUN" -np "$ranks")
    version=$("$MPIRUN" --version 2>&1 || true)
    case $version in
    *"Open MPI"* | *"open-mpi"* | *OpenRTE*)
        # The reader threads of a rank use every CPU of the host; Open MPI would bind 2 ranks to one core each.
        MPIRUN_WORDS+=(--bind-to none)
        if [ "$(id -u)" = 0 ]; then MPIRUN_WORDS+=(--allow-run-as-root); fi
        if [ "$ranks" -gt "$(cpus)" ]; then MPIRUN_WORDS+=(--oversubscribe); fi
        ;;
    esac
}

# build_release: builds target/release/dlio-rs and sets BIN.
build_release() {
    choose_mpi
    step "cargo build --release"
    cargo build --release --locked
    # shellcheck disable=SC2034  # for the script that sources this file
    BIN=$TARGET/release/dlio-rs
}

# build_quickstart: builds target/quickstart/dlio-rs and sets BIN. It has every format, but no object stores, and opens MPI at run
# time.
build_quickstart() {
    step "cargo build --profile quickstart, without object stores"
    cargo build --profile quickstart --locked --no-default-features --features hdf5,parquet
    # shellcheck disable=SC2034  # for the script that sources this file
    BIN=$TARGET/quickstart/dlio-rs
}

# loader_finds NAME: the file of a shared library that the loader finds by its name.
loader_finds() { PATH=$PATH:/usr/sbin:/sbin ldconfig -p | sed -n "s|^[[:space:]]*$1 .* => ||p" | head -n 1; }

# build_anympi [--release]: builds target/anympi/debug/dlio-rs, or release/dlio-rs there, which opens MPI at run time.
build_anympi() {
    local profile=debug
    [ "${1:-}" != --release ] || profile=release
    step "cargo build without mpi-linked"
    # In the same folder as the linked one: of all crates, only dlio-rs itself is built twice.
    cargo build --locked --no-default-features --features azure,hdf5,parquet,s3,sdk "$@" </dev/null
    mkdir -p "$TARGET/anympi/$profile"
    cp "$TARGET/$profile/dlio-rs" "$TARGET/anympi/$profile/dlio-rs"
}

# bench NAME [SETUP OPTIONS] -- ARGUMENTS: builds, then becomes scripts/bench_NAME.py.
bench() {
    local name=$1 python=python3 setup=()
    shift
    while [ "$1" != -- ]; do
        setup+=("$1")
        shift
    done
    shift
    scripts/setup.sh "${setup[@]}"
    build_release
    mpirun_words 1
    # Without "-np 1": the bench says how many ranks.
    export BENCH_LAUNCHER="${MPIRUN_WORDS[0]} ${MPIRUN_WORDS[*]:3}" DLIO_RS_BIN=$BIN
    if [ -x "$PYTHON_VENV/bin/python" ]; then python=$PYTHON_VENV/bin/python; fi
    exec "$python" "scripts/bench_$name.py" "$@" </dev/null
}

# Servers for tests, as npm packages: Azurite, Microsoft's of Azure Blob, and s3rver, of S3.
NPM_SERVERS=(azurite@3.35.0 s3rver@3.7.1)
npm_servers() {
    if [ "$(cat "$TARGET/npm/installed.txt" 2>/dev/null)" = "${NPM_SERVERS[*]}" ]; then return; fi
    step "${NPM_SERVERS[*]} into $TARGET/npm"
    npm install --silent --no-audit --no-fund --prefix "$TARGET/npm" "${NPM_SERVERS[@]}" </dev/null >&2
    echo "${NPM_SERVERS[*]}" >"$TARGET/npm/installed.txt"
}
