"""What a job would read, computed by the binary without a job."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import numpy as np

from ._program import program


class PlanError(Exception):
    """A workload that the binary refuses. The message is the binary's."""


@dataclass(frozen=True)
class Order:
    """Every sample that every rank reads: columns of equal length, by epoch, then rank, then in the order of reading."""

    epoch: np.ndarray
    """int64, from 1."""
    rank: np.ndarray
    """int64, from 0."""
    step: np.ndarray
    """int64, from 1 in each epoch: the batch that holds the sample."""
    file: np.ndarray
    """Text: the file's name below the dataset's folder."""
    sample: np.ndarray
    """int64: the sample's place in its file, from 0."""

    def __len__(self) -> int:
        return len(self.epoch)


def plan(*words: str, ranks: int = 1, evaluation: bool = False) -> Order:
    """The order in which a job of ``ranks`` ranks would read the workload that ``words`` name, as on the command line:

        dlio_rs.plan("workload=unet3d_h100", "reader.batch_size=4", ranks=8)

    ``evaluation``: of the evaluation dataset. Needs some 100 bytes per sample. Raises PlanError for a workload that
    cannot run.
    """
    command = [str(program()), "plan", *words, "--ranks", str(ranks), "--order", *(["--eval"] if evaluation else [])]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise PlanError(done.stderr.strip())
    rows = [json.loads(line) for line in done.stdout.splitlines()]

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], np.int64)

    files = np.array([row["file"] for row in rows], np.str_)
    return Order(column("epoch"), column("rank"), column("step"), files, column("sample"))
