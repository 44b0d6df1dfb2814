"""What the benches share: running dlio-rs and fio, the names of the fields that they read, tables.

Only Python's standard library. Every name of report.json and of the event stream stands in `Report` and `events`.
"""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30

BIN = os.environ.get("DLIO_RS_BIN", "target/release/dlio-rs")
# The launcher and its options, without the number of ranks; set by the shell script that starts a bench.
LAUNCHER = os.environ.get("BENCH_LAUNCHER", "mpirun --bind-to none").split()


class BenchError(Exception):
    """A command failed; the message holds its words and what it printed last."""


def run(words, **kwargs):
    """Runs a command to its end and returns what it printed; a failure raises BenchError."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **kwargs)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise BenchError(f"exit status {done.returncode}: {' '.join(map(str, words))}\n{tail}")
    return done


def launcher(ranks):
    """The words that start `ranks` ranks here."""
    words = [LAUNCHER[0], "-np", str(ranks), *LAUNCHER[1:]]
    # More ranks than CPUs need Open MPI's leave; MPICH's launcher has no such option and binds nothing.
    if "--bind-to" in words and ranks > cpus() and "--oversubscribe" not in words:
        words.append("--oversubscribe")
    return words


def cpus():
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


# Starts a command and prints the peak of its memory. The kernel's own high-water mark is polled, because the
# ru_maxrss of a child begins with the memory of the process that forked it; it never falls, so the last look counts.
PEAK_RSS = """
import re, subprocess, sys, time
child, peak = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL), 0
while child.poll() is None:
    with open(f"/proc/{child.pid}/cmdline") as name, open(f"/proc/{child.pid}/status") as status:
        found = re.search(r"VmHWM:\\s+(\\d+)", status.read())
        if found and name.read().startswith(sys.argv[1]):
            peak = max(peak, int(found.group(1)) * 1024)
    time.sleep(0.002)
print("peak", peak, flush=True)
sys.exit(child.returncode)
"""


def peak_rss(words, before=()):
    """Peak memory of a command, bytes: a list with one entry per process that the launcher `before` starts."""
    out = run([*before, sys.executable, "-ISc", PEAK_RSS, *words]).stdout
    peaks = [int(x) for x in re.findall(r"peak (\d+)", out)]
    if not peaks or 0 in peaks:
        raise BenchError(f"ended before its memory could be read: {' '.join(map(str, words))}")
    return peaks


def in_turns(runs, repeat, label="", before=lambda: None):
    """Calls each of `runs` (name -> function) `repeat` times; returns name -> results.

    A first round is thrown away: whoever touches memory first pays for pages that the host has to find. The order
    turns from round to round, so that no program always follows the same one.
    """
    names = list(runs)
    results = {name: [] for name in names}
    for round_ in range(repeat + 1):
        say(f"{label}{'warm-up' if round_ == 0 else f'repetition {round_} of {repeat}'}")
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            before()
            result = runs[name]()
            if round_:
                results[name].append(result)
    return results


class Report:
    """The fields of report.json that the benches use."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.json = json.loads((self.folder / "report.json").read_text())

    @property
    def storage_type(self):
        """As the run understood it."""
        return self.json["workload"]["storage_type"]

    @property
    def served_by(self):
        """PASS, SUSPECT, CACHED or UNKNOWN: the kernel's witness of each epoch, where the bytes came from."""
        return {e["served_by_storage"] for e in self.json["epochs"]}

    def expect_storage(self, kind):
        """A figure of another storage system than its row says is worse than none."""
        if self.storage_type != kind:
            raise BenchError(f"asked for storage_type {kind}, but the run used {self.storage_type}")
        return self

    def expect_direct(self):
        """With O_DIRECT the page cache cannot answer."""
        if self.served_by & {"CACHED", "SUSPECT"}:
            raise BenchError(f"asked for O_DIRECT, but the page cache answered ({', '.join(sorted(self.served_by))})")
        return self

    @property
    def bytes_read(self):
        """Bytes that the readers were given, all ranks, all epochs."""
        return sum(e["bytes_read"]["value"] for e in self.json["epochs"])

    @property
    def train_seconds(self):
        """Wall time of training: the slowest rank's of each epoch, summed."""
        return sum(e["train_time"]["value"] for e in self.json["epochs"])

    @property
    def steps(self):
        return sum(e["steps"] for e in self.json["epochs"])

    @property
    def cpu_seconds_per_gib(self):
        """User and system time of all ranks while training, the emulated computation's spinning excluded."""
        return self.json["cpu_seconds_per_gib"]["value"]

    @property
    def peak_rss(self):
        """Bytes, the largest rank's."""
        return self.json["counters"]["peak_rss"]["value"]

    @property
    def au(self):
        """Percent."""
        return self.json["train"]["au_mean"]["value"]

    @property
    def au_storage(self):
        """Percent; None when the window was empty."""
        return self.json["au_storage"]["value"]

    def percent(self, part):
        """Share of the training time of wait, compute, barrier or harness."""
        return self.json["breakdown"][part]["percent"]

    def first_wait_seconds(self):
        """How long the first step of rank 0 waited for its batch."""
        output = json.loads((self.folder / "0_output.json").read_text())
        return output["1"]["load"]["block1"][0]


