"""dlio-rs against fio, reading the same files in turns: bytes per second and CPU seconds per GiB."""

import argparse
import shutil
import tempfile
from pathlib import Path

import bench_engines
import bench_lib as b

# (label, format, bytes of a sample, batch size)
CASES = [
    ("npz 16 MiB", "npz", 16777216, 1),
    ("npz 140 MiB", "npz", 146800640, 1),
    ("npy 128 KiB", "npy", 131072, 32),
]
# Bytes of one read call where reader.transfer_size is not set.
BUFFERED_TRANSFER = 1 * b.MIB
DIRECT_TRANSFER = 8 * b.MIB
# What the project asks of itself with decode: none.
MIN_RATE_RATIO = 0.90
MAX_CPU_RATIO = 1.15


def case(args, place, root, direct, label, file_format, record_bytes, batch):
    """One row per decode level."""
    jobs = args.ranks * args.threads
    unit = jobs * batch
    files = max(1, round(args.gib * b.GIB / record_bytes / unit)) * unit
    folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-read-", dir=root))
    try:
        config = folder / "bench.yaml"
        data = folder / "data"
        b.write_config(
            config, folder=data, file_format=file_format, files=files, record_bytes=record_bytes, batch=batch,
            threads=args.threads, epochs=args.epochs, odirect=direct,
        )  # fmt: skip
        b.say(f"{label} on {place}: generating {files} files")
        b.generate(args.ranks, config, ["reader.odirect=false"])
        links = folder / "fio"
        names = sorted(Path(data, "train").iterdir())
        links.mkdir()
        b.link_for_fio(names, links, jobs)
        per_job, size = len(names) // jobs, names[0].stat().st_size
        whole = size // 4096 * 4096 if direct else size
        transfer = args.bs or (DIRECT_TRANSFER if direct else BUFFERED_TRANSFER)
        options = [f"--direct={int(direct)}", f"--loops={args.epochs}", "--readonly"]
        words = [f"reader.transfer_size={args.bs}"] if args.bs else []

        def ours(decode):
            report = b.dlio_rs(args.ranks, config, [*words, f"reader.decode={decode}"])
            if direct:
                report.expect_direct()
            return report.bytes_read / report.train_seconds / b.GIB, report.cpu_seconds_per_gib

        def fio(block):
            result = b.fio("read", links, jobs, per_job, block, *options)
            # The tail that a block size leaves out is less than a block per file; both rates use their own count.
            return result.rate / b.GIB, result.cpu_seconds_per_gib

        runs = {
            "none": lambda: ours("none"),
            "verify": lambda: ours("verify"),
            "fio": lambda: fio(min(transfer, whole)),
            "fio whole": lambda: fio(whole),
        }
        results = b.in_turns(runs, args.repeat, f"{label} on {place}: ")
        rate = {name: [r for r, _ in values] for name, values in results.items()}
        cpu = {name: [c for _, c in values] for name, values in results.items()}
        for decode in ("none", "verify"):
            # Results of the same round are compared, then the median of the ratios is taken.
            ratios = [x / y for x, y in zip(rate[decode], rate["fio"])]
            whole_ratios = [x / y for x, y in zip(rate[decode], rate["fio whole"])]
            cpus = [x / y for x, y in zip(cpu[decode], cpu["fio"])]
            r, w, c = b.median(ratios), b.median(whole_ratios), b.median(cpus)
            met = r >= MIN_RATE_RATIO and c <= MAX_CPU_RATIO
            yield (
                label, place, decode, f"{b.median(rate[decode]):.2f}", f"{b.median(rate['fio']):.2f}",
                f"{b.median(rate['fio whole']):.2f}", f"{r:.2f}", f"{w:.2f}", f"{b.median(cpu[decode]):.3f}",
                f"{b.median(cpu['fio']):.3f}", f"{c:.2f}", b.verdict(met) if decode == "none" else "reported",
            ), met or decode != "none"  # fmt: skip
    finally:
        shutil.rmtree(folder)


def main():
    p = argparse.ArgumentParser(prog="bench-read.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--threads", type=int, default=max(1, b.cpus() // 2), help="reader threads per rank")
    p.add_argument("--gib", type=float, default=2.0, help="size of each dataset")
    p.add_argument("--epochs", type=int, default=4, help="times that each dataset is read in one run")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--bs", type=int, help="bytes of a read call, for both [default: dlio-rs's own]")
    b.place_options(p)
    p.add_argument("--only", default="", help="cases whose label and place hold this text")
    p.add_argument("--engines", action="store_true", help="small reads in flight by reader.engine, in place of the rest")
    p.add_argument("--engine-mib", type=int, default=256, help="size of each of its datasets")
    p.add_argument("--engine-seconds", type=float, default=1.0, help="about how long each of its runs takes")
    p.add_argument("--check", action="store_true", help="exit status 1 when a ratio misses its bound")
    args = p.parse_args()
    if args.engines:
        return bench_engines.main(args)
    b.title(f"Reading, {args.ranks} ranks x {args.threads} threads, fio psync with {args.ranks * args.threads} jobs")
    rows, met = [], True
    for place, root, direct in (("tmpfs", args.tmpfs, False), ("disk, O_DIRECT", args.disk, True)):
        for entry in CASES:
            if args.only in f"{entry[0]} {place}":
                for row, ok in case(args, place, root, direct, *entry):
                    rows.append(row)
                    met &= ok
    if not rows:
        raise b.BenchError(f"no case holds {args.only!r}")
    b.table(
        ["samples", "from", "decode", "dlio-rs GiB/s", "fio GiB/s", "fio, bs = file", "ratio to fio",
         "to fio, bs = file", "dlio-rs CPU s/GiB", "fio CPU s/GiB", "CPU ratio",
         f">= {MIN_RATE_RATIO:.2f} and CPU <= {MAX_CPU_RATIO:.2f}"],
        rows,
    )  # fmt: skip
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
