"""Lets pyarrow judge parquet files that dlio-rs wrote, and writes others for dlio-rs to read.

    check_parquet.py check DIR EXPECT.json    every file of DIR/train and DIR/valid is what EXPECT.json says
    check_parquet.py write DIR ROWS           pyarrow's own files, one option after another, into DIR/train
    check_parquet.py sizes DIR EXPECT.json    files of DIR/train have the size of those that DLIO's pyarrow calls make
    check_parquet.py extents DIR [COLUMN...]  bytes of these columns' chunks (default: all) in DIR/train, from the footers

EXPECT.json:
    {"files": {"train": 4, "valid": 2}, "rows": 2500, "row_group_size": 1000, "codec": "SNAPPY", "fill_seed": 10,
     "columns": [{"name": "label", "dtype": "float32", "size": 1}]}

Values are computed from the documented fill and layout with numpy, without any code of dlio-rs. Exit status 1 with one
line per difference.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GAMMA = np.uint64(0x9E3779B97F4A7C15)
BLOCK, ROWS = 512, 32


def u64(value):
    """An array of one 64-bit word: numpy wraps arrays silently, scalars with a warning."""
    return np.array([value & (2**64 - 1)], dtype=np.uint64)


def mix(z):
    """splitmix64's finaliser."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fill(seed, file, length):
    """The first `length` bytes of the fill of a file."""
    steps = np.arange(1, ROWS * BLOCK // 8 + 1, dtype=np.uint64)
    table = mix(mix(u64(seed ^ 0x5851F42D4C957F2D)) + steps * GAMMA).reshape(ROWS, BLOCK // 8)
    key = mix(mix(u64(seed) + GAMMA) ^ mix(u64(file * 0xD1290DDB53C43E49)))
    blocks = np.arange(-(-length // BLOCK), dtype=np.uint64)
    keys = mix(key + blocks * GAMMA)
    words = table[blocks % np.uint64(ROWS)] ^ keys[:, None]
    return words.astype("<u8").view(np.uint8).ravel()[:length]


NUMBERS = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float16", "float32", "float64"}


def layout(column, rows):
    """(bytes in the fill, Arrow type, function from those bytes to an array) of a column."""
    dtype, size = column["dtype"], column.get("size", 1)
    if dtype == "string":

        def strings(raw):
            return pa.array([f"s_{v}" for v in raw.view("<u4") & 0x7FFFFFFF], type=pa.string())

        return 4 * rows, pa.string(), strings
    if dtype == "binary":
        return size * rows, pa.binary(), lambda raw: pa.array([r.tobytes() for r in raw.reshape(rows, size)], pa.binary())
    if dtype == "bool":
        bits = lambda raw: pa.array(np.unpackbits(raw, bitorder="little")[:rows].astype(bool))  # noqa: E731
        return -(-rows // 8), pa.bool_(), bits
    is_list = column.get("is_list", dtype not in NUMBERS or size > 1)
    numpy_type = np.dtype(dtype if dtype in NUMBERS else "float32").newbyteorder("<")
    arrow_type = pa.from_numpy_dtype(numpy_type)

    def numbers(raw):
        flat = pa.array(raw.view(numpy_type), type=arrow_type)
        return pa.FixedSizeListArray.from_arrays(flat, size) if is_list else flat

    return numpy_type.itemsize * size * rows, pa.list_(arrow_type, size) if is_list else arrow_type, numbers


def same(got, want):
    """Equal bit by bit: the fill's floats are of any pattern, NaN included."""
    if pa.types.is_fixed_size_list(want.type):
        if got.type.list_size != want.type.list_size or got.null_count:
            return False
        return same(got.flatten(), want.flatten())
    if pa.types.is_floating(want.type):
        width = np.dtype(f"u{want.type.bit_width // 8}")
        bits = [np.frombuffer(a.buffers()[1], width)[a.offset : a.offset + len(a)] for a in (got, want)]
        return got.null_count == 0 and np.array_equal(*bits)
    return got.equals(want)


def same_type(got, want):
    """Equal but for the name of a list's items, which the format prescribes."""
    if pa.types.is_fixed_size_list(want):
        return pa.types.is_fixed_size_list(got) and (got.list_size, got.value_type) == (want.list_size, want.value_type)
    return got == want


def check_file(path, index, expect):
    """Yields the differences of one file."""
    rows, group = expect["rows"], expect["row_group_size"]
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read()
        table.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        yield f"{path}: {type(error).__name__}: {error}"
        return
    names = [c["name"] for c in expect["columns"]]
    if table.column_names != names:
        yield f"{path}: columns {table.column_names}, expected {names}"
        return
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    wanted = [min(group, rows - start) for start in range(0, rows, group)]
    if groups != wanted:
        yield f"{path}: row groups {groups[:5]}..., expected {wanted[:5]}..."
    # The chunks fill the file from the magic to the footer, and DLIO finds their starts where it looks for them.
    at = 4
    for i in range(file.num_row_groups):
        for j in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(i).column(j)
            start = chunk.dictionary_page_offset
            if chunk.physical_type == "BOOLEAN":
                start = chunk.data_page_offset
            if start != at:
                yield f"{path}: column {j} of row group {i} begins at {start}, expected {at}"
            at += chunk.total_compressed_size
    if at + file.metadata.serialized_size + 8 != path.stat().st_size:
        yield f"{path}: the chunks end at {at}, which is not where the footer begins"
    codecs = {file.metadata.row_group(0).column(i).compression for i in range(file.metadata.num_columns)}
    if codecs != {expect["codec"]}:
        yield f"{path}: codecs {codecs}, expected {expect['codec']}"
    start = 0
    layouts = [layout(c, rows) for c in expect["columns"]]
    raw = fill(expect["fill_seed"], index, sum(length for length, _, _ in layouts))
    for column, (length, arrow_type, to_array) in zip(expect["columns"], layouts):
        got = table[column["name"]]
        if not same_type(got.type, arrow_type):
            yield f"{path}[{column['name']}]: type {got.type}, expected {arrow_type}"
        elif not same(got.combine_chunks(), to_array(raw[start : start + length].copy())):
            yield f"{path}[{column['name']}]: values differ from the fill"
        start += length


def check(root, expect):
    counts = expect["files"]
    problems, seen, index = [], 0, 0
    for split in ("train", "valid"):
        for i in range(counts.get(split, 0)):
            pad = len(str(counts[split]))
            path = root / split / f"img_{i:0{pad}}_of_{counts[split]}.parquet"
            problems += check_file(path, index, expect)
            index += 1
        seen += sum(1 for _ in (root / split).rglob("*.parquet"))
    if seen != index or not index:
        problems.append(f"{root}: {seen} parquet files, expected {index}")
    print("\n".join(problems) or f"{index} files are as expected")
    return 1 if problems else 0


def foreign_table(rows):
    """Every shape of column that pyarrow writes."""
    rng = np.random.default_rng(7)
    ints = rng.integers(0, 50, rows)
    lists = [None if i % 7 == 0 else [int(i)] * (i % 4) for i in range(rows)]
    nested = [[[1.5] * (i % 3), []] if i % 5 else None for i in range(rows)]
    return pa.table({
        "few": pa.array(ints),
        "wide": pa.array(rng.integers(-(2**62), 2**62, rows)),
        "small": pa.array(ints.astype(np.uint8)),
        "float": pa.array(rng.random(rows), mask=rng.random(rows) < 0.1),
        "half": pa.array(rng.random(rows).astype(np.float16)),
        "text": pa.array([f"word {i % 20}" if i % 11 else None for i in range(rows)]),
        "bytes": pa.array([rng.bytes(i % 40) for i in range(rows)]),
        "flag": pa.array(ints % 2 == 0),
        "nothing": pa.nulls(rows, pa.int32()),
        "lists": pa.array(lists, pa.list_(pa.int64())),
        "nested": pa.array(nested, pa.list_(pa.list_(pa.float32()))),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(rng.random(rows * 8, dtype=np.float32)), 8),
        "record": pa.array([{"a": i, "b": str(i)} if i % 3 else None for i in range(rows)]),
        "time": pa.array(np.arange(rows), pa.timestamp("ns")),
        "decimal": pa.array(ints).cast(pa.decimal128(30, 2)),
    })  # fmt: skip


DELTAS = {"wide": "DELTA_BINARY_PACKED", "few": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY",
          "bytes": "DELTA_LENGTH_BYTE_ARRAY", "float": "BYTE_STREAM_SPLIT", "flag": "RLE"}  # fmt: skip

WAYS = [
    {},
    {"compression": "snappy", "use_dictionary": True, "data_page_version": "2.0"},
    {"compression": "zstd", "row_group_size": 300, "write_page_checksum": True},
    {"compression": "gzip", "row_group_size": 1000, "data_page_size": 1000, "data_page_version": "2.0"},
    {"compression": "lz4", "use_dictionary": False, "row_group_size": 999, "data_page_size": 512},
    {"compression": "none", "use_dictionary": False, "column_encoding": DELTAS, "write_page_index": True},
    {"compression": "zstd", "use_dictionary": False, "column_encoding": DELTAS, "data_page_version": "2.0"},
    {"compression": {"few": "gzip", "text": "snappy"}, "use_deprecated_int96_timestamps": True, "version": "1.0"},
]


def write(root, rows):
    """One file per way, by DLIO's names."""
    (root / "train").mkdir(parents=True)
    table = foreign_table(rows)
    for i, way in enumerate(WAYS):
        pq.write_table(table, root / "train" / f"img_{i}_of_{len(WAYS)}.parquet", **way)
    # The same file under a codec that dlio-rs has not.
    pq.write_table(table, root / "brotli.parquet", compression="brotli")
    print(len(WAYS))
    return 0


def random_column(column, rows, rng):
    """Random data of the column's type. Source: DLIO `data_generator/parquet_generator.py`."""
    _, arrow_type, to_array = layout(column, rows)
    if pa.types.is_string(arrow_type):
        return pa.array([f"s_{v}" for v in rng.integers(0, 2**31, rows)], pa.string())
    length, _, _ = layout(column, rows)
    return to_array(np.frombuffer(rng.bytes(length), np.uint8).copy())


def sizes(root, expect):
    """A table of the two sizes; status 1 when they differ by more than 2 %."""
    rows, group, codec = expect["rows"], expect["row_group_size"], expect["codec"]
    rng = np.random.default_rng(1)
    table = pa.table({c["name"]: random_column(c, rows, rng) for c in expect["columns"]})
    other = root / "other.parquet"
    with pq.ParquetWriter(other, table.schema, compression=None if codec == "none" else codec) as writer:
        for start in range(0, rows, group):
            writer.write_table(table.slice(start, min(group, rows - start)), row_group_size=group)
    theirs = other.stat().st_size
    ours = [path.stat().st_size for path in sorted((root / "train").rglob("*.parquet"))]
    for size in ours:
        print(f"{expect['name']:<28} {codec:<7} {size:>12} {theirs:>12} {size / theirs:.4f}")
    return 0 if ours and all(abs(size / theirs - 1) <= 0.02 for size in ours) else 1


def extents(root, columns):
    total = 0
    for path in sorted((root / "train").rglob("*.parquet")):
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            for i in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(i)
                if not columns or chunk.path_in_schema.split(".")[0] in columns:
                    total += chunk.total_compressed_size
    print(total)
    return 0


def main():
    match sys.argv[1:]:
        case ["check", root, expect]:
            return check(Path(root), json.loads(Path(expect).read_text()))
        case ["write", root, rows]:
            return write(Path(root), int(rows))
        case ["sizes", root, expect]:
            return sizes(Path(root), json.loads(Path(expect).read_text()))
        case ["extents", root, *columns]:
            return extents(Path(root), columns)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
