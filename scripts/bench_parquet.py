"""parquet generation of DLRM's columns by dlio-rs and pyarrow, in turns; reading; memory for a 3 GiB file."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_lib as b

MIN_PYARROW_RATIO = 5.0
MIN_FIO_RATIO = 0.90
MAX_GROWTH = 96 * b.MIB

# The columns of the Criteo click logs: a label, 13 numbers, 26 categories.
COLUMNS = [
    {"name": "label", "dtype": "float32"},
    *({"name": f"dense_{i}", "dtype": "float32"} for i in range(13)),
    *({"name": f"sparse_{i}", "dtype": "int32"} for i in range(26)),
]
ROW_BYTES = 4 * len(COLUMNS)

# numpy's random data, as a table, to a file: the table alone, or with the making of its data. Ends with seconds.
PYARROW = """
import json, sys, time
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
folder, job, files, rows, group, with_data, options, columns = json.loads(sys.argv[1])
rng = np.random.default_rng(job)
def table():
    return pa.table({c["name"]: rng.integers(0, 2**32, rows, dtype=np.uint32).view(c["dtype"]) for c in columns})
made, spent = table(), 0.0
for i in range(files):
    start = time.monotonic()
    if with_data:
        made = table()
    pq.write_table(made, f"{folder}/p_{job}_{i}.parquet", row_group_size=group, **options)
    spent += time.monotonic() - start
