"""Compares what dlio-rs leaves behind with a recording: order digests, datasets, and DLIO's result files.

    recorded.py BINARY             compares with tests/data/recorded.json; exit status 1 where something differs
    recorded.py BINARY --record    writes the recording anew

The runs use `model` storage in virtual time, so that every figure in DLIO's files is a function of the workload. Wall-clock
labels and facts of the machine are masked. A recording changes only together with a CHANGELOG entry that says why.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

RECORDING = pathlib.Path(__file__).parent.parent / "data" / "recorded.json"
LABEL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*")
MACHINE = {"hostname", "host_cpu_count", "host_memory_GB", "host_processor_name", "host_cpuinfo", "host_meminfo"}
MODEL = ["storage.storage_type=model", "storage.storage_options.latency=0.002", "workflow.generate_data=false"]

# name: (ranks, words). Every loader, order, framework, and shape of files that moves a sample to another place.
RUNS = {
    "pytorch": (2, ["dataset.num_files_train=37", "reader.batch_size=3", "reader.read_threads=2"]),
    "pytorch_1_rank": (1, ["dataset.num_files_train=20", "reader.read_threads=0", "reader.batch_size=4"]),
    "tensorflow": (2, ["framework=tensorflow", "reader.data_loader=tensorflow", "dataset.num_files_train=24",
                       "dataset.num_samples_per_file=4", "reader.read_threads=2"]),
    "tfrecord": (3, ["framework=tensorflow", "reader.data_loader=tensorflow", "dataset.format=tfrecord",
                     "dataset.num_files_train=12", "dataset.num_samples_per_file=7", "reader.read_threads=1"]),
    "native_permutation": (2, ["reader.data_loader=native", "reader.order=permutation", "dataset.num_files_train=30"]),
    "several_samples": (4, ["dataset.num_files_train=9", "dataset.num_samples_per_file=5", "reader.batch_size=2",
                            "reader.read_threads=1"]),
    "parquet_stream": (2, ["dataset.format=parquet", "dataset.num_files_train=6", "dataset.num_samples_per_file=16",
                           "reader.batch_size=4", "reader.read_threads=2"]),
    "no_shuffle": (2, ["reader.file_shuffle=off", "reader.sample_shuffle=off", "dataset.num_files_train=16",
                       "reader.read_threads=2"]),
    "evaluation": (2, ["workflow.evaluation=true", "dataset.num_files_eval=8", "dataset.num_files_train=16",
                       "evaluation.eval_time=0.003", "reader.read_threads=2"]),
    "subfolders": (2, ["dataset.num_subfolders_train=4", "dataset.num_files_train=24", "reader.read_threads=2"]),
    "formula_v2": (2, ["metric.formula=v2", "dataset.num_files_train=24", "reader.read_threads=2"]),
}

FORMATS = ["npz", "npy", "hdf5", "tfrecord", "csv", "jpeg", "png", "indexed_binary", "mmap_indexed_binary", "parquet"]


def run(binary, ranks, words, folder):
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(ranks), binary]
    command += ["workload=quickstart", "--quiet", *words]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")


def masked(value):
    if isinstance(value, dict):
        return {k: masked(v) for k, v in value.items() if k not in MACHINE}
    if isinstance(value, list):
        return [masked(v) for v in value]
    if isinstance(value, str):
        return LABEL.sub("TIME", value)
    return value


def left_behind(out):
    """Names of the run's files, and the masked contents of DLIO's."""
    result = {"files": sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())}
    for path in sorted(out.glob("*.json")):
        if path.name not in ("report.json", "provenance.json"):
            result[path.name] = masked(json.loads(path.read_text()))
    result["order_digest"] = find(json.loads((out / "report.json").read_text()), "order_digest")
    return result


def find(value, key):
    """The first value under `key`, however deep."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            found = find(part, key)
            if found is not None:
                return found
    return None


def dataset(folder):
    """One digest over names and bytes of all data files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def everything(binary):
    result = {"runs": {}, "datasets": {}}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name, (ranks, words) in RUNS.items():
            out = scratch / name
            run(binary, ranks, [*MODEL, "--virtual-time", *words, "--output", str(out)], scratch)
            result["runs"][name] = left_behind(out)
        for name in FORMATS:
            folder = scratch / f"data-{name}"
            words = ["workflow.train=false", "workflow.generate_data=true", f"dataset.format={name}",
                     "dataset.num_files_train=5", "dataset.num_samples_per_file=3", "dataset.record_length_bytes=3000",
                     f"dataset.data_folder={folder}"]
            run(binary, 2, words, scratch)
            result["datasets"][name] = dataset(folder)
    return result


def differences(old, new, path=""):
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}/{key}")
    elif old != new:
        yield f"{path}: recorded {json.dumps(old)}, now {json.dumps(new)}"


def main():
    binary = os.path.abspath(sys.argv[1])
    now = everything(binary)
    if "--record" in sys.argv[2:]:
        RECORDING.write_text(json.dumps(now, sort_keys=True) + "\n")
        return
    found = list(differences(json.loads(RECORDING.read_text()), now))
    print("\n".join(found) if found else f"{len(now['runs'])} runs and {len(now['datasets'])} datasets equal the recording")
    sys.exit(bool(found))


main()
