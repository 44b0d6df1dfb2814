//! `dlio-rs plan`: what every rank will read, without running anything.

use std::io::{BufWriter, Write};

use serde::Serialize;

use super::args::PlanArgs;
use super::output::{self, Lines};
use super::{Result, Stop};
use crate::config::{Loaded, OrderKind, Shuffle, Workload};
use crate::interrupt::say;
use crate::plan::Split;
use crate::plan::checkpoint::CheckpointPlan;
use crate::plan::dataset::DatasetPlan;
use crate::plan::simulate::JobOrder;
use crate::plan::steps::Steps;
use crate::run::names::{self, Names};
use crate::run::{preflight, shape, wire};
use crate::util::units::{MIB, gib};

/// Prints the plan.
pub(super) fn print(loaded: &Loaded, args: &PlanArgs) -> Result<()> {
    let ranks = args.ranks as usize;
    let loaded = &super::sized(loaded, ranks)?;
    let workload = &loaded.workload;
    for warning in preflight(loaded, ranks).map_err(Stop::usage)? {
        say(&format!("warning: {warning}"));
    }
    let checkpoint = || {
        CheckpointPlan::new(&workload.model, workload.checkpoint.mode, ranks).map_err(Stop::usage)
    };
    let checkpoint = workload.workflow.checkpoint.then(checkpoint).transpose()?;
    let is_listed = args.order && workload.dataset.listing && workload.storage_system().has_bytes;
    let listed = is_listed.then(|| listed(workload)).transpose()?;
    if !args.order {
        let plan = Plan::new(loaded, ranks, checkpoint.as_ref());
        return output::print(args.format, &plan, Plan::text);
    }
    order(loaded, args, ranks, listed.as_ref())
        .map_err(|e| Stop::failed(format!("failed to write the plan: {e}")))
}

/// The names of a dataset that is listed: the one plan that looks at the storage system.
fn listed(workload: &Workload) -> Result<[Names; 2]> {
    names::of(workload).map_err(|e| Stop::failed(format!("failed to {e}")))
}

fn order(
    loaded: &Loaded,
    args: &PlanArgs,
    ranks: usize,
    listed: Option<&[Names; 2]>,
) -> std::io::Result<()> {
    let workload = &loaded.workload;
    let d = &workload.dataset;
    let steps = Steps::new(&wire::steps(workload), ranks);
    let train = d.num_files_generated.unwrap_or(d.num_files_train);
    let (split, files, limit, of_split) = match args.eval {
        true => (Split::Valid, d.num_files_eval, steps.eval, 1),
        false => (Split::Train, train, steps.train, 0),
    };
    let listed = listed.map(|both| &both[of_split]);
    let files = listed.map_or(files, Names::len);
    let plan = DatasetPlan::new(&wire::dataset_spec(workload), split, files);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut job = JobOrder::new(wire::order(workload, split, files), ranks);
    let (mut runs, mut name) = (Vec::new(), String::new());
    for epoch in 1..=workload.train.epochs {
        job.advance(epoch);
        for rank in 0..ranks {
            let order = job.rank(rank);
            for step in 1..=limit.min(order.batches()) {
                runs.clear();
                order.batch(step - 1, &mut runs);
                for run in &runs {
                    name.clear();
                    match listed {
                        Some(names) => {
                            name += &format!("{}/{}", split.folder(), names.get(run.file))
                        }
                        None => plan.write_name(run.file, &mut name),
                    }
                    let quoted = serde_json::Value::from(name.as_str());
                    for sample in run.first..run.first + run.count {
                        writeln!(
                            out,
                            r#"{{"epoch":{epoch},"rank":{rank},"step":{step},"file":{quoted},"sample":{sample}}}"#
                        )?;
                    }
                }
            }
        }
    }
    out.flush()
}

/// What a job would do, by arithmetic alone. Bytes are nominal.
#[derive(Serialize)]
struct Plan<'a> {
    schema: &'static str,
    workload: &'a str,
    ranks: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<Dataset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    /// What rank 0 runs between saves and loads.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell_command: Option<&'a str>,
}

