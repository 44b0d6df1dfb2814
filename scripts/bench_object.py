"""Whole runs of dlio-rs against s3dlio's get_many and boto3, reading the same objects of one server in turns; then each client
alone, GET and PUT, with and without TLS, against the bench server: dlio-rs's two clients, a bare hyper loop, s3dlio, boto3, and
the AWS Common Runtime (awscrt).

Server and clients share this host's CPUs: on SeaweedFS the server's own work bounds every client. The second server answers
from memory with little work, so that its ratios are the clients'.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import bench_lib as b

# (label, bytes of a sample, objects, requests in flight)
CASES = [
    ("8 MiB x 64", 8 * b.MIB, 64, 16),
    ("147 MB x 8", 147_000_000, 8, 16),
    ("128 KiB x 4000", 128 << 10, 4000, 64),
]
# Of the clients alone: (label, bytes, requests in flight, requests). s3dlio sends large objects in parts, which the server of
# the bench does not know.
ALONE = [
    ("128 KiB", 128 << 10, (1, 8, 64), ("get", "put")),
    ("8 MiB", 8 * b.MIB, (1, 8, 64), ("get", "put")),
    ("147 MB", 147_000_000, (8,), ("get",)),
]
# What the project asks of itself against s3dlio.
MIN_RATE_RATIO = 1.2
MAX_CPU_RATIO = 0.7
KEY, SECRET, BUCKET = "bench", "bench-secret", "bench"

# Reads all objects once; prints seconds, CPU seconds and bytes of the reading alone.
S3DLIO = """
import json, resource, sys, time
import s3dlio
uris, depth = json.load(sys.stdin), int(sys.argv[1])
def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
s3dlio.get_many(uris[:1], 1)
c, t = cpu(), time.monotonic()
n = sum(len(data) for _, data in s3dlio.get_many(uris, max_in_flight=depth))
print(json.dumps([time.monotonic() - t, cpu() - c, n]))
"""
BOTO3 = """
import json, os, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.config import Config
uris, depth = json.load(sys.stdin), int(sys.argv[1])
config = Config(max_pool_connections=depth, s3={"addressing_style": "path"}, response_checksum_validation="when_required")
client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=config)
def get(uri):
    bucket, key = uri[5:].split("/", 1)
    return len(client.get_object(Bucket=bucket, Key=key)["Body"].read())
def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
get(uris[0])
c, t = cpu(), time.monotonic()
with ThreadPoolExecutor(depth) as pool:
    n = sum(pool.map(get, uris))
