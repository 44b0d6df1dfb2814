"""Every format but parquet: generation, reading and memory, in turns with fio and the library that its users use."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_lib as b

LARGE = ["npz", "npy", "hdf5", "tfrecord", "indexed_binary"]
MIN_FIO_WRITE = 0.80
MIN_FIO_READ = 0.90
MIN_LIBRARY = {"jpeg": 20.0, "png": 20.0, "csv": 20.0}
MIN_FILL = 1.2
MAX_GROWTH = 96 * b.MIB
# ResNet-50's image and record of DLIO's workloads.
IMAGE_BYTES = 114660
RECORD_BYTES = 2_825_761

# Each prints the seconds of its loop. Arguments: folder, job, files.
WRITERS = {
    "jpeg": """
from PIL import Image
x = np.random.default_rng(job).integers(0, 255, (338, 338), dtype=np.uint8)
start = time.monotonic()
for i in range(files):
    Image.fromarray(x).save(f"{folder}/p_{job}_{i}.jpeg", format="JPEG", bits=8)
""",
    "png": """
from PIL import Image
x = np.random.default_rng(job).integers(0, 255, (338, 338), dtype=np.uint8)
start = time.monotonic()
for i in range(files):
    Image.fromarray(x).save(f"{folder}/p_{job}_{i}.png", format="PNG", bits=8)
""",
    "csv": """
import pandas as pd
x = np.random.default_rng(job).integers(0, 255, (64, 338 * 338), dtype=np.uint8)
start = time.monotonic()
for i in range(files):
    pd.DataFrame(x).to_csv(f"{folder}/p_{job}_{i}.csv", index=False, header=False)
""",
}
READERS = {
    "jpeg": """
from PIL import Image
paths = sorted(pathlib.Path(folder).glob("*.jpeg"))[job::jobs]
start = time.monotonic()
for path in paths:
    np.asarray(Image.open(path))
count = len(paths)
""",
    "tfrecord": """
import tensorflow as tf
paths = sorted(map(str, pathlib.Path(folder).glob("*.tfrecord")))
spec = {"image": tf.io.FixedLenFeature([], tf.string), "size": tf.io.FixedLenFeature([], tf.int64)}
data = tf.data.TFRecordDataset(paths, buffer_size=262144, num_parallel_reads=threads)
data = data.batch(1).map(lambda x: tf.io.parse_example(x, spec), num_parallel_calls=threads).prefetch(2)
start = time.monotonic()
count = sum(1 for _ in data)
""",
}
PROGRAM = """
import os, pathlib, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
folder, job, jobs, files, threads = sys.argv[1], *map(int, sys.argv[2:6])
count = files
{body}
print(count / (time.monotonic() - start))
"""
DGEN = """
import sys, time
import dgen_py
size, chunk, threads = map(int, sys.argv[1:])
best = 0
for _ in range(4):
    buffer = bytearray(chunk)
    generator = dgen_py.Generator(size=size, max_threads=threads)
    start, done = time.monotonic(), 0
    while not generator.is_complete():
        n = generator.fill_chunk(buffer)
        if n == 0:
            break
        done += n
    best = max(best, done / (time.monotonic() - start))
