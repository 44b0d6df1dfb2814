#!/usr/bin/env bash
# Installs what dlio-rs needs to build and run; with --quickstart, what scripts/quickstart.sh needs, which is less; with --test,
# what the tests need as well; with --slurm, what scripts/test-slurm.sh needs.
#
#   scripts/setup.sh [--quickstart | --test | --slurm]
#
# Debian and Ubuntu: the missing packages by apt-get (sudo where not root). Elsewhere: names the packages and ends with
# status 2 when a tool is missing. Does nothing when everything is there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUST_MINOR=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' Cargo.toml)

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so' && return 0
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib*/libclang.so*' >/dev/null ||
        compgen -G '/usr/lib/*/libclang*.so*' >/dev/null
}
has_venv() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }
# Debian's runtime packages have the wrapper, and no mpi.h.
compiles_mpi() { have "$1" && "$1" -fsyntax-only -x c - <<<'#include <mpi.h>' >/dev/null 2>&1; }
has_mpicc() {
    [ -n "${MPI_PKG_CONFIG:-}${CRAY_MPICH_DIR:-}" ] || (choose_mpi && compiles_mpi "${MPICC:-mpicc}")
}
has_mpich() { compiles_mpi mpicc.mpich; }
has_mpirun() { have "${MPIRUN:-mpirun}"; }
has_hdf5() { [ -n "${HDF5_DIR:-}" ] || have h5cc || { have pkg-config && { pkg-config --exists hdf5 || pkg-config --exists hdf5-serial; }; }; }
has_fuse() { have pkg-config && pkg-config --exists fuse3; }
has_debian_keys() { [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]; }
has_browser() { have chromium || have chromium-browser || have google-chrome || have chrome; }
has_make() { have cc && have make; }

# Each line: the check, then the Debian package that satisfies it.
QUICKSTART_NEEDS="has_make build-essential
have:pkg-config pkg-config
has_mpirun openmpi-bin
has_hdf5 libhdf5-dev
have:curl curl"
BUILD_NEEDS="$QUICKSTART_NEEDS
has_mpicc libopenmpi-dev
has_libclang libclang-dev
have:clang clang
have:python3 python3
has_venv python3-venv"
TEST_NEEDS="has_mpich libmpich-dev
has_fuse libfuse3-dev
have:fusermount3 fuse3
have:fincore util-linux-extra
have:mpirun.mpich mpich
have:fio fio
have:strace strace
have:script bsdutils
has_browser chromium
have:pdftotext poppler-utils
have:zstd zstd
have:pgrep procps
have:openssl openssl
have:ip iproute2
have:unshare util-linux
have:node nodejs
have:npm npm
have:mandoc mandoc
have:zsh zsh
have:fish fish
have:debootstrap debootstrap
has_debian_keys debian-archive-keyring"
SLURM_NEEDS="has_mpich libmpich-dev
have:mpirun.mpich mpich
have:pgrep procps
have:unshare util-linux
have:munged munge
have:slurmctld slurmctld
have:slurmd slurmd
have:sbatch slurm-client"

# Prints the packages whose check fails.
missing() {
    local check package
    while read -r check package; do
        case $check in
        have:*) have "${check#have:}" || echo "$package" ;;
        *) "$check" || echo "$package" ;;
        esac
    done <<<"$1"
}

install_debian() {
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || die 2 "these packages are missing: $*; run as root: apt-get install $*"
        sudo=(sudo)
    fi
    step "apt-get install $*"
    # Without apt's lists, or with stale ones, the install fails; they are fetched only then.
    if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null >&2; then
        step "apt-get update, then again"
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update </dev/null >&2
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null >&2
    fi
}

