# shellcheck shell=bash
# What the batch scripts share: the launcher, the paths, the run itself. Sourced, never run.
# The variables that a job may set are in README.md.

# fail MESSAGE...: ends the job with dlio-rs' status for usage errors.
fail() {
    printf '%s: error: %s\n' "${SLURM_JOB_NAME:-job}" "$*" >&2
    exit 2
}

# `sbatch --export=DATA=...` without ALL would leave srun's tasks without PATH and LD_LIBRARY_PATH.
export SLURM_EXPORT_ENV=ALL

DLIO_RS=${DLIO_RS:-$DLIO_RS_SLURM/../target/release/dlio-rs}
[ -x "$DLIO_RS" ] || fail "$DLIO_RS is no executable file on $(hostname); build it, or set DLIO_RS to its path on the nodes"

SUBMIT=${SLURM_SUBMIT_DIR:-$PWD}
DATA_ROOT=${DATA_ROOT:-$SUBMIT/data}
RESULTS=${RESULTS:-$SUBMIT/results}
CHECKPOINTS=${CHECKPOINTS:-$SUBMIT/checkpoints/$SLURM_JOB_ID}
# Used as ${EXTRA[@]+"${EXTRA[@]}"}, because Bash before 4.4 takes an empty array for an unset variable.
# shellcheck disable=SC2034  # for the scripts that source this file
read -r -a EXTRA <<<"${OVERRIDES:-}"

# ranks_per_node N: N ranks on each node of the job; sets PER_NODE, NODES and RANKS.
ranks_per_node() {
    # "8(x4)" where Slurm counts node by node.
    local allowed=${SLURM_NTASKS_PER_NODE%%(*}
    PER_NODE=${1:-$allowed}
    [[ $PER_NODE =~ ^[1-9][0-9]*$ ]] || fail "RANKS_PER_NODE='$PER_NODE' is no number of ranks"
    [ "$PER_NODE" -le "$allowed" ] ||
        fail "$PER_NODE ranks per node, but the job has $allowed tasks per node; submit with --ntasks-per-node=$PER_NODE"
    NODES=$SLURM_JOB_NUM_NODES
    RANKS=$((NODES * PER_NODE))
}

# workload NAME: a built-in workload, or the path of a YAML file; sets CONFIG (dlio-rs' word) and NAME (for folders).
workload() {
    # shellcheck disable=SC2034  # CONFIG is for the scripts that source this file
    case $1 in
    */* | *.yaml | *.yml)
        [ -r "$1" ] || fail "WORKLOAD=$1: no readable file on $(hostname)"
        CONFIG=$1 NAME=${1##*/} NAME=${NAME%.*}
        ;;
    *) CONFIG=workload=$1 NAME=$1 ;;
    esac
}

# The MPI library that the binary is linked with, or that DLIO_RS_MPI_LIB names: openmpi, mpich (also Intel MPI, MVAPICH, Cray
# MPICH), any (it opens the launcher's own) or unknown.
mpi_of_binary() {
    local libraries
    libraries=$(ldd "$DLIO_RS" 2>&1) || true
    case $libraries in
    *libmpi*'not found'*)
        fail "$DLIO_RS does not find its MPI library on $(hostname); load the module that it was built with before sbatch"
        ;;
    esac
    case $libraries in
    *libmpi* | *'not a dynamic executable'*) ;;
    *)
        libraries=${DLIO_RS_MPI_LIB:-}
        [ -n "$libraries" ] || { echo any && return; }
        ;;
    esac
    case $libraries in
    *libmpi.so.12* | *libmpich.so* | *libmpi_cray*) echo mpich ;;
    *libmpi.so.*) echo openmpi ;;
    *) echo unknown ;;
    esac
}

# has_plugin NAME: whether this Slurm's srun offers --mpi=NAME.
has_plugin() { grep -qE "(^|[[:space:],])$1(\$|[[:space:],])" <<<"$MPI_PLUGINS"; }

# Words that start RANKS ranks by srun with plugin $1.
srun_words() {
    has_plugin "$1" || fail "LAUNCH=$LAUNCH needs 'srun --mpi=$1', which this Slurm does not offer (srun --mpi=list: ${MPI_PLUGINS//$'\n'/; }); use another LAUNCH, e.g. mpirun"
    # --wait and not --kill-on-bad-exit: the latter would kill ranks that are about to end with dlio-rs' own status.
    LAUNCHER=(srun "--mpi=$1" "--nodes=$NODES" "--ntasks=$RANKS" "--ntasks-per-node=$PER_NODE"
        --kill-on-bad-exit=0 --wait=60 "--cpu-bind=$CPU_BIND")
    # Since Slurm 22.05 srun no longer takes this over from sbatch.
    if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then LAUNCHER+=("--cpus-per-task=$SLURM_CPUS_PER_TASK"); fi
}

