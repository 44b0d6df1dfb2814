"""Puts a binary and the Python package into a wheel.

    wheel.py BINARY LICENCES GLIBC OUTPUT     GLIBC: the oldest version that the binary runs with, such as 2.28

The metadata come from pyproject.toml through maturin, which also builds a wheel from source (`pip install .`). This script
takes the binary that the other packages have. Needs the packages of scripts/package-requirements.txt.
"""

import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def call(*words):
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout}{done.stderr}")


def main():
    binary, licences, glibc, output = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        tree = pathlib.Path(scratch)
        call(sys.executable, "-m", "maturin", "pep517", "write-dist-info", "--metadata-directory", tree, "--interpreter", sys.executable)
        (info,) = tree.glob("*.dist-info")
        tag = f"py3-none-manylinux_{glibc.replace('.', '_')}_{platform.machine()}"
        (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nGenerator: dlio-rs\nRoot-Is-Purelib: false\nTag: {tag}\n")
        shutil.copy(licences, info / "licenses")
        shutil.copytree(ROOT / "python/dlio_rs", tree / "dlio_rs", ignore=shutil.ignore_patterns("__pycache__"))
        scripts = tree / f"{info.stem}.data/scripts"
        scripts.mkdir(parents=True)
        shutil.copy(binary, scripts / "dlio-rs")
        (scripts / "dlio-rs").chmod(0o755)
        call(sys.executable, "-m", "wheel", "pack", tree, "-d", output)


if __name__ == "__main__":
    main()
