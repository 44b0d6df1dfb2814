#!/usr/bin/env bash
# Submits the batch scripts of slurm/ to a real Slurm that it boots on this machine, with every launcher that works here.
#
#   scripts/test-slurm.sh [--shared-hostname]
#
# DLIO_RS names a binary linked with Open MPI, DLIO_RS_ANYMPI one that opens MPI at run time; what is not named is built. As
# root, each virtual node has its own host name; otherwise, or with --shared-hostname, all have the machine's, and each job runs
# on one node, as the table says. Prints a table; exit status 1 when a line of it failed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/slurm-cluster.sh
. scripts/slurm-cluster.sh

hostnames=own
case ${1:-} in
'') ;;
--shared-hostname) hostnames=shared ;;
*) die 2 "usage: scripts/test-slurm.sh [--shared-hostname]" ;;
esac
scripts/setup.sh --slurm
choose_mpi
if [ -z "${DLIO_RS:-}" ]; then
    build_release
    DLIO_RS=$BIN
fi
if [ -z "${DLIO_RS_ANYMPI:-}" ]; then
    build_anympi
    DLIO_RS_ANYMPI=$TARGET/anympi/debug/dlio-rs
fi
OPENMPI_BIN=$(realpath "$DLIO_RS") ANYMPI_BIN=$(realpath "$DLIO_RS_ANYMPI")
mpich=(DLIO_RS="$ANYMPI_BIN" DLIO_RS_MPI_LIB="$(loader_finds libmpich.so.12)")
# Jobs get their binary line by line.
unset DLIO_RS DLIO_RS_ANYMPI DLIO_RS_MPI_LIB