/// A dataset and the reading of it.
#[derive(Serialize)]
struct Dataset {
    format: String,
    files_train: u64,
    files_eval: u64,
    samples_per_file: u64,
    bytes_per_sample: u64,
    /// Of the training files.
    bytes: u64,
    epochs: u64,
    steps_per_epoch: u64,
    evaluation_steps: u64,
    samples_per_epoch: u64,
    samples_dropped: u64,
    bytes_per_epoch: u64,
    threads_per_rank: usize,
    batches_ahead: usize,
    /// Of the list of DLIO's own shuffle, a rank's.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_list_bytes: Option<u64>,
    /// Of one read call.
    transfer_size: u64,
    /// Read buffers of a rank, at most.
    buffer_bytes: u64,
}

/// A checkpoint of all ranks.
#[derive(Serialize)]
struct Checkpoint {
    bytes: u64,
    model_bytes: u64,
    optimizer_bytes: u64,
    parameters: u128,
    data_parallelism: u64,
    files: u64,
    ranks_that_write: usize,
    bytes_per_rank: Spread,
    rank_0_bytes: u64,
    rank_0_files: Vec<RankFile>,
    /// What DLIO's log would say.
    dlio_bytes: u64,
}

#[derive(Serialize)]
struct Spread {
    min: u64,
    median: u64,
    max: u64,
}

#[derive(Serialize)]
struct RankFile {
    name: String,
    bytes: u64,
    tensors: usize,
}

impl<'a> Plan<'a> {
    fn new(loaded: &'a Loaded, ranks: usize, checkpoint: Option<&CheckpointPlan>) -> Self {
        let w = &loaded.workload;
        let reads = w.workflow.train || w.workflow.generate_data || checkpoint.is_none();
        let command = w.checkpoint.between_phases.as_deref();
        Plan {
            schema: "dlio-rs/plan/1",
            workload: &loaded.name,
            ranks,
            dataset: reads.then(|| Dataset::of(w, ranks)),
            checkpoint: checkpoint.map(Checkpoint::of),
            shell_command: command.filter(|_| checkpoint.is_some()),
        }
    }

    fn text(&self) -> String {
        let mut lines = Lines::default();
        lines.add("workload", self.workload);
        lines.add("ranks", self.ranks);
        if let Some(dataset) = &self.dataset {
            dataset.lines(&mut lines);
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.lines(&mut lines);
        }
        if let Some(command) = self.shell_command {
            let command = command.escape_debug();
            lines.add(
                "shell command",
                format!(
                    "{command} (checkpoint.between_phases: rank 0 runs it between saves and loads)"
                ),
            );
        }
        lines.0
    }
}

impl Dataset {
    fn of(w: &Workload, ranks: usize) -> Self {
        let d = &w.dataset;
        let steps = Steps::new(&wire::steps(w), ranks);
        let files = d.num_files_generated.unwrap_or(d.num_files_train);
        let plan = DatasetPlan::new(&wire::dataset_spec(w), Split::Train, files);
        let sample = plan.sample_bytes_nominal();
        let shape = shape(w);
        let per_epoch = steps.train * w.reader.batch_size * ranks as u64;
        let transfer = w.reader.transfer_size.unwrap_or(8 << 20);
        let has_list = w.reader.order == OrderKind::Dlio && w.reader.file_shuffle != Shuffle::Off;
        Dataset {
            format: d.format.to_string(),
            files_train: d.num_files_train,
            files_eval: d.num_files_eval,
            samples_per_file: d.num_samples_per_file,
            bytes_per_sample: sample,
            bytes: sample * d.num_samples_per_file * d.num_files_train,
            epochs: w.train.epochs,
            steps_per_epoch: steps.train,
            evaluation_steps: if w.workflow.evaluation { steps.eval } else { 0 },
            samples_per_epoch: per_epoch,
            samples_dropped: steps.dropped,
            bytes_per_epoch: per_epoch * sample,
            threads_per_rank: shape.threads,
            batches_ahead: shape.window,
            // The list itself; during an exchange also what is sent and received of it.
            order_list_bytes: has_list.then(|| d.num_files_train / ranks as u64 * 4),
            transfer_size: transfer,
            buffer_bytes: shape.threads as u64 * transfer,
        }
    }

