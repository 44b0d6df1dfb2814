"""What more reader threads bring where libhdf5 has one lock for all of them: hdf5 against npy, which has none.

In memory every read is work of a CPU, so the lock is felt most; an S3 server that answers each GET after a fixed time shows whether
it is held while a thread waits for storage. The metadata of each file is read anew in every epoch.
"""

import argparse
import http.server
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path

import bench_lib as b
from bench_parts import Answers

READERS = (1, 2, 4, 8)
KINDS = ("npy", "hdf5")
# Eight readers against one, where storage is what is waited for.
MIN_GAIN = 7.0


class Objects(Answers):
    """An S3 server that keeps what it is given."""

    # Head and body are two writes; the second one must not wait for the client's answer to the first.
    disable_nagle_algorithm = True
    objects = {}

    def do_PUT(self):
        self.objects[self.key] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(ETag='"0"')

    def do_GET(self):
        body = self.objects.get(self.key)
        if body is None and self.key.strip("/") == "bucket":
            return super().do_GET()
        if body is None:
            return self.answer(404)
        time.sleep(self.delay)
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found:
            return self.send(200, body)
        first, last = int(found.group(1)), int(found.group(2) or len(body) - 1)
        part = body[first : last + 1]
        return self.send(206, part, f"bytes {first}-{first + len(part) - 1}/{len(body)}")

    def send(self, status, body, content_range=None):
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        body = self.objects.get(self.key)
        if body is None:
            return self.answer(200 if self.key.strip("/") == "bucket" else 404)
        return self.answer(200, length=len(body))

    def do_DELETE(self):
        self.objects.pop(self.key, None)
        self.answer(204)


def rates(place, args, scratch, folder, files, words):
    """Kind and readers -> samples per second, of each repetition."""
    runs = {}
    for kind in KINDS:
        config = scratch / f"{kind}.yaml"
        b.write_config(config, folder=f"{folder}/{kind}", file_format=kind, files=files, record_bytes=args.bytes, batch=8,
                       threads=1, epochs=args.epochs)  # fmt: skip
        b.generate(1, config, words)

        def rate(config=config, readers=1):
            report = b.dlio_rs(1, config, [*words, f"reader.read_threads={readers}", "reader.prefetch_size=8"])
            return files * args.epochs / report.train_seconds

        runs |= {(kind, n): lambda rate=rate, n=n: rate(readers=n) for n in READERS}
    return b.in_turns(runs, args.repeat, f"{place}: ")


def rows_of(place, results):
    """Rows of the table, and the gain of eight readers over one by kind."""
    gains = {kind: b.median([x / y for x, y in zip(results[kind, 8], results[kind, 1])]) for kind in KINDS}
    rows = []
    for n in READERS:
        cells = [f"{b.median(results[kind, n]):.0f}" for kind in KINDS]
        more = [f"{b.median([x / y for x, y in zip(results[kind, n], results[kind, 1])]):.2f}" for kind in KINDS]
        share = b.median([x / y for x, y in zip(results["hdf5", n], results["npy", n])])
        rows.append((place, n, cells[0], more[0], cells[1], more[1], f"{share:.2f}"))
    return rows, gains


def main():
    p = argparse.ArgumentParser(prog="bench-readers.sh", description=__doc__)
    p.add_argument("--files", type=int, default=4096, help="in memory")
    p.add_argument("--objects", type=int, default=128, help="on the object store")
    p.add_argument("--bytes", type=int, default=65536, help="of a file")
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--delay", type=float, default=20.0, help="milliseconds of each GET")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--tmpfs", default="/dev/shm", help="folder in memory")
    p.add_argument("--check", action="store_true", help="exit status 1 when a gain misses its bound")
    args = p.parse_args()
    b.title(f"Reader threads of one rank: files of {args.bytes} bytes, {args.delay:g} ms per GET on the object store")
    scratch = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-readers-", dir=args.tmpfs))
    Objects.delay = args.delay / 1e3
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = [
        f"storage.storage_options.endpoint_url=http://127.0.0.1:{server.server_address[1]}",
        "storage.storage_options.access_key_id=a", "storage.storage_options.secret_access_key=b",
        "storage.storage_options.region=us-east-1", "storage.storage_options.checksum=none",
    ]  # fmt: skip
    try:
        memory, _ = rows_of("memory", rates("memory", args, scratch, scratch, args.files, []))
        slow, gains = rows_of("object store", rates("object store", args, scratch, "s3://bucket/d", args.objects, store))
    finally:
        shutil.rmtree(scratch)
    b.table(["from", "readers", "npy, samples/s", "to 1 reader", "hdf5, samples/s", "to 1 reader", "hdf5 / npy"], memory + slow)
    met = min(gains.values()) >= MIN_GAIN
    print(f"Eight readers of the object store bring {MIN_GAIN:g} times one at least: {b.verdict(met)}")
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
