"""Writes a training set of two files with the library that its users use, for dlio-rs to read.

    write_foreign.py DATA_FOLDER CASE

The data is smooth, so compression has something to do.
"""

import io
import struct
import sys
import zipfile
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
    elif kind == "more_samples":
        np.savez(path, x=smooth(i, (*SHAPE, SAMPLES + 2), np.uint8))
    elif kind == "times":
        np.savez(path, x=smooth(i, (*SHAPE, SAMPLES), np.int64).astype("M8[ns]"))
    elif kind == "records":
        np.savez(path, x=np.zeros((3, SAMPLES), dtype=[("a", "<f4"), ("b", "<i2")]))
    elif kind == "streamed":
        # A pipe cannot seek, so sizes and checksums follow the data.
        np.savez(Pipe(path), x=x, y=y)
    elif kind == "bzip2":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive, archive.open("x.npy", "w") as member:
            np.lib.format.write_array(member, x)


class Pipe:
    """A file that can only be written from beginning to end."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def write(self, data):
        return self.file.write(data)

    def flush(self):
        self.file.flush()

    def read(self, *_):
        raise OSError("a pipe")


def npy(path, i, kind):
    x = smooth(i, (*SHAPE, SAMPLES), np.int16)
    if kind == "scalar_types":
        types = [np.bool_, np.complex64, "U3", "S5", "m8[s]", np.float16, np.longdouble, ">f8"]
        np.save(path, np.zeros((3, SAMPLES), types[i % len(types)]))
    elif kind == "two_arrays":
        with open(path, "wb") as file:
            np.save(file, x)
            np.save(file, x)
    elif kind == "version_2":
        with open(path, "wb") as file:
            np.lib.format.write_array(file, x, version=(2, 0))
    elif kind == "zstd":
        import pyarrow as pa

        data = io.BytesIO()
        np.save(data, x)
        Path(path).write_bytes(pa.Codec("zstd").compress(data.getvalue(), asbytes=True))
    else:
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
    text = "\n".join(",".join(f"{v:.3f}" for v in row) for row in x)
    if kind == "savetxt":
        np.savetxt(path, x, delimiter=",")
    elif kind == "no_last_line_end":
        Path(path).write_text(text)
    elif kind == "blank_lines":
        Path(path).write_text(text + "\n\n\n")
    elif kind == "byte_order_mark":
        Path(path).write_text(text + "\n", encoding="utf-8-sig")
    elif kind == "windows":
        Path(path).write_bytes((text + "\n\n").replace("\n", "\r\n").encode())
    elif kind == "polars":
        import polars as pl

        pl.DataFrame(x, schema=[f"c{k}" for k in range(x.shape[1])]).write_csv(path, include_header=False)
    elif kind == "duckdb":
        import duckdb

        duckdb.from_arrow(arrow_of(x)).write_csv(str(path), header=False)
    elif kind == "words":
        Path(path).write_text(text.replace(text.split(",")[1], "word", 1) + "\n")
    else:
        packed = kind if kind in ("gzip", "bz2", "zip", "xz") else None
        pd.DataFrame(x).to_csv(path, index=False, header=kind == "header", compression=packed)


def arrow_of(x):
    import pyarrow as pa

    return pa.table({f"c{k}": x[:, k] for k in range(x.shape[1])})


def jpeg(path, i, kind):
    from PIL import Image

    if kind == "bare":
        # MLCommons' DLIO writes random bytes of a sample's size.
        Path(path).write_bytes(np.random.default_rng(i).bytes(96 * 96))
    elif kind == "cmyk":
        Image.fromarray(smooth(i, (*SHAPE, 4), np.uint8), "CMYK").save(path, "JPEG")
    elif kind == "appended":
        Image.fromarray(smooth(i, SHAPE, np.uint8)).save(path, "JPEG")
        with open(path, "ab") as file:
            file.write(bytes(10_000))
    elif kind == "large":
        # Larger than nominal, one colour: a few bytes per block.
        Image.new("RGB", (3000, 2000), (9, 9, 9)).save(path, "JPEG", quality=5)
    elif kind == "grey":
        Image.fromarray(smooth(i, SHAPE, np.uint8)).save(path, "JPEG", quality=80)
    else:
        image = Image.fromarray(smooth(i, (*SHAPE, 3), np.uint8))
        image.save(path, "JPEG", progressive=kind == "progressive", quality=60)


def png(path, i, kind):
    from PIL import Image

    x = smooth(i, SHAPE, np.uint8)
    if kind == "bare":
        Path(path).write_bytes(np.random.default_rng(i).bytes(96 * 96))
    elif kind == "one_bit":
        Image.fromarray(x).convert("1").save(path, "PNG")
    elif kind == "alpha":
        Image.fromarray(smooth(i, (*SHAPE, 4), np.uint8)).save(path, "PNG", optimize=True)
    elif kind == "interlaced":
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
    samples = {"more": SAMPLES + 5, "fewer": SAMPLES - 1}.get(kind, SAMPLES)
    feature = tf.train.Feature
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for k in range(samples):
            features = {
                # Records of different sizes.
                "image/encoded": feature(bytes_list=tf.train.BytesList(value=[bytes(500 + 77 * k), b"more"])),
                "image/class/label": feature(int64_list=tf.train.Int64List(value=[k, -k, 1 << 40])),
                "box": feature(float_list=tf.train.FloatList(value=[0.5, 1.5])),
                "empty": feature(),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(b"no message" if kind == "other_messages" else example.SerializeToString())
    if kind == "third_is_damaged":
        damage_third(Path(path))


def damage_third(path):
    """Changes a byte of the third record, and prints where that begins."""
    data, at = bytearray(path.read_bytes()), 0
    for _ in range(2):
        at += 16 + struct.unpack_from("<Q", data, at)[0]
    data[at + 40] ^= 1
    path.write_bytes(data)
    print(at)


def parquet(path, i, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    x = smooth(i, (SAMPLES, 60), np.float32)
    table = arrow_of(x)
    if kind == "polars":
        import polars as pl

        pl.from_arrow(table).write_parquet(path)
    elif kind == "duckdb":
        import duckdb

        duckdb.from_arrow(table).write_parquet(str(path))
    elif kind == "empty_groups":
        with pq.ParquetWriter(path, table.schema) as writer:
            for part in (table.slice(0, 0), table.slice(0, 2), table.slice(0, 0), table.slice(2), table.slice(0, 0)):
                writer.write_table(part)
    elif kind == "more_rows":
        pq.write_table(pa.concat_tables([table, table, table]), path, row_group_size=3)
    elif kind == "fewer_rows":
        pq.write_table(table.slice(1), path)
    elif kind == "no_rows":
        pq.write_table(table.slice(0, 0), path)
    elif kind == "without_statistics":
        pq.write_table(table, path, store_schema=False, write_statistics=False)
    elif kind == "nulls":
        pq.write_table(pa.table({"a": pa.nulls(SAMPLES), "b": pa.array([None] * SAMPLES, pa.string())}), path)
    else:
        pq.write_table(table, path, compression=kind)


def indexed_binary(path, i, kind):
    sizes = np.array([100, 3000, 1, 77], "<u8")
    Path(path).write_bytes(bytes(int(sizes.sum())))
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype("<u8")
    if kind == "restarting":
        offsets[2:] -= offsets[2]
    offsets.tofile(f"{path}.off.idx")
    sizes.tofile(f"{path}.sz.idx")


WRITERS = {f.__name__: f for f in (npz, npy, hdf5, csv, jpeg, png, tfrecord, parquet, indexed_binary)}


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
