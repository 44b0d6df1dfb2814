#!/usr/bin/env bash
# Builds the packages: a tarball, a Debian package and a Python wheel, all with the same binary.
#
#   scripts/package.sh [--profile PROFILE] [--output DIR]
#
# The binary opens the MPI library at run time, has HDF5 inside and needs glibc 2.28 or newer and nothing else; a binary
# that needs more is refused. PROFILE is dist; dev is for tests: quick, and for this machine's glibc. DIR is
# target/package. Prints the paths.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GLIBC=2.28
FEATURES=s3,azure,sdk,hdf5-static,parquet
# glibc, and gcc's library for unwinding, which every system has.
SYSTEM='^(libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux-[a-z0-9-]+)\.so\.'

profile=dist output=$TARGET/package
while [ $# -gt 0 ]; do
    case $1:${2:+value} in
    --profile:value) profile=$2 ;;
    --output:value) output=$2 ;;
    *) die 2 "usage: scripts/package.sh [--profile PROFILE] [--output DIR]" ;;
    esac
    shift 2
done
mkdir -p "$output"
output=$(cd "$output" && pwd)
machine=$(uname -m)
version=$(sed -n '0,/^version = "\(.*\)"/s//\1/p' Cargo.toml)

# Sets TOOLS: the folder of Python, zig and cmake.
tools() {
    local venv=$TARGET/package-venv
    if ! cmp -s scripts/package-requirements.txt "$venv/installed.txt"; then
        step "Python packages of scripts/package-requirements.txt into $venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/package-requirements.txt </dev/null >&2
        cp scripts/package-requirements.txt "$venv/installed.txt"
    fi
    TOOLS=$venv/bin
}

# Sets BIN.
build() {
    local words=(--locked --profile "$profile" --no-default-features --features "$FEATURES" --bin dlio-rs) built
    if [ "$profile" = dev ]; then
        step "cargo build"
        # PATH stays as it is: C libraries are built anew when it changes.
        CMAKE=$TOOLS/cmake cargo build "${words[@]}" </dev/null >&2
        built=$TARGET/debug/dlio-rs
    else
        step "cargo zigbuild --profile $profile, for glibc $GLIBC"
        PATH=$TOOLS:$PATH cargo zigbuild "${words[@]}" --target "$machine-unknown-linux-gnu.$GLIBC" </dev/null >&2
        built=$TARGET/$machine-unknown-linux-gnu/$profile/dlio-rs
    fi
    BIN=$output/dlio-rs
    # The names of functions go into a file of their own, which gdb and perf find beside the binary.
    rm -f "$BIN.debug"
    strip --only-keep-debug -o "$BIN.debug" "$built"
    strip --strip-all -o "$BIN" "$built"
    (cd "$output" && objcopy --add-gnu-debuglink=dlio-rs.debug dlio-rs)
}

# Refuses a binary that needs other libraries, or a newer glibc, than it should, or is too large.
check_needs() {
    local others newest size
    size=$(stat -c %s "$BIN")
    [ "$profile" = dev ] || [ "$size" -lt 25000000 ] || die 1 "$BIN has $size bytes; 25 MB is the limit"
    others=$(objdump -p "$BIN" | awk '$1 == "NEEDED" { print $2 }' | grep -vE "$SYSTEM" || true)
    [ -z "$others" ] || die 1 "$BIN needs libraries that a machine may lack:" $others
    newest=$(objdump -T "$BIN" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
    [ "$profile" != dev ] || GLIBC=$newest
    [ "$(printf '%s\n' "$newest" "$GLIBC" | sort -V | tail -n 1)" = "$GLIBC" ] || die 1 "$BIN needs glibc $newest; $GLIBC is the limit"
}

# What every package holds, below a prefix such as /usr.
fill() {
    local prefix=$1 share=$1/share
    install -D -m 755 "$BIN" "$prefix/bin/dlio-rs"
    mkdir -p "$share/dlio-rs" "$share/doc/dlio-rs" "$share/man/man1" "$share/bash-completion/completions" \
        "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
    cp -r configs slurm "$share/dlio-rs/"
    cp README.md CHANGELOG.md LICENSE "$share/doc/dlio-rs/"
    cp "$output/THIRD-PARTY-LICENSES.txt" "$share/doc/dlio-rs/"
    "$BIN" man "$share/man/man1"
    "$BIN" completions bash >"$share/bash-completion/completions/dlio-rs"
    "$BIN" completions zsh >"$share/zsh/site-functions/_dlio-rs"
    "$BIN" completions fish >"$share/fish/vendor_completions.d/dlio-rs.fish"
    chmod -R u=rwX,go=rX "$prefix"
}

tarball() {
    local name=dlio-rs-$version-$machine-linux
    fill "$scratch/$name"
    tar -C "$scratch" --owner=0 --group=0 --sort=name --mtime="@$SOURCE_DATE_EPOCH" -czf "$output/$name.tar.gz" "$name"
    echo "$output/$name.tar.gz"
}

deb() {
    local tree=$scratch/deb architecture file
    architecture=$(dpkg --print-architecture)
    file=$output/dlio-rs_${version}_$architecture.deb
    fill "$tree/usr"
    mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
    local doc=$tree/usr/share/doc/dlio-rs
    rm "$doc/LICENSE"
    printf '%s\n' "Copyright: the dlio-rs developers. License: Apache-2.0, see /usr/share/common-licenses/Apache-2.0." \
        "What else is in the binary: THIRD-PARTY-LICENSES.txt in this folder." >"$doc/copyright"
    mv "$doc/CHANGELOG.md" "$doc/changelog"
    gzip -9n "$doc/changelog" "$doc/THIRD-PARTY-LICENSES.txt" "$tree"/usr/share/man/man1/*.1
    sed -i 's/THIRD-PARTY-LICENSES.txt/&.gz/' "$doc/copyright"
    mkdir "$tree/DEBIAN"
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: dlio-rs
Version: $version
Architecture: $architecture
Maintainer: The dlio-rs developers <dlio-rs@localhost>
Installed-Size: $(du -sk "$tree/usr" | cut -f 1)
Depends: libc6 (>= $GLIBC), libgcc-s1
Recommends: openmpi-bin | mpich
Section: utils
Priority: optional
Description: MPI-parallel benchmark of storage systems under AI training workloads
 dlio-rs measures what a storage system gives to AI training. It reads a
 dataset as a training framework would, under MPI, and reports how busy the
 storage kept the accelerators. It is compatible with DLIO and opens the MPI
 library of the machine at run time.
CONTROL
    local pack=xz
    [ "$profile" != dev ] || pack=gzip
    dpkg-deb --root-owner-group "-Z$pack" --build "$tree" "$file" >/dev/null
    echo "$file"
}

tools
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH
build
check_needs
python3 scripts/licences.py "$FEATURES" >"$output/THIRD-PARTY-LICENSES.txt"
step "the packages, in $output"
tarball
deb
rm -f "$output"/*.whl
"$TOOLS/python" scripts/wheel.py "$BIN" "$output/THIRD-PARTY-LICENSES.txt" "$GLIBC" "$output"
ls "$output"/*.whl
sha256sum "$BIN" >&2
