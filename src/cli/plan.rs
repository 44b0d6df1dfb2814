//! `dlio-rs plan`: what every rank will read, without running anything.

use std::io::{BufWriter, Write};

use super::args::PlanArgs;
use super::{Exit, Stop};
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
pub(super) fn print(loaded: &Loaded, args: &PlanArgs) -> Result<(), Stop> {
    let ranks = args.ranks as usize;
    let loaded = &super::sized(loaded, ranks)?;
    let workload = &loaded.workload;
    for warning in preflight(loaded, ranks, ranks).map_err(Stop::usage)? {
        say(&format!("warning: {warning}"));
    }
    let checkpoint = if workload.workflow.checkpoint {
        Some(
            CheckpointPlan::new(&workload.model, workload.checkpoint.mode, ranks)
                .map_err(Stop::usage)?,
        )
    } else {
        None
    };
    let is_listed = args.order && workload.dataset.listing && workload.storage_system().has_bytes;
    let listed = is_listed.then(|| listed(workload)).transpose()?;
    let written = if args.order {
        order(loaded, args, ranks, listed.as_ref())
    } else {
        totals(loaded, ranks, checkpoint.as_ref())
    };
    written.map_err(|e| Stop {
        exit: Exit::Failed,
        message: format!("failed to write the plan: {e}"),
    })
}

/// The names of a dataset that is listed: the one plan that looks at the storage system.
fn listed(workload: &Workload) -> Result<[Names; 2], Stop> {
    names::of(workload).map_err(|e| Stop {
        exit: Exit::Failed,
        message: format!("failed to {e}"),
    })
}

fn order(
    loaded: &Loaded,
    args: &PlanArgs,
    ranks: usize,
    listed: Option<&[Names; 2]>,
) -> std::io::Result<()> {
    let workload = &loaded.workload;
    let d = &workload.dataset;
    let (split, files) = if args.eval {
        (Split::Valid, d.num_files_eval)
    } else {
        (
            Split::Train,
            d.num_files_generated.unwrap_or(d.num_files_train),
        )
    };
    let listed = listed.map(|[train, valid]| if args.eval { valid } else { train });
    let files = listed.map_or(files, Names::len);
    let steps = Steps::new(&wire::steps(workload), ranks);
    let limit = if args.eval { steps.eval } else { steps.train };
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
                            name.push_str(split.folder());
                            name.push('/');
                            name.push_str(names.get(run.file));
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

fn totals(
    loaded: &Loaded,
    ranks: usize,
    checkpoint: Option<&CheckpointPlan>,
) -> std::io::Result<()> {
    let w = &loaded.workload;
    let mut out = std::io::stdout().lock();
    writeln!(out, "workload             {}", loaded.name)?;
    writeln!(out, "ranks                {ranks}")?;
    if w.workflow.train || w.workflow.generate_data || checkpoint.is_none() {
        dataset_totals(&mut out, loaded, ranks)?;
    }
    let Some(plan) = checkpoint else {
        return Ok(());
    };
    checkpoint_totals(&mut out, plan)?;
    if let Some(command) = &w.checkpoint.between_phases {
        let command = command.escape_debug();
        writeln!(
            out,
            "shell command        {command} (checkpoint.between_phases: rank 0 runs it between saves and loads)"
        )?;
    }
    Ok(())
}

/// The checkpoint of the job: every figure by arithmetic, none of the ranks is started.
fn checkpoint_totals(out: &mut impl Write, plan: &CheckpointPlan) -> std::io::Result<()> {
    let t = plan.totals();
    let mut line = |name: &str, text: String| writeln!(out, "{name:<20} {text}");
    let size = |bytes: u64| format!("{bytes} bytes = {:.6} GiB", gib(bytes as f64));
    line("checkpoint", size(t.bytes()))?;
    line("  model", size(t.model_bytes))?;
    line("  optimizer", size(t.optimizer_bytes))?;
    line("  parameters", plan.parameters().to_string())?;
    line("  data parallelism", plan.data().to_string())?;
    line("  files", t.files.to_string())?;
    let [min, median, max] = t.min_median_max();
    let writers = t.rank_bytes.iter().filter(|bytes| **bytes > 0).count();
    line("  ranks that write", writers.to_string())?;
    line("  per rank, min", size(min))?;
    line("  per rank, median", size(median))?;
    line("  per rank, max", size(max))?;
    line("  rank 0", size(t.rank_bytes.first().copied().unwrap_or(0)))?;
    for file in plan.rank(0).files {
        let tensors = file.tensors.len();
        line(
            "    file",
            format!(
                "{} {} bytes in {tensors} tensor(s)",
                file.name,
                file.bytes()
            ),
        )?;
    }
    if t.dlio_bytes != t.bytes() {
        line("  DLIO reports", size(t.dlio_bytes))?;
    }
    Ok(())
}

fn dataset_totals(out: &mut impl Write, loaded: &Loaded, ranks: usize) -> std::io::Result<()> {
    let w = &loaded.workload;
    let d = &w.dataset;
    let steps = Steps::new(&wire::steps(w), ranks);
    let plan = DatasetPlan::new(
        &wire::dataset_spec(w),
        Split::Train,
        d.num_files_generated.unwrap_or(d.num_files_train),
    );
    let sample = plan.sample_bytes_nominal();
    let shape = shape(w);
    let per_epoch = steps.train * w.reader.batch_size * ranks as u64;
    let transfer = w.reader.transfer_size.unwrap_or(8 << 20);
    writeln!(
        out,
        "dataset              {} + {} files x {} samples, {}",
        d.num_files_train, d.num_files_eval, d.num_samples_per_file, d.format
    )?;
    writeln!(out, "bytes per sample     {sample} (nominal)")?;
    writeln!(
        out,
        "dataset size         {:.3} GiB (train, nominal)",
        gib((sample * d.num_samples_per_file * d.num_files_train) as f64)
    )?;
    writeln!(out, "epochs               {}", w.train.epochs)?;
    writeln!(out, "steps per epoch      {}", steps.train)?;
    writeln!(
        out,
        "evaluation steps     {}",
        if w.workflow.evaluation { steps.eval } else { 0 }
    )?;
    writeln!(
        out,
        "samples per epoch    {per_epoch} ({} dropped as remainder)",
        steps.dropped
    )?;
    writeln!(
        out,
        "bytes per epoch      {:.3} GiB of samples",
        gib((per_epoch * sample) as f64)
    )?;
    writeln!(
        out,
        "loader               {} thread(s) per rank, {} batch(es) ahead",
        shape.threads, shape.window
    )?;
    if w.reader.order == OrderKind::Dlio && w.reader.file_shuffle != Shuffle::Off {
        // The list itself, and during an exchange what is sent and received of it.
        let list = d.num_files_train / ranks as u64 * 4;
        writeln!(
            out,
            "order list           {:.1} MiB per rank, up to 5 times that between epochs (reader.order=permutation needs none)",
            list as f64 / MIB
        )?;
    }
    writeln!(
        out,
        "memory budget        {:.1} MiB of read buffers per rank (at most; {} x {} bytes)",
        (shape.threads as u64 * transfer) as f64 / MIB,
        shape.threads,
        transfer
    )
}