print(json.dumps([time.monotonic() - t, cpu() - c, n]))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Seaweed:
    """SeaweedFS with its S3 gateway, in a temporary folder."""

    name = "SeaweedFS"

    def __init__(self, root):
        self.folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-object-", dir=root))
        identity = {"name": "bench", "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                    "actions": ["Admin", "Read", "List", "Tagging", "Write"]}  # fmt: skip
        (self.folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()
        master, volume, filer, s3 = (free_port() for _ in range(4))
        self.url = f"http://127.0.0.1:{s3}"
        words = [
            os.environ["BENCH_WEED"], "server", f"-dir={self.folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-master.port.grpc={free_port()}", f"-volume.port={volume}",
            f"-volume.port.grpc={free_port()}", f"-filer.port={filer}", f"-filer.port.grpc={free_port()}", "-s3",
            f"-s3.port={s3}", f"-s3.port.grpc={free_port()}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.config={self.folder}/identities.json", "-master.volumeSizeLimitMB=1024", "-volume.max=50",
            "-volume.minFreeSpace=16MiB",
        ]  # fmt: skip
        log = open(self.folder / "log", "w")
        self.child = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{master}/dir/assign") as answer:
                    if b"fid" in answer.read():
                        request = urllib.request.Request(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", method="POST")
                        urllib.request.urlopen(request).close()
                        return
            except OSError:
                pass
            time.sleep(0.2)
        raise b.BenchError("SeaweedFS does not answer")

    def generate(self, config):
        b.generate(2, config, ["reader.drop_cache=none"])

    def close(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        shutil.rmtree(self.folder)


class Memory:
    """The bench server: every object has the same length and comes from memory."""

    name = "memory"

    def __init__(self, length, tls=None):
        words = [os.environ["BENCH_CLIENT"], "--serve", str(length), *([tls / "server.pem", tls / "server.key"] if tls else [])]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.child.stdout.readline().strip()}"

    def generate(self, config):
        pass

    def close(self):
        self.child.kill()
        self.child.wait()


def client(words, server, text="", **env):
    """Seconds, CPU seconds and bytes, as the client prints them."""
    env = dict(os.environ, AWS_ENDPOINT_URL=server.url, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET,
               AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1", RUST_BACKTRACE="0", **env)  # fmt: skip
    done = subprocess.run(words, input=text, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise b.BenchError(f"{words[:3]} ended with {done.returncode}: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])


def python_client(program, server, uris, depth):
    return client([os.environ["BENCH_PYTHON"], "-c", program, str(depth)], server, json.dumps(uris))


def certificates(folder):
    """An authority, ca.pem, and the server's certificate and key."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    b.run([*new, "-subj", "/CN=bench authority", "-keyout", folder / "ca.key", "-out", folder / "ca.pem"])
    b.run([*new, "-subj", "/CN=bench", "-keyout", folder / "server.key", "-out", folder / "server.pem", "-CA", folder / "ca.pem",
           "-CAkey", folder / "ca.key", "-addext", "basicConstraints=critical,CA:FALSE",
           "-addext", "subjectAltName=IP:127.0.0.1"])  # fmt: skip


def alone(args):
    """A row for each object, direction and number in flight: dlio-rs's figures, and its ratios to the others'."""
    own, python = os.environ["BENCH_CLIENT"], [os.environ["BENCH_PYTHON"], Path(__file__).with_name("bench_object_clients.py")]
    clients = {"dlio-rs": [own, "native"], "bare hyper": [own, "hyper"], "uring": [own, "uring"], "client: sdk": [own, "sdk"]}
    clients |= {name: [*python, name] for name in ("awscrt", "s3dlio", "boto3")}
    others = list(clients)[1:]
    rows = []
    with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-") as folder:
        tls = Path(folder)
        certificates(tls)
        ca = str(tls / "ca.pem")
        for label, length, depths, requests in ALONE:
            for secure, direction, depth in itertools.product((False, True), requests, depths):
                name = f"{label} {direction.upper()} {'TLS' if secure else 'plain'}"
                if args.only not in name:
                    continue
                server = Memory(length, tls if secure else None)
                tail = [direction, server.url, str(length), str(depth), str(args.seconds), *([ca] if secure else [])]
                env = {"AWS_CA_BUNDLE": ca, "AWS_CA_BUNDLE_PATH": ca, "SSL_CERT_FILE": ca} if secure else {}
                runs = {who: lambda words=words: client([*words, *tail], server, **env) for who, words in clients.items()}
                try:
                    results = b.in_turns(runs, args.repeat, f"{name}, {depth} in flight: ")
                finally:
                    server.close()
                figures = {who: [(n / b.GIB / s, c / (n / b.GIB)) for s, c, n in found] for who, found in results.items()}
                mine = figures["dlio-rs"]

                def ratio(who, which):
                    return b.median([x[which] / y[which] for x, y in zip(mine, figures[who])])

                rows.append((
                    label, direction.upper(), "yes" if secure else "no", depth,
                    *(f"{b.median([f[which] for f in mine]):.2f}" for which in (0, 1)),
                    *(f"{ratio(who, 0):.2f}; {ratio(who, 1):.2f}" for who in others), f"{os.getloadavg()[0]:.1f}",
                ))  # fmt: skip
    b.table(["object", "request", "TLS", "in flight", "dlio-rs GiB/s", "CPU s/GiB", *(f"to {who}" for who in others), "load"], rows)
    print("`to X`: the rate of dlio-rs over that of X; its CPU seconds per GiB over those of X. `uring` is dlio-rs with")
    print("`reader.engine: uring`, `client: sdk` with `storage_options.client: sdk`: aws-sdk-s3 over hyper. Every client signs its")
    print("requests, bare hyper too. The clock starts when every request in flight has been answered once.\n")


def case(args, server, label, record_bytes, objects, depth):
    with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-") as folder:
        config = Path(folder) / "bench.yaml"
        b.write_config(config, folder=f"s3://{BUCKET}/{objects}", file_format="npz", files=objects, record_bytes=record_bytes)
        words = [
            "reader.data_loader=native", f"reader.io_depth={depth}", f"reader.batch_size={math.gcd(objects, depth)}",
            f"storage.storage_options.endpoint_url={server.url}", f"storage.storage_options.access_key_id={KEY}",
            f"storage.storage_options.secret_access_key={SECRET}", "reader.decode=none", "reader.range_size=0",
            "dataset.listing_validation_interval=0",
        ]  # fmt: skip
        workload = json.loads(config.read_text())
        workload["storage"] = {"storage_options": {"endpoint_url": server.url, "access_key_id": KEY, "secret_access_key": SECRET}}
        config.write_text(json.dumps(workload))
        b.say(f"{label} on {server.name}: preparing {objects} objects")
        server.generate(config)
        width = len(str(objects))
        uris = [f"s3://{BUCKET}/{objects}/train/img_{i:0{width}}_of_{objects}.npz" for i in range(objects)]
        # One epoch of warm-up connections, then the epochs that count, is what a training job does as well.
        def ours(*more):
            report = b.dlio_rs(1, config, [*words, f"train.epochs={args.epochs}", *more])
            return report.train_seconds, report.cpu_seconds_per_gib * report.bytes_read / b.GIB, report.bytes_read

        runs = {
            "dlio-rs": ours,
            "uring": lambda: ours("reader.engine=uring"),
            "s3dlio": lambda: python_client(S3DLIO, server, uris * args.epochs, depth),
            "boto3": lambda: python_client(BOTO3, server, uris * args.epochs, depth),
        }
        if record_bytes * objects * args.epochs > args.memory_gib * b.GIB:
            raise b.BenchError("s3dlio keeps everything that it reads: lower --epochs or raise --memory-gib")
        results = b.in_turns(runs, args.repeat, f"{label} on {server.name}: ")
        lengths = {n for values in results.values() for _, _, n in values}
        if len(lengths) != 1:
            raise b.BenchError(f"the clients read different numbers of bytes: {lengths}")
        rate = {name: [n / s for s, _, n in values] for name, values in results.items()}
        cpu = {name: [c / (n / b.GIB) for _, c, n in values] for name, values in results.items()}
        ratio = {name: b.median([x / y for x, y in zip(rate["dlio-rs"], rate[name])]) for name in runs}
        cpu_ratio = {name: b.median([x / y for x, y in zip(cpu["dlio-rs"], cpu[name])]) for name in runs}
        met = ratio["s3dlio"] >= MIN_RATE_RATIO and cpu_ratio["s3dlio"] <= MAX_CPU_RATIO
        per_second = b.median(rate["dlio-rs"]) / (next(iter(lengths)) / objects / args.epochs)
        row = (
            label, depth, server.name, f"{b.median(rate['dlio-rs']) / b.GIB:.2f}", f"{per_second:.0f}",
            f"{b.median(cpu['dlio-rs']):.2f}", *(f"{ratio[n]:.2f}; {cpu_ratio[n]:.2f}" for n in list(runs)[1:]), b.verdict(met),
        )  # fmt: skip
        return row, met


def whole_runs(args):
    """A row for each case and server; true when the ratios meet their bounds."""
    rows, met = [], True
    for entry in CASES:
        for kind in (Seaweed, Memory):
            if args.only not in f"{entry[0]} {kind.name}":
                continue
            # What an npz has besides its sample.
            server = Seaweed(args.disk) if kind is Seaweed else Memory(entry[1] + 500)
            try:
                row, ok = case(args, server, *entry)
            finally:
                server.close()
            rows.append(row)
            met &= ok
    b.table(
        ["objects", "in flight", "server", "dlio-rs GiB/s", "GET/s", "CPU s/GiB", "to uring", "to s3dlio", "to boto3",
         f">= {MIN_RATE_RATIO} and CPU <= {MAX_CPU_RATIO} of s3dlio"],
        rows,
    )  # fmt: skip
    return met


def main():
    p = argparse.ArgumentParser(prog="bench-object.sh", description=__doc__)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--epochs", type=int, default=1, help="times that the objects are read in one run")
    p.add_argument("--memory-gib", type=float, default=6.0, help="what s3dlio may keep")
    p.add_argument("--seconds", type=float, default=1.0, help="of a client alone")
    p.add_argument("--disk", default="/dev/shm", help="folder for SeaweedFS")
    p.add_argument("--only", default="", help="cases whose label and server hold this text")
    p.add_argument("--table", choices=["runs", "alone", "both"], default="both")
    p.add_argument("--check", action="store_true", help="exit status 1 when a ratio misses its bound")
    args = p.parse_args()
    met = True
    b.title("GET and PUT, one client process, against other clients")
    if args.table != "alone":
        met = whole_runs(args)
    if args.table != "runs":
        alone(args)
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