    fn lines(&self, lines: &mut Lines) {
        let gib = |bytes: u64| gib(bytes as f64);
        let mib = |bytes: u64| bytes as f64 / MIB;
        let (train, eval, format) = (self.files_train, self.files_eval, &self.format);
        let samples = self.samples_per_file;
        let all = format!("{train} + {eval} files x {samples} samples, {format}");
        let (per_epoch, dropped) = (self.samples_per_epoch, self.samples_dropped);
        let (threads, transfer) = (self.threads_per_rank, self.transfer_size);
        let loader = format!(
            "{threads} thread(s) per rank, {} batch(es) ahead",
            self.batches_ahead
        );
        lines.add("dataset", all);
        lines.add(
            "bytes per sample",
            format!("{} (nominal)", self.bytes_per_sample),
        );
        lines.add(
            "dataset size",
            format!("{:.3} GiB (train, nominal)", gib(self.bytes)),
        );
        lines.add("epochs", self.epochs);
        lines.add("steps per epoch", self.steps_per_epoch);
        lines.add("evaluation steps", self.evaluation_steps);
        lines.add(
            "samples per epoch",
            format!("{per_epoch} ({dropped} dropped as remainder)"),
        );
        lines.add(
            "bytes per epoch",
            format!("{:.3} GiB of samples", gib(self.bytes_per_epoch)),
        );
        lines.add("loader", loader);
        if let Some(list) = self.order_list_bytes {
            lines.add(
                "order list",
                format!("{:.1} MiB per rank, up to 5 times that between epochs (reader.order=permutation needs none)", mib(list)),
            );
        }
        lines.add(
            "memory budget",
            format!(
                "{:.1} MiB of read buffers per rank (at most; {threads} x {transfer} bytes)",
                mib(self.buffer_bytes)
            ),
        );
    }
}

impl Checkpoint {
    /// Every figure by arithmetic: none of the ranks is started.
    fn of(plan: &CheckpointPlan) -> Self {
        let t = plan.totals();
        let [min, median, max] = t.min_median_max();
        let files = plan.rank(0).files;
        Checkpoint {
            bytes: t.bytes(),
            model_bytes: t.model_bytes,
            optimizer_bytes: t.optimizer_bytes,
            parameters: plan.parameters(),
            data_parallelism: plan.data(),
            files: t.files,
            ranks_that_write: t.rank_bytes.iter().filter(|bytes| **bytes > 0).count(),
            bytes_per_rank: Spread { min, median, max },
            rank_0_bytes: t.rank_bytes.first().copied().unwrap_or(0),
            rank_0_files: (files.iter())
                .map(|file| RankFile {
                    name: file.name.clone(),
                    bytes: file.bytes(),
                    tensors: file.tensors.len(),
                })
                .collect(),
            dlio_bytes: t.dlio_bytes,
        }
    }

    fn lines(&self, lines: &mut Lines) {
        let size = |bytes: u64| format!("{bytes} bytes = {:.6} GiB", gib(bytes as f64));
        lines.add("checkpoint", size(self.bytes));
        lines.add("  model", size(self.model_bytes));
        lines.add("  optimizer", size(self.optimizer_bytes));
        lines.add("  parameters", self.parameters);
        lines.add("  data parallelism", self.data_parallelism);
        lines.add("  files", self.files);
        lines.add("  ranks that write", self.ranks_that_write);
        lines.add("  per rank, min", size(self.bytes_per_rank.min));
        lines.add("  per rank, median", size(self.bytes_per_rank.median));
        lines.add("  per rank, max", size(self.bytes_per_rank.max));
        lines.add("  rank 0", size(self.rank_0_bytes));
        for file in &self.rank_0_files {
            let (name, bytes, tensors) = (&file.name, file.bytes, file.tensors);
            lines.add(
                "    file",
                format!("{name} {bytes} bytes in {tensors} tensor(s)"),
            );
        }
        if self.dlio_bytes != self.bytes {
            lines.add("  DLIO reports", size(self.dlio_bytes));
        }
    }
}