print(spent)
"""

AS_DLIO = {"compression": "none"}
PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def clean(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def pyarrow_rate(folder, jobs, files, rows, group, with_data, options):
    """GiB of values per second of `jobs` processes; their start is not counted."""
    children = [
        subprocess.Popen([sys.executable, "-c", PYARROW,
                          json.dumps([str(folder), j, files, rows, group, with_data, options, COLUMNS])],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for j in range(jobs)
    ]  # fmt: skip
    outputs = [c.communicate()[0] for c in children]
    if any(c.returncode for c in children):
        raise b.BenchError("pyarrow failed; is it installed? (scripts/setup.sh --test)")
    return jobs * files * rows * ROW_BYTES / max(float(o) for o in outputs) / b.GIB


def words(rows, group):
    columns = ", ".join(f"{{name: {c['name']}, dtype: {c['dtype']}}}" for c in COLUMNS)
    return [
        f"dataset.num_samples_per_file={rows}",
        f"dataset.parquet.row_group_size={group}",
        f"dataset.parquet.columns=[{columns}]",
    ]


def config(root, folder, files, threads=1, **reader):
    path = root / "bench.yaml"
    b.write_config(path, folder=folder, file_format="parquet", files=files, record_bytes=4096, threads=threads, **reader)
    return path


def generation(args, root, group):
    """Rows of the table for one size of row groups, and whether the bound is met."""
    work = root / "work"
    jobs = args.threads

    def ours():
        path = config(root, work, args.files * jobs, jobs)
        _, seconds = b.generate(1, path, words(args.rows, group))
        return jobs * args.files * args.rows * ROW_BYTES / seconds / b.GIB

    def theirs(with_data, options):
        return lambda: pyarrow_rate(work, jobs, args.files, args.rows, group, with_data, options)

    runs = {
        "dlio-rs": ours,
        "pyarrow.write_table, its defaults": theirs(False, {}),
        "pyarrow.write_table as DLIO calls it": theirs(False, AS_DLIO),
        "numpy random, then that": theirs(True, AS_DLIO),
        "pyarrow.write_table, plain": theirs(False, PLAIN),
    }
    rates = b.in_turns(runs, args.repeat, f"row groups of {group}: ", before=lambda: clean(work))
    rows, met = [], True
    for key, values in rates.items():
        ratio = b.median([x / y for x, y in zip(rates["dlio-rs"], values)])
        is_bound = key == "pyarrow.write_table as DLIO calls it"
        met &= not is_bound or ratio >= MIN_PYARROW_RATIO
        text = f">= {MIN_PYARROW_RATIO:g}: {b.verdict(ratio >= MIN_PYARROW_RATIO)}" if is_bound else ""
        rows.append((group, key, f"{b.median(values):.2f}", f"{ratio:.1f}", text))
    return rows, met


def reading(args, root):
    """Rows of the table of reads of files of 1 MiB row groups, and whether the bounds are met."""
    work, group = root / "read", 8192
    files = args.threads * 4
    path = config(root, work, files, args.threads, batch=8192)
    shape = words(args.rows // group * group, group)
    clean(work)
    written, _ = b.generate(1, path, shape)

    def ours(decode):
        def run():
            report = b.dlio_rs(1, path, [*shape, f"reader.decode={decode}"])
            return report.bytes_read / report.train_seconds / b.GIB

        return run

    def fio():
        data = work / "train"
        names = sorted(p for p in data.iterdir() if p.suffix == ".parquet")
        links = root / "links"
        clean(links)
        per_job = len(names) // args.threads
        for i, name in enumerate(names):
            (links / f"f.{i // per_job}.{i % per_job}").hardlink_to(name)
        size = min(n.stat().st_size for n in names)
        return b.fio("read", links, args.threads, per_job, b.MIB, f"--filesize={size}").rate / b.GIB

    runs = {"fio": fio, **{f"decode: {d}": ours(d) for d in ("none", "verify", "full")}}
    rates = b.in_turns(runs, args.repeat, "read: ")
    rows, met = [], True
    for key, values in rates.items():
        ratio = b.median([x / y for x, y in zip(values, rates["fio"])])
        is_bound = key in ("decode: none", "decode: verify")
        met &= not is_bound or ratio >= MIN_FIO_RATIO
        text = f">= {MIN_FIO_RATIO:g}: {b.verdict(ratio >= MIN_FIO_RATIO)}" if is_bound else ""
        rows.append((key, f"{b.median(values):.2f}", f"{ratio:.2f}", text))
    return rows, met


def memory(root, group):
    """(rows, peak of one rank) for a small file and for one of 3 GiB."""
    peaks = []
    for rows in (1024, 3 * b.GIB // ROW_BYTES):
        folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-memory-", dir=root))
        try:
            path = config(folder, folder / "data", 1)
            peaks += b.peak_rss([b.BIN, "generate", str(path), *words(rows, group), "--quiet"])
        finally:
            shutil.rmtree(folder)
    return peaks


def main():
    p = argparse.ArgumentParser(prog="bench_parquet.py", description=__doc__)
    p.add_argument("--threads", type=int, default=b.cpus(), help="writer and reader threads, and pyarrow's processes")
    p.add_argument("--files", type=int, default=4, help="files per thread")
    p.add_argument("--rows", type=int, default=1_000_000, help="rows per file")
    p.add_argument("--groups", type=int, nargs="*", default=[1024, 65536], help="rows per row group")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--tmpfs", default="/dev/shm", help="folder in memory")
    p.add_argument("--check", action="store_true", help="exit status 1 when a ratio misses its bound")
    args = p.parse_args()
    b.title(f"parquet of {len(COLUMNS)} columns on tmpfs, {args.threads} threads, {args.files * args.threads} files")
    root = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-parquet-", dir=args.tmpfs))
    met = True
    try:
        for group in args.groups:
            rows, ok = generation(args, root, group)
            met &= ok
            b.table(["rows per row group", "program", "GiB/s of values", "dlio-rs / program", "bound"], rows)
        clean(root / "work")
        rows, ok = reading(args, root)
        met &= ok
        b.table(["reading", "GiB/s", "to fio", "bound"], rows)
    finally:
        shutil.rmtree(root)
    rows = []
    for group in args.groups:
        b.say(f"memory of one rank for a 3 GiB file in row groups of {group}")
        small, large = memory(args.tmpfs, group)
        growth = max(0, large - small)
        met &= growth <= MAX_GROWTH
        rows.append((group, f"{small / b.MIB:.1f}", f"{large / b.MIB:.1f}",
                     f"<= {MAX_GROWTH // b.MIB} MiB above: {b.verdict(growth <= MAX_GROWTH)}"))  # fmt: skip
    b.table(["rows per row group", "MiB for 1024 rows", "MiB for 3 GiB", "bound"], rows)
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
