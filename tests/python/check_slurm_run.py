"""Checks the run folder of a job under Slurm: as many ranks, hosts and entries as the job asked for.

    check_slurm_run.py DIR --ranks N --hosts N (--epochs N | --checkpoints N) [--key KEY=VALUE]

--key: a line of the effective config. Prints the order digest of a training. Exit status 1 with one line per difference.
Standard library only.
"""

import argparse
import json
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("dir", type=Path)
parser.add_argument("--ranks", type=int, required=True)
parser.add_argument("--hosts", type=int, required=True)
parser.add_argument("--epochs", type=int)
parser.add_argument("--checkpoints", type=int)
parser.add_argument("--key")
args = parser.parse_args()
problems = []


def expect(what, is_, wanted):
    if is_ != wanted:
        problems.append(f"{what} is {is_}, not {wanted}")


if not (args.dir / "summary.json").is_file():
    sys.exit(f"{args.dir}/summary.json is missing")
summary = json.loads((args.dir / "summary.json").read_text())
report = json.loads((args.dir / "report.json").read_text())
expect("num_accelerators", summary["num_accelerators"], args.ranks)
expect("num_hosts", summary["num_hosts"], args.hosts)
for rank in range(args.ranks):
    if not (args.dir / f"{rank}_output.json").is_file():
        problems.append(f"{rank}_output.json is missing")
metric = summary["metric"]
if args.epochs is not None:
    au = metric["train_au_percentage"]
    expect("the number of AU values", len(au), args.epochs)
    if not all(value > 0 for value in au):
        problems.append(f"an AU is not above 0: {au}")
    print(report["order_digest"])
if args.checkpoints is not None:
    for verb in ("save", "load"):
        expect(f"the number of {verb}s", report["checkpoint"][verb]["count"], args.checkpoints)
        if not metric[f"{verb}_checkpoint_io_mean_GB_per_second"] > 0:
            problems.append(f"no throughput of {verb}s")
        stats = json.loads((args.dir / "0_per_epoch_stats.json").read_text())
        entries = [key for epoch in stats.values() for key in epoch if key.startswith(f"{verb}_ckpt")]
        expect(f"the number of {verb}_ckpt entries", len(entries), args.checkpoints)
if args.key is not None:
    key, value = args.key.split("=")
    lines = (args.dir / "dlio_config" / "config.yaml").read_text().split("\n")
    if f"{key}: {value}" not in [line.strip() for line in lines]:
        problems.append(f"the effective config has no '{key}: {value}'")
if problems:
    sys.exit("; ".join(problems))