# Words that start RANKS ranks by the mpirun of the binary's own MPI library.
mpirun_words() {
    local version
    MPIRUN=${MPIRUN:-mpirun}
    command -v "$MPIRUN" >/dev/null || fail "LAUNCH=$LAUNCH, but there is no '$MPIRUN' on $(hostname); load the MPI module before sbatch, or set MPIRUN"
    version=$("$MPIRUN" --version 2>&1) || true
    case $version in
    *"Open MPI"* | *"open-mpi"* | *OpenRTE* | *PRRTE*)
        [ "$1" != mpich ] || fail "$MPIRUN is Open MPI's, but $DLIO_RS uses MPICH or a relative of it; set MPIRUN to that library's mpirun"
        LAUNCHER=("$MPIRUN" -np "$RANKS" --map-by "ppr:$PER_NODE:node" --bind-to none)
        ;;
    *)
        [ "$1" != openmpi ] || fail "$MPIRUN is not Open MPI's, but $DLIO_RS uses Open MPI; set MPIRUN to Open MPI's mpirun"
        LAUNCHER=("$MPIRUN" -n "$RANKS" -ppn "$PER_NODE")
        ;;
    esac
}

# Sets LAUNCHER from LAUNCH. `auto` decides by the binary's MPI library and the plugins of srun, and says so;
# anything else is done as asked or ends the job.
choose_launcher() {
    local mpi reason=''
    LAUNCH=${LAUNCH:-auto} CPU_BIND=${CPU_BIND:-none}
    mpi=$(mpi_of_binary)
    # Some versions write the list to stderr.
    MPI_PLUGINS=$(srun --mpi=list 2>&1) || true
    if [ "$LAUNCH" = auto ]; then
        case $mpi in
        openmpi) if has_plugin pmix; then LAUNCH=srun; else LAUNCH=mpirun; fi ;;
        mpich) if has_plugin pmi2; then LAUNCH=srun-pmi2; elif has_plugin cray_shasta; then LAUNCH=srun-cray_shasta; else LAUNCH=mpirun; fi ;;
        # With mpirun it is known which library belongs to it.
        any) if command -v "${MPIRUN:-mpirun}" >/dev/null; then LAUNCH=mpirun; elif has_plugin pmix; then LAUNCH=srun; else LAUNCH=srun-pmi2; fi ;;
        *) fail "cannot tell which MPI library $DLIO_RS uses; set LAUNCH to srun, srun-pmi2 or mpirun" ;;
        esac
        reason=" (LAUNCH=auto; the binary's MPI: $mpi; srun --mpi=list: $(tr -s '\n\t' '  ' <<<"$MPI_PLUGINS"))"
    fi
    case $LAUNCH in
    srun) srun_words pmix ;;
    srun-?*) srun_words "${LAUNCH#srun-}" ;;
    mpirun) mpirun_words "$mpi" ;;
    *) fail "LAUNCH=$LAUNCH: choose auto, srun (--mpi=pmix), srun-pmi2, srun-NAME (--mpi=NAME) or mpirun" ;;
    esac
    echo "launcher: ${LAUNCHER[*]}$reason"
}

# stop PID: lets dlio-rs, started by the launcher PID, end by itself.
stop() {
    echo "SIGTERM from Slurm: passed on to dlio-rs" >&2
    # srun does not pass a SIGTERM on, it kills the tasks; scancel signals the job's steps. mpirun passes it on.
    case ${LAUNCHER[0]} in
    srun) scancel --signal=TERM "$SLURM_JOB_ID" 2>/dev/null || kill -TERM "$1" ;;
    *) kill -TERM "$1" 2>/dev/null || true ;;
    esac
}

# launch WORDS...: dlio-rs on all ranks; returns its exit status. Before the time limit Slurm sends SIGTERM to the batch
# script alone (--signal=B:TERM@60).
launch() {
    local child status interrupted
    "${LAUNCHER[@]}" "$DLIO_RS" "$@" </dev/null &
    child=$!
    trap 'interrupted=yes; stop "$child"' TERM
    # A signal interrupts `wait`, not the child.
    interrupted=yes
    while [ -n "$interrupted" ]; do
        interrupted='' status=0
        wait "$child" || status=$?
    done
    trap - TERM
    return "$status"
}

# run_dlio FOLDER WORDS...: shows the ranks and their CPUs, checks their number, then runs dlio-rs with results in FOLDER.
# Returns dlio-rs' exit status.
run_dlio() {
    local folder=$1 info status=0
    shift
    choose_launcher
    info=$(mktemp)
    launch info >"$info" || status=$?
    cat "$info"
    if [ "$status" = 0 ] && ! grep -q "^ranks: $RANKS," "$info"; then
        echo "error: ${LAUNCHER[0]} was to start $RANKS ranks, see above" >&2
        status=1
    fi
    rm -f "$info"
    if [ "$status" != 0 ]; then
        echo "dlio-rs info did not start under ${LAUNCHER[*]}: when MPI is to blame, the launcher does not fit the binary's MPI library; see the table in slurm/README.md" >&2
        return "$status"
    fi
    echo "dlio-rs $* --output $folder"
    launch "$@" --output "$folder" || status=$?
    echo "dlio-rs ended with status $status"
    return "$status"
}
