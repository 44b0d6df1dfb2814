"""Two builds of dlio-rs, of two versions say, doing the same work in turns: rates, CPU seconds per GiB and AU as ratios."""

import argparse
import shutil
import tempfile
from pathlib import Path

import bench_checkpoint
import bench_harness
import bench_lib as b

# What a version may lose to the one before it.
MAX_LOSS = 0.02
MODEL = bench_checkpoint.model(2048, 6)
# (label, format, bytes of a sample, batch size, decode levels); decode levels as far as the older version has them.
READS = [
    ("npz 16 MiB", "npz", 16777216, 1, ["none", "verify"]),
    ("npz 140 MiB", "npz", 146800640, 1, ["none", "verify"]),
    ("npy 128 KiB", "npy", 131072, 32, ["none", "verify"]),
    ("npy 4 KiB", "npy", 4096, 256, ["none"]),
    ("hdf5 16 MiB", "hdf5", 16777216, 1, ["none", "verify"]),
    ("tfrecord 16 MiB", "tfrecord", 16777216, 1, ["none", "verify"]),
    ("indexed_binary 16 MiB", "indexed_binary", 16777216, 1, ["none"]),
    ("jpeg 112 KiB", "jpeg", 114660, 32, ["none", "full"]),
    ("png 112 KiB", "png", 114660, 32, ["none", "full"]),
]
WRITES = [("npz", 146800640), ("npy", 131072), ("hdf5", 16777216), ("tfrecord", 16777216), ("jpeg", 114660), ("npy", 4096)]
# Steps of 224, 3.5 and 323 ms.
WORKLOADS = ["resnet50_h100", "cosmoflow_h100", "unet3d_h100"]


class Pairs:
    """Runs both binaries in turns, and keeps a row of each figure."""

    def __init__(self, args):
        self.args, self.rows, self.met = args, [], True

    def measure(self, label, one, figures):
        """`one(binary)` gives the values of `figures`: (name, True where more is better)."""
        if self.args.only not in label:
            return
        runs = {"old": lambda: one(self.args.old), "new": lambda: one(b.BIN)}
        results = b.in_turns(runs, self.args.repeat, f"{label}: ")
        for i, (name, more) in enumerate(figures):
            old, new = ([r[i] for r in results[which]] for which in ("old", "new"))
            pairs = [n / o for n, o in zip(new, old)]
            ratio = b.median(pairs)
            ok = ratio >= 1 - MAX_LOSS if more else ratio <= 1 / (1 - MAX_LOSS)
            self.met &= ok
            spread = f"{min(pairs):.3f} to {max(pairs):.3f}"
            self.rows.append((label, name, f"{b.median(old):.4g}", f"{b.median(new):.4g}", f"{ratio:.3f}", spread, b.verdict(ok)))
            b.say(f"{label}, {name}: {ratio:.3f}")


def reads(pairs, args, place, root, direct):
    """Reading, without computation: each format at each level of decoding."""
    for label, kind, size, batch, levels in READS:
        levels = levels[:1] if direct else levels
        if not any(args.only in f"read {label}, {place}, {level}" for level in levels):
            continue
        folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-versions-", dir=root))
        try:
            config = folder / "bench.yaml"
            unit = args.ranks * args.threads * batch
            files = max(1, round(min(args.gib * b.GIB, 20_000 * size) / size / unit)) * unit
            b.write_config(config, folder=folder / "data", file_format=kind, files=files, record_bytes=size, batch=batch,
                           threads=args.threads, epochs=args.epochs, odirect=direct)  # fmt: skip
            b.generate(args.ranks, config, ["reader.odirect=false"], binary=args.old)
            for level in levels:

                def one(binary, level=level, config=config):
                    r = b.dlio_rs(args.ranks, config, [f"reader.decode={level}"], binary=binary)
                    if direct:
                        r.expect_direct()
                    return r.bytes_read / r.train_seconds / b.GIB, r.cpu_seconds_per_gib

                pairs.measure(f"read {label}, {place}, {level}", one, [("GiB/s", True), ("CPU s/GiB", False)])
        finally:
            shutil.rmtree(folder)


