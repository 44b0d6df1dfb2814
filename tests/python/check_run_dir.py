"""Checks that a run folder holds every file of DLIO with every key, its type and its order.

    check_run_dir.py DIR --ranks N [--eval] [--subdir dlio_config]

--eval: the run evaluated after at least one epoch. Exit status 1 with one line per difference. Standard library only.
"""

import argparse
import json
import re
import sys
from datetime import datetime
from pathlib import Path

NUMBER = (int, float)
PHASE_KEYS = [
    ("au_percentage", list),
    ("au_mean_percentage", NUMBER),
    ("au_meet_expectation", str),
    ("au_stdev_percentage", NUMBER),
    ("throughput_samples_per_second", list),
    ("throughput_mean_samples_per_second", NUMBER),
    ("throughput_stdev_samples_per_second", NUMBER),
    ("io_mean_MB_per_second", NUMBER),
    ("io_stdev_MB_per_second", NUMBER),
]
SUMMARY_KEYS = [
    ("start", str),
    ("num_accelerators", int),
    ("num_hosts", int),
    ("hostname", str),
    ("metric", dict),
    ("num_files_train", int),
    ("num_files_eval", int),
    ("num_samples_per_file", int),
    ("host_cpu_count", list),
    ("host_processor_name", str),
    ("potential_caching", list),
    ("host_cpuinfo", dict),
    ("host_meminfo", dict),
    ("host_memory_GB", list),
    ("data_size_per_host_GB", NUMBER),
    ("epochs", int),
    ("end", str),
]
OUTPUT_HEAD = [
    ("host_memory_GB", NUMBER),
    ("host_cpu_count", int),
    ("host_processor_name", str),
    ("potential_caching", int),
    ("host_cpuinfo", dict),
    ("host_meminfo", dict),
]
EPOCH_OUTPUT = [
    ("load", dict),
    ("proc", dict),
    ("throughput", dict),
    ("au", dict),
    ("compute", dict),
    ("host_meminfo", dict),
    ("end", str),
]
REPORT_KEYS = [
    "schema_version", "provenance", "workload", "warnings", "train", "eval", "au_storage", "breakdown", "stages",
    "counters", "cpu_seconds_per_gib", "order_digest", "epochs", "hosts", "ranks",
]  # fmt: skip

problems = []


def problem(text):
    problems.append(text)


def is_kind(value, kind):
    # In Python a bool is an int; in these files it never stands for a number.
    return isinstance(value, kind) and not isinstance(value, bool)


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def load(path):
    """The JSON of a file; NaN and Infinity are refused, keys given twice too."""

    def pairs(items):
        keys = [k for k, _ in items]
        if len(keys) != len(set(keys)):
            raise ValueError(f"a key is given twice in {keys}")
        return dict(items)

    try:
        return json.loads(path.read_text(), parse_constant=refuse_constant, object_pairs_hook=pairs)
    except (OSError, ValueError) as error:
        problem(f"{path.name}: {error}")
        return None


def check_keys(where, found, expected):
    """The keys in their order, each of its type."""
    names = [k for k, _ in expected]
    if list(found) != names:
        problem(f"{where}: keys {list(found)}, expected {names}")
    for key, kind in expected:
        if key in found and not is_kind(found[key], kind):
            problem(f"{where}: {key} is {type(found[key]).__name__} ({found[key]!r})")


def check_time(where, text):
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f")
    except (TypeError, ValueError):
        problem(f"{where}: {text!r} is not a local time of the form YYYY-MM-DDTHH:MM:SS.ffffff")


def check_times(where, entry):
    """start and end of an entry, in this order."""
    for key in ("start", "end"):
        check_time(f"{where}: {key}", entry.get(key))
    if isinstance(entry.get("start"), str) and isinstance(entry.get("end"), str) and entry["start"] > entry["end"]:
        problem(f"{where}: ends before it starts")


def check_numbers(where, values, length=None):
    """A list of numbers, of a length where one is given."""
    if not isinstance(values, list) or not all(is_kind(v, NUMBER) for v in values):
        problem(f"{where}: not a list of numbers")
    elif length is not None and len(values) != length:
        problem(f"{where}: {len(values)} entries, expected {length}")


