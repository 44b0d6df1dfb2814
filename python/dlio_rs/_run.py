"""What one run left in its folder, as an object."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _histograms
from ._histograms import Histogram

if TYPE_CHECKING:
    import pandas

TIMELINE_SCHEMA = "dlio-rs/timeline/1"
_OUTPUT = re.compile(r"(\d+)_output\.json")
_STATS = re.compile(r"(\d+)_per_epoch_stats\.json")


class ReadError(Exception):
    """A folder, or a file in it, that cannot be read as a run. The message names the file and the cause."""


@dataclass(frozen=True)
class Steps:
    """Every step of every rank whose ``RANK_output.json`` the folder holds: columns of equal length, ordered by rank, then
    as the rank took them."""

    rank: np.ndarray
    """int64"""
    epoch: np.ndarray
    """int64, from 1."""
    phase: np.ndarray
    """Text: ``block1``, ``block2``, ... in training, ``eval`` in evaluation."""
    step: np.ndarray
    """int64, from 1 in each phase."""
    load: np.ndarray
    """Seconds from asking for the batch to having it: float64."""
    compute: np.ndarray
    """Seconds of emulated computation: float64."""
    proc: np.ndarray
    """Seconds from asking for the batch to the end of the computation: float64."""

    def __len__(self) -> int:
        return len(self.rank)

    def where(self, mask: np.ndarray) -> Steps:
        """The steps for which ``mask`` is true, as in ``steps.where(steps.phase != "eval")``."""
        return Steps(**{column.name: getattr(self, column.name)[mask] for column in fields(self)})


@dataclass(frozen=True)
class Span:
    """An epoch, or a part of one, as one rank saw it."""

    rank: int
    epoch: int
    name: str
    """``epoch``, ``block1``, ``eval``, ``save_ckpt1``, ``load_ckpt1``, ..."""
    start: datetime | None
    """Local time of the run's host, without zone."""
    end: datetime | None
    facts: dict[str, Any]
    """Whatever else the file says of it, such as ``duration`` (seconds, as text with two decimals) and ``throughput``."""


@dataclass(frozen=True)
class Run:
    """What one run left in its folder. Made by :func:`read`. Files are read when they are first asked for."""

    folder: Path
    summary: dict[str, Any] | None
    """``summary.json``, as DLIO writes it; None for a run that generated only."""

    @cached_property
    def report(self) -> dict[str, Any] | None:
        """``report.json``: every figure with its unit and formula; None in a folder of DLIO."""
        return _json(self.folder / "report.json")

    @property
    def provenance(self) -> dict[str, Any] | None:
        """Versions, hosts, the command and the whole configuration, of ``report.json``; None in a folder of DLIO."""
        found: dict[str, Any] | None = (self.report or {}).get("provenance")
        return found

    @cached_property
    def ranks(self) -> list[int]:
        """Ranks whose ``RANK_output.json`` is there."""
        return sorted(self._numbered(_OUTPUT))

    @cached_property
    def steps(self) -> Steps:
        """Every step of every rank. Empty where the folder has no ``RANK_output.json``."""
        return _steps({rank: _json(path) or {} for rank, path in sorted(self._numbered(_OUTPUT).items())}, self.folder)

    @cached_property
    def spans(self) -> list[Span]:
        """Epochs and their parts, per rank, from ``RANK_per_epoch_stats.json``."""
        files = sorted(self._numbered(_STATS).items())
        return [span for rank, path in files for span in _spans(rank, _json(path) or {}, path)]

    @cached_property
    def histograms(self) -> dict[str, Histogram] | None:
        """Latencies by stage, from ``histograms.hgrm``; None in a folder of DLIO."""
        path = self.folder / "histograms.hgrm"
        if not path.is_file():
            return None
        try:
            return _histograms.load(path)
        except (OSError, ValueError) as error:
            raise ReadError(f"{path}: {error}") from error

    @cached_property
    def timeline(self) -> dict[str, Any] | None:
        """The run over time, from ``timeline.json.zst``; None where there is none."""
        path = self.folder / "timeline.json.zst"
        if not path.is_file():
            return None
        try:
            timeline: dict[str, Any] = json.loads(_unpack(path.read_bytes()))
        except (OSError, ValueError, EOFError) as error:
            raise ReadError(f"{path}: {error}") from error
        if timeline.get("schema") != TIMELINE_SCHEMA:
            raise ReadError(f"{path}: its schema is {timeline.get('schema')!r}, and this package reads {TIMELINE_SCHEMA!r}")
        return timeline

    def to_pandas(self) -> pandas.DataFrame:
        """The steps as a table: a row per rank and step, with the columns of :class:`Steps`. Needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas; install it by: pip install 'dlio-rs[pandas]'") from error
        return pandas.DataFrame({column.name: getattr(self.steps, column.name) for column in fields(Steps)})

    def _numbered(self, pattern: re.Pattern[str]) -> dict[int, Path]:
        found = ((pattern.fullmatch(path.name), path) for path in self.folder.iterdir())
        return {int(match[1]): path for match, path in found if match}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, ranks={len(self.ranks)})"


def read(folder: str | Path) -> Run:
    """Reads the folder of one run of dlio-rs or DLIO: the one that holds ``summary.json``.

    Raises ReadError when it is not one. NaN and Infinity, which DLIO writes for averages of nothing, are floats.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ReadError(f"{folder}: there is no such folder")
    run = Run(folder, _json(folder / "summary.json"))
    if run.summary is None and run.report is None and not run.ranks:
        raise ReadError(f"{folder}: it holds no summary.json, report.json or RANK_output.json; name the folder of one run")
    return run


