"""npz generation by dlio-rs, fio's sequential write and numpy, in turns; memory for a 4 GiB file."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_lib as b

RECORD_BYTES = 146800640
MIN_FIO_RATIO = 0.80
MIN_NUMPY_RATIO = 10.0
MAX_GROWTH = 64 * b.MIB

# As DLIO does: uniform floats scaled to the type's range, or raw integers, then savez.
NUMPY = """
import sys, time
import numpy as np
folder, job, files, side, way = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
rng = np.random.default_rng()
start = time.monotonic()
for i in range(files):
    if way == "float":
        x = (rng.random((side, side, 1), dtype=np.float32) * 255).astype(np.uint8)
    else:
        x = rng.integers(0, 255, (side, side, 1), dtype=np.uint8)
    np.savez(f"{folder}/n_{job}_{i}.npz", x=x, y=np.zeros(1, dtype=np.int64))
print(time.monotonic() - start)
"""


def clean(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def numpy_rate(folder, jobs, files, side, way):
    """GiB per second of `jobs` numpy processes, importing numpy not counted."""
    children = [
        subprocess.Popen([sys.executable, "-c", NUMPY, str(folder), str(j), str(files), str(side), way],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for j in range(jobs)
    ]  # fmt: skip
    outputs = [c.communicate()[0] for c in children]
    if any(c.returncode for c in children):
        raise b.BenchError("numpy failed; is it installed? (scripts/setup.sh --test)")
    size = sum(f.stat().st_size for f in folder.iterdir())
    return size / max(float(o) for o in outputs) / b.GIB


def memory(root):
    """(peak of one rank that writes a 4 KiB file, the same for 4 GiB)."""
    peaks = []
    for record_bytes in (4096, 4 * b.GIB):
        folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-memory-", dir=root))
        try:
            b.write_config(folder / "bench.yaml", folder=folder / "data", file_format="npz", files=1,
                           record_bytes=record_bytes)  # fmt: skip
            peaks += b.peak_rss([b.BIN, "generate", str(folder / "bench.yaml"), "--quiet"])
        finally:
            shutil.rmtree(folder)
    return peaks


def main():
    p = argparse.ArgumentParser(prog="bench-generate.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--threads", type=int, default=max(1, b.cpus() // 2), help="writer threads per rank")
    p.add_argument("--files", type=int, default=28, help="files of 140 MiB")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--bs", type=int, default=b.MIB, help="fio's block size, bytes")
    p.add_argument("--tmpfs", default="/dev/shm", help="folder in memory")
    p.add_argument("--check", action="store_true", help="exit status 1 when a ratio misses its bound")
    args = p.parse_args()
    jobs = args.ranks * args.threads
    per_job = max(1, args.files // jobs)
    numpy_files = 2
    side = int(RECORD_BYTES**0.5)
    size = side * side + 498
    b.title(f"Generating npz of 140 MiB on tmpfs, {args.ranks} ranks x {args.threads} threads")
    root = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-generate-", dir=args.tmpfs))
    work = root / "work"
    try:
        b.write_config(root / "bench.yaml", folder=work, file_format="npz", files=per_job * jobs,
                       record_bytes=RECORD_BYTES, threads=args.threads)  # fmt: skip

        def ours():
            written, seconds = b.generate(args.ranks, root / "bench.yaml")
            return written / seconds / b.GIB

        def fio(*options):
            return b.fio("write", work, jobs, per_job, args.bs, f"--filesize={size}", "--create_on_open=1",
                         "--fallocate=none", "--file_append=0", *options).rate / b.GIB  # fmt: skip

        runs = {
            "dlio-rs": ours,
            "fio": fio,
            "fio, fresh buffers": lambda: fio("--refill_buffers=1"),
            "numpy random + savez": lambda: numpy_rate(work, jobs, numpy_files, side, "float"),
            "numpy integers + savez": lambda: numpy_rate(work, jobs, numpy_files, side, "integers"),
        }
        # Every program writes new files into pages that are free.
        rates = b.in_turns(runs, args.repeat, before=lambda: clean(work))
        ratios = {k: b.median([x / y for x, y in zip(rates["dlio-rs"], v)]) for k, v in rates.items()}
    finally:
        shutil.rmtree(root)
    bounds = {"fio": MIN_FIO_RATIO, "numpy random + savez": MIN_NUMPY_RATIO}
    rows, met = [], True
    for key, values in rates.items():
        bound = bounds.get(key)
        met &= bound is None or ratios[key] >= bound
        text = "" if bound is None else f">= {bound:g}: {b.verdict(ratios[key] >= bound)}"
        rows.append((key, f"{b.median(values):.2f}", f"{ratios[key]:.2f}", text))
    b.table(["program", "GiB/s", "dlio-rs / program", "bound"], rows)
    b.say("memory of one rank for a 4 GiB file")
    small, large = memory(args.tmpfs)
    growth = max(0, large - small)
    met &= growth <= MAX_GROWTH
    b.table(
        ["one rank writes", "peak memory MiB", "bound"],
        [
            ("a file of 4 KiB", f"{small / b.MIB:.1f}", ""),
            ("a file of 4 GiB", f"{large / b.MIB:.1f}",
             f"<= {MAX_GROWTH // b.MIB} MiB above: {b.verdict(growth <= MAX_GROWTH)}"),
        ],
    )  # fmt: skip
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
