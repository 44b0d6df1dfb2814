"""dlio-rs measures what a storage system gives to AI training. This package brings the command ``dlio-rs``, and reads what
its runs leave behind:

    import dlio_rs

    run = dlio_rs.read("results/unet3d/20260101_120000")
    run.summary["metric"]["train_au_mean_percentage"]
    run.steps.load.mean()            # seconds for which a step waited for its batch
    run.histograms["read"].percentile(99)
    run.to_pandas()                  # one row per rank and step
    dlio_rs.plan("workload=unet3d_h100", ranks=8).file      # what eight ranks would read, in order
    dlio_rs.generate("data", "workload=unet3d_h100", "dataset.num_files_train=16")

It reads the folders of DLIO (``dlio_benchmark``) too; what they do not hold is None.
"""

from importlib import metadata as _metadata

from ._generate import GenerateError, generate
from ._histograms import Histogram
from ._plan import Order, PlanError, plan
from ._program import program
from ._run import ReadError, Run, Span, Steps, read

try:
    __version__ = _metadata.version("dlio-rs")
except _metadata.PackageNotFoundError:  # used from a source tree
    __version__ = "unknown"

__all__ = [
    "GenerateError", "Histogram", "Order", "PlanError", "ReadError", "Run", "Span", "Steps", "generate", "plan", "program",
    "read", "__version__",
]
