"""python -m dlio_rs shim DIR [--replace]    puts a `dlio_benchmark` that is dlio-rs into DIR
python -m dlio_rs ARGUMENTS...           runs the binary dlio-rs
"""

import os
import sys

from ._program import program


def main() -> int:
    words = sys.argv[1:]
    if not words:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    if words[0] == "shim":
        words[0] = "install-shim"
    try:
        binary = str(program())
    except FileNotFoundError as error:
        print(f"dlio_rs: {error}", file=sys.stderr)
        return 1
    os.execv(binary, [binary, *words])


if __name__ == "__main__":
    sys.exit(main())
