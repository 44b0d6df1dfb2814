"""Checks the package dlio_rs against the files themselves.

    check_read.py RUN DLIO_RUN     a folder of dlio-rs (with evaluation, of two ranks) and one of DLIO; exit status 1 where
                                   something differs. Runs the binary dlio-rs as well.
"""

import collections
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np

import dlio_rs

RUN, DLIO_RUN = (pathlib.Path(folder) for folder in sys.argv[1:3])


def parse(path):
    return json.loads(path.read_text())


def steps_of(folder):
    """(rank, epoch, phase, step, load, compute, proc) of every step, read without the package."""
    rows = []
    for rank in range(2):
        output = parse(folder / f"{rank}_output.json")
        for epoch in (key for key in output if key.isdigit()):
            for phase, loads in output[epoch]["load"].items():
                others = output[epoch]["compute"][phase], output[epoch]["proc"][phase]
                for step, times in enumerate(zip(loads, *others, strict=True), 1):
                    rows.append((rank, int(epoch), phase, step, *times))
    return rows


class Both(unittest.TestCase):
    """What holds of a folder of either program."""

    folder = DLIO_RUN

    def setUp(self):
        self.run_ = dlio_rs.read(self.folder)

    def test_summary_is_the_file(self):
        self.assertEqual(self.run_.summary, parse(self.folder / "summary.json"))

    def test_steps_are_the_lists(self):
        steps, wanted = self.run_.steps, steps_of(self.folder)
        columns = (steps.rank, steps.epoch, steps.phase, steps.step, steps.load, steps.compute, steps.proc)
        self.assertEqual([tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)], wanted)
        self.assertEqual((steps.rank.dtype, steps.load.dtype), (np.int64, np.float64))
        self.assertEqual(self.run_.ranks, [0, 1])
        training = steps.where(steps.phase != "eval")
        self.assertEqual(len(training), sum(row[2] != "eval" for row in wanted))
        self.assertGreater(len(steps), len(training))

    def test_table_has_the_columns(self):
        try:
            import pandas  # noqa: F401
        except ImportError:
            with self.assertRaisesRegex(ImportError, r"dlio-rs\[pandas\]"):
                self.run_.to_pandas()
            return
        table = self.run_.to_pandas()
        self.assertEqual([tuple(row) for row in table[["rank", "epoch", "phase", "step", "load", "compute", "proc"]]
                          .itertuples(index=False)], steps_of(self.folder))

    def test_spans_are_the_entries(self):
        stats = parse(self.folder / "1_per_epoch_stats.json")
        spans = [span for span in self.run_.spans if span.rank == 1]
        self.assertEqual(len(spans), sum(1 + sum(isinstance(part, dict) for part in epoch.values()) for epoch in stats.values()))
        block = next(span for span in spans if span.epoch == 2 and span.name == "block1")
        self.assertEqual(block.start.isoformat(timespec="microseconds"), stats["2"]["block1"]["start"])
        self.assertEqual(block.facts["duration"], stats["2"]["block1"]["duration"])


class Ours(Both):
    """What dlio-rs alone writes."""

    folder = RUN

    def test_report_is_the_file(self):
        report = parse(self.folder / "report.json")
        self.assertEqual(self.run_.report, report)
        self.assertEqual(self.run_.provenance, report["provenance"])

    def test_histograms_agree_with_the_report(self):
        stages = {stage["stage"]: stage for stage in self.run_.report["stages"]}
        self.assertTrue({"batch_wait", "compute"} <= set(stages), list(stages))
        for name, stage in stages.items():
            histogram = self.run_.histograms[name]
            self.assertEqual((histogram.total, histogram.doc), (stage["count"], stage["doc"]))
            self.assertEqual(int(histogram.counts[-1]), stage["count"])
            # The file has microseconds with three decimals.
            self.assertAlmostEqual(histogram.max, stage["max"] * 1e-9, delta=1e-9)
            for key, percent in (("p50", 50), ("p90", 90), ("p99", 99)):
                if stage[key] is not None:
                    self.assertAlmostEqual(histogram.percentile(percent), stage[key] * 1e-9, delta=stage[key] * 1e-11 + 2e-9)

    def test_timeline_is_the_file(self):
        path = self.folder / "timeline.json.zst"
        if not path.exists():
            self.assertIsNone(self.run_.timeline)
            return
        text = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
        self.assertEqual(self.run_.timeline, json.loads(text))


