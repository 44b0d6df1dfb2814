//! The sections `output` and `profiling`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

section! {
    /// `output`
    pub struct Output {
        /// Folder of results; `--output` wins over it. Not set: `hydra.run.dir`, else `results/<model>/<time>`.
        pub folder: Option<String> = None,
        /// Name of DLIO's log within the folder of results.
        pub log_file: String = "dlio.log".into(),
        /// Steps that the metrics leave out.
        pub metric: OutputMetric = OutputMetric::default(),
        /// Ranks that leave DLIO's `<r>_output.json` and `<r>_per_epoch_stats.json`.
        ///
        /// - Effect: with thousands of ranks and steps these lists are gigabytes; nothing in `report.json` or `summary.json` depends on them.
        /// - DLIO: not there; dlio-rs only. DLIO writes those of all ranks.
        pub per_rank_files: PerRankFiles = PerRankFiles::All,
        /// Record the run over time, in `timeline.json.zst` beside `report.json`.
        ///
        /// - Effect: bytes, waits and events over time, steps, ranks and latencies; at most 2 MiB of memory per rank.
        /// - DLIO: not there; dlio-rs only.
        pub timeline: bool = true,
        /// Whether `report.html` is written beside `report.json`. Under the name `dlio_benchmark` it never is.
        ///
        /// - DLIO: no such key.
        pub html: bool = true,
    }
}

section! {
    /// `output.metric`
    pub struct OutputMetric {
        /// Steps at the start of each block that the metrics leave out.
        ///
        /// - Unit: steps
        pub exclude_start_steps: u64 = 1,
        /// Steps at the end of each block that the metrics leave out.
        ///
        /// - Unit: steps
        pub exclude_end_steps: u64 = 0,
    }
}

section! {
    /// `profiling`
    pub struct Profiling {
        /// Profiler, under `workflow.profiling`.
        ///
        /// - Effect: `iostat`: the devices of `iostat_devices` over time, in `timeline.json.zst`. `dftracer`: a file `trace-<rank>-of-<ranks>.pfw.gz` of each rank (of 64 ranks where there are more), with single steps, calls and checkpoints as `--trace` keeps them. `darshan` and `tensorboard` are refused.
        /// - DLIO: the same words, but for `dftracer`, which DLIO switches on by the variable DFTRACER_ENABLE=1.
        /// - Only: workflow.profiling = true
        pub profiler: Profiler = Profiler::Iostat,
        /// Block devices of rank 0's host that `profiler: iostat` watches, such as `nvme0n1`; at most 16. Empty: the devices with most I/O.
        ///
        /// - Effect: their counters in `/proc/diskstats` over time, in the table `devices` of `timeline.json.zst`.
        /// - DLIO: the same; it calls the command iostat, which must be installed, and leaves its output as `iostat.json`.
        /// - Only: workflow.profiling = true
        pub iostat_devices: Vec<String> = Vec::new(),
    }
}
