"""The binary that came with this package."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

NAME = "dlio-rs"


def program() -> Path:
    """The binary ``dlio-rs``: where pip put it for this Python, else on ``PATH``.

    Raises FileNotFoundError when there is none.
    """
    schemes = {sysconfig.get_default_scheme(), f"{os.name}_user"}
    for scheme in sorted(schemes):
        path = Path(sysconfig.get_path("scripts", scheme)) / NAME
        if path.is_file():
            return path
    found = shutil.which(NAME)
    if found is None:
        raise FileNotFoundError(f"{NAME} is neither beside this Python nor on PATH; install the wheel by pip")
    return Path(found)
