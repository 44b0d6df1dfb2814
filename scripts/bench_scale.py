"""100,000,000 files against 1,000,000, and 64 ranks on this host; storage that answers at once."""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import bench_lib as b

SMALL, LARGE = 1_000_000, 100_000_000
STEPS = 100
# (reader.order, file_shuffle and sample_shuffle). DLIO's own shuffle permutes a list of all files, one draw after
# another; the permutation is computed where it is needed.
ORDERS = [("dlio", "off"), ("permutation", "seed"), ("dlio", "seed")]
MAX_RSS = 64 * b.MIB
MAX_START = 2.0
MAX_STEP_RATIO = 1.02


def library_rss(ranks):
    """Peak memory of a rank that starts MPI and does nothing with it, bytes, the smallest rank's."""
    return min(b.peak_rss([b.BIN, "info"], b.launcher(ranks)))


def config(folder, files, computation, order, shuffle):
    path = Path(folder) / "bench.yaml"
    b.write_config(path, folder=Path(folder) / "none", file_format="npz", files=files, record_bytes=65536, batch=4,
                   order=order, file_shuffle=shuffle, sample_shuffle=shuffle)  # fmt: skip
    return path, ["storage.storage_type=null", f"train.computation_time={computation}", "--max-steps", str(STEPS)]


def measure(ranks, folder, *workload):
    """(report, seconds from the launcher's start to the first batch)."""
    path, words = config(folder, *workload)
    out = Path(folder) / f"out-{time.monotonic_ns()}"
    began = None
    for seconds, event in b.events(ranks, path, [*words, "--output", str(out)]):
        if event["event"] == "block_started" and began is None:
            began = seconds
    report = b.Report(out).expect_storage("null")
    return report, began + report.first_wait_seconds()


def main():
    p = argparse.ArgumentParser(prog="bench-scale.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--many", type=int, default=64, help="ranks of the oversubscribed run")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--check", action="store_true", help="exit status 1 when a bound is missed")
    args = p.parse_args()
    b.title(f"Scale: storage_type=null, {STEPS} steps, {args.ranks} ranks")
    met = True
    with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-scale-") as folder:
        library = library_rss(args.ranks)
        rows = []
        for (order, shuffle), computation in itertools.product(ORDERS, (0, 0.01)):
            runs = {
                files: lambda files=files: measure(args.ranks, folder, files, computation, order, shuffle)
                for files in (SMALL, LARGE)
            }
            label = f"order {order}, shuffle {shuffle}, {computation} s of computation: "
            result = b.in_turns(runs, args.repeat, label)
            base = [r.train_seconds / r.steps for r, _ in result[SMALL]]
            for files, values in result.items():
                step = [r.train_seconds / r.steps for r, _ in values]
                ratio = b.median([x / y for x, y in zip(step, base)])
                rss = max(r.peak_rss for r, _ in values) - library
                start = b.median([s for _, s in values])
                # Without computation a step is a few microseconds of our own code: reported, not bounded.
                bounded = files == LARGE and computation > 0
                ok = rss <= MAX_RSS and start <= MAX_START and ratio <= MAX_STEP_RATIO
                met &= ok or not bounded
                rows.append((order, shuffle, f"{files:,}", f"{computation:g}", f"{rss / b.MIB:.1f}", f"{start:.2f}",
                             f"{b.median(step) * 1e3:.4f}", f"{ratio:.3f}",
                             b.verdict(ok) if bounded else "reported"))  # fmt: skip
        b.table(
            ["order", "shuffle", "files", "computation s", "MiB per rank above MPI's own",
             "s from launch to first batch", "step ms",
             f"to {SMALL:,} files", f"<= {MAX_RSS // b.MIB} MiB, {MAX_START:g} s, {MAX_STEP_RATIO}"],
            rows,
        )  # fmt: skip
        print(f"A rank that only starts MPI: {library / b.MIB:.1f} MiB. The time holds mpirun and MPI_Init.\n")
        b.say(f"{args.many} ranks on {b.cpus()} CPUs")
        path, words = config(folder, SMALL, 0.01, "dlio", "off")
        start = time.monotonic()
        report = b.dlio_rs(args.many, path, words).expect_storage("null")
        b.table(
            ["ranks", "CPUs", "steps", "AU %", "seconds in all"],
            [(args.many, b.cpus(), report.steps, f"{report.au:.2f}", f"{time.monotonic() - start:.1f}")],
        )
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
