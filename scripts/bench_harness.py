"""What dlio-rs itself costs: every workload of configs/ on a storage system that answers at once."""

import argparse
import re
from pathlib import Path

import bench_lib as b

MIN_AU = 99.5


def computation_time(config):
    """Mean seconds of computation per step, from the YAML's text; 0 where it names none."""
    text = config.read_text()
    mean = r"(?:\{.*?mean:\s*|\n\s+(?:\w+:.*\n\s+)*?mean:\s*)?"
    found = re.search(rf"^\s*computation_time:\s*{mean}([0-9.eE+-]+)", text, re.M)
    return float(found.group(1)) if found else 0.0


def main():
    p = argparse.ArgumentParser(prog="bench-harness.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--seconds", type=float, default=10.0, help="computation of each run")
    p.add_argument("--check", action="store_true", help="exit status 1 when an AU misses its bound")
    p.add_argument("configs", nargs="*", type=Path, help="[default: configs/*.yaml]")
    args = p.parse_args()
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
