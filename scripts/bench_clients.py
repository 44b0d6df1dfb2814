"""How many accelerators one client emulates, and at which cost: dlio-rs against both DLIOs, and fio on the same files.

The files lie in memory, so the client is what is measured. Accelerators: the most whose AU reaches the workload's threshold,
by `dlio-rs find`, and for DLIO and earlier versions (with --quick for all) by runs of 1, 2, 4, ... ranks and bisection. Samples per
second and CPU are those of the run with that many, or with one where none passes. CPU is user and system time of all processes, their start included, over the bytes
of the samples that were trained on. fio reads the same files with one psync job per CPU: what reading alone costs.

A DLIO is a checkout, an executable, or a Python with the package `dlio_benchmark`; where it is not given, its rows are
skipped by name.
"""

import argparse
import json
import os
import re
import resource
import shutil
import tempfile
import time
from pathlib import Path

import bench_lib as b

# (workload, files, names, samples per file or None for the workload's own, bytes of a sample, samples per step).
# Names beyond the files are hard links: an epoch of many accelerators needs more samples than memory holds.
CASES = [
    ("unet3d_h100", 14, 1792, None, 146600628, 7),
    ("resnet50_h100", 14, 160, None, 114660, 400),
    ("retinanet_b200", 4096, 12288, None, 322957, 24),
    ("cosmoflow_h100", 512, 4096, None, 2828486, 1),
    ("dlrm_b200", 2, 64, 614400, 761, 12288),
    ("flux_b200", 3, 128, None, 2164832, 48),
]
LARGEST = 64
NAME = re.compile(r"(.+)_(\d+)_of_(\d+)(\.\w+)")


class Clock:
    """What is left of the time that a bench may take."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes

    def left(self):
        return self.end - time.monotonic()


def cpu_seconds():
    """User and system time of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def yaml_of(workload):
    return b.run([b.BIN, "configs", workload]).stdout


def number(yaml, key):
    """The number behind a key of a workload's YAML."""
    found = re.search(rf"^\s+{key}: ([0-9.eE+-]+)\s*$", yaml, re.MULTILINE)
    if not found:
        raise b.BenchError(f"the workload has no {key}")
    return float(found.group(1))


