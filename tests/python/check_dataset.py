"""Opens every file of a dataset with numpy and compares names, dtypes and shapes with what is expected.

    check_dataset.py DIR EXPECT.json

EXPECT.json:
    {"files": [{"path": "train/img_00_of_28.npz",
                "arrays": {"x": {"dtype": "uint8", "shape": [2048, 2048, 1]},
                           "y": {"dtype": "int64", "shape": [1], "zeros": true}},
                "payload_bytes": 4194304}],
     "others": false}
The array of an .npy file is named "". `zeros` (the array holds only zeros), `payload_bytes` (of the first array) and
`others` (files that are not listed may exist; default false) are optional. dlio-rs's hidden files are never counted.
Exit status 1 with one line per difference; 2 on wrong usage.
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np


def arrays_of(path):
    """Every array of a file by name; archives have passed their CRC."""
    if path.suffix == ".npy":
        return {"": np.load(path, allow_pickle=False)}
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
        if bad is not None:
            raise ValueError(f"member {bad} has a wrong CRC")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def check_file(root, expect):
    """Yields the differences of one file."""
    path = root / expect["path"]
    try:
        found = arrays_of(path)
    except Exception as error:  # whatever numpy or zipfile raises is the finding
        yield f"{path}: {type(error).__name__}: {error}"
        return
    # The order of the members is part of the format.
    if list(found) != list(expect["arrays"]):
        yield f"{path}: arrays {list(found)}, expected {list(expect['arrays'])}"
        return
    for name, want in expect["arrays"].items():
        array = found[name]
        if array.dtype != np.dtype(want["dtype"]):
            yield f"{path}[{name}]: dtype {array.dtype}, expected {want['dtype']}"
        if list(array.shape) != list(want["shape"]):
            yield f"{path}[{name}]: shape {list(array.shape)}, expected {want['shape']}"
        if not array.flags.c_contiguous:
            yield f"{path}[{name}]: not in C order"
        if want.get("zeros") and np.count_nonzero(array):
            yield f"{path}[{name}]: not all zeros"
    if "payload_bytes" in expect:
        first = next(iter(found.values()))
        if first.nbytes != expect["payload_bytes"]:
            yield f"{path}: payload of {first.nbytes} bytes, expected {expect['payload_bytes']}"


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    root, expect = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    problems = [p for f in expect["files"] for p in check_file(root, f)]
    if not expect["files"]:
        problems.append(f"{sys.argv[2]}: names no file, so nothing was checked")
    if not expect.get("others", False):
        listed = {f["path"] for f in expect["files"]}
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            relative = path.relative_to(root)
            if str(relative) not in listed and not any(part.startswith(".") for part in relative.parts):
                problems.append(f"{path}: not expected")
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(expect['files'])} files are as expected")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