def writes(pairs, args):
    """Generation in memory."""
    for kind, size in WRITES:
        folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-versions-", dir=args.tmpfs))
        try:
            work = folder / "work"
            files = min(20_000, round(args.gib * b.GIB / size / args.ranks) * args.ranks)
            b.write_config(folder / "bench.yaml", folder=work, file_format=kind, files=files, record_bytes=size,
                           threads=args.threads)  # fmt: skip

            def one(binary, work=work, config=folder / "bench.yaml"):
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                written, seconds = b.generate(args.ranks, config, binary=binary)
                return (written / seconds / b.GIB,)

            pairs.measure(f"generate {kind} of {size} bytes, tmpfs", one, [("GiB/s", True)])
        finally:
            shutil.rmtree(folder)


def checkpoints(pairs, args, place, root, storage):
    """A save and a load."""
    folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-versions-", dir=root))

    def one(binary):
        path = folder / "checkpoint"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()

        def rate(kind, writes, reads):
            report = bench_checkpoint.job(args.ranks, MODEL, path, writes, reads, storage, "reader.drop_cache=none", binary=binary)
            return bench_checkpoint.rate_of(report, kind) / b.GIB

        return rate("save", 1, 0), rate("load", 0, 1)

    try:
        pairs.measure(f"checkpoint, {place}", one, [("save, GiB/s", True), ("load, GiB/s", True)])
    finally:
        shutil.rmtree(folder)


def harness(pairs, args):
    """AU where storage answers at once."""
    for name in WORKLOADS:
        config = Path("configs") / f"{name}.yaml"
        steps = max(5, round(3 / bench_harness.computation_time(config)))
        words = ["storage.storage_type=null", "workflow.generate_data=false", "workflow.train=true", "workflow.evaluation=false",
                 "workflow.checkpoint=false", "--max-epochs", "1", "--max-steps", str(steps)]  # fmt: skip

        def one(binary, config=config, words=words):
            return (b.dlio_rs(args.ranks, config, words, binary=binary).au,)

        pairs.measure(f"{name}, null", one, [("AU %", True)])


def main():
    p = argparse.ArgumentParser(prog="bench-versions.sh", description=__doc__)
    p.add_argument("--old", required=True, help="the binary to compare with")
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--threads", type=int, default=max(1, b.cpus() // 2), help="reader or writer threads per rank")
    p.add_argument("--gib", type=float, default=1.0, help="size of each dataset")
    p.add_argument("--epochs", type=int, default=3, help="times that each dataset is read in one run")
    p.add_argument("--repeat", type=int, default=5)
    b.place_options(p)
    p.add_argument("--only", default="", help="rows whose label holds this text")
    p.add_argument("--check", action="store_true", help="exit status 1 when the new binary is slower than the bound")
    args = p.parse_args()
    b.title(f"Two versions in turns, {args.ranks} ranks x {args.threads} threads")
    print(f"Against: {b.run([args.old, 'info']).stdout.splitlines()[0]}\n", flush=True)
    pairs = Pairs(args)
    reads(pairs, args, "tmpfs", args.tmpfs, False)
    reads(pairs, args, "disk, O_DIRECT", args.disk, True)
    writes(pairs, args)
    checkpoints(pairs, args, "tmpfs", args.tmpfs, "local_fs")
    checkpoints(pairs, args, "disk, O_DIRECT, fsync", args.disk, "direct_fs")
    harness(pairs, args)
    b.table(["what", "figure", "old", "new", "new / old", "of pairs", f"loses at most {MAX_LOSS:.0%}"], pairs.rows)
    return 1 if args.check and not pairs.met else 0


if __name__ == "__main__":
    b.finish(main)
