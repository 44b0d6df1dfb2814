"""Writes a training set of two files with the library that its users use, for dlio-rs to read.

    write_foreign.py DATA_FOLDER CASE

The data is smooth, so compression has something to do.
"""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np

SAMPLES = 4
SHAPE = (48, 56)


def smooth(seed, shape, dtype):
    """An array that compresses."""
    n = int(np.prod(shape))
    wave = 100 + 80 * np.sin(np.arange(n) / (50 + seed)) + 20 * (np.arange(n) % 7)
    return wave.astype(dtype).reshape(shape)


def npz(path, i, kind):
    x, y = smooth(i, (*SHAPE, SAMPLES), np.float32), np.zeros(SAMPLES, np.int64)
    if kind == "compressed":
        np.savez_compressed(path, x=x, y=y)
    elif kind == "fortran":
        np.savez(path, x=np.asfortranarray(x), y=y)
    elif kind == "objects":
        np.savez(path, x=np.array([{"a": 1}] * SAMPLES, dtype=object), y=y)
    elif kind == "other_names":
        np.savez(path, images=x)


def npy(path, i, kind):
    x = smooth(i, (*SHAPE, SAMPLES), np.int16)
    np.save(path, np.asfortranarray(x) if kind == "fortran" else x.astype(">i2"))


def hdf5(path, i, kind):
    import h5py

    x = smooth(i, (SAMPLES, *SHAPE), np.float64)
    options = {
        "old": {},
        "gzip": {"chunks": (2, 16, 56), "compression": "gzip", "compression_opts": 6},
        "everything": {"chunks": (1, 20, 20), "compression": "gzip", "shuffle": True, "fletcher32": True},
        "lzf": {"chunks": (3, 48, 56), "compression": "lzf", "shuffle": True},
        "growing": {"chunks": (1, 48, 56), "maxshape": (None, *SHAPE)},
        "scaleoffset": {"chunks": (1, 48, 56), "scaleoffset": 2},
        "other_names": {},
        "user_block": {},
        "user_block_chunked": {"chunks": (1, 20, 20), "compression": "gzip"},
        "external": {"external": [(str(path) + ".raw", 0, h5py.h5f.UNLIMITED)]},
    }[kind]
    block = {"userblock_size": 1024} if kind.startswith("user_block") else {}
    with h5py.File(path, "w", libver="earliest" if kind in ("old", "user_block") else "latest", **block) as f:
        f.create_dataset("images" if kind == "other_names" else "records_0", data=x, **options)
        f.create_dataset("labels", data=np.zeros(SAMPLES, np.int64))


def csv(path, i, kind):
    import pandas as pd

    x = smooth(i, (SAMPLES, 60), np.float64)
    if kind == "savetxt":
        np.savetxt(path, x, delimiter=",")
    else:
        packed = kind if kind in ("gzip", "bz2", "zip", "xz") else None
        pd.DataFrame(x).to_csv(path, index=False, header=kind == "header", compression=packed)


def jpeg(path, i, kind):
    from PIL import Image

    if kind == "grey":
        Image.fromarray(smooth(i, SHAPE, np.uint8)).save(path, "JPEG", quality=80)
    else:
        image = Image.fromarray(smooth(i, (*SHAPE, 3), np.uint8))
        image.save(path, "JPEG", progressive=kind == "progressive", quality=60)


def png(path, i, kind):
    from PIL import Image

    x = smooth(i, SHAPE, np.uint8)
    if kind == "interlaced":
        write_adam7(path, x)
    elif kind == "palette":
        Image.fromarray(x).convert("P").save(path, "PNG")
    elif kind == "sixteen_bits":
        Image.fromarray(smooth(i, SHAPE, np.uint16)).save(path, "PNG")


def write_adam7(path, x):
    """Pillow reads interlaced images and does not write them."""
    from PIL import Image

    raw = b""
    for y0, x0, dy, dx in [
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ]:
        for row in x[y0::dy, x0::dx]:
            raw += b"\0" + row.tobytes()

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", x.shape[1], x.shape[0], 8, 0, 0, 0, 1)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert np.array_equal(np.asarray(Image.open(path)), x)


def tfrecord(path, i, kind):
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type="GZIP") if kind == "gzip" else None
    feature = tf.train.Feature
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for k in range(SAMPLES):
            features = {
                # Records of different sizes.
                "image/encoded": feature(bytes_list=tf.train.BytesList(value=[bytes(500 + 77 * k), b"more"])),
                "image/class/label": feature(int64_list=tf.train.Int64List(value=[k, -k, 1 << 40])),
                "box": feature(float_list=tf.train.FloatList(value=[0.5, 1.5])),
                "empty": feature(),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(b"no message" if kind == "other_messages" else example.SerializeToString())


def indexed_binary(path, i, kind):
    sizes = np.array([100, 3000, 1, 77], "<u8")
    Path(path).write_bytes(bytes(int(sizes.sum())))
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype("<u8")
    if kind == "restarting":
        offsets[2:] -= offsets[2]
    offsets.tofile(f"{path}.off.idx")
    sizes.tofile(f"{path}.sz.idx")


WRITERS = {f.__name__: f for f in (npz, npy, hdf5, csv, jpeg, png, tfrecord, indexed_binary)}


def main():
    root, (name, kind) = Path(sys.argv[1]), sys.argv[2].split("/")
    (root / "train").mkdir(parents=True)
    (root / "valid").mkdir()
    for i in range(2):
        path = root / "train" / f"img_{i}_of_2.{name}"
        # An open file, where the library would append a suffix of its own.
        WRITERS[name](path, i, kind)


if __name__ == "__main__":
    main()