def check_summary(folder, ranks, evaluated):
    """Returns the number of epochs."""
    s = load(folder / "summary.json")
    if s is None:
        return 0
    check_keys("summary.json", s, SUMMARY_KEYS)
    metric, epochs = s.get("metric", {}), s.get("epochs", 0)
    phases = ["train"] + (["eval"] if evaluated else [])
    check_keys("summary.json: metric", metric, [(f"{p}_{k}", t) for p in phases for k, t in PHASE_KEYS])
    for phase in phases:
        for key in ("au_percentage", "throughput_samples_per_second"):
            length = epochs if phase == "train" else None
            check_numbers(f"summary.json: {phase}_{key}", metric.get(f"{phase}_{key}"), length)
        if metric.get(f"{phase}_au_meet_expectation") not in ("success", "fail"):
            problem(f"summary.json: {phase}_au_meet_expectation is neither success nor fail")
    if s.get("num_accelerators") != ranks:
        problem(f"summary.json: num_accelerators {s.get('num_accelerators')}, expected {ranks}")
    for key in ("host_cpu_count", "potential_caching", "host_memory_GB"):
        check_numbers(f"summary.json: {key}", s.get(key), s.get("num_hosts"))
    for key, value in s.get("host_meminfo", {}).items():
        if not isinstance(value, str):
            problem(f"summary.json: host_meminfo {key} is not a string")
    if epochs < 1:
        problem("summary.json: no epochs")
    check_times("summary.json", s)
    return epochs


def check_stats(path, epochs, evaluated):
    """Returns {epoch: [block names]}."""
    stats = load(path)
    if stats is None:
        return {}
    wanted = [str(e) for e in range(1, epochs + 1)]
    if list(stats) != wanted:
        problem(f"{path.name}: epochs {list(stats)}, expected {wanted}")
    blocks, evals = {}, 0
    for epoch, entry in stats.items():
        where = f"{path.name}: epoch {epoch}"
        check_times(where, entry)
        parts = [k for k in entry if k not in ("start", "end", "duration")]
        names = [k for k in parts if k.startswith("block")]
        if names != [f"block{i}" for i in range(1, len(names) + 1)] or not names:
            problem(f"{where}: blocks {names}")
        blocks[epoch] = names
        evals += "eval" in entry
        for part in parts:
            if not re.fullmatch(r"block\d+|eval|(save|load)_ckpt\d+", part):
                problem(f"{where}: unknown entry {part}")
                continue
            check_times(f"{where}: {part}", entry[part])
            if "ckpt" not in part and not re.fullmatch(r"\d+\.\d\d", str(entry[part].get("duration"))):
                problem(f"{where}: {part}: duration {entry[part].get('duration')!r} is not text with 2 decimals")
        if not isinstance(entry.get("duration"), str) or not re.fullmatch(r"\d+\.\d\d", entry["duration"]):
            problem(f"{where}: duration {entry.get('duration')!r} is not text with 2 decimals")
    if evaluated != (evals > 0):
        problem(f"{path.name}: {evals} evaluations")
    return blocks


def check_output(path, epochs, blocks):
    output = load(path)
    if output is None:
        return
    expected = OUTPUT_HEAD + [(str(e), dict) for e in range(1, epochs + 1)] + [("hostname", str)]
    check_keys(path.name, output, expected)
    for epoch in map(str, range(1, epochs + 1)):
        entry, where = output.get(epoch, {}), f"{path.name}: epoch {epoch}"
        check_keys(where, entry, EPOCH_OUTPUT)
        check_time(f"{where}: end", entry.get("end"))
        for block in blocks.get(epoch, []):
            lists = [entry.get(k, {}).get(block) for k in ("load", "proc", "compute")]
            for key, values in zip(("load", "proc", "compute"), lists):
                check_numbers(f"{where}: {key} {block}", values, len(lists[0] or []))
            for key in ("throughput", "au"):
                if not is_kind(entry.get(key, {}).get(block), NUMBER):
                    problem(f"{where}: {key} {block} is not a number")
            if all(isinstance(x, list) for x in lists):
                for step, (load_s, proc_s) in enumerate(zip(lists[0], lists[1]), 1):
                    # proc is measured from the same moment as load, and longer.
                    if proc_s < load_s:
                        problem(f"{where}: {block} step {step}: proc {proc_s} is less than load {load_s}")
                        break