def _json(path: Path) -> dict[str, Any] | None:
    """An object in a file; None where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReadError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise ReadError(f"{path}: an object is expected, not {type(value).__name__}")
    return value


def _unpack(packed: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    try:
        return zstd.decompress(packed)
    except zstd.ZstdError as error:
        raise ValueError(error) from error


def _steps(outputs: dict[int, dict[str, Any]], folder: Path) -> Steps:
    """Step lists of all ranks as columns."""
    columns: dict[str, list[np.ndarray]] = {column.name: [] for column in fields(Steps)}
    for rank, output in outputs.items():
        for epoch in (key for key in output if key.isdigit()):
            for phase, load in output[epoch].get("load", {}).items():
                times = [np.array(output[epoch].get(key, {}).get(phase, []), np.float64) for key in ("compute", "proc")]
                count = len(load)
                if any(len(one) != count for one in times):
                    raise ReadError(f"{folder}/{rank}_output.json: epoch {epoch}, {phase}: lists of different lengths")
                columns["rank"].append(np.full(count, rank, np.int64))
                columns["epoch"].append(np.full(count, int(epoch), np.int64))
                columns["phase"].append(np.full(count, phase))
                columns["step"].append(np.arange(1, count + 1, dtype=np.int64))
                columns["load"].append(np.array(load, np.float64))
                columns["compute"].append(times[0])
                columns["proc"].append(times[1])
    whole = ("rank", "epoch", "step")
    empty = {name: np.empty(0, "U1" if name == "phase" else np.int64 if name in whole else np.float64) for name in columns}
    return Steps(**{name: np.concatenate(parts) if parts else empty[name] for name, parts in columns.items()})


def _spans(rank: int, stats: dict[str, Any], path: Path) -> list[Span]:
    """Entries of one rank's file, each epoch before its parts."""

    def time(entry: dict[str, Any], key: str) -> datetime | None:
        return datetime.fromisoformat(entry[key]) if entry.get(key) else None

    found = []
    try:
        for epoch, entry in stats.items():
            parts = {"epoch": entry, **{name: part for name, part in entry.items() if isinstance(part, dict)}}
            for name, part in parts.items():
                facts = {k: v for k, v in part.items() if k not in ("start", "end") and not isinstance(v, dict)}
                found.append(Span(rank, int(epoch), name, time(part, "start"), time(part, "end"), facts))
    except (AttributeError, TypeError, ValueError) as error:
        raise ReadError(f"{path}: {error}") from error
    return found
