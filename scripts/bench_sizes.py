"""Sizes and layout of every format's files: dlio-rs against both DLIOs, whose own, unchanged code writes theirs.

Each dataset is made twice from one YAML. Names of files are compared, sizes, and what a library sees in the first file:
arrays, datasets, schema, row groups, codecs, encodings, pixels. MLCommons' DLIO does not look at the `compression` of parquet,
whose word it compares with a constant of another type; in the rows with "given as the constant" it gets that.

A DLIO is a checkout, an executable, or a Python with the package `dlio_benchmark`; where it is not given, its rows are skipped
by name. MLCommons' needs, beside what scripts/setup.sh --test installs, the packages mpi4py, psutil, pydftracer and s3dlio; point
DLIO_RS_PYTHON at a Python that has them.
"""

import argparse
import csv
import io
import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import bench_lib as b

MOST = 0.02
FILES = 3
SAMPLE = 4096


# MLCommons' main program, with `compression` as the type that its generator of parquet looks for.
WITH_CONSTANT = """
import dlio_benchmark.main as dlio
from dlio_benchmark.common.enumerations import Compression
load = dlio.LoadConfig
def load_typed(args, config):
    load(args, config)
    args.compression = Compression(str(args.compression))
dlio.LoadConfig = load_typed
dlio.main()
"""
CONSTANT = "given as the constant"


def columns(prefix, *kinds):
    return [{"name": f"{prefix}{i}", "dtype": dtype, "size": size} for i, (dtype, size) in enumerate(kinds)]


def parquet(name, rows, group, column_list, compression="none"):
    own = {"row_group_size": group, **({"columns": column_list} if column_list else {})}
    return (name, "parquet", {"num_samples_per_file": rows, "compression": compression, "parquet": own}, ())


