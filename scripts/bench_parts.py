"""What parts in flight give: one rank saves a checkpoint to an S3 server that answers each upload after a fixed time."""

import argparse
import collections
import http.server
import os
import tempfile
import threading
import time

import bench_lib as b

# Eight parts in flight against one.
MIN_RATIO = 7.0
PART = 5 * b.MIB


class Answers(http.server.BaseHTTPRequestHandler):
    """As much of S3 as one upload needs. Bodies are thrown away."""

    protocol_version = "HTTP/1.1"
    delay = 0.0
    lengths, lock = collections.Counter(), threading.Lock()

    def answer(self, status=200, text="", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text) if length is None else length))
        self.end_headers()
        self.wfile.write(text.encode())

    @property
    def key(self):
        return self.path.split("?")[0]

    def body(self):
        left, buffer = int(self.headers.get("Content-Length", 0)), memoryview(bytearray(b.MIB))
        while left:
            got = self.rfile.readinto1(buffer[: min(left, b.MIB)])
            if not got:
                return
            left -= got

    def do_PUT(self):
        self.body()
        with self.lock:
            self.lengths[self.key] += int(self.headers["Content-Length"])
        time.sleep(self.delay)
        self.answer(ETag='"0"')

    def do_POST(self):
        self.body()
        name = "CompleteMultipartUploadResult" if "uploadId=" in self.path else "InitiateMultipartUploadResult"
        self.answer(text=f"<{name}><UploadId>1</UploadId><ETag>0</ETag></{name}>")

    def do_GET(self):
        self.answer(text="<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

    def do_HEAD(self):
        known = self.key in self.lengths
        self.answer(200 if known or self.key.strip("/") == "bucket" else 404, length=self.lengths[self.key] if known else 0)

    def do_DELETE(self):
        self.lengths.pop(self.key, None)
        self.answer(204)

    def log_message(self, *_):
        pass


def save(port, parts, size):
    """GiB/s of one checkpoint of `size` bytes, and the share of generator and buffers in it, percent."""
    with tempfile.TemporaryDirectory() as out:
        words = [
            "workload=quickstart", "workflow.generate_data=false", "workflow.train=false", "workflow.checkpoint=true",
            "storage.storage_type=s3", "storage.storage_root=bucket", f"model.model_size_bytes={size}",
            "checkpoint.num_checkpoints_write=1", "checkpoint.num_checkpoints_read=0", "checkpoint.write_files=1",
            f"checkpoint.parts_in_flight={parts}", f"checkpoint.checkpoint_folder=s3://bucket/ck{time.monotonic_ns()}", f"storage.storage_options.part_size={PART}",
            f"storage.storage_options.endpoint_url=http://127.0.0.1:{port}", "storage.storage_options.access_key_id=a",
            "storage.storage_options.secret_access_key=b", "storage.storage_options.region=us-east-1",
            "storage.storage_options.checksum=none",
        ]  # fmt: skip
        b.run([*b.launcher(1), b.BIN, *words, "--quiet", "--output", os.path.join(out, "run")])
        return b.Report(os.path.join(out, "run")).json["checkpoint"]["save"]["throughput_mean"]["value"]


def main():
    p = argparse.ArgumentParser(prog="bench-parts.sh", description=__doc__)
    p.add_argument("--delay", type=float, default=50.0, help="milliseconds of each upload")
    p.add_argument("--size", type=int, default=1024, help="MiB of the checkpoint")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--check", action="store_true", help="exit status 1 when the ratio misses its bound")
    args = p.parse_args()
    b.title(f"Parts in flight: {args.size} MiB in parts of 5 MiB, {args.delay:g} ms per upload, 1 rank")
    Answers.delay = args.delay / 1e3
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, size = server.server_address[1], args.size * b.MIB
    runs = b.in_turns({n: lambda n=n: save(port, n, size) for n in (1, 8)}, args.pairs)
    ratios = [eight / one for one, eight in zip(runs[1], runs[8])]
    ratio = b.median(ratios)
    met = ratio >= MIN_RATIO
    b.table(
        ["1 part, GiB/s", "8 parts, GiB/s", "ratio, median of pairs", "ratios of pairs", f">= {MIN_RATIO:g}"],
        [(f"{b.median(runs[1]):.3f}", f"{b.median(runs[8]):.3f}", f"{ratio:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}",
          b.verdict(met))],
    )  # fmt: skip
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