def dlio_rs(ranks, config, words, verb="run", binary=BIN):
    """Runs dlio-rs and returns its report."""
    with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-") as scratch:
        out = Path(scratch) / "out"
        run([*launcher(ranks), binary, verb, str(config), *words, "--quiet", "--output", str(out)])
        return Report(out)


def events(ranks, config, words, verb="run", binary=BIN):
    """Runs dlio-rs with --json. Yields (seconds since the start of the launcher, event)."""
    command = [*launcher(ranks), binary, verb, str(config), *words, "--json"]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child:
            for line in child.stdout:
                if line.startswith("{"):
                    yield time.monotonic() - start, json.loads(line)
        if child.returncode != 0:
            errors.seek(0)
            tail = "\n".join(errors.read().splitlines()[-15:])
            raise BenchError(f"exit status {child.returncode}: {' '.join(command)}\n{tail}")


def generate(ranks, config, words=(), binary=BIN):
    """Generates the dataset; returns (bytes written, seconds) as dlio-rs reports them."""
    for _, event in events(ranks, config, [*words], verb="generate", binary=binary):
        if event["event"] == "generation_done":
            result = event["bytes"], event["elapsed_s"]
    return result


def write_config(path, *, folder, file_format, files, record_bytes, batch=1, threads=1, epochs=1, **reader):
    """A workload without computation, without shuffles, without a metric to meet. JSON is YAML."""
    workload = {
        "model": {"name": "bench"},
        "framework": "pytorch",
        "workflow": {"generate_data": False, "train": True, "evaluation": False, "checkpoint": False},
        "dataset": {
            "data_folder": str(folder),
            "format": file_format,
            "num_files_train": files,
            "num_samples_per_file": 1,
            "record_length_bytes": record_bytes,
            "record_length_bytes_stdev": 0,
        },
        "reader": {
            "data_loader": "pytorch",
            "batch_size": batch,
            "read_threads": threads,
            "write_threads": threads,
            "drop_cache": "none",
            **reader,
        },
        "train": {"epochs": epochs, "computation_time": 0.0},
    }
    Path(path).write_text(json.dumps(workload, indent=2) + "\n")


class Dlio:
    """A DLIO that is there: `command` are the words that start one rank, in `cwd` and with `environment`."""

    def __init__(self, option, path):
        python = os.environ.get("DLIO_RS_PYTHON") or shutil.which("python3")
        path = Path(path).expanduser().absolute()
        module, self.cwd = ["-m", "dlio_benchmark.main"], None
        if (path / "dlio_benchmark" / "main.py").exists():
            self.command, self.cwd = [python, *module], str(path)
        elif path.is_file() and path.name.startswith("python"):
            self.command = [str(path), *module]
        elif path.is_file():
            self.command = [str(path)]
        else:
            raise BenchError(f"{option} {path}: it is no checkout, no executable and no Python of a DLIO")
        searched = [x for x in (self.cwd, os.environ.get("PYTHONPATH")) if x]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(searched)}
        run([*self.command, "--help"], cwd=self.cwd, env=self.environment)


