"""``histograms.hgrm``: the latency of every stage, in HdrHistogram's percentile format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_STAGE = re.compile(r"# stage: (\S+) \((.*)\), values in (\S+)$")
_MEAN = re.compile(r"#\[Mean\s*=\s*([\d.]+),")
_MAX = re.compile(r"#\[Max\s*=\s*([\d.]+), Total count\s*=\s*(\d+)\]")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Histogram:
    """Latencies of one stage, of all ranks together."""

    stage: str
    """Its name, such as ``read``."""
    doc: str
    """What it measures."""
    values: np.ndarray
    """Latencies in seconds, ascending: float64."""
    shares: np.ndarray
    """The share of all values that are at most ``values[i]``, 0 to 1: float64."""
    counts: np.ndarray
    """How many values are at most ``values[i]``: int64."""
    mean: float
    """Seconds."""
    max: float
    """Seconds."""
    total: int
    """How many values there are."""

    def percentile(self, percent: float) -> float:
        """The smallest recorded latency, in seconds, that at least ``percent`` of the values do not exceed."""
        if not 0 <= percent <= 100:
            raise ValueError(f"percent: 0 to 100 is expected, not {percent}")
        # Shares have 12 decimals in the file.
        at = int(np.searchsorted(self.shares, percent / 100 - 1e-12))
        return float(self.values[min(at, len(self.values) - 1)])


def load(path: Path) -> dict[str, Histogram]:
    """All stages of one file, in its order.

    Raises ValueError, with the line, where the text is not in that format.
    """
    stages: dict[str, Histogram] = {}
    head: tuple[str, str, float] | None = None
    rows: list[tuple[float, float, int]] = []
    mean = 0.0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            if stage := _STAGE.match(line):
                head, rows = (stage[1], stage[2], _SECONDS[stage[3]]), []
            elif found := _MEAN.match(line):
                mean = float(found[1])
            elif (found := _MAX.match(line)) and head:
                name, doc, unit = head
                table = np.array(rows, dtype=np.float64).reshape(-1, 3)
                stages[name] = Histogram(
                    name, doc, table[:, 0] * unit, table[:, 1], table[:, 2].astype(np.int64),
                    mean * unit, float(found[1]) * unit, int(found[2]),
                )
            elif line and not line.startswith("#") and "Percentile" not in line:
                value, share, count, *_ = line.split()
                rows.append((float(value), float(share), int(count)))
        except (KeyError, ValueError) as error:
            raise ValueError(f"line {number}: {error}: {line!r}") from None
    return stages
