#!/usr/bin/env bash
# Jobs on three hosts under a real mpirun, of Open MPI and of MPICH: what they do on files and on S3, and what they say when a
# rank, a host, a cable, a clock or a folder fails. The hosts are namespaces of this machine, see scripts/hosts.sh. Needs root.
#
#   scripts/test-hosts.sh        DLIO_RS: the binary; DLIO_RS_ANYMPI: one that opens MPI at run time, for MPICH
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/hosts.sh
. "$ROOT/scripts/hosts.sh"

[ "$(id -u)" = 0 ] || die 2 "namespaces need root"
have ip || die 2 "ip (iproute2) is missing; scripts/setup.sh --test installs it"
WEED=${DLIO_RS_WEED:-$PYTHON_VENV/bin/weed}
[ -x "$WEED" ] || die 2 "$WEED is missing; scripts/setup.sh --test installs it"

top=$(mktemp -d)
trap 'hosts_down; rm -rf "$top"' EXIT
hosts_up "$top/hosts" || die 1 "the hosts did not start"

# launcher NAME: sets LAUNCH, BIN, and RANK, the variable that holds a process's rank.
launcher() {
    case $1 in
    openmpi)
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        LAUNCH=(mpirun.openmpi --mca plm_rsh_agent "$HOSTS_AGENT" --mca oob_tcp_if_include eth0
            --mca btl_tcp_if_include eth0 --bind-to none --host node1:2,node2:2,node3:2 -np 6)
        have mpirun.openmpi || LAUNCH[0]=mpirun
        BIN=${DLIO_RS:-$TARGET/debug/dlio-rs} RANK=OMPI_COMM_WORLD_RANK
        ;;
    mpich)
        # PyPI's. Debian's hangs in MPI_Finalize between hosts unless FI_PROVIDER=tcp.
        LAUNCH=("$TARGET/mpi/mpich/bin/mpiexec" -launcher rsh -launcher-exec "$HOSTS_AGENT" -iface eth0
            -hosts node1,node2,node3 -ppn 2 -np 6)
        BIN=${DLIO_RS_ANYMPI:-$TARGET/anympi/debug/dlio-rs} RANK=PMI_RANK
        ;;
    esac
}

# store_up: S3 at the bridge, with a bucket `tests`.
store_up() {
    mkdir -p "$top/store"
    cat >"$top/identities.json" <<'JSON'
{"identities": [{"name": "tests", "credentials": [{"accessKey": "id", "secretKey": "secret"}],
                 "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
JSON
    at_switch "$WEED" server -dir="$top/store" -ip=10.77.0.254 -ip.bind=10.77.0.254 -s3 -s3.port=8333 -s3.iam=false \
        -s3.port.iceberg=0 -s3.port.lance=0 -s3.config="$top/identities.json" -master.volumeSizeLimitMB=64 -volume.max=100 \
        -volume.minFreeSpace=16MiB \
        </dev/null >"$top/store.log" 2>&1 &
    disown
    soon store_answers || { cat "$top/store.log" >&2; die 1 "SeaweedFS does not answer"; }
}

store_answers() {
    at_switch curl -m 10 -fs http://10.77.0.254:9333/dir/assign 2>/dev/null | grep -q fid &&
        at_switch curl -m 10 -s -X POST -o /dev/null -w '%{http_code}' http://10.77.0.254:8888/buckets/tests/ | grep -Eq '201|409' &&
        at_switch curl -m 10 -s http://10.77.0.254:8333/ >/dev/null 2>&1
}

# objects FOLDER: how many objects the server has there, as its own filer says.
objects() {
    at_switch curl -fs -H 'Accept: application/json' "http://10.77.0.254:8888/buckets/tests/$1/?limit=1000" |
        grep -o '"FullPath"' | wc -l
}

# job NAME WORD...: a small job; its output goes to $scratch/NAME.log, its results to $scratch/NAME. STALL: the stall limit.
job() {
    local name=$1
    shift
    on node1 timeout 600 "${LAUNCH[@]}" "${WRAP[@]}" "$BIN" workload=quickstart "dataset.data_folder=$data" \
        dataset.num_files_train=24 dataset.num_files_eval=6 dataset.record_length_bytes=65536 reader.batch_size=1 train.epochs=2 \
        train.computation_time=0.01 output.folder="$scratch/$name" --quiet --stall-timeout "${STALL:-6}" "$@" \
        </dev/null >"$scratch/$name.log" 2>&1
}

# fails NAME WORD...: the job $scratch/NAME.log ended with an error that has all of the words, and left no results.
fails() {
    local name=$1 word
    shift
    for word in "$@"; do
        grep -qF -- "$word" "$scratch/$name.log" || { cat "$scratch/$name.log" >&2; die 1 "$name: '$word' is missing"; }
    done
    [ ! -e "$scratch/$name/summary.json" ] || die 1 "$name: there are results"
}

refused() {
    local name=$1
    ! job "$@" || { cat "$scratch/$name.log" >&2; die 1 "$name: it went through"; }
}

good() {
    local name=$1
    job "$@" || { cat "$scratch/$name.log" >&2; die 1 "$name: it failed"; }
}

# begin NAME WORD...: starts a long job in the background and waits for its first step.
begin() {
    job "$@" reader.drop_cache=none train.computation_time=0.3 train.epochs=1000 &
    launched=$!
    soon trains "$1" || { cat "$scratch/$1.log" >&2; die 1 "$1: it does not begin"; }
}

trains() { grep -qs 'Starting block 1' "$scratch/.$1".partial-*/dlio.log; }

# ends: the job that began has ended with an error, within a time that only a hang exceeds.
ends() {
    local status=0
    wait "$launched" || status=$?
    [ "$status" != 0 ] && [ "$status" != 124 ] || { cat "$scratch/$1.log" >&2; die 1 "$1: exit status $status"; }
    echo "exit status $status" >>"$scratch/$1.log"
}

# ranks_of NODE: the ranks' own processes on a host, the lowest rank first.
ranks_of() {
    local pid rank
    for pid in $(host_pids "$1"); do
        case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in "$BIN "*) ;; *) continue ;; esac
        rank=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n "s/^$RANK=//p")
        echo "$rank $pid"
    done | sort -n | sed 's/.* //'
}

