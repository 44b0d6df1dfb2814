"""What dlio-rs itself costs: every workload of configs/ on a storage system that answers at once."""

import argparse
import os
import re
import shutil
import statistics
from pathlib import Path

import bench_lib as b

MIN_AU = 99.5
# The binary that opens MPI at run time may differ from the linked one by this much.
MAX_DIFFERENCE = 0.02
# What the recording over time may cost.
MAX_COST = 0.01


def computation_time(config):
    """Mean seconds of computation per step, from the YAML's text; 0 where it names none."""
    text = config.read_text()
    mean = r"(?:\{.*?mean:\s*|\n\s+(?:\w+:.*\n\s+)*?mean:\s*)?"
    found = re.search(rf"^\s*computation_time:\s*{mean}([0-9.eE+-]+)", text, re.M)
    return float(found.group(1)) if found else 0.0


def opened(args):
    """The linked binary and the one that opens MPI at run time, in turns: a collective of MPI ends each step."""
    binaries = {"linked": b.BIN, "opened": os.environ["DLIO_RS_OPENED"]}
    rows, met = [], True
    for seconds in (0.0005, 0.0):
        # A step without computation takes some ten microseconds.
        steps = round(args.seconds / (seconds or 0.00001))
        words = [
            "storage.storage_type=null", "workflow.generate_data=false", "workflow.evaluation=false", "cluster.barrier=mpi",
            f"train.computation_time={seconds}", f"dataset.num_files_train={steps * args.ranks}", "reader.batch_size=1",
            "dataset.num_samples_per_file=1", "dataset.record_length_bytes=4096", "train.epochs=1",
        ]  # fmt: skip

        def one(binary, words=words):
            return lambda: b.dlio_rs(args.ranks, "configs/quickstart.yaml", words, binary=binary).expect_storage("null")

        runs = b.in_turns({name: one(binary) for name, binary in binaries.items()}, args.repeat, f"{seconds * 1e3} ms: ")
        # Without computation a step is the collective, and the harness around it.
        pick = lambda r, seconds=seconds: r.au if seconds else 1e6 * r.train_seconds / r.steps  # noqa: E731
        values = {name: statistics.median(pick(r) for r in reports) for name, reports in runs.items()}
        ratio = values["opened"] / values["linked"]
        pairs = [pick(o) / pick(li) for o, li in zip(runs["opened"], runs["linked"])]
        ok = abs(ratio - 1) <= MAX_DIFFERENCE
        met &= ok
        what = f"AU at {seconds * 1e3} ms, %" if seconds else "step without computation, us"
        spread = f"{min(pairs):.4f} to {max(pairs):.4f}"
        rows.append((what, *(f"{values[name]:.3f}" for name in binaries), f"{ratio:.4f}", spread, b.verdict(ok)))
    b.table(["figure", *binaries, "ratio of medians", "ratios of pairs", f"within {MAX_DIFFERENCE:.0%}"], rows)
    return 1 if args.check and not met else 0


