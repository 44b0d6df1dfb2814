"""Prints the licences of every crate that is inside the binary, with their texts, for packages.

    licences.py [FEATURES]       FEATURES as for cargo build --no-default-features --features

A text that several crates share stands once. Ends with an error where a crate has neither a licence's name nor a text.
"""

import json
import pathlib
import re
import subprocess
import sys

NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.I)
# Not the licences of what is compiled in.
SKIPPED = re.compile(r"/(tests?|benches|examples|doc|docs|fuzz)/", re.I)
# zstd's other licence, and xz's for its tools: neither is used.
UNUSED = re.compile(r"\s*GNU (LESSER )?GENERAL PUBLIC LICENSE")
SOURCES = {".rs", ".c", ".h", ".py", ".sh", ".cmake", ".html"}


def packages(features):
    """dlio-rs's dependencies but those of tests and of build scripts, as cargo metadata has them."""
    host = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout)[1]
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--no-default-features", "--features", features]
    done = subprocess.run([*command, "--filter-platform", host], stdout=subprocess.PIPE, text=True, check=True)
    meta = json.loads(done.stdout)
    nodes = {node["id"]: node for node in meta["resolve"]["nodes"]}
    found, waiting = set(), [meta["resolve"]["root"]]
    while waiting:
        one = waiting.pop()
        for dependency in nodes[one]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            # Build dependencies called *-src bring C sources that are compiled in.
            inside = None in kinds or dependency["name"].endswith("_src")
            if inside and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    return sorted((p for p in meta["packages"] if p["id"] in found), key=lambda p: (p["name"], p["version"]))


def texts(folder):
    """Licence files of a crate, and of C sources in it."""
    for path in sorted(folder.rglob("*")):
        place = "/" + str(path.relative_to(folder))
        named = NAMES.search(path.name) and path.suffix.lower() not in SOURCES
        if named and path.is_file() and place.count("/") <= 4 and not SKIPPED.search(place):
            text = path.read_text(errors="replace").strip()
            if not UNUSED.match(text):
                yield text


def main():
    features = sys.argv[1] if len(sys.argv) > 1 else ""
    users = {}
    print("dlio-rs contains the crates below, and Rust's standard library (MIT OR Apache-2.0). Their texts follow.\n")
    for package in packages(features):
        name = f"{package['name']} {package['version']}"
        found = list(texts(pathlib.Path(package["manifest_path"]).parent))
        licence = package["license"] or package["license_file"]
        if not (licence or found):
            sys.exit(f"{name}: no licence is named")
        print(f"{name}: {licence or 'see its text'}")
        for text in found:
            users.setdefault(" ".join(text.split()), (text, []))[1].append(name)
    for text, crates in users.values():
        print(f"\n{'=' * 80}\n{', '.join(dict.fromkeys(crates))}\n{'=' * 80}\n{text}")


if __name__ == "__main__":
    main()