class Program:
    """What is measured. `measure` gives (AU, samples per second, CPU seconds) of one run."""

    def __init__(self, name, args):
        self.name, self.args = name, args
        self.seen = {}

    def most(self, workload, words, clock):
        """The most accelerators that pass, by doubling and bisection over runs; 0: none."""
        threshold = 100 * number(yaml_of(workload), "au")

        def passes(ranks):
            if clock.left() < 0:
                raise TimeoutError
            au = self.once(workload, ranks, words)[0]
            b.say(f"{self.name}, {workload}: {ranks} ranks: AU {au:.1f} %")
            return au >= threshold

        low, high = 0, 1
        while high <= self.args.most and passes(high):
            low, high = high, 2 * high
        high = min(high, self.args.most + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if passes(middle) else (low, middle)
        return low

    def once(self, workload, ranks, words):
        """A run is not made twice."""
        if (workload, ranks) not in self.seen:
            epochs = epochs_of(workload, ranks, self.args.seconds)
            self.seen[workload, ranks] = self.measure(workload, ranks, words, epochs)
        return self.seen[workload, ranks]


class DlioRs(Program):
    """A build of dlio-rs; of an earlier version, which has no `find`, accelerators are found as DLIO's are."""

    def __init__(self, name, args, binary=b.BIN):
        super().__init__(name, args)
        self.binary = binary

    def most(self, workload, words, clock):
        if self.args.quick or self.binary != b.BIN:
            return super().most(workload, words, clock)
        # A trial passes after 128 steps at least.
        minutes = max(self.args.minutes, 200 * number(yaml_of(workload), "computation_time") / 60)
        with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-clients-") as scratch:
            command = [
                *b.launcher(self.args.most), b.BIN, "find", f"workload={workload}", *words, "--json", "--quiet",
                "--seconds", str(self.args.seconds), "--minutes", str(minutes),
                "--output", str(Path(scratch) / "found"),
            ]  # fmt: skip
            found = json.loads(b.run(command).stdout)
            return found["answer"]["number"] or 0

    def measure(self, workload, ranks, words, epochs):
        with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-clients-") as scratch:
            out = Path(scratch) / "out"
            before = cpu_seconds()
            words = [f"workload={workload}", *words, f"train.epochs={epochs}", "workflow.evaluation=false"]
            b.run([*b.launcher(ranks), self.binary, "run", *words, "--quiet", "--output", str(out)])
            return figures(out, cpu_seconds() - before)


class Dlio(Program):
    """A DLIO that is there."""

    def __init__(self, name, found, args):
        super().__init__(name, args)
        self.found = found

    def measure(self, workload, ranks, words, epochs):
        with tempfile.TemporaryDirectory(prefix="dlio-bench-clients-") as scratch:
            folder, out = Path(scratch) / "workload", Path(scratch) / "out"
            folder.mkdir()
            (folder / "bench.yaml").write_text(yaml_of(workload))
            plus = [f"++workload.{word}" for word in words]
            before = cpu_seconds()
            b.run(
                [*b.launcher(ranks), *self.found.command, "--config-dir", scratch, "workload=bench", *plus,
                 f"++workload.train.epochs={epochs}", "++workload.workflow.evaluation=False",
                 f"++hydra.run.dir={out}", f"++workload.output.folder={out}"],
                cwd=self.found.cwd, env=self.found.environment,
            )  # fmt: skip
            return figures(out, cpu_seconds() - before)


def figures(out, cpu):
    """(AU, samples per second, CPU seconds) of the run in a folder."""
    metric = json.loads((Path(out) / "summary.json").read_text())["metric"]
    return metric["train_au_mean_percentage"], metric["train_throughput_mean_samples_per_second"], cpu


def case_of(workload):
    return next(case for case in CASES if case[0] == workload)


def samples_of(workload):
    """Samples of the dataset."""
    _, _, names, per_file, _, _ = case_of(workload)
    return names * int(per_file or number(yaml_of(workload), "num_samples_per_file"))


def epochs_of(workload, ranks, seconds):
    """Epochs that last so long when nothing is waited for."""
    steps = samples_of(workload) // (ranks * case_of(workload)[5])
    epoch = max(1, steps) * number(yaml_of(workload), "computation_time")
    return max(1, round(seconds / epoch))


def spread(data, names):
    """Gives the files of a dataset the names of one of `names` files, several to each file; returns the files."""
    train = Path(data, "train")
    files = sorted(p for p in train.iterdir() if NAME.fullmatch(p.name))
    own = Path(data, "files")
    train.rename(own)
    train.mkdir()
    # It tells of fewer files than there are names.
    (Path(data) / ".dlio-rs-manifest.json").unlink(missing_ok=True)
    files = [own / p.name for p in files]
    for i in range(names):
        file = files[i % len(files)]
        prefix, _, _, suffix = NAME.fullmatch(file.name).groups()
        os.link(file, train / f"{prefix}_{i:0{len(str(names))}}_of_{names}{suffix}")
    return files


def fio_of(data, files, jobs, seconds):
    """fio over hard links to the files of a dataset, for so long: (GiB per second, CPU seconds per GiB)."""
    jobs = min(jobs, len(files))
    links = Path(data) / "fio"
    links.mkdir()
    try:
        b.link_for_fio(files, links, jobs)
        size = files[0].stat().st_size
        timed = [f"--runtime={seconds}", "--time_based", "--readonly"]
        result = b.fio("read", links, jobs, len(files) // jobs, min(b.MIB, size), *timed)
        return result.rate / b.GIB, result.cpu_seconds_per_gib
    finally:
        shutil.rmtree(links)


def rows_of(workload, programs, args, clock):
    _, count, names, per_file, sample, batch = case_of(workload)
    folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-clients-", dir=args.folder))
    try:
        data = [f"dataset.data_folder={folder}/data"]
        data += [f"dataset.num_samples_per_file={per_file}"] if per_file else []
        b.say(f"{workload}: generating {count} files")
        made = [f"workload={workload}", *data, f"dataset.num_files_train={count}", "dataset.num_files_eval=0"]
        b.run([*b.launcher(b.cpus()), b.BIN, "generate", *made, "--quiet"])
        files = spread(folder / "data", names)
        words = [*data, f"dataset.num_files_train={names}", "dataset.num_files_eval=0"]
        for program in programs:
            b.say(f"{workload}: {program.name}")
            try:
                most = program.most(workload, words, clock)
                ranks = max(1, most)
                epochs = epochs_of(workload, ranks, args.seconds)
                au, rate, cpu = program.once(workload, ranks, words)
            except TimeoutError:
                yield (workload, program.name, "no time left", *["-"] * 5)
                continue
            except b.BenchError as error:
                # Not every DLIO has every format.
                if program is programs[0]:
                    raise
                b.say(f"{workload}: {program.name}: {error}")
                yield (workload, program.name, "does not run it", *["-"] * 5)
                continue
            steps = samples_of(workload) // (ranks * batch)
            read = steps * ranks * batch * epochs * sample / b.GIB
            yield (
                workload, program.name, str(most) if most < args.most else f">= {most}", f"{au:.1f}", f"{rate:.1f}",
                f"{rate * sample / b.GIB:.2f}", f"{cpu / read:.3f}" if read else "-", f"{os.getloadavg()[0]:.1f}",
            )  # fmt: skip
        rate, cpu = fio_of(folder / "data", files, b.cpus(), args.seconds)
        yield (workload, f"fio, {b.cpus()} jobs", "-", "-", "-", f"{rate:.2f}", f"{cpu:.3f}", f"{os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(folder)


def main():
    p = argparse.ArgumentParser(prog="bench-clients.sh", description=__doc__)
    b.dlio_options(p)
    p.add_argument("--folder", default="/dev/shm", help="where datasets of about 2 GiB are made, one after the other")
    p.add_argument("--most", type=int, default=LARGEST, help="accelerators that are tried at most")
    p.add_argument("--seconds", type=float, default=20, help="of a run, and of the shortest trial")
    p.add_argument("--minutes", type=float, default=2, help="longest trial of dlio-rs find, or 200 steps")
    p.add_argument("--only", default="", help="workloads whose name holds this text")
    p.add_argument("--old", metavar="BINARY", help="a dlio-rs of an earlier version, to compare with")
    p.add_argument("--quick", action="store_true", help="short runs; what is not begun after 12 minutes is left out")
    args = p.parse_args()
    if args.quick:
        args.seconds, args.most = 6, min(args.most, 32)
    clock = Clock(12 if args.quick else 24 * 60)
    workloads = [case[0] for case in CASES if args.only in case[0]]
    if not workloads:
        raise b.BenchError(f"no workload holds {args.only!r}")
    programs = [DlioRs("dlio-rs", args)]
    if args.old:
        version = b.run([args.old, "info"]).stdout.splitlines()[0]
        programs.append(DlioRs(version.split(",")[0] + ")", args, args.old))
    programs += [Dlio(f"DLIO of {name}", found, args) for name, found in b.dlios_of(args).items()]
    b.title("Accelerators that one client emulates, data in memory")
    rows = []
    for workload in workloads:
        if clock.left() < 0:
            rows.append((workload, "all", "no time left", *["-"] * 5))
            continue
        rows += rows_of(workload, programs, args, clock)
    b.table(
        ["workload", "program", "accelerators that pass", "AU %", "samples/s", "GiB/s", "CPU s/GiB", "load before the next"],
        rows,
    )
    print("Samples/s, GiB/s and CPU are of a run with as many accelerators as pass, or with one.")
    return 0


if __name__ == "__main__":
    b.finish(main)
