"""dlio-rs against fio and PyTorch, saving and loading checkpoints of the same sizes in turns; generation; memory."""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import bench_lib as b

# What the project asks of itself.
MIN_SAVE_TO_FIO = 0.85
MIN_SAVE_TO_TORCH = 5.0
MIN_LOAD_TO_FIO = 0.90
MIN_LOAD_TO_TORCH = 2.0
MIN_GENERATOR_GB = 4.0
MAX_STALL_PERCENT = 1.0
MAX_PEAK = 256 * b.MIB
MAX_PLAN_SECONDS = 1.0
# Bytes of one call where reader.transfer_size is not set.
BUFFERED, DIRECT = 1 * b.MIB, 8 * b.MIB
CONFIG = Path(__file__).resolve().parent.parent / "configs" / "checkpoint_small.yaml"


def model(hidden, layers):
    """Override words of a transformer of this width, sharded evenly over the ranks."""
    return [
        "model.parallelism.zero_stage=3",
        f"model.num_layers={layers}",
        f"model.transformer.hidden_size={hidden}",
        f"model.transformer.ffn_hidden_size={3 * hidden}",
        "model.transformer.vocab_size=32000",
        "checkpoint.time_between_checkpoints=0",
    ]


def files_of_ranks(words, ranks):
    """Tensor sizes of every file of every rank, read from the files of one save."""
    sizes = []
    with tempfile.TemporaryDirectory(prefix="dlio-rs-bench-", dir="/dev/shm") as folder:
        job(ranks, words, folder, 1, 0, "local_fs")
        for rank in range(ranks):
            files = sorted(Path(folder, "global_epoch1_step1").glob(f"zero_pp_rank_{rank}_*"))
            sizes.append([tensors_of(f) for f in files])
    return sizes


def tensors_of(path):
    import zipfile

    with zipfile.ZipFile(path) as container:
        return [m.file_size for m in container.infolist() if "/data/" in m.filename]


def job(ranks, words, folder, writes, reads, storage, *more, binary=b.BIN):
    """Runs dlio-rs; returns its report."""
    return b.dlio_rs(
        ranks, CONFIG,
        [*words, f"checkpoint.checkpoint_folder={folder}", f"checkpoint.num_checkpoints_write={writes}",
         f"checkpoint.num_checkpoints_read={reads}", f"storage.storage_type={storage}", *more],
        binary=binary,
    ).expect_storage(storage)  # fmt: skip


def phase(report, kind):
    return report.json["checkpoint"][kind]


def rate_of(report, kind):
    """Bytes of tensors per second, of the slowest rank."""
    of = phase(report, kind)
    return of["tensor_bytes"]["value"] / of["slowest_rank_duration_values"]["value"][0]


def torch_python():
    return os.environ.get("DLIO_RS_TORCH_PYTHON", sys.executable)


def case(args, place, root, direct, cold):
    """Rows of save and of load on one file system."""
    words = model(args.hidden, args.layers)
    ranks = files_of_ranks(words, args.ranks)
    per_rank = sum(sum(f) for f in ranks[0])
    per_file = per_rank // len(ranks[0]) // 4096 * 4096
    storage = "direct_fs" if direct else "local_fs"
    block = DIRECT if direct else BUFFERED
    drop = "fadvise" if cold else "none"
    folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-checkpoint-", dir=root))

    def fresh(name):
        path = folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def ours():
        path = fresh("ours")
        # Two jobs, as fio has two.
        save = job(args.ranks, words, path, 1, 0, storage)
        load = job(args.ranks, words, path, 0, 1, storage, f"reader.drop_cache={drop}",
                   f"checkpoint.read_threads={args.threads}")  # fmt: skip
        shutil.rmtree(path)
        return {
            "save": rate_of(save, "save"),
            "load": rate_of(load, "load"),
            "stall": phase(save, "save")["generator_stall"]["value"],
        }

    def fio():
        path = fresh("fio")
        shared = [f"--filesize={per_file}", f"--direct={int(direct)}"]
        write = b.fio("write", path, args.ranks, len(ranks[0]), block, *shared, "--fallocate=none",
                      "--create_on_open=1", "--fsync_on_close=1")  # fmt: skip
        read = b.fio("read", path, args.ranks, len(ranks[0]), block, *shared, f"--invalidate={int(cold)}")
        shutil.rmtree(path)
        return {"save": write.rate, "load": read.rate}

    def torch():
        path = fresh("torch")
        script = Path(__file__).with_name("bench_torch_checkpoint.py")
        out = b.run([torch_python(), script, path, json.dumps(ranks), "1", str(int(cold))]).stdout
        shutil.rmtree(path)
        seconds = json.loads(out)
        return {what: per_rank * args.ranks / seconds[what] for what in ("save", "load")}

    try:
        results = b.in_turns({"ours": ours, "fio": fio, "torch": torch}, args.repeat, f"{place}: ")
    finally:
        shutil.rmtree(folder)
    stall = b.median([r["stall"] for r in results["ours"]])
    for what, to_fio, to_torch in (
        ("save", MIN_SAVE_TO_FIO, MIN_SAVE_TO_TORCH),
        ("load", MIN_LOAD_TO_FIO, MIN_LOAD_TO_TORCH),
    ):
        rate = {name: [r[what] for r in values] for name, values in results.items()}
        # Results of the same round are compared, then the median of the ratios is taken.
        fio_ratio = b.median([x / y for x, y in zip(rate["ours"], rate["fio"])])
        torch_ratio = b.median([x / y for x, y in zip(rate["ours"], rate["torch"])])
        met = fio_ratio >= to_fio and torch_ratio >= to_torch
        if what == "save":
            met &= stall < MAX_STALL_PERCENT
        yield (
            what, place, *(f"{b.median(rate[n]) / b.GIB:.2f}" for n in ("ours", "fio", "torch")),
            f"{fio_ratio:.2f} (>= {to_fio:.2f})", f"{torch_ratio:.1f} (>= {to_torch:.0f})",
            f"{stall:.2f}" if what == "save" else "", b.verdict(met),
        ), met  # fmt: skip