class Plan(unittest.TestCase):
    """The order that the binary computes."""

    WORDS = ("workload=quickstart", "dataset.num_files_train=12", "dataset.num_samples_per_file=3", "reader.batch_size=2",
             "dataset.num_files_eval=4")

    def test_every_sample_once_in_an_epoch(self):
        order = dlio_rs.plan(*self.WORDS, "train.epochs=2", ranks=3)
        wanted = sorted((f"train/img_{i:02}_of_12.npz", sample) for i in range(12) for sample in range(3))
        for epoch in (1, 2):
            mine = order.epoch == epoch
            self.assertEqual(sorted(zip(order.file[mine].tolist(), order.sample[mine].tolist(), strict=True)), wanted)
        # 36 samples over 3 ranks in batches of 2: six steps.
        steps = zip(order.epoch.tolist(), order.rank.tolist(), order.step.tolist(), strict=True)
        self.assertEqual(collections.Counter(steps), {(e, r, s): 2 for e in (1, 2) for r in range(3) for s in range(1, 7)})
        self.assertEqual(len(dlio_rs.plan(*self.WORDS, "train.epochs=1", "workflow.evaluation=true", evaluation=True)), 12)

    def test_a_refusal_has_the_words_of_the_binary(self):
        with self.assertRaisesRegex(dlio_rs.PlanError, "npz is probably meant"):
            dlio_rs.plan(*self.WORDS, "dataset.format=npx")


class Generate(unittest.TestCase):
    """Datasets that the binary writes."""

    WORDS = ("workload=quickstart", "dataset.num_files_train=3", "dataset.num_samples_per_file=2", "dataset.num_files_eval=0",
             "dataset.record_length_bytes=4096", "dataset.record_length_bytes_stdev=0", "dataset.record_length_bytes_resize=4096")

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def test_numpy_opens_the_files(self):
        self.assertEqual(dlio_rs.generate(self.folder / "data", *self.WORDS), self.folder / "data")
        files = sorted((self.folder / "data/train").glob("*.npz"))
        self.assertEqual([file.name for file in files], [f"img_{i}_of_3.npz" for i in range(3)])
        for file in files:
            with np.load(file) as content:
                self.assertEqual((content["x"].shape, content["x"].dtype), ((64, 64, 2), np.uint8))

    def test_a_refusal_has_the_words_of_the_binary(self):
        with self.assertRaisesRegex(dlio_rs.GenerateError, "npz is probably meant"):
            dlio_rs.generate(self.folder / "data", *self.WORDS, "dataset.format=npx")
        self.assertEqual(list(self.folder.iterdir()), [])


class Refusals(unittest.TestCase):
    """Folders that are no runs, and files that are damaged."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def test_dlio_has_no_report(self):
        run = dlio_rs.read(str(DLIO_RUN))
        self.assertEqual((run.report, run.provenance, run.histograms, run.timeline), (None,) * 4)

    def test_no_run(self):
        with self.assertRaisesRegex(dlio_rs.ReadError, "no summary.json"):
            dlio_rs.read(self.folder)
        with self.assertRaisesRegex(dlio_rs.ReadError, "no such folder"):
            dlio_rs.read(self.folder / "missing")

    def test_damaged_files_are_named(self):
        shutil.copytree(RUN, self.folder, dirs_exist_ok=True)
        damage = {"report.json": "report", "histograms.hgrm": "histograms", "1_output.json": "steps",
                  "0_per_epoch_stats.json": "spans", "timeline.json.zst": "timeline"}
        for name, part in damage.items():
            (self.folder / name).write_text('# stage: read (x), values in us\nno number\n{"1": 5')
            with self.assertRaisesRegex(dlio_rs.ReadError, name):
                getattr(dlio_rs.read(self.folder), part)
        (self.folder / "summary.json").write_text("[]")
        with self.assertRaisesRegex(dlio_rs.ReadError, "summary.json: an object is expected"):
            dlio_rs.read(self.folder)

    def test_lists_of_different_lengths(self):
        shutil.copytree(DLIO_RUN, self.folder, dirs_exist_ok=True)
        output = parse(self.folder / "0_output.json")
        output["1"]["proc"]["block1"].pop()
        (self.folder / "0_output.json").write_text(json.dumps(output))
        with self.assertRaisesRegex(dlio_rs.ReadError, "0_output.json: epoch 1, block1: lists of different lengths"):
            dlio_rs.read(self.folder).steps


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