name_packages() {
    cat >&2 <<TEXT
Missing (Debian's names): $*
This is no Debian or Ubuntu, so nothing was installed. The packages are called
  Fedora, RHEL, Rocky:  dnf install gcc make pkgconf-pkg-config openmpi-devel clang clang-devel hdf5-devel curl python3
                        then: module load mpi/openmpi-x86_64
  openSUSE, SLES:       zypper install gcc make pkg-config openmpi4-devel clang-devel hdf5-devel curl python3
  Arch:                 pacman -S base-devel openmpi clang hdf5 curl python
On a cluster, load its compiler and MPI modules instead; MPICC names the compiler wrapper to build with.
The tests need MPICH (as mpicc.mpich and mpirun.mpich, beside Open MPI) and fio as well; scripts/test-slurm.sh needs
munge and Slurm's slurmctld, slurmd and sbatch.
TEXT
    exit 2
}

check_rust() {
    if ! have cargo && have apt-get && apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        install_debian rustup
        step "rustup default stable"
        rustup default stable >&2
    fi
    have cargo || die 2 "cargo is missing; install Rust 1.$RUST_MINOR or newer by: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    local minor
    minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p')
    if [ -n "$minor" ] && [ "$minor" -lt "$RUST_MINOR" ]; then
        die 2 "Rust 1.$minor is too old, 1.$RUST_MINOR is needed; update it by: rustup update stable"
    fi
}

python_venv() {
    local python=$PYTHON_VENV/bin/python
    local wanted=(tests/python/requirements.txt tests/python/requirements-torch.txt)
    if [ -x "$python" ] && cmp -s <(cat "${wanted[@]}") "$PYTHON_VENV/installed.txt"; then return; fi
    step "Python packages of ${wanted[*]} into $PYTHON_VENV"
    python3 -m venv "$PYTHON_VENV"
    # PyPI's PyTorch for x86-64 brings CUDA's libraries, some gigabytes; with PIP_EXTRA_INDEX_URL naming PyTorch's own
    # index of CPU builds, pip takes a small one.
    "$python" -m pip install --quiet --disable-pip-version-check \
        --requirement "${wanted[0]}" --requirement "${wanted[1]}" </dev/null >&2
    cat "${wanted[@]}" >"$PYTHON_VENV/installed.txt"
}

# The MPI implementations of PyPI, each into $TARGET/mpi/NAME: their programs and libraries have the same names. Without what
# they depend on: Intel MPI wants libfabric, which PyPI does not have, and needs it between hosts only.
mpi_wheels() {
    local wanted=tests/python/requirements-mpi.txt wheel
    if cmp -s "$wanted" "$TARGET/mpi/installed.txt"; then return; fi
    step "MPI of $wanted into $TARGET/mpi"
    rm -rf "$TARGET/mpi"
    while read -r wheel; do
        "$PYTHON_VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --ignore-installed \
            --prefix "$TARGET/mpi/${wheel%%=*}" "$wheel" </dev/null >&2
    done < <(grep -v '^#' "$wanted")
    cp "$wanted" "$TARGET/mpi/installed.txt"
}

needs=$BUILD_NEEDS with_tests=false
case ${1:-} in
'') ;;
--quickstart) needs=$QUICKSTART_NEEDS ;;
--test)
    with_tests=true
    # debootstrap is where only root's PATH leads.
    PATH=$PATH:/usr/sbin:/sbin
    needs+=$'\n'$TEST_NEEDS
    ;;
--slurm)
    needs+=$'\n'$SLURM_NEEDS
    # Debian keeps the daemons where only root's PATH leads.
    PATH=$PATH:/usr/sbin:/sbin
    ;;
*) die 2 "usage: scripts/setup.sh [--quickstart | --test | --slurm]" ;;
esac

step "checking the tools"
mapfile -t packages < <(missing "$needs")
if [ "${#packages[@]}" -gt 0 ]; then
    have apt-get || name_packages "${packages[@]}"
    install_debian "${packages[@]}"
    hash -r
    mapfile -t packages < <(missing "$needs")
    [ "${#packages[@]}" = 0 ] || die 2 "still missing after the installation: ${packages[*]}"
fi
check_rust
if $with_tests; then
    python_venv
    mpi_wheels
    npm_servers
fi
step "the tools are complete"
