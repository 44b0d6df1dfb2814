"""Small reads in flight: dlio-rs with each reader.engine against fio with psync and io_uring, over the same files.

One rank, the native loader, decode none. A file is one read; both programs open and close it within the measured time. fio
also asks for read-ahead (POSIX_FADV_SEQUENTIAL), we with O_DIRECT for the file's length. fio's psync has a thread for each read in
flight, as `threads` has. Its io_uring has one ring and thread for all of them (`io_uring`, by which we are judged), or one for
each CPU, which share them (`io_uring, all CPUs`), as `uring` has.
"""

import json
import shutil
import tempfile
from pathlib import Path

import bench_lib as b

SIZES = [4 << 10, 16 << 10, 128 << 10, 1 << 20]
DEPTHS = [1, 4, 16, 64]
# Before its samples a npy file has this many bytes.
HEADER = 128
# From this depth on, what the project asks of `uring`.
JUDGED_DEPTH = 16
MIN_RATE_RATIO = 0.95
MAX_CPU_RATIO = 1.15


def label(size):
    return f"{size >> 10} KiB" if size < b.MIB else f"{size >> 20} MiB"


def files_of(size, bytes_in_all):
    """A multiple of the largest depth, so that fio's threads have the same number each."""
    most = max(DEPTHS)
    return max(most, min(16384, bytes_in_all // size) // most * most)


def ours(config, engine, depth, loops, direct):
    words = [f"reader.engine={engine}", f"reader.io_depth={depth}", f"train.epochs={loops}"]
    words += ["storage.storage_type=direct_fs"] if direct else []
    report = b.dlio_rs(1, config, words)
    count = report.json["counters"]["reads"]["value"]
    cpu = report.cpu_seconds_per_gib * report.bytes_read / b.GIB
    return count / report.train_seconds, cpu / count * 1e6


def fio(links, engine, depth, jobs, loops, direct, files, size):
    """Reads per second, and microseconds of CPU for each. `depth`: reads in flight of all jobs together."""
    each = depth // jobs
    options = [
        f"--ioengine={engine}", f"--iodepth={each}", "--thread", "--readonly", f"--direct={int(direct)}",
        f"--loops={loops}", f"--openfiles={each}", f"--numjobs={jobs}", f"--nrfiles={files // jobs}",
        f"--directory={links}", "--filename_format=f.$jobnum.$filenum",
    ]  # fmt: skip
    if engine == "io_uring":
        options += [f"--iodepth_batch_submit={each}", "--iodepth_batch_complete_min=1"]
        options += [f"--iodepth_batch_complete_max={each}"]
    result = b.fio("read", links, jobs, files // jobs, size, *options)
    count = result.bytes / size
    return count / result.seconds, result.cpu_seconds / count * 1e6


def cases(args, direct, size):
    """A row for each depth."""
    files = files_of(size, args.engine_mib << 20)
    scratch = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-engines-", dir=args.disk))
    try:
        config, data = scratch / "bench.yaml", scratch / "data"
        b.write_config(config, folder=data, file_format="npy", files=files, record_bytes=size - HEADER, batch=8,
                       data_loader="native", decode="none")  # fmt: skip
        # A list of bytes: squares, which DLIO writes otherwise, do not have every size.
        workload = json.loads(config.read_text())
        workload["dataset"]["record_dims"] = [size - HEADER]
        config.write_text(json.dumps(workload, indent=2) + "\n")
        b.generate(1, config, ["reader.data_loader=pytorch"])
        names = sorted(Path(data, "train").iterdir())
        if names[0].stat().st_size != size:
            raise b.BenchError(f"a file has {names[0].stat().st_size} bytes, and {size} were meant")
        place = "O_DIRECT" if direct else "page cache"
        for depth in DEPTHS:
            # As many files for each, so that none is left alone at the end.
            rings = max(jobs for jobs in DEPTHS + [2] if jobs <= min(depth, b.cpus()))
            folders = {jobs: scratch / f"links-{jobs}" for jobs in {1, rings, depth}}
            for jobs, links in folders.items():
                if not links.exists():
                    links.mkdir()
                    b.link_for_fio(names, links, jobs)

            def theirs(engine, jobs):
                return fio(folders[jobs], engine, depth, jobs, loops, direct, files, size)

            # So many epochs that a run takes about the time that was asked for.
            rate, _ = ours(config, "threads", depth, 1, direct)
            loops = max(1, min(100, round(args.engine_seconds * rate / files)))
            runs = {
                "threads": lambda: ours(config, "threads", depth, loops, direct),
                "uring": lambda: ours(config, "uring", depth, loops, direct),
                "psync": lambda: theirs("psync", depth),
                "io_uring": lambda: theirs("io_uring", 1),
                "io_uring, all CPUs": lambda: theirs("io_uring", rings),
            }
            results = b.in_turns(runs, args.repeat, f"{label(size)} x {depth}, {place}: ")
            rate = {name: b.median([r for r, _ in values]) for name, values in results.items()}
            cpu = {name: b.median([c for _, c in values]) for name, values in results.items()}

            def ratio(column, name, other):
                pairs = zip(results[name], results[other])
                return b.median([x[column] / y[column] for x, y in pairs])

            all_cpus = "io_uring, all CPUs"
            to_fio, cpu_to_fio = ratio(0, "uring", "io_uring"), ratio(1, "uring", "io_uring")
            met = to_fio >= MIN_RATE_RATIO and cpu_to_fio <= MAX_CPU_RATIO
            is_judged = depth >= JUDGED_DEPTH
            yield (
                label(size), depth, place, *(f"{rate[name]:,.0f}" for name in runs), f"{to_fio:.2f}",
                f"{ratio(0, 'uring', all_cpus):.2f}", f"{ratio(0, 'uring', 'threads'):.2f}",
                *(f"{cpu[name]:.1f}" for name in runs), f"{cpu_to_fio:.2f}", f"{ratio(1, 'uring', all_cpus):.2f}",
                f"{ratio(1, 'uring', 'threads'):.2f}", b.verdict(met) if is_judged else "reported",
            ), met or not is_judged  # fmt: skip
    finally:
        shutil.rmtree(scratch)


def main(args):
    b.title("Small reads in flight by reader.engine, one rank")
    rows, met = [], True
    for direct in (False, True):
        for size in SIZES:
            place = "O_DIRECT" if direct else "page cache"
            if args.only in f"{label(size)} {place}":
                for row, ok in cases(args, direct, size):
                    rows.append(row)
                    met &= ok
    if not rows:
        raise b.BenchError(f"no case holds {args.only!r}")
    b.table(
        ["file", "in flight", "from", "threads, reads/s", "uring", "fio psync", "fio io_uring", "the same, all CPUs",
         "uring to fio io_uring", "to all CPUs", "to threads", "threads, CPU us/read", "uring", "fio psync", "fio io_uring",
         "the same, all CPUs", "CPU: uring to fio io_uring", "to all CPUs", "to threads", f">= {MIN_RATE_RATIO} and CPU <= {MAX_CPU_RATIO}"],
        rows,
    )  # fmt: skip
    return 1 if args.check and not met else 0
