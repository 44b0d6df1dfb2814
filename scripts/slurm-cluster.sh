# shellcheck shell=bash
# A real Slurm on this machine, for tests: one slurmctld, CLUSTER_NODES slurmd, its own munged, all on loopback and with
# every file in one temporary folder. Sourced after lib.sh, never run.
#
# cluster_start sets: CLUSTER (the folder), SLURM_CONF (exported), CLUSTER_HOSTNAMES (own: each node has its own host name;
# shared: all have this machine's). cluster_stop ends what was started, by process id; the folder is the caller's.

CLUSTER_NODES=4
CLUSTER_PIDS=()
# Debian keeps the daemons where only root's PATH leads.
PATH=$PATH:/usr/sbin:/sbin

port_is_used() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints the first of CLUSTER_NODES + 1 ports that nobody listens at, below the range of outgoing connections.
free_ports() {
    local try base port
    for try in {1..50}; do
        base=$((20000 + (RANDOM + try) % 11000))
        for ((port = base; port <= base + CLUSTER_NODES; port++)); do
            if port_is_used "$port"; then continue 2; fi
        done
        echo "$base"
        return
    done
    die 1 "found no $((CLUSTER_NODES + 1)) free ports in a row"
}

write_slurm_conf() {
    local port=$1 node
    cat <<TEXT
ClusterName=dlio-rs-test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$CLUSTER/munge/socket
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool/%n
# The PMIx plugin's folders, which nodes on one machine must not share.
TmpFS=$CLUSTER/tmp/%n
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/slurmd-%n.pid
SlurmctldLogFile=$CLUSTER/log/slurmctld.log
SlurmdLogFile=$CLUSTER/log/slurmd-%n.log
# Containers often have no cgroups to give.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2
# Nodes claim more CPUs than this machine may have.
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
KillWait=10
MailProg=/bin/true
TEXT
    for ((node = 1; node <= CLUSTER_NODES; node++)); do
        echo "NodeName=node$node NodeAddr=127.0.0.1 Port=$((port + node)) CPUs=8 State=UNKNOWN"
    done
    echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

# Gives the process the host name $1 and the file $2 as /etc/hosts, then becomes the rest.
# shellcheck disable=SC2016  # expanded by the inner shell
AS_HOST='hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'

# cluster_start own|shared FOLDER
cluster_start() {
    local node port wanted=$1 i
    CLUSTER=$2
    mkdir -p "$CLUSTER"/{munge,state,spool,tmp,log}
    chmod 755 "$CLUSTER"
    cp /etc/hosts "$CLUSTER/hosts"
    for ((node = 1; node <= CLUSTER_NODES; node++)); do
        mkdir "$CLUSTER/spool/node$node" "$CLUSTER/tmp/node$node"
        echo "127.0.0.1 node$node" >>"$CLUSTER/hosts"
    done
    CLUSTER_HOSTNAMES=shared
    if [ "$wanted" = own ] && unshare --uts --mount bash -c "$AS_HOST" as_host node1 "$CLUSTER/hosts" true 2>"$CLUSTER/log/unshare"; then
        CLUSTER_HOSTNAMES=own
    fi

    (umask 077 && head -c 1024 /dev/urandom >"$CLUSTER/munge/key")
    chmod 711 "$CLUSTER/munge"
    munged --foreground --force --socket="$CLUSTER/munge/socket" --key-file="$CLUSTER/munge/key" \
        --pid-file="$CLUSTER/munge/pid" --log-file="$CLUSTER/munge/log" --seed-file="$CLUSTER/munge/seed" \
        </dev/null >"$CLUSTER/log/munged.out" 2>&1 &
    CLUSTER_PIDS+=($!)
    soon test -S "$CLUSTER/munge/socket" || die 1 "munged did not start, see $CLUSTER/log/munged.out"

    port=$(free_ports)
    write_slurm_conf "$port" >"$CLUSTER/slurm.conf"
    export SLURM_CONF=$CLUSTER/slurm.conf
    slurmctld -D -i </dev/null >"$CLUSTER/log/slurmctld.out" 2>&1 &
    CLUSTER_PIDS+=($!)
    for ((node = 1; node <= CLUSTER_NODES; node++)); do
        if [ "$CLUSTER_HOSTNAMES" = own ]; then
            unshare --uts --mount bash -c "$AS_HOST" as_host "node$node" "$CLUSTER/hosts" slurmd -D -N "node$node" \
                </dev/null >"$CLUSTER/log/slurmd-$node.out" 2>&1 &
        else
            slurmd -D -N "node$node" </dev/null >"$CLUSTER/log/slurmd-$node.out" 2>&1 &
        fi
        CLUSTER_PIDS+=($!)
    done
    soon all_nodes_are_idle || {
        timeout 60 sinfo -N -l >&2 || true
        die 1 "Slurm's $CLUSTER_NODES nodes are not idle, see $CLUSTER/log"
    }
}

all_nodes_are_idle() { [ "$(timeout 60 sinfo --noheader --states=idle --format=%D 2>/dev/null)" = "$CLUSTER_NODES" ]; }

# Waits until none of the processes is left, $1 seconds at most.
ended_within() {
    local i pid left
    for ((i = 0; i < $1 * 10; i++)); do
        left=no
        for pid in "${CLUSTER_PIDS[@]}"; do
            if kill -0 "$pid" 2>/dev/null; then left=yes; fi
        done
        [ "$left" = yes ] || return 0
        sleep 0.1
    done
    return 1
}

cluster_stop() {
    local i
    [ "${#CLUSTER_PIDS[@]}" -gt 0 ] || return 0
    if [ -n "${SLURM_CONF:-}" ] && timeout 60 scancel --partition=test 2>/dev/null; then
        # slurmd ends its jobs' processes; without slurmd nobody would.
        for ((i = 0; i < 40; i++)); do
            [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break
            sleep 0.5
        done
    fi
    # In the order of a site's shutdown: nodes, controller, munged.
    for ((i = ${#CLUSTER_PIDS[@]} - 1; i >= 0; i--)); do kill -TERM "${CLUSTER_PIDS[i]}" 2>/dev/null || true; done
    ended_within 10 || kill -KILL "${CLUSTER_PIDS[@]}" 2>/dev/null || true
    wait "${CLUSTER_PIDS[@]}" 2>/dev/null || true
    CLUSTER_PIDS=()
}