NUMBERS = columns("n", *((f"{kind}{bits}", 1) for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
NUMBERS += columns("f", ("float16", 1), ("float32", 1), ("float64", 1))

# (name, format, keys of `dataset`, further words for dlio-rs).
PARQUET = [
    parquet("no columns: lists of 4,096 uint8", 4096, 1024, None),
    parquet(f"the same, gzip {CONSTANT}", 4096, 1024, None, "gzip"),
    parquet("DLRM: 14 float32, 26 int32", 65536, 8192, columns("c", *[("float32", 1)] * 14, *[("int32", 1)] * 26)),
    parquet("every number, one row group", 100000, 100000, NUMBERS),
    parquet("every number, row groups of 1,024", 20000, 1024, NUMBERS),
    parquet(
        "embeddings: lists of float32, float16, uint8", 2000, 500,
        columns("e", ("float32", 128), ("list", 64), ("float16", 3), ("uint8", 2000)),
    ),
    parquet(
        "string, binary, bool, int64", 20000, 4096,
        columns("t", ("string", 1), ("binary", 33), ("bool", 1), ("int64", 1)),
    ),
    parquet(
        f"the same, gzip {CONSTANT}", 20000, 4096,
        columns("t", ("string", 1), ("binary", 33), ("bool", 1), ("int64", 1)), "gzip",
    ),
    parquet("columns by default: `{name}` alone", 20000, 1024, [{"name": "x"}, {"name": "y"}]),
]  # fmt: skip
OTHERS = [
    ("npz", "npz", {}, ()),
    ("npz, 4 samples", "npz", {"num_samples_per_file": 4}, ()),
    ("npy", "npy", {}, ()),
    ("npy, float32 64 x 32", "npy", {"record_dims": [64, 32], "record_element_type": "float32"}, ()),
    ("hdf5", "hdf5", {}, ()),
    ("hdf5, 16 samples of 64 x 32", "hdf5", {"num_samples_per_file": 16, "record_dims": [64, 32]}, ()),
    ("hdf5, gzip", "hdf5", {"num_samples_per_file": 16, "record_dims": [64, 64], "compression": "gzip"}, ()),
    ("hdf5, chunks", "hdf5", {"num_samples_per_file": 16, "record_dims": [64, 64], "hdf5": {"chunk_dims": [1, 64, 64]}}, ()),
    ("tfrecord, 8 records", "tfrecord", {"num_samples_per_file": 8}, ()),
    ("csv, 16 rows", "csv", {"num_samples_per_file": 16}, ()),
    ("indexed_binary, 8 samples", "indexed_binary", {"num_samples_per_file": 8}, ()),
    ("mmap_indexed_binary, 8 samples", "mmap_indexed_binary", {"num_samples_per_file": 8}, ()),
    ("synthetic", "synthetic", {}, ()),
]
IMAGES = [
    ("jpeg, 338 x 338", "jpeg", {"record_length_bytes": 114660}),
    ("jpeg, 568 x 568", "jpeg", {"record_length_bytes": 322957}),
    ("png, 338 x 338", "png", {"record_length_bytes": 114660}),
]


def npy_header(stream):
    import numpy as np

    version = np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format._read_array_header(stream, version)
    return f"{dtype.str} {shape}{' fortran' if fortran else ''}"


def of_npz(path):
    with zipfile.ZipFile(path) as z:
        return [f"{m.filename} method {m.compress_type} {npy_header(io.BytesIO(z.read(m)))}" for m in z.infolist()]


def of_npy(path):
    with open(path, "rb") as f:
        return [npy_header(f)]


def of_hdf5(path):
    import h5py

    with h5py.File(path) as f:
        return [f"{n} {d.dtype.str} {d.shape} chunks {d.chunks} {d.compression} max {d.maxshape}" for n, d in f.items()]


def of_tfrecord(path):
    import tensorflow as tf

    records = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    feature = records[0].features.feature
    kinds = [f"{k}: {feature[k].WhichOneof('kind')}" for k in sorted(feature)]
    index = Path(path).parent.parent / "index" / Path(path).parent.name / f"{Path(path).name}.idx"
    return [f"{len(records)} records", *kinds, index.read_text()]


def of_csv(path):
    with open(path, newline="") as f:
        rows = list(csv.reader(f))
    return [f"{len(rows)} rows of {sorted({len(row) for row in rows})}"]


def of_image(path):
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return [f"{image.format} {image.size} {image.mode}"]
    except UnidentifiedImageError:
        return ["bare bytes"]


def of_parquet(path):
    import pyarrow.parquet as pq

    f = pq.ParquetFile(path)
    lines = [str(f.schema_arrow.remove_metadata()), f"{f.metadata.num_rows} rows"]
    for g in range(f.metadata.num_row_groups):
        group = f.metadata.row_group(g)
        for c in range(group.num_columns):
            chunk = group.column(c)
            encodings = sorted(set(chunk.encodings))
            lines.append(f"{group.num_rows} {chunk.path_in_schema} {chunk.physical_type} {chunk.compression} {encodings}")
    return lines


def of_indexed(path):
    beside = [Path(f"{path}.{kind}.idx") for kind in ("off", "sz")]
    return [p.read_bytes().hex() for p in beside]


LAYOUT = {
    "npz": of_npz, "npy": of_npy, "hdf5": of_hdf5, "tfrecord": of_tfrecord, "csv": of_csv, "jpeg": of_image, "png": of_image,
    "parquet": of_parquet, "indexed_binary": of_indexed, "mmap_indexed_binary": of_indexed,
    "synthetic": lambda path: [path.read_text()],
}  # fmt: skip


# Which libraries a DLIO's Python has.
LIBRARIES = """
from importlib import metadata
here = {d.name: d.version for d in metadata.distributions()}
wanted = ("pyarrow", "numpy", "h5py", "tensorflow", "tensorflow_cpu", "pandas", "pillow", "dgen-py", "s3dlio")
print(", ".join(f"{name} {here[name]}" for name in wanted if name in here))
"""


class Dataset:
    """What lies in a folder: names, bytes, and the layout of the first file."""

    def __init__(self, folder, kind):
        paths = sorted(p for p in folder.rglob("*") if p.is_file() and ".dlio-rs" not in str(p.relative_to(folder)))
        self.names = [str(p.relative_to(folder)) for p in paths]
        data = [p for p in paths if not p.name.endswith(".idx")]
        if len(data) != FILES:
            raise b.BenchError(f"{folder} has {len(data)} files of samples, and not {FILES}: {', '.join(self.names[:9])}")
        self.bytes = sum(p.stat().st_size for p in paths) / FILES
        self.layout = LAYOUT[kind](data[0])


def workload(folder, kind, keys):
    path = folder / "workload" / "bench.yaml"
    path.parent.mkdir(exist_ok=True)
    b.write_config(path, folder=folder / "data", file_format=kind, files=FILES, record_bytes=SAMPLE)
    config = json.loads(path.read_text())
    config["dataset"].update(keys, num_files_eval=0)
    if "record_dims" in keys:
        del config["dataset"]["record_length_bytes"]
    config["workflow"].update(generate_data=True, train=False)
    if kind == "tfrecord":
        config["framework"] = config["reader"]["data_loader"] = "tensorflow"
    path.write_text(json.dumps(config))
    return path


def made(kind, keys, make):
    """The dataset that `make` (folder, path of its YAML) makes."""
    folder = Path(tempfile.mkdtemp(prefix="dlio-rs-bench-sizes-"))
    try:
        make(folder, workload(folder, kind, keys))
        return Dataset(folder / "data", kind)
    finally:
        shutil.rmtree(folder)


def row(program, dlio, case):
    """One row of the table, and whether it is within the bound."""
    name, kind, keys, words = case
    b.say(f"{program}: {name}")

    def by_us(_, path):
        b.generate(1, path, words)

    def by_dlio(folder, _):
        command = [dlio.command[0], "-c", WITH_CONSTANT] if CONSTANT in name else dlio.command
        b.run([*command, "--config-dir", str(folder), "workload=bench", f"++hydra.run.dir={folder}/out",
               f"++workload.output.folder={folder}/out"], cwd=dlio.cwd, env=dlio.environment)  # fmt: skip

    ours, theirs = made(kind, keys, by_us), made(kind, keys, by_dlio)
    differs = ours.bytes / theirs.bytes - 1
    same_names, same_layout = ours.names == theirs.names, ours.layout == theirs.layout
    for what, same, left, right in [
        ("names", same_names, ours.names, theirs.names),
        ("layout", same_layout, ours.layout, theirs.layout),
    ]:
        if not same:
            left, right = next((p for p in zip(left, right) if p[0] != p[1]), (left, right))
            b.say(f"{name}: {what} differ:\n  dlio-rs: {left}\n  DLIO:    {right}")
    ok = abs(differs) <= MOST and same_names and same_layout
    cells = (name, program, f"{ours.bytes:,.0f}", f"{theirs.bytes:,.0f}", f"{100 * differs:+.3f} %",
             b.verdict(same_names), b.verdict(same_layout), b.verdict(abs(differs) <= MOST))  # fmt: skip
    return cells, ok


def versions(dlios):
    """Names the DLIOs and the libraries that wrote their files."""
    for name, dlio in dlios.items():
        about = [f"DLIO of {name}"]
        if dlio.cwd:
            found = [re.search(r'^\s*version *= *"([^"]+)"', p.read_text(), re.MULTILINE)
                     for p in (Path(dlio.cwd, "pyproject.toml"), Path(dlio.cwd, "setup.py")) if p.exists()]  # fmt: skip
            about += [f.group(1) for f in found if f][:1]
            about.append("commit " + b.run(["git", "-C", dlio.cwd, "rev-parse", "--short=12", "HEAD"]).stdout.strip())
        print(f"{' '.join(about)}; ", end="")
    python = next(iter(dlios.values())).command[0]
    print(b.run([python, "-c", LIBRARIES]).stdout, flush=True)


def main():
    p = argparse.ArgumentParser(prog="bench-sizes.sh", description=__doc__)
    b.dlio_options(p)
    p.add_argument("--only", default="", help="rows whose name holds this text")
    p.add_argument("--check", action="store_true", help="exit status 1 when a row misses the bound")
    args = p.parse_args()
    dlios = b.dlios_of(args)
    if not dlios:
        raise b.BenchError("no DLIO was given: use --mlcommons PATH, --argonne PATH or both")
    b.title(f"Bytes per file, index included, of {FILES} files")
    versions(dlios)
    raw = [(f"{name}, raw", kind, keys, ("dataset.image_encoding=raw",)) for name, kind, keys in IMAGES]
    images = [(*case, ()) for case in IMAGES]
    tables = [
        ("parquet", {"mlcommons": PARQUET}),
        ("other formats", {"mlcommons": OTHERS + raw + images, "argonne": OTHERS + images}),
    ]
    met = True
    for title, cases in tables:
        rows = []
        for program, of_program in cases.items():
            for case in of_program if program in dlios else []:
                if args.only in case[0]:
                    cells, ok = row(program, dlios[program], case)
                    rows.append(cells)
                    met &= ok
        if rows:
            b.table([title, "DLIO of", "dlio-rs", "DLIO", "difference", "same names", "same layout", "within 2 %"], rows)
    return 1 if args.check and not met else 0


if __name__ == "__main__":
    b.finish(main)