print(best)
"""


def clean(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def python_rate(body, folder, jobs, files, threads=1):
    """Files or samples per second of `jobs` processes; their start is not counted."""
    words = [[sys.executable, "-c", PROGRAM.format(body=body), str(folder), str(j), str(jobs), str(files), str(threads)]
             for j in range(jobs)]  # fmt: skip
    children = [subprocess.Popen(w, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for w in words]  # fmt: skip
    outputs = [c.communicate() for c in children]
    for child, (_, errors) in zip(children, outputs):
        if child.returncode:
            raise b.BenchError(f"the library failed; is it installed? (scripts/setup.sh --test)\n{errors[-500:]}")
    return sum(float(out) for out, _ in outputs)


def ratio_rows(rates, bounds, unit, first=()):
    """Rows of dlio-rs against the others, and whether every bound is met."""
    rows, met = [], True
    for name, values in rates.items():
        ratio = b.median([x / y for x, y in zip(rates["dlio-rs"], values)])
        bound = bounds.get(name)
        ok = bound is None or ratio >= bound
        met &= ok
        text = "" if bound is None else f">= {bound:g}: {b.verdict(ok)}"
        rows.append((*first, name, f"{b.median(values) / unit:.2f}", f"{ratio:.2f}", text))
    return rows, met


def generation(args, root):
    rows, met = [], True
    for kind in LARGE:
        work = root / "work"
        path = root / "bench.yaml"
        size = args.mib * b.MIB
        files = max(1, args.gib * 1024 // args.mib // args.threads)
        b.write_config(path, folder=work, file_format=kind, files=files * args.threads, record_bytes=size,
                       threads=args.threads)  # fmt: skip

        def ours():
            written, seconds = b.generate(1, path)
            return written / seconds

        def fio():
            return b.fio("write", work, args.threads, files, b.MIB, f"--filesize={size}", "--create_on_open=1",
                         "--fallocate=none", "--file_append=0").rate  # fmt: skip

        rates = b.in_turns({"dlio-rs": ours, "fio": fio}, args.repeat, f"write {kind}: ", before=lambda: clean(work))
        more, ok = ratio_rows(rates, {"fio": MIN_FIO_WRITE}, b.GIB, (kind,))
        rows += more
        met &= ok
    b.table(["format", "program", "GiB/s", "dlio-rs / program", "bound"], rows)
    return met


def libraries(args, root):
    rows, met = [], True
    for kind, body in WRITERS.items():
        work = root / "work"
        path = root / "bench.yaml"
        # DLIO's images; csv has 64 of them as rows.
        samples, ours_files, their_files = (64, 16, 1) if kind == "csv" else (1, 2000, 100)
        b.write_config(path, folder=work, file_format=kind, files=ours_files, record_bytes=IMAGE_BYTES,
                       threads=args.threads)  # fmt: skip
        words = [f"dataset.num_samples_per_file={samples}", "dataset.record_dims=[338,338]"]

        def ours():
            _, seconds = b.generate(1, path, words)
            return ours_files / seconds

        def theirs():
            return python_rate(body, work, args.threads, their_files)

        name = "pandas" if kind == "csv" else "Pillow"
        rates = b.in_turns({"dlio-rs": ours, name: theirs}, args.repeat, f"write {kind}: ", before=lambda: clean(work))
        more, ok = ratio_rows(rates, {name: MIN_LIBRARY[kind]}, 1, (kind,))
        rows += more
        met &= ok
    b.table(["format", "program", "files/s", "dlio-rs / program", "bound"], rows)
    return met


def fill(args, root):
    """The fill into 1 MiB buffers (benches/fill.rs)."""
    size = 4 * b.GIB

    def ours():
        # With the features of the binary that is measured: cargo builds it along, into the same place.
        words = ["cargo", "bench", "--locked", "--quiet", "--bench", "fill", "--", str(args.threads)]
        return float(b.run(words).stdout.splitlines()[-1])

    def dgen(chunk):
        out = b.run([sys.executable, "-c", DGEN, str(args.threads * size), str(chunk), str(args.threads)]).stdout
        return float(out)

    runs = {"dlio-rs": ours, "dgen-py, 1 MiB": lambda: dgen(b.MIB), "dgen-py, 32 MiB": lambda: dgen(32 * b.MIB)}
    rates = b.in_turns(runs, args.repeat, "fill: ")
    rows, met = ratio_rows(rates, {"dgen-py, 1 MiB": MIN_FILL, "dgen-py, 32 MiB": MIN_FILL}, b.GIB)
    b.table(["program", "GiB/s", "dlio-rs / program", "bound"], rows)
    return met


def reading(args, root):
    rows, met = [], True
    for kind in [*LARGE, "csv", "jpeg", "png", "mmap_indexed_binary"]:
        work, links = root / "work", root / "fio"
        clean(work)
        path = root / "bench.yaml"
        size = args.read_mib * b.MIB // (3 if kind == "csv" else 1)
        files = max(1, args.gib * 1024 // args.read_mib // args.threads) * args.threads
        b.write_config(path, folder=work, file_format=kind, files=files, record_bytes=size, threads=args.threads,
                       epochs=args.epochs)  # fmt: skip
        b.generate(1, path)
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir()
        data = sorted(f for f in (work / "train").iterdir() if not f.name.endswith(".idx"))
        for i, file in enumerate(data):
            os.link(file, links / f"f.{i % args.threads}.{i // args.threads}")

        def ours(decode):
            report = b.dlio_rs(1, path, [f"reader.decode={decode}"])
            return report.bytes_read / report.train_seconds

        def fio():
            return b.fio("read", links, args.threads, len(data) // args.threads, b.MIB, f"--loops={args.epochs}",
                         "--readonly").rate  # fmt: skip

        runs = {"none": lambda: ours("none"), "verify": lambda: ours("verify"), "full": lambda: ours("full"), "fio": fio}
        if kind == "csv":
            del runs["full"]
        rates = b.in_turns(runs, args.repeat, f"read {kind}: ")
        for decode in [name for name in runs if name != "fio"]:
            ratio = b.median([x / y for x, y in zip(rates[decode], rates["fio"])])
            is_bound = decode != "full"
            met &= not is_bound or ratio >= MIN_FIO_READ
            text = f">= {MIN_FIO_READ:g}: {b.verdict(ratio >= MIN_FIO_READ)}" if is_bound else ""
            rows.append((kind, decode, f"{b.median(rates[decode]) / b.GIB:.2f}", f"{b.median(rates['fio']) / b.GIB:.2f}",
                         f"{ratio:.2f}", text))  # fmt: skip
        shutil.rmtree(links)
        shutil.rmtree(work)
    b.table(["format", "decode", "dlio-rs GiB/s", "fio GiB/s", "dlio-rs / fio", "bound"], rows)
    return met


def samples(args, root):
    rows = []
    for kind, size, per_file, decode, name in [
        ("jpeg", IMAGE_BYTES, 1, "full", "Pillow"),
        ("tfrecord", RECORD_BYTES, 16, "full", "tf.data"),
    ]:
        work = root / "work"
        clean(work)
        path = root / "bench.yaml"
        files = 2000 if kind == "jpeg" else 32
        b.write_config(path, folder=work, file_format=kind, files=files, record_bytes=size, threads=args.threads)
        words = [f"dataset.num_samples_per_file={per_file}", "framework=tensorflow", "reader.data_loader=tensorflow"]
        b.generate(1, path, words)

        def ours():
            report = b.dlio_rs(1, path, [*words, f"reader.decode={decode}"])
            return report.steps / report.train_seconds

        def theirs():
            jobs = args.threads if kind == "jpeg" else 1
            return python_rate(READERS[kind], work / "train", jobs, 0, args.threads)

        rates = b.in_turns({"dlio-rs": ours, name: theirs}, args.repeat, f"samples of {kind}: ")
        more, _ = ratio_rows(rates, {}, 1, (kind, decode))
        rows += more
        shutil.rmtree(work)
    b.table(["format", "decode", "program", "samples/s", "dlio-rs / program", ""], rows)


def memory(args):
    rows, met = [], True
    for kind in ["npz", "hdf5", "tfrecord", "indexed_binary"]:
        peaks = []
        for record_bytes in (4096, 4 * b.GIB):
            b.say(f"memory: {kind}, a file of {record_bytes} bytes")
            folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-memory-", dir=args.tmpfs))
            try:
                b.write_config(folder / "bench.yaml", folder=folder / "data", file_format=kind, files=1,
                               record_bytes=record_bytes)  # fmt: skip
                peaks += b.peak_rss([b.BIN, "generate", str(folder / "bench.yaml"), "--quiet"])
            finally:
                shutil.rmtree(folder)
        growth = max(0, peaks[1] - peaks[0])
        met &= growth <= MAX_GROWTH
        rows.append((kind, f"{peaks[0] / b.MIB:.1f}", f"{peaks[1] / b.MIB:.1f}",
                     f"<= {MAX_GROWTH // b.MIB} MiB above: {b.verdict(growth <= MAX_GROWTH)}"))  # fmt: skip
    b.table(["format", "4 KiB file, MiB", "4 GiB file, MiB", "bound"], rows)
    return met


PARTS = {
    "generation": generation,
    "libraries": libraries,
    "fill": fill,
    "reading": reading,
    "samples": lambda args, root: samples(args, root) or True,
    "memory": lambda args, root: memory(args),
}


def main():
    p = argparse.ArgumentParser(prog="bench-formats.sh", description=__doc__)
    p.add_argument("--threads", type=int, default=2, help="writer and reader threads of the one rank")
    p.add_argument("--mib", type=int, default=128, help="size of a generated file")
    p.add_argument("--read-mib", type=int, default=16, help="size of a file that is read")
    p.add_argument("--gib", type=int, default=3, help="size of a dataset")
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--tmpfs", default="/dev/shm", help="folder in memory")
    p.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    p.add_argument("--check", action="store_true", help="exit status 1 when a ratio misses its bound")
    args = p.parse_args()
    b.title(f"Formats on tmpfs, 1 rank x {args.threads} threads")
    root = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-formats-", dir=args.tmpfs))
    met = True
    try:
        for part in args.only.split(","):
            met &= PARTS[part](args, root)
    finally:
        shutil.rmtree(root)
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