def check_log(path, ranks, evaluated):
    try:
        text = path.read_text()
    except OSError as error:
        problem(f"dlio.log: {error}")
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line and not re.match(r"\[(OUTPUT|METRIC|WARNING|INFO|ERROR|DEBUG)[\] ]", line) and not re.match(r"\s|=+", line):
            problem(f"dlio.log:{number}: starts with no level: {line[:60]!r}")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"
    lines = [
        rf"\[OUTPUT\] {stamp} Running DLIO \[[^]]*Training[^]]*\] with {ranks} process\(es\)",
        rf"\[OUTPUT\] {stamp} Starting epoch 1: ",
        rf"\[OUTPUT\] {stamp} Starting block 1",
        rf"\[OUTPUT\] {stamp} Ending block 1 - \d+ steps completed in [\d.]+ s",
        rf"\[OUTPUT\] {stamp} Ending epoch 1 - \d+ steps completed in [\d.]+ s",
        rf"\[OUTPUT\] {stamp} Saved outputs in ",
        r"\[OUTPUT\] Averaged metric over all steps/epochs",
        r"\[METRIC\] =+",
        rf"\[METRIC\] Number of Simulated Accelerators: {ranks} ?",
        r"\[METRIC\] Training Accelerator Utilization \[AU\] \(%\): [\d.]+ \([\d.]+\)",
        r"\[METRIC\] Training Throughput \(samples/second\): [\d.]+ \([\d.]+\)",
        r"\[METRIC\] Training I/O Throughput \(Mi?B/second\): [\d.]+ \([\d.]+\)",
        r"\[METRIC\] train_au_meet_expectation: (success|fail)",
    ]
    if evaluated:
        lines.append(r"\[METRIC\] eval_au_meet_expectation: (success|fail)")
    for pattern in lines:
        if not re.search("^" + pattern, text, re.M):
            problem(f"dlio.log: no line like {pattern}")


def check_hydra(folder):
    for name, first in (("config.yaml", "workload:"), ("overrides.yaml", ("[]", "- ")), ("hydra.yaml", "hydra:")):
        try:
            if not (folder / name).read_text().startswith(first):
                problem(f"{folder.name}/{name}: does not start with {first!r}")
        except OSError as error:
            problem(f"{folder.name}/{name}: {error}")


def check_report(folder, ranks):
    r = load(folder / "report.json")
    if r is not None:
        for key in REPORT_KEYS:
            if key not in r:
                problem(f"report.json: {key} is missing")
        if len(r.get("ranks", [])) != ranks:
            problem(f"report.json: {len(r.get('ranks', []))} ranks, expected {ranks}")
        if not re.fullmatch(r"[0-9a-f]{16}", str(r.get("order_digest"))):
            problem(f"report.json: order_digest {r.get('order_digest')!r} is not 16 hexadecimal digits")
    path = folder / "histograms.hgrm"
    if not path.is_file() or path.stat().st_size == 0:
        problem("histograms.hgrm: missing or empty")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--ranks", type=int, required=True)
    p.add_argument("--eval", action="store_true")
    p.add_argument("--subdir", default="dlio_config", help="hydra's folder, as hydra.output_subdir names it")
    args = p.parse_args()
    if not args.folder.is_dir():
        print(f"{args.folder}: no such folder")
        return 1
    epochs = check_summary(args.folder, args.ranks, args.eval)
    for rank in range(args.ranks):
        blocks = check_stats(args.folder / f"{rank}_per_epoch_stats.json", epochs, args.eval)
        check_output(args.folder / f"{rank}_output.json", epochs, blocks)
    for pattern in ("*_output.json", "*_per_epoch_stats.json"):
        if len(list(args.folder.glob(pattern))) != args.ranks:
            problem(f"{pattern}: {len(list(args.folder.glob(pattern)))} files, expected {args.ranks}")
    check_log(args.folder / "dlio.log", args.ranks, args.eval)
    check_hydra(args.folder / args.subdir)
    check_report(args.folder, args.ranks)
    for text in problems:
        print(text)
    if not problems:
        print(f"{args.folder}: every file and key of a run with {args.ranks} ranks")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