def recording(args):
    """Runs with and without the recording over time, in turns: AU where storage answers at once, CPU where it is memory."""
    dataset = Path("/dev/shm") / f"dlio-rs-bench-{os.getpid()}"
    quiet = ["output.timeline=false", "output.html=false"]
    steps = round(args.seconds / 0.0005)
    cases = {
        "AU on null at 0.5 ms steps, %": ("null", [
            "storage.storage_type=null", "workflow.generate_data=false", "train.computation_time=0.0005",
            f"dataset.num_files_train={steps * args.ranks}", "reader.batch_size=1", "dataset.num_samples_per_file=1",
            "dataset.record_length_bytes=4096", "train.epochs=1",
        ]),
        "CPU s/GiB reading from tmpfs": ("tmpfs", [
            f"dataset.data_folder={dataset}", "train.computation_time=0", "dataset.num_files_train=64", "reader.batch_size=4",
            "dataset.num_samples_per_file=1", "dataset.record_length_bytes=16777216", f"train.epochs={max(1, round(args.seconds * 2))}", "reader.read_threads=2",
        ]),
    }  # fmt: skip
    rows, met = [], True
    try:
        for what, (place, words) in cases.items():
            common = [*words, "workflow.evaluation=false"]
            if place == "tmpfs":
                b.generate(args.ranks, "configs/quickstart.yaml", common)
                common.append("workflow.generate_data=false")

            def one(extra, common=common):
                return lambda: b.dlio_rs(args.ranks, "configs/quickstart.yaml", [*common, *extra])

            runs = b.in_turns({"with": one([]), "without": one(quiet)}, args.repeat, f"{what}: ")
            pick = (lambda r: r.au) if place == "null" else (lambda r: r.cpu_seconds_per_gib)
            values = {name: statistics.median(pick(r) for r in reports) for name, reports in runs.items()}
            ratio = values["with"] / values["without"]
            pairs = [pick(w) / pick(o) for w, o in zip(runs["with"], runs["without"])]
            # More of AU, or less CPU, is no cost.
            ok = ratio >= 1 - MAX_COST if place == "null" else ratio <= 1 + MAX_COST
            met &= ok
            spread = f"{min(pairs):.4f} to {max(pairs):.4f}"
            rows.append((what, *(f"{v:.4f}" for v in values.values()), f"{ratio:.4f}", spread, b.verdict(ok)))
    finally:
        shutil.rmtree(dataset, ignore_errors=True)
    b.table(["figure", "with", "without", "ratio of medians", "ratios of pairs", f"costs at most {MAX_COST:.0%}"], rows)
    return 1 if args.check and not met else 0


def main():
    p = argparse.ArgumentParser(prog="bench-harness.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--seconds", type=float, default=10.0, help="computation of each run")
    p.add_argument("--check", action="store_true", help="exit status 1 when an AU misses its bound")
    p.add_argument("configs", nargs="*", type=Path, help="[default: configs/*.yaml]")
    p.add_argument("--opened", action="store_true", help="compare the linked binary with one that opens MPI at run time")
    p.add_argument("--repeat", type=int, default=5, help="of --opened and --recording: runs of each kind")
    p.add_argument("--recording", action="store_true", help="compare runs with and without the recording over time")
    args = p.parse_args()
    if args.opened:
        b.title(f"MPI linked and opened at run time: storage_type=null, cluster.barrier=mpi, {args.ranks} ranks")
        return opened(args)
    if args.recording:
        b.title(f"Recording over time: with and without timeline.json.zst and report.html, {args.ranks} ranks")
        return recording(args)
    b.title(f"Harness: storage_type=null, each workload's own computation time, {args.ranks} ranks")
    rows, met = [], True
    for config in args.configs or sorted(Path("configs").glob("*.yaml")):
        seconds = computation_time(config)
        steps = max(5, round(args.seconds / seconds)) if seconds else 1000
        b.say(f"{config.name}: at most {steps} steps of {seconds} s")
        words = [
            "storage.storage_type=null", "workflow.generate_data=false", "workflow.train=true",
            "workflow.evaluation=false", "workflow.checkpoint=false", "--max-epochs", "1", "--max-steps", str(steps),
        ]  # fmt: skip
        r = b.dlio_rs(args.ranks, config, words).expect_storage("null")
        ok = r.au >= MIN_AU
        met &= ok
        parts = [f"{r.percent(x):.3f}" for x in ("wait", "compute", "barrier", "harness")]
        storage = "" if r.au_storage is None else f"{r.au_storage:.3f}"
        rows.append((config.stem, f"{seconds * 1e3:g}", r.steps, f"{r.au:.3f}", storage, *parts, b.verdict(ok)))
    b.table(
        ["workload", "step ms", "steps", "AU %", "au_storage %", "wait %", "compute %", "barrier %", "harness %",
         f"AU >= {MIN_AU}"],
        rows,
    )  # fmt: skip
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