def generator(args):
    """One rank to a null sink."""
    words = model(args.hidden, args.layers)
    rates = []
    for _ in range(args.repeat + 1):
        report = job(1, words, "unused", 4, 0, "null")
        save = phase(report, "save")
        seconds = sum(save["duration_values"]["value"])
        cpu = report.json["counters"]["cpu_time"]["value"]
        size = save["file_bytes"]["value"]
        rates.append((size / seconds / 1e9, size / cpu / 1e9))
    wall, cpu = (b.median([r[i] for r in rates[1:]]) for i in (0, 1))
    met = wall >= MIN_GENERATOR_GB
    return ("one rank to a null sink", f"{wall:.1f} GB/s, {cpu:.1f} GB per CPU second", f">= {MIN_GENERATOR_GB:.0f} GB/s",
            b.verdict(met)), met  # fmt: skip


def plan():
    """The largest model for its 1,024 ranks."""
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        out = b.run([b.BIN, "plan", "workload=llama3_1t", "--ranks", "1024"]).stdout
        seconds.append(time.monotonic() - start)
    total = re.search(r"checkpoint +(\d+) bytes", out).group(1)
    met = b.median(seconds) < MAX_PLAN_SECONDS
    return ("dlio-rs plan, llama3_1t, 1,024 ranks", f"{b.median(seconds) * 1e3:.0f} ms, {total} bytes",
            f"< {MAX_PLAN_SECONDS:.0f} s", b.verdict(met)), met  # fmt: skip


def largest():
    """Eight ranks of the largest model to a null sink: memory."""
    b.say("llama3_1t, 8 ranks of 1,024, null sink")
    report = b.dlio_rs(
        8, "workload=llama3_1t",
        ["checkpoint.mode=subset", "model.parallelism.data=2", "storage.storage_type=null",
         "checkpoint.num_checkpoints_write=1", "checkpoint.num_checkpoints_read=1",
         "checkpoint.time_between_checkpoints=0"],
    )  # fmt: skip
    save = phase(report, "save")
    rate = save["file_bytes"]["value"] / save["slowest_rank_duration_values"]["value"][0] / 1e9
    met = report.peak_rss <= MAX_PEAK
    return ("llama3_1t, 8 ranks of 1,024, null sink", f"{report.peak_rss / b.MIB:.0f} MiB per rank; "
            f"{save['file_bytes']['value'] / 1e9:.0f} GB at {rate:.1f} GB/s", f"<= {MAX_PEAK // b.MIB} MiB",
            b.verdict(met)), met  # fmt: skip


def main():
    p = argparse.ArgumentParser(prog="bench-checkpoint.sh", description=__doc__)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--threads", type=int, default=1, help="threads of a rank that load; fio and PyTorch have one")
    p.add_argument("--hidden", type=int, default=1024, help="width of the model")
    p.add_argument("--layers", type=int, default=8, help="layers of the model")
    p.add_argument("--repeat", type=int, default=3)
    b.place_options(p)
    p.add_argument("--only", default="", help="places whose name holds this text; none: all, and generation and memory")
    p.add_argument("--check", action="store_true", help="exit status 1 when a figure misses its bound")
    args = p.parse_args()
    b.title(f"Checkpoints, {args.ranks} ranks, fio psync with {args.ranks} jobs, PyTorch with {args.ranks} processes")
    rows, met = [], True
    for place, root, direct, cold in (
        ("tmpfs", args.tmpfs, False, False),
        ("disk, buffered, fsync", args.disk, False, True),
        ("disk, O_DIRECT, fsync", args.disk, True, True),
    ):
        if args.only in place:
            for row, ok in case(args, place, root, direct, cold):
                rows.append(row)
                met &= ok
    b.table(
        ["what", "where", "dlio-rs GiB/s", "fio GiB/s", "PyTorch GiB/s", "ratio to fio", "ratio to PyTorch",
         "generator stall %", "met"],
        rows,
    )  # fmt: skip
    if not args.only:
        rows = []
        for row, ok in (generator(args), plan(), largest()):
            rows.append(row)
            met &= ok
        b.table(["what", "measured", "bound", "met"], rows)
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