# Unix sockets lie in the folder, and their paths hold 107 bytes.
folder=$(mktemp -d /tmp/dlio-slurm.XXXXXX)
passed=no
finish() {
    cluster_stop
    if [ "$passed" = yes ]; then
        rm -rf "$folder"
    else
        step "Slurm's logs and the jobs' output stay in $folder"
    fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "Slurm with $CLUSTER_NODES nodes in $folder"
cluster_start "$hostnames" "$folder"
work=$folder/work
mkdir "$work"
cd "$work"
plugins=$(srun --mpi=list 2>&1)
step "$(sinfo --version), host names: $CLUSTER_HOSTNAMES; $(tr -s '\n\t' '  ' <<<"$plugins")"

if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# The host names of the nodes resolve to the loopback.
export OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_tcp_if_include=lo
# Neither the PMIx plugin nor mpirun can tell nodes of the same name apart.
if [ "$CLUSTER_HOSTNAMES" = own ]; then TWO=2 FOUR=4; else TWO=1 FOUR=1; fi

TITLES=() JOBS=() STATES=() EXITS=() CHECKS=()
# submit TITLE STATE EXIT CHECK COMMAND...: a line of the table. STATE and EXIT are regular expressions, CHECK a function
# and its words, to which the job's id is appended; COMMAND is sbatch with its environment. Sets JOB.
submit() {
    TITLES+=("$1") STATES+=("$2") EXITS+=("$3") CHECKS+=("$4")
    shift 4
    JOB=$(timeout 120 env "$@")
    JOBS+=("$JOB")
}

# The records of a job, one line each (an array has several).
records() { timeout 120 scontrol --oneliner show job "$1"; }
field() { sed -n "s/.* $2=\([^ ]*\).*/\1/p" <<<" $1" | sort -u | paste -sd,; }

# Waits until every job has ended, or the deadline is over.
settle() {
    local job record
    for job in "${JOBS[@]}"; do
        while [ "$SECONDS" -le "$DEADLINE" ]; do
            record=$(records "$job")
            if ! grep -qE 'JobState=(PENDING|CONFIGURING|RUNNING|COMPLETING|SUSPENDED)' <<<"$record"; then break; fi
            sleep 0.3
        done
    done
}

# Waits until the output $1 holds $2.
wait_for() {
    until grep -qs "$2" "$1"; do
        [ "$SECONDS" -le "$DEADLINE" ] || die 1 "'$2' never came in $work/$1"
        sleep 0.2
    done
}

nothing() { :; }
says() { grep -qF -- "$1" ./*-"$2".out || { echo "the output has no '$1'" && return 1; }; }
# files NUMBER FOLDER JOB
files() {
    local found
    found=$(find "$2/train" -name '*.npz' | wc -l)
    [ "$found" = "$1" ] || { echo "$found files instead of $1" && return 1; }
}
# train RANKS HOSTS JOB
train() {
    local digest
    digest=$(python3 "$ROOT/tests/python/check_run_dir.py" "results/$3" --ranks "$1" 2>&1) || { echo "$digest" && return 1; }
    digest=$(python3 "$ROOT/tests/python/check_slurm_run.py" "results/$3" --ranks "$1" --hosts "$2" --epochs 3 2>&1) || {
        echo "$digest" && return 1
    }
    # The same ranks read in the same order, whoever started them.
    if [ "$1" = 4 ]; then
        [ -e digest ] || echo "$digest" >digest
        [ "$digest" = "$(cat digest)" ] || { echo "order digest $digest, not $(cat digest)" && return 1; }
    fi
}
# checkpoint RANKS HOSTS JOB
checkpoint() {
    python3 "$ROOT/tests/python/check_slurm_run.py" "results/$3" --ranks "$1" --hosts "$2" --checkpoints 3 2>&1
}
# sweep JOB: of 2 workloads, 1 and 2 ranks, batches of 1 and 2.
sweep() {
    local task=0 workload ranks size found
    for workload in quickstart second; do
        for ranks in 1 2; do
            for size in 1 2; do
                found=$(python3 "$ROOT/tests/python/check_slurm_run.py" "results/$1/$task-$workload-${ranks}x-$size" \
                    --ranks "$ranks" --hosts 1 --epochs 3 --key "batch_size=$size" 2>&1) || { echo "$found" && return 1; }
                task=$((task + 1))
            done
        done
    done
}
# prompt SECONDS JOB: the job lasted that long at most, and left no result that looks complete.
prompt() {
    local record begin end
    record=$(records "$2")
    begin=$(date -d "$(field "$record" StartTime)" +%s) end=$(date -d "$(field "$record" EndTime)" +%s)
    [ $((end - begin)) -le "$1" ] || { echo "ended after $((end - begin)) s" && return 1; }
    says "SIGTERM from Slurm: passed on to dlio-rs" "$2" || return 1
    [ ! -e "results/$2" ] || { echo "results/$2 looks like a complete run" && return 1; }
}
# A launcher that does not fit the library is refused; several jobs of one rank are not started. The distribution's
# libraries do not fit; others may, and then run as one job.
no_worlds() {
    local state
    state=$(field "$(records "$1")" JobState)
    if [ "$state" = COMPLETED ]; then
        train 4 "$TWO" "$1"
    else
        says "the launcher does not fit the binary's MPI library" "$1" || return 1
        [ ! -e "results/$1" ] || { echo "a result in spite of $state" && return 1; }
    fi
}

slurm=$ROOT/slurm
small=(dataset.num_files_train=16 dataset.record_length_bytes=65536 reader.batch_size=1)
endless=("${small[@]}" train.epochs=100000)
shape=("--nodes=$TWO" "--ntasks-per-node=$((4 / TWO))")
batch=(sbatch --parsable --ntasks-per-node=2)

# All jobs have ended long before, unless one hangs.
DEADLINE=$((SECONDS + 1500))
step "jobs"
# First, because their time passes while the others run.
submit "datagen, LAUNCH=auto, Open MPI, 1 node" COMPLETED 0:0 "files 16 data/quickstart" \
    DLIO_RS="$OPENMPI_BIN" "${batch[@]}" "$slurm/datagen.sbatch" "${small[@]}"
first=$JOB
after=(--dependency="afterok:$first" --kill-on-invalid-dep=yes)
submit "time limit of 1 minute, LAUNCH=auto, Open MPI" 'FAILED|TIMEOUT' '[1-9].*' "prompt 300" \
    DLIO_RS="$OPENMPI_BIN" "${batch[@]}" "${after[@]}" --time=1 --signal=B:TERM@10 "$slurm/train.sbatch" "${endless[@]}"

# Launchers: name, MPI, LAUNCH.
launchers="srun --mpi=pmix|Open MPI|srun
mpirun|Open MPI|mpirun
srun --mpi=pmi2|MPICH|srun-pmi2
mpirun|MPICH|mpirun
srun --mpi=pmix|any MPI|srun
srun --mpi=pmi2|any MPI|srun-pmi2
mpirun|any MPI|auto"
while IFS='|' read -r name mpi launch; do
    case $mpi in
    "Open MPI") line=(DLIO_RS="$OPENMPI_BIN" MPIRUN="$MPIRUN") ;;
    MPICH) line=("${mpich[@]}" MPIRUN=mpirun.mpich) ;;
    any*) line=(DLIO_RS="$ANYMPI_BIN" MPIRUN="$MPIRUN") ;;
    esac
    line+=(LAUNCH="$launch")
    how="$name, $mpi, $TWO x $((4 / TWO))"
    plugin=${name#srun --mpi=}
    if [ "$plugin" != "$name" ] && ! grep -qw "$plugin" <<<"$plugins"; then
        submit "$name: not in this Slurm's srun --mpi=list" FAILED 2:0 "says which this Slurm does not offer" \
            "${line[@]}" "${batch[@]}" "$slurm/train.sbatch"
        continue
    fi
    data=$work/data/${#JOBS[@]}
    submit "datagen, $how" COMPLETED 0:0 "files 16 $data" "${line[@]}" "${batch[@]}" "${shape[@]}" \
        --export="ALL,DATA=$data" "$slurm/datagen.sbatch" "${small[@]}"
    submit "train, $how" COMPLETED 0:0 "train 4 $TWO" "${line[@]}" DATA="$data" OVERRIDES="${small[*]} train.epochs=9" \
        WORKLOAD="$ROOT/configs/quickstart.yaml" "${batch[@]}" "${shape[@]}" --dependency="afterok:$JOB" \
        --kill-on-invalid-dep=yes "$slurm/train.sbatch" train.epochs=3
    # What follows does not depend on how the library was found.
    case $mpi in any*) continue ;; esac
    submit "checkpoint, $how" COMPLETED 0:0 "checkpoint 4 $TWO" "${line[@]}" "${batch[@]}" "${shape[@]}" "$slurm/checkpoint.sbatch"
    submit "wrong configuration, $how" FAILED 2:0 "says train.epochs" "${line[@]}" "${batch[@]}" "${shape[@]}" \
        "$slurm/train.sbatch" train.epochs=nonsense
done <<<"$launchers"

cp "$slurm/train.sbatch" copied.sbatch
submit "train, LAUNCH=auto, Open MPI, 1 of 2 ranks, copied script" COMPLETED 0:0 "train 1 1" DLIO_RS_SLURM="$slurm" \
    DLIO_RS="$OPENMPI_BIN" RANKS_PER_NODE=1 "${batch[@]}" "${after[@]}" copied.sbatch "${small[@]}"
submit "train, LAUNCH=auto, MPICH, $FOUR x $((4 / FOUR)), 2 CPUs per task" COMPLETED 0:0 "train 4 $FOUR" \
    "${mpich[@]}" "${batch[@]}" "${after[@]}" --nodes="$FOUR" --ntasks-per-node=$((4 / FOUR)) --cpus-per-task=2 "$slurm/train.sbatch" "${small[@]}"
sed 's/name: quickstart/name: second/' "$ROOT/configs/quickstart.yaml" >second.yaml
mkdir -p data
ln -s quickstart data/second
submit "sweep of 8 points" COMPLETED 0:0 sweep \
    DLIO_RS="$OPENMPI_BIN" WORKLOADS="quickstart second.yaml" RANKS="1 2" KEY=reader.batch_size VALUES="1 2" \
    "${batch[@]}" "${after[@]}" --array=0-7%2 "$slurm/sweep.sbatch" "${small[@]}"
submit "sweep with an array of another size" FAILED 2:0 nothing \
    DLIO_RS="$OPENMPI_BIN" VALUES="1 3" "${batch[@]}" --array=0-2 "$slurm/sweep.sbatch"
submit "no dataset" FAILED 1:0 "says dataset" \
    DLIO_RS="$OPENMPI_BIN" DATA="$work/nowhere" "${batch[@]}" "$slurm/train.sbatch"
submit "no such plugin of srun" FAILED 2:0 "says which this Slurm does not offer" \
    DLIO_RS="$OPENMPI_BIN" LAUNCH=srun-nosuch "${batch[@]}" "$slurm/train.sbatch"
submit "mpirun of the wrong MPI" FAILED 2:0 "says set MPIRUN" \
    DLIO_RS="$OPENMPI_BIN" LAUNCH=mpirun MPIRUN=mpirun.mpich "${batch[@]}" "$slurm/train.sbatch"
submit "no pair: srun --mpi=pmi2, Open MPI without PMI-2" 'FAILED|COMPLETED' '.*' no_worlds \
    DLIO_RS="$OPENMPI_BIN" LAUNCH=srun-pmi2 "${batch[@]}" "${after[@]}" "${shape[@]}" "$slurm/train.sbatch" "${small[@]}"
submit "no pair: srun --mpi=pmix, MPICH without PMIx" 'FAILED|COMPLETED' '.*' no_worlds \
    "${mpich[@]}" LAUNCH=srun "${batch[@]}" "${after[@]}" "${shape[@]}" "$slurm/train.sbatch" "${small[@]}"

for launch in auto mpirun; do
    line=(DLIO_RS="$OPENMPI_BIN" LAUNCH="$launch" MPIRUN="$MPIRUN")
    submit "SIGTERM to the batch script, LAUNCH=$launch, Open MPI" FAILED '[1-9].*' "prompt 300" \
        "${line[@]}" "${batch[@]}" "${after[@]}" --nodes="$TWO" "$slurm/train.sbatch" "${endless[@]}"
    stopped=$JOB
    submit "scancel, LAUNCH=$launch, Open MPI" CANCELLED '.*' "prompt 300" \
        "${line[@]}" "${batch[@]}" "${after[@]}" --nodes="$TWO" "$slurm/train.sbatch" "${endless[@]}"
    wait_for "dlio-train-$stopped.out" '^epoch 1:'
    timeout 120 scancel --batch --signal=TERM "$stopped"
    wait_for "dlio-train-$JOB.out" '^epoch 1:'
    timeout 120 scancel "$JOB"
done
settle

step "checks"
failures=0
printf '\n%-58s %-10s %-6s %4s  %s\n' case state exit s check
for i in "${!JOBS[@]}"; do
    record=$(records "${JOBS[i]}")
    state=$(field "$record" JobState) exit=$(field "$record" ExitCode)
    seconds=$(field "$record" RunTime | sed 's/,.*//' | awk -F: '{ print $1 * 3600 + $2 * 60 + $3 }')
    verdict=ok
    if ! [[ $state =~ ^(${STATES[i]})$ ]]; then
        verdict="FAILED: the state is not ${STATES[i]}"
    elif ! [[ $exit =~ ^(${EXITS[i]})$ ]]; then
        verdict="FAILED: the exit status is not ${EXITS[i]}"
    else
        # "says" takes the rest of the line as one word.
        read -r check words <<<"${CHECKS[i]}"
        if [ "$check" = says ]; then arguments=("$words"); else read -r -a arguments <<<"$words"; fi
        reason=$("$check" "${arguments[@]}" "${JOBS[i]}" 2>&1) || verdict="FAILED: $reason"
    fi
    [ "$verdict" = ok ] || failures=$((failures + 1))
    printf '%-58s %-10s %-6s %4s  %s\n' "${TITLES[i]}" "$state" "$exit" "$seconds" "$verdict"
    if [ "$verdict" != ok ]; then tail -n 15 ./*-"${JOBS[i]}"{,_*}.out 2>/dev/null | sed 's/^/    | /' || true; fi
done
echo
if [ "$CLUSTER_HOSTNAMES" = shared ]; then
    echo "The nodes share this machine's host name, by which launchers tell them apart: no job ran on several nodes."
fi
left() { pgrep -af "dlio-rs.*$work" | grep -v pgrep; }
none_left() { ! left >/dev/null; }
if ! soon none_left; then
    left=$(left || true)
    echo "processes are left of jobs that have ended: $left"
    failures=$((failures + 1))
fi
[ "$failures" = 0 ] || die 1 "$failures of ${#JOBS[@]} cases failed"
passed=yes
step "all ${#JOBS[@]} cases passed"