no_ranks() { [ -z "$(ranks_of node1)$(ranks_of node2)" ]; }

# end_all: ends the job that began, whatever its launcher waits for.
end_all() {
    local node
    for node in node1 node2 node3; do
        # shellcheck disable=SC2046  # a list
        kill -KILL $(host_pids "$node") 2>/dev/null || true
    done
    wait "$launched" || true
}

# epochs_of NAME: epochs that a job which began has begun.
epochs_of() { grep -c 'Starting block 1' "$scratch/.$1".partial-*/dlio.log; }

goes_on() { [ "$(epochs_of back)" -ge "$((before + 3))" ]; }

messages() { grep -c 'nothing has moved on' "$scratch/$1.log" || true; }

# checks MPI: all of it, under one MPI.
checks() {
    local mpi=$1
    scratch=$top/$mpi
    data=$scratch/data
    mkdir "$scratch"
    launcher "$mpi"

    step "$mpi, three hosts: generate, train, evaluate, checkpoint"
    good all workflow.evaluation=true workflow.checkpoint=true checkpoint.checkpoint_folder="$scratch/ck" model.model_size=65536
    grep -q '"num_hosts": 3' "$scratch/all/summary.json" || die 1 "not on three hosts"
    for node in node1 node2 node3; do
        grep -q "^$node: data on .* checkpoint on " "$scratch/all.log" || { cat "$scratch/all.log"; die 1 "no line for $node"; }
    done
    [ "$(find "$data/train" -name 'img_*' | wc -l)" = 24 ] || die 1 "not all files were generated"
    [ -z "$(find "$data" -name '*marker*')" ] || die 1 "a marker was left"

    step "$mpi, every barrier gives the same order on three hosts"
    for barrier in mpi shared; do
        good "$barrier" workflow.generate_data=false cluster.barrier="$barrier"
        grep -q "\"barrier\": \"$barrier\"" "$scratch/$barrier/report.json" || die 1 "the report does not name $barrier"
        sed -n 's/.*"order_digest": "\(.*\)".*/\1/p' "$scratch/$barrier/report.json" >"$scratch/$barrier.digest"
    done
    [ -s "$scratch/mpi.digest" ] || die 1 "the report has no order digest"
    cmp "$scratch/mpi.digest" "$scratch/shared.digest" || die 1 "the orders differ"

    step "$mpi, a rank of the third host is stopped"
    begin stopped workflow.generate_data=false
    victim=$(ranks_of node3 | sed -n 1p)
    kill -STOP "$victim"
    ends stopped
    kill -KILL "$victim" 2>/dev/null || true
    fails stopped "nothing has moved on node1, node2, node3" "on node3 (process $victim): " "its process is stopped" "ends with status 1" "exit status 1"
    [ "$(messages stopped)" = 1 ] || die 1 "$(messages stopped) messages in place of one"

    step "$mpi, the first rank is stopped: another one speaks for the job"
    begin first workflow.generate_data=false
    victim=$(ranks_of node1 | sed -n 1p)
    kill -STOP "$victim"
    ends first
    kill -KILL "$victim" 2>/dev/null || true
    fails first "silent: rank 0 on node1 (process $victim): " "its process is stopped"
    # With fewer cores than ranks two hosts can lose their patience in the same moment; each speaks for the job.
    [ "$(messages first)" -ge 1 ] && [ "$(messages first)" -le 2 ] || die 1 "$(messages first) messages in place of one"

    step "$mpi, the third host dies"
    begin died workflow.generate_data=false
    # shellcheck disable=SC2046  # a list
    kill -KILL $(host_pids node3)
    ends died
    fails died

    step "$mpi, the third host's cable is cut"
    begin cut workflow.generate_data=false
    # The watchdogs of hosts hear of each other once a second.
    sleep 4
    cable_out node3
    soon grep -q 'nothing has moved on' "$scratch/cut.log" || true
    # The ranks have ended. Open MPI's launcher waits for its daemon on the lost host, for ever.
    # Ranks that no launcher ends do so by themselves, after three times the stall timeout.
    soon no_ranks || die 1 "cut: ranks are left"
    end_all
    cable_in node3
    fails cut "silent: all ranks on node3: not heard of"

    step "$mpi, the third host's cable is cut and put back: the job goes on"
    STALL=120 begin back workflow.generate_data=false
    cable_out node3
    sleep 2
    cable_in node3
    before=$(epochs_of back)
    soon goes_on || { cat "$scratch/back.log" >&2; die 1 "back: it does not go on"; }
    end_all

    step "$mpi, a folder that is not shared"
    own=$HOSTS/local/$mpi
    refused part dataset.data_folder="$own" workflow.train=false
    fails part "is not the same folder on all hosts" "node2" "dataset.shared=false"
    [ -z "$(find "$HOSTS"/node*.private/"$mpi" -name 'img_*')" ] || die 1 "files were generated"
    good copies dataset.data_folder="$own" workflow.train=false dataset.shared=false
    for node in node1 node2 node3; do
        [ "$(find "$HOSTS/$node.private/$mpi" -name 'img_*' | wc -l)" = 30 ] || die 1 "$node has no whole copy"
    done
    good read_copies dataset.data_folder="$own" workflow.generate_data=false
    grep -q 'reads a copy of its own' "$scratch/read_copies/report.json" || die 1 "copies are not reported"
    refused insist dataset.data_folder="$own" workflow.generate_data=false dataset.shared=true
    fails insist "dataset.shared=true"

    step "$mpi, files of each rank in results that all hosts see and in results of one host"
    good alone workflow.generate_data=false output.folder="$HOSTS/local/$mpi-results"
    for place in "$scratch/mpi" "$HOSTS/node1.private/$mpi-results"; do
        [ "$(find "$place" -name '[0-5]_output.json' | wc -l)" = 6 ] || die 1 "$place does not have the files of all ranks"
        [ -z "$(find "$place" -name '.marker-*')" ] || die 1 "$place: a marker was left"
    done
    [ -z "$(find "$HOSTS"/node[23].private -name '*_output.json')" ] || die 1 "another host has results"

    step "$mpi, memory in place of the folder on one host"
    on node2 mount -t tmpfs tmpfs "$data"
    refused memory workflow.generate_data=false
    fails memory "node2" "tmpfs"
    on node2 umount "$data"

    step "$mpi, the third host's clock is two days late"
    WRAP=("$top/late")
    good late workflow.generate_data=false
    WRAP=()
    grep -q 'the clock of node3 is 17[0-9]* s behind that of node1' "$scratch/late.log" ||
        { cat "$scratch/late.log"; die 1 "the clock is not warned of"; }

    step "$mpi, S3: generate, train, evaluate, checkpoint"
    good s3 dataset.data_folder="s3://tests/$mpi/data" checkpoint.checkpoint_folder="s3://tests/$mpi/ck" \
        storage.storage_options.endpoint_url=http://store:8333 storage.storage_options.access_key_id=id \
        storage.storage_options.secret_access_key=secret workflow.evaluation=true workflow.checkpoint=true \
        model.model_size=65536
    grep -q '"num_hosts": 3' "$scratch/s3/summary.json" || die 1 "not on three hosts"
    [ "$(objects "$mpi/data/train")" = 24 ] && [ "$(objects "$mpi/data/valid")" = 6 ] || die 1 "not all objects were generated"
}

store_up
# One host's time of day, and nothing else, two days back.
cat >"$top/late.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*true_one)(clockid_t, struct timespec *);
    if (!true_one) true_one = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = true_one(id, now);
    if (status == 0 && id == CLOCK_REALTIME) now->tv_sec -= 2 * 86400;
    return status;
}
C
cc -shared -fPIC -o "$top/late.so" "$top/late.c" -ldl
cat >"$top/late" <<TEXT
#!/bin/sh
[ "\$(hostname)" != node3 ] || export LD_PRELOAD="$top/late.so"
exec "\$@"
TEXT
chmod +x "$top/late"
WRAP=()

for mpi in openmpi mpich; do checks "$mpi"; done
step "jobs on three hosts: all as expected"
