"""Cold small files: `reader.drop_cache` as it is by default against `system`, each run after the kernel dropped its caches."""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import bench_lib as b

# The pages that a reader lets go must not make a run warmer, nor colder, than a kernel that has dropped everything.
BOUNDS = (0.95, 1.05)
LEVELS = {level: [f"reader.drop_cache={level}"] for level in ("fadvise", "system")}


def drop_caches():
    """Pages, names and inodes of the whole host."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError as error:
        raise b.BenchError(f"the kernel's caches cannot be dropped: {error}; run it as root") from error


def figures(ranks, config, words):
    """Open p50 and p99 in microseconds, samples/s."""
    report = b.dlio_rs(ranks, config, words)
    # With `system` nobody looks at the page cache: it was emptied.
    metadata = (report.json["page_cache"] or {"metadata": "untouched"})["metadata"]
    if metadata != "untouched":
        raise b.BenchError(f"the metadata of the files was {metadata}")
    opened = next(stage for stage in report.json["stages"] if stage["stage"] == "open")
    samples = sum(e["throughput"]["value"] for e in report.json["epochs"]) / len(report.json["epochs"])
    return opened["p50"] / 1e3, opened["p99"] / 1e3, samples


def main():
    p = argparse.ArgumentParser(prog="bench-cold.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--threads", type=int, default=max(1, b.cpus() // 2), help="reader threads per rank")
    p.add_argument("--files", type=int, default=20000)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--disk", default=str(Path(b.BIN).parent.parent), help="folder on a disk")
    p.add_argument("--check", action="store_true", help="exit status 1 when a ratio misses its bounds")
    args = p.parse_args()
    b.title(f"Cold npy of 4 KiB, {args.files} files, {args.ranks} ranks x {args.threads} threads, {args.pairs} pairs")
    folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-cold-", dir=args.disk))
    try:
        config = folder / "bench.yaml"
        b.write_config(
            config, folder=folder / "data", file_format="npy", files=args.files, record_bytes=4096, batch=10,
            threads=args.threads,
        )  # fmt: skip
        b.say(f"generating {args.files} files")
        b.generate(args.ranks, config)
        runs = {name: lambda words=words: figures(args.ranks, config, words) for name, words in LEVELS.items()}
        results = b.in_turns(runs, args.pairs, before=drop_caches)
    finally:
        shutil.rmtree(folder)
    rows, met = [], True
    for i, (what, digits) in enumerate((("open p50, us", 1), ("open p99, us", 1), ("samples/s", 0))):
        default, system = ([figure[i] for figure in results[name]] for name in LEVELS)
        ratio = b.median([x / y for x, y in zip(default, system)])
        ok = BOUNDS[0] <= ratio <= BOUNDS[1]
        met &= ok
        rows.append((what, *(f"{b.median(x):.{digits}f}" for x in (default, system)), f"{ratio:.3f}", b.verdict(ok)))
    b.table(["figure", "fadvise (default)", "system", "ratio", f"within {BOUNDS[0]} to {BOUNDS[1]}"], rows)
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
