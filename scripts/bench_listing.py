"""What `dataset.listing` takes of memory and time: `dlio-rs plan` over an S3 server that answers pages of 1000 names.

The names are made as they are asked for, so that no server and no disk bounds their number. Memory is the peak of the process
above that of one which lists 1000 names; a name may take its text and 16 bytes.
"""

import argparse
import http.server
import os
import threading
import time
import urllib.parse

import bench_lib as b

PAGE = 1000
BYTES_PER_NAME = 16
OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-11-27T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
    "<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
FOLDER = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"


class Pages(http.server.BaseHTTPRequestHandler):
    """ListObjectsV2 of `folders` folders with `each` objects, or of that many objects without a folder."""

    protocol_version = "HTTP/1.1"
    folders, each = 0, 0

    def do_GET(self):
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        prefix, start = query.get("prefix", ""), int(query.get("continuation-token", 0))
        is_root = self.folders > 0 and prefix.count("/") < 3
        count, entry = (self.folders, FOLDER) if is_root else (self.each, OBJECT)
        name = f"{prefix}part-%04d/" if is_root else f"{prefix}sample.%08d.npz"
        end = min(start + PAGE, count)
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
        entries = "".join(entry.format(name % i) for i in range(start, end))
        truncated = "true" if more else "false"
        text = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{entries}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def listed(port, count):
    """Seconds, and bytes at the peak."""
    words = [
        b.BIN, "plan", "workload=quickstart", "dataset.data_folder=s3://bucket/data", "dataset.listing=true",
        f"dataset.num_files_train={count}", "dataset.num_files_eval=0", "workflow.evaluation=false",
        "train.total_training_steps=1", "train.epochs=1", "--order",
        # The list of DLIO's shuffle is no part of the names.
        "reader.file_shuffle=off", "reader.sample_shuffle=off",
        f"storage.storage_options.endpoint_url=http://127.0.0.1:{port}",
        "storage.storage_options.access_key_id=a", "storage.storage_options.secret_access_key=b",
    ]  # fmt: skip
    begun = time.monotonic()
    [peak] = b.peak_rss(words)
    return time.monotonic() - begun, peak


def main():
    p = argparse.ArgumentParser(prog="bench-listing.sh", description=__doc__)
    p.add_argument("--names", type=int, default=10_000_000)
    p.add_argument("--folders", type=int, nargs="*", default=[0, 100], help="that they are in")
    p.add_argument("--check", action="store_true", help="exit status 1 when a name takes more")
    args = p.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    b.title("Names that `dataset.listing` reads")
    rows, met = [], True
    for folders in args.folders:
        Pages.folders, Pages.each = 0, PAGE
        seconds, least = listed(port, PAGE)
        b.say(f"{args.names} names in {folders or 'no'} folders")
        Pages.folders, Pages.each = folders, args.names // max(1, folders)
        took, peak = listed(port, args.names)
        text = len("sample.00000000.npz") + (len("part-0000/") if folders else 0)
        each = (peak - least) / args.names
        is_met = each <= text + BYTES_PER_NAME
        met &= is_met
        rows.append((
            args.names, folders, f"{took - seconds:.0f}", f"{args.names / (took - seconds):.0f}",
            f"{(peak - least) / b.MIB:.0f}", text, f"{each - text:.1f}", b.verdict(is_met), f"{os.getloadavg()[0]:.1f}",
        ))  # fmt: skip
    b.table(
        ["names", "folders", "seconds", "names/s", "peak memory MiB", "text of a name, bytes", "beside it",
         f"<= {BYTES_PER_NAME}", "load"],
        rows,
    )  # fmt: skip
    print("Server and client share the CPUs; a page of a store far away takes longer than these.")
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