DLIOS = {"argonne": "argonne-lcf's DLIO (PyPI: dlio-benchmark)", "mlcommons": "MLCommons' DLIO"}


def dlio_options(parser):
    """An option for the place of each DLIO."""
    for name, what in DLIOS.items():
        parser.add_argument(f"--{name}", metavar="PATH", help=f"{what}: checkout, executable or Python")


def dlios_of(args):
    """Those that were given, by their names; what is skipped is said."""
    given = {name: getattr(args, name) for name in DLIOS}
    for name in given:
        if given[name] is None:
            say(f"the DLIO of {name} is skipped: no path was given (--{name} PATH)")
    return {name: Dlio(f"--{name}", path) for name, path in given.items() if path is not None}


class Fio:
    """The figures of one fio run, all jobs together."""

    def __init__(self, text, direction):
        jobs = json.loads(text[text.index("{") :])["jobs"]
        failed = [j["error"] for j in jobs if j["error"]]
        if failed:
            raise BenchError(f"fio reports error {failed[0]}")
        self.bytes = sum(j[direction]["io_bytes"] for j in jobs)
        # Milliseconds; the slowest job counts, as the slowest rank does for dlio-rs.
        self.seconds = max(j[direction]["runtime"] for j in jobs) / 1e3
        self.cpu_seconds = sum((j["usr_cpu"] + j["sys_cpu"]) / 100 * j["job_runtime"] / 1e3 for j in jobs)

    @property
    def rate(self):
        return self.bytes / self.seconds

    @property
    def cpu_seconds_per_gib(self):
        return self.cpu_seconds / (self.bytes / GIB)


def fio(direction, folder, jobs, files_per_job, block, *options):
    """Runs fio with psync: each job goes through its own files, one after another, from start to end.

    It gets what dlio-rs has: threads, and buffers in huge pages, which O_DIRECT pins much faster. Its start is not counted: the
    runtime of a job begins when its buffers are there.
    """
    words = [
        "fio", "--name=bench", f"--rw={direction}", "--ioengine=psync", f"--directory={folder}",
        "--filename_format=f.$jobnum.$filenum", f"--numjobs={jobs}", f"--nrfiles={files_per_job}",
        f"--bs={block}", "--thread", "--mem=malloc", "--iomem_align=2M", "--openfiles=1", "--file_service_type=sequential", "--invalidate=0",
        "--output-format=json", *options,
    ]  # fmt: skip
    huge = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return Fio(run(words, env=huge).stdout, direction)


def link_for_fio(files, folder, jobs):
    """Hard links with the names that fio computes, so that both programs read the very same files: file i is one of job i % jobs."""
    for i, file in enumerate(files):
        os.link(file, Path(folder) / f"f.{i % jobs}.{i // jobs}")


def place_options(parser):
    """Options for the folder in memory and the one on a disk."""
    parser.add_argument("--tmpfs", default="/dev/shm", help="folder in memory")
    parser.add_argument("--disk", default=str(Path(BIN).parent.parent), help="folder on a disk that takes O_DIRECT")


def median(values):
    return statistics.median(values)


def table(header, rows):
    """Prints a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "|".join(" --- " for _ in header) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def say(text):
    """Progress, not part of the result."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def title(what):
    """Heads the output with what a figure needs to be read later."""
    # The binary's own words: the source tree may have moved on since it was built.
    version = run([BIN, "info"]).stdout.splitlines()[0]
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    print(f"### {what}\n")
    print(f"{version}; {time.strftime('%Y-%m-%d')}; Linux {platform.release()}, ", end="")
    print(f"{cpus()} CPUs ({cpu}), {memory:.0f} GiB memory\n", flush=True)


def verdict(ok):
    return "yes" if ok else "**no**"


def finish(main):
    """Runs a bench; a failed command ends it with its message and status 1."""
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench failed: {error}")
