"""Opens every file of a generated dataset with the library that its users use; names, types, shapes and contents must be
those of the workload, contents being computed independently (fill.py).

    check_formats.py DATA_FOLDER WORKLOAD

WORKLOAD (JSON): format, dims (of a sample), samples (per file), dtype, train, valid (files), seed, and where they are not
the default: datasets, chunk, max_shape, compression (hdf5, csv, npz), raw (images).
Exit status 1 and the first difference; prints how many files were compared and with what.
"""

import io
import json
import re
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np

from fill import fill

warnings.simplefilter("error")


def same(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, expected {wanted!r}")


def same_bytes(what, got, wanted):
    got, wanted = np.frombuffer(got, np.uint8), np.frombuffer(wanted, np.uint8)
    same(f"{what}: bytes", len(got), len(wanted))
    different = np.flatnonzero(got != wanted)
    if len(different):
        raise AssertionError(f"{what}: {len(different)} bytes differ, the first at {different[0]}")


class Workload:
    def __init__(self, text):
        for key, value in json.loads(text).items():
            setattr(self, key, value)
        self.itemsize = np.dtype(self.dtype).itemsize
        self.sample = int(np.prod(self.dims)) * self.itemsize

    def get(self, key, default=None):
        return getattr(self, key, default)

    def bytes(self, file, offset, length):
        return fill(self.seed, file, offset, length).tobytes()


def npy(path, file, w):
    array = np.load(path, allow_pickle=False)
    check_array(path, array, file, w)


def npz(path, file, w):
    with zipfile.ZipFile(path) as archive:
        same("wrong CRC", archive.testzip(), None)
        method = zipfile.ZIP_DEFLATED if w.get("compression") == "zip" else zipfile.ZIP_STORED
        same("methods", {m.compress_type for m in archive.infolist()}, {method})
    with np.load(path, allow_pickle=False) as archive:
        same("arrays", archive.files, ["x", "y"])
        check_array(path, archive["x"], file, w)
        y = archive["y"]
        same("y", (y.dtype.str, y.shape, bool(y.any())), ("<i8", (w.samples,), False))


def check_array(path, array, file, w):
    same("dtype", array.dtype, np.dtype(w.dtype))
    same("shape", list(array.shape), [*w.dims, w.samples])
    same("C order", array.flags.c_contiguous, True)
    same_bytes(path, array.tobytes(), w.bytes(file, 0, w.sample * w.samples))


def hdf5(path, file, w):
    import h5py

    k = w.get("datasets", 1)
    dims = [w.dims[0] // k, *w.dims[1:]]
    if dims[0] == 1 and len(dims) > 2:
        dims = dims[1:]
    part = int(np.prod(dims)) * w.itemsize * w.samples
    with h5py.File(path) as f:
        same("datasets", sorted(f), sorted(["labels", *(f"records_{i}" for i in range(k))]))
        same("superblock", f.id.get_create_plist().get_version()[0], 3)
        labels = f["labels"][...]
        same("labels", (labels.dtype.str, labels.shape, bool(labels.any())), ("<i8", (w.samples,), False))
        for i in range(k):
            d = f[f"records_{i}"]
            same("dtype", d.dtype, np.dtype(w.dtype))
            same("shape", list(d.shape), [w.samples, *dims])
            same("compression", d.compression, w.get("compression"))
            if "chunk" in vars(w):
                same("chunks", list(d.chunks), w.chunk)
            elif w.get("compression"):
                guess = h5py.filters.guess_chunk(d.shape, None, d.dtype.itemsize)
                same("chunks", tuple(d.chunks), tuple(guess))
            else:
                same("chunks", d.chunks, None)
            if "max_shape" in vars(w):
                same("maxshape", list(d.maxshape), [w.samples, *w.max_shape])
            same_bytes(f"{path} records_{i}", d[...].tobytes(), w.bytes(file, i * part, part))


def tfrecord(path, file, w):
    import tensorflow as tf

    spec = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "size": tf.io.FixedLenFeature([], tf.int64),
    }
    count = 0
    # TensorFlow checks the checksums of every record.
    for number, record in enumerate(tf.data.TFRecordDataset(str(path))):
        example = tf.io.parse_single_example(record, spec)
        same("size", int(example["size"]), w.sample)
        wanted = w.bytes(file, number * w.sample, w.sample)
        same_bytes(f"{path} record {number}", example["image"].numpy(), wanted)
        same("features", set(tf.train.Example.FromString(record.numpy()).features.feature), {"image", "size"})
        count += 1
    same("records", count, w.samples)
    split = "valid" if "valid" in path.parts else "train"
    root = next(p for p in path.parents if p.name == split).parent
    index = (root / "index" / split / f"{path.name}.idx").read_text().splitlines()
    framed = path.stat().st_size // w.samples
    same("index", index, [f"{i * framed} {framed}" for i in range(w.samples)])


def csv(path, file, w):
    import pandas as pd

    packed = {"bz2": "bz2", "gzip": "gzip", "xz": "xz", "zip": "zip"}.get(w.get("compression"))
    # As text: the parsers of pandas differ in the last digit of a float.
    frame = pd.read_csv(path, header=None, compression=packed, dtype=str)
    per_row = int(np.prod(w.dims))
    same("shape", frame.shape, (w.samples, per_row))
    raw = fill(w.seed, file, 0, w.sample * w.samples)
    dtype = np.dtype(w.dtype)
    if dtype.kind == "f":
        bits = raw.view(f"<u{w.itemsize}")
        keep = {2: 11, 4: 24, 8: 53}[w.itemsize]
        wide = np.float64 if w.itemsize == 8 else np.float32
        wanted = (bits >> (8 * w.itemsize - keep)).astype(wide) / wide(2**keep)
        got = frame.to_numpy().astype(np.float64).reshape(-1).astype(wide)
    else:
        wanted = raw.view(dtype)
        got = frame.to_numpy().astype(dtype).reshape(-1)
    same_bytes(path, got.tobytes(), wanted.tobytes())


def image_shape(w):
    height, width, channels = (*w.dims, 1)[:3]
    return height, width, channels


def check_image(path, w, kind):
    from PIL import Image

    height, width, channels = image_shape(w)
    image = Image.open(path)
    same("image", (image.format, image.size, image.mode), (kind, (width, height), "RGB" if channels == 3 else "L"))
    image.load()
    return image


def png(path, file, w):
    if w.get("raw"):
        return same_bytes(path, path.read_bytes(), w.bytes(file, 0, int(np.prod(w.dims))))
    image = check_image(path, w, "PNG")
    same_bytes(path, np.asarray(image).tobytes(), w.bytes(file, 0, int(np.prod(w.dims))))


def jpeg(path, file, w):
    if w.get("raw"):
        return same_bytes(path, path.read_bytes(), w.bytes(file, 0, int(np.prod(w.dims))))
    image = check_image(path, w, "JPEG")
    pixels = np.asarray(image)
    if pixels.size > 10_000 and pixels.std() < 20:
        raise AssertionError(f"{path}: deviation {pixels.std()}: this is no noise")
    height, width, channels = image_shape(w)
    blocks = -(-height // 8) * -(-width // 8) * channels
    scan = fill(w.seed, file, 0, blocks * 64).copy()
    scan[scan >= 0xFE] &= 0x7F
    running = [0] * channels
    for block in range(blocks):
        byte = int(scan[block * 64])
        size = 7 - next(i for i in range(8) if not byte >> (7 - i) & 1)
        bits = byte & ((1 << size) - 1)
        value = bits if bits >> (size - 1) else bits - (1 << size) + 1
        if abs(running[block % channels] + value) > 1000:
            scan[block * 64] = byte ^ ((1 << size) - 1)
            value = -value
        running[block % channels] += value
    data = path.read_bytes()
    same("end of image", data[-2:], b"\xff\xd9")
    same_bytes(path, data[-2 - len(scan) : -2], scan.tobytes())


def indexed_binary(path, file, w):
    same_bytes(path, path.read_bytes(), w.bytes(file, 0, w.sample * w.samples))
    offsets = np.fromfile(f"{path}.off.idx", "<u8")
    sizes = np.fromfile(f"{path}.sz.idx", "<u8")
    same("offsets", offsets.tolist(), [i * w.sample for i in range(w.samples)])
    same("sizes", sizes.tolist(), [w.sample] * w.samples)


def synthetic(path, file, w):
    same("number", path.read_text(), str(file))


CHECKS = {
    "npz": npz,
    "npy": npy,
    "hdf5": hdf5,
    "tfrecord": tfrecord,
    "csv": csv,
    "png": png,
    "jpeg": jpeg,
    "indexed_binary": indexed_binary,
    "mmap_indexed_binary": indexed_binary,
    "synthetic": synthetic,
}


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    root, w = Path(sys.argv[1]), Workload(sys.argv[2])
    compared = 0
    for split, count, base in [("train", w.train, 0), ("valid", w.valid, w.train)]:
        paths = sorted((root / split).rglob(f"*.{w.format}"))
        numbers = sorted(int(re.search(r"_(\d+)_of_", p.name)[1]) for p in paths)
        same(f"files of {split}", numbers, list(range(count)))
        for path in paths:
            file = base + int(re.search(r"_(\d+)_of_", path.name)[1])
            try:
                CHECKS[w.format](path, file, w)
            except Exception as error:  # whatever a library raises is the finding
                print(f"{path}: {type(error).__name__}: {error}")
                return 1
            compared += 1
    print(f"{compared} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
