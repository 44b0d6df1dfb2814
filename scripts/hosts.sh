# shellcheck shell=bash
# Three hosts on one machine, for tests of jobs on several hosts: network, host name, mounts and shared memory of their own,
# on one bridge. Servers run at the bridge. Sourced. Needs root, iproute2 and util-linux.
#
#   hosts_up FOLDER     starts node1, node2, node3 (10.77.0.1 to .3); FOLDER/local is a folder of each host's own
#   on NODE COMMAND...  runs a command there
#   host_pids NODE      the processes of a host
#   at_switch COMMAND...   runs a command at the bridge, which the hosts reach as 10.77.0.254 and as `store`
#   cable_out NODE, cable_in NODE   takes the cable out, and puts it back
#   hosts_down          ends all of it
#
# HOSTS_AGENT stands in for ssh, so that launchers start their daemons there without servers or keys.

hosts_up() {
    local i
    HOSTS=$1
    mkdir -p "$HOSTS"
    {
        echo "127.0.0.1 localhost"
        for i in 1 2 3; do echo "10.77.0.$i node$i"; done
        echo "10.77.0.254 store"
    } >"$HOSTS/hosts"
    HOSTS_AGENT=$HOSTS/agent
    cat >"$HOSTS_AGENT" <<TEXT
#!/usr/bin/env bash
# As ssh: AGENT [-OPTION...] NODE COMMAND...
while [[ \$1 == -* ]]; do shift; done
node=\$1
shift
exec nsenter --target "\$(cat "$HOSTS/\$node.pid")" --net --uts --mount --ipc -- bash -c "\$*"
TEXT
    chmod +x "$HOSTS_AGENT"
    ip netns add dlio-switch
    ip -n dlio-switch link set lo up
    ip -n dlio-switch link add br0 type bridge
    ip -n dlio-switch addr add 10.77.0.254/24 dev br0
    ip -n dlio-switch link set br0 up
    for i in 1 2 3; do
        ip netns add "dlio-node$i"
        ip -n "dlio-node$i" link set lo up
        ip link add "dlio-n$i" type veth peer name "dlio-s$i"
        ip link set "dlio-n$i" netns "dlio-node$i"
        ip link set "dlio-s$i" netns dlio-switch
        ip -n "dlio-node$i" link set "dlio-n$i" name eth0
        ip -n "dlio-node$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "dlio-node$i" link set eth0 up
        ip -n dlio-switch link set "dlio-s$i" master br0
        ip -n dlio-switch link set "dlio-s$i" up
        mkdir -p "$HOSTS/node$i.private" "$HOSTS/local"
        # shellcheck disable=SC2016  # expanded by the inner shell
        ip netns exec "dlio-node$i" unshare --uts --mount --ipc --propagation private bash -c '
            hostname "$1"
            mount --bind "$2/hosts" /etc/hosts
            mount -t tmpfs -o size=300m tmpfs /dev/shm
            mount --bind "$2/$1.private" "$2/local"
            echo $$ >"$2/$1.pid"
            exec sleep infinity' host "node$i" "$HOSTS" </dev/null >/dev/null 2>&1 &
        disown
    done
    for i in 1 2 3; do
        for _ in $(seq 3000); do
            [ -s "$HOSTS/node$i.pid" ] && [ "$(on "node$i" hostname 2>/dev/null)" = "node$i" ] && continue 2
            sleep 0.1
        done
        echo "node$i did not start" >&2
        return 1
    done
}

on() {
    local node=$1
    shift
    nsenter --target "$(cat "$HOSTS/$node.pid")" --net --uts --mount --ipc -- "$@"
}

at_switch() { ip netns exec dlio-switch "$@"; }

host_pids() { ip netns pids "dlio-$1" | grep -vx "$(cat "$HOSTS/$1.pid")" || true; }

cable_out() { ip -n dlio-switch link set "dlio-s${1#node}" down; }

cable_in() {
    local _
    ip -n dlio-switch link set "dlio-s${1#node}" up
    for _ in $(seq 300); do
        # Nobody listens there: refused is an answer.
        [[ $(on "$1" timeout 1 bash -c 'exec 3<>/dev/tcp/10.77.0.1/9' 2>&1) == *refused* ]] && return
        sleep 0.3
    done
}

hosts_down() {
    local name pids
    for name in node1 node2 node3 switch; do
        pids=$(ip netns pids "dlio-$name" 2>/dev/null) || continue
        # shellcheck disable=SC2086  # a list
        [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
    done
    for name in node1 node2 node3 switch; do
        ip netns del "dlio-$name" 2>/dev/null || true
    done
}
