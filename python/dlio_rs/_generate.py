"""Datasets, written by the binary without a job."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from ._program import program

PHASES = ("workflow.generate_data=true", "workflow.train=false", "workflow.evaluation=false", "workflow.checkpoint=false")


class GenerateError(Exception):
    """A dataset that the binary refuses, or cannot write. The message is the binary's."""


def generate(folder: str | os.PathLike[str], *words: str) -> Path:
    """Writes the dataset of the workload that ``words`` name into ``folder``, as one rank would:

        dlio_rs.generate("data", "workload=unet3d_h100", "dataset.num_files_train=16")

    Files that are there already and are the same are kept. Returns ``folder``. Raises GenerateError.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory(prefix="dlio-rs-") as results:
        command = [str(program()), *words, f"dataset.data_folder={folder}", *PHASES, "--quiet", "--output", f"{results}/run"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise GenerateError(done.stderr.strip())
    return folder
