//! `dlio-rs size`: the dataset or the checkpoints that the rules of MLPerf Storage demand, and how to make them.

use clap::Args;
use serde::{Serialize, Serializer};

use super::commands::{Commands, Job};
use super::output::{self, Format, Lines};
use super::words::WorkloadArgs;
use super::{Result, Stop};
use crate::config::{CheckpointMode, Loaded, Workload};
use crate::mlperf::NOT_CLOSED;
use crate::mlperf::editions::{Edition, Llm};
use crate::mlperf::facts::{Facts, Inputs};
use crate::mlperf::rules::checkpointing::{CacheNeed, bytes_of_hosts, standing_of_processes};
use crate::mlperf::rules::dataset;
use crate::mlperf::size::{
    DatasetSize, GIB, Ratio, Term, memory_of_hosts, ranks_of_hosts, subfolders,
};
use crate::mlperf::verdict::Standing;
use crate::plan::checkpoint::CheckpointPlan;

/// How large for what.
#[derive(Debug, Clone, Args)]
pub struct SizeArgs {
    /// Which workload.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Simulated accelerators (ranks) of the largest run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub accelerators: u64,
    /// Hosts that run them
    #[arg(long, value_name = "H", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub hosts: u64,
    /// Memory of each host, GiB
    #[arg(long, value_name = "GIB", value_parser = gib)]
    pub host_memory_gib: Gib,
    /// Whose rules
    #[arg(long, value_name = "EDITION", default_value = "v3.0")]
    pub edition: Edition,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// A number of GiB, as typed and exactly.
#[derive(Debug, Clone)]
pub struct Gib {
    /// As typed.
    pub text: String,
    /// Exactly.
    pub value: Ratio,
}

/// Errors: no number above 0.
pub(super) fn gib(text: &str) -> Result<Gib, String> {
    match Ratio::decimal(text) {
        Some(value) if !value.is_zero() => Ok(Gib {
            text: text.to_owned(),
            value,
        }),
        _ => Err("a number of GiB above 0 is expected, such as 512".into()),
    }
}

/// What is printed.
#[derive(Serialize)]
struct Size {
    schema: &'static str,
    edition: Edition,
    not_closed: &'static str,
    workload: String,
    accelerators: u64,
    hosts: u64,
    /// As typed.
    host_memory_gib: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<Dataset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    commands: Commands,
}

/// A whole number; text where JSON's 64 bits do not hold it.
#[derive(Clone, Copy)]
struct Whole(u128);

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            Ok(n) => s.serialize_u64(n),
            Err(_) => s.collect_str(&self.0),
        }
    }
}

#[derive(Serialize)]
struct TermFacts {
    value: f64,
    floor: Whole,
    ceil: Whole,
    formula: String,
}

#[derive(Serialize)]
struct Dataset {
    by_memory: TermFacts,
    by_steps: TermFacts,
    decided_by: Term,
    num_files_train: Whole,
    /// By mlpstorage v2.0 to 3.0.42.
    num_files_train_floor: Whole,
    total_bytes: Whole,
    bytes_per_host: Whole,
    record_length_bytes: f64,
    record_length_bytes_dlio: f64,
    /// 0: none advised.
    num_subfolders_train: Whole,
    steps_per_epoch: Whole,
    #[serde(skip)]
    record: String,
}

#[derive(Serialize)]
struct Checkpoint {
    bytes: u64,
    files: u64,
    bytes_per_rank_max: u64,
    bytes_per_host: Vec<u64>,
    bytes_written: Whole,
    host_memory_x3_bytes: Whole,
    caches_must_be_emptied: bool,
    #[serde(skip)]
    processes: Option<String>,
    #[serde(skip)]
    need: CacheNeed,
    #[serde(skip)]
    writes: u128,
}

/// Prints the sizes.
pub(super) fn print(loaded: &Loaded, args: &SizeArgs) -> Result<()> {
    if args.hosts > args.accelerators {
        return Err(Stop::usage(format!(
            "size: --hosts {} is more than --accelerators {}: a host would have no rank\n  remedy: name at most {} host(s)",
            args.hosts, args.accelerators, args.accelerators
        )));
    }
    let (dataset, checkpoint, commands) = if loaded.workload.is_checkpoint_only() {
        let (checkpoint, commands) = checkpoint(loaded, args)?;
        (None, Some(checkpoint), commands)
    } else {
        let dataset = training(loaded, args)?;
        let (files, folders) = (dataset.num_files_train.0, dataset.num_subfolders_train.0);
        let commands = Commands::training(loaded, &job(args), files, folders);
        (Some(dataset), None, commands)
    };
    let size = Size {
        schema: "dlio-rs/size/2",
        edition: args.edition,
        not_closed: NOT_CLOSED,
        workload: loaded.name.clone(),
        accelerators: args.accelerators,
        hosts: args.hosts,
        host_memory_gib: args.host_memory_gib.text.clone(),
        dataset,
        checkpoint,
        commands,
    };
    output::print(args.format, &size, text)
}

fn job(args: &SizeArgs) -> Job<'_> {
    Job {
        workload: &args.workload,
        accelerators: args.accelerators,
        hosts: args.hosts,
    }
}

fn inputs(args: &SizeArgs) -> Inputs {
    Inputs {
        accelerators: Some(args.accelerators),
        hosts: Some(args.hosts),
        gib_per_host: Some(args.host_memory_gib.value),
        ..Inputs::default()
    }
}

/// The end of an error of a size.
const LOWER: &str = "\n  remedy: correct --accelerators, --hosts, --host-memory-gib, or dataset and reader.batch_size of the workload";

fn training(loaded: &Loaded, args: &SizeArgs) -> Result<Dataset> {
    let facts = Facts::before(loaded, &inputs(args), args.edition);
    let failed = |why: &str| Stop::usage(format!("compute the size: {why}{LOWER}"));
    let too_large = || failed("the numbers are too large");
    if facts.memory.is_none() {
        return Err(too_large());
    }
    let size = dataset::size(&facts).map_err(|e| failed(&e))?;
    let files = size.files();
    let bytes = size.bytes(files).ok_or_else(too_large)?;
    let term = |r: Ratio, formula: String| TermFacts {
        value: r.to_f64(),
        floor: Whole(r.floor()),
        ceil: Whole(r.ceil()),
        formula,
    };
    Ok(Dataset {
        by_memory: term(size.by_memory, size.by_memory_text()),
        by_steps: term(size.by_steps, size.by_steps_text()),
        decided_by: size.decided_by(),
        num_files_train: Whole(files),
        num_files_train_floor: Whole(size.files_floor()),
        total_bytes: Whole(bytes),
        bytes_per_host: Whole(bytes.div_ceil(u128::from(args.hosts))),
        record_length_bytes: size.need.record.harness.to_f64(),
        record_length_bytes_dlio: size.need.record.dlio.to_f64(),
        num_subfolders_train: Whole(subfolders(files)),
        steps_per_epoch: Whole(size.steps(files).unwrap_or(0)),
        record: record_text(&size),
    })
}

fn record_text(size: &DatasetSize) -> String {
    let record = size.need.record;
    let source = match record.from_columns {
        true => "the sum over dataset.parquet.columns",
        false => "dataset.record_length_bytes",
    };
    let (harness, dlio) = (record.harness, record.dlio);
    match harness == dlio {
        true => format!("{harness} bytes, {source}"),
        false => format!(
            "{harness} bytes by mlpstorage's formula ({source}); {dlio} bytes by DLIO's, which throughput is computed from"
        ),
    }
}

fn checkpoint(loaded: &Loaded, args: &SizeArgs) -> Result<(Checkpoint, Commands)> {
    let w = &loaded.workload;
    let model = Facts::before(loaded, &inputs(args), args.edition).model;
    let llm = model.as_deref().and_then(Llm::named);
    let ranks = args.accelerators as usize;
    let subset = subset_workload(w, llm, args);
    let w = subset.as_ref().unwrap_or(w);
    let processes = llm.map(|llm| processes_text(args, llm, w));
    let refused = |why: &dyn std::fmt::Display| match &processes {
        Some(processes) => Stop::usage(format!("{processes}: {why}")),
        None => Stop::usage(why),
    };
    crate::config::validate(w, ranks).map_err(|e| refused(&e))?;
    let plan = CheckpointPlan::new(&w.model, w.checkpoint.mode, ranks).map_err(|e| refused(&e))?;
    let totals = plan.totals();
    let hosts = ranks_of_hosts(args.accelerators, args.hosts);
    let of_hosts = bytes_of_hosts(&totals.rank_bytes, &hosts);
    let [_, _, rank_max] = totals.min_median_max();
    let writes = w.checkpoint.num_checkpoints_write.max(0) as u128;
    let memory = memory_of_hosts(args.host_memory_gib.value, 1).ok_or_else(|| {
        let what = "compute the size: --host-memory-gib is too large";
        Stop::usage(format!(
            "{what}\n  remedy: give the memory of one host, in GiB"
        ))
    })?;
    let need = CacheNeed::new(&of_hosts, writes, memory.ceil());
    let checkpoint = Checkpoint {
        bytes: totals.bytes(),
        files: totals.files,
        bytes_per_rank_max: rank_max,
        bytes_per_host: of_hosts,
        bytes_written: Whole(u128::from(totals.bytes()) * writes),
        host_memory_x3_bytes: Whole(need.threefold),
        caches_must_be_emptied: need.must_empty(),
        processes,
        need,
        writes,
    };
    let commands = Commands::checkpoint(&job(args), subset.as_ref());
    Ok((checkpoint, commands))
}

/// What the number of processes is by the rules; `w` as it is computed.
fn processes_text(args: &SizeArgs, llm: &Llm, w: &Workload) -> String {
    let (edition, n) = (args.edition, args.accelerators);
    let is_subset = w.checkpoint.mode == CheckpointMode::Subset;
    let what = match standing_of_processes(edition, llm, n) {
        _ if is_subset && !edition.rules().has_subset(llm, n) => {
            format!("a subset of {n} is INVALID in {edition} (4.3.5)")
        }
        Standing::Closed if is_subset => {
            format!("computed as a subset of the whole job, a category of {edition}")
        }
        Standing::Closed => format!("the number of CLOSED in {edition}"),
        Standing::Open => format!("{n} is OPEN in {edition}"),
        Standing::Invalid => format!("{n} is INVALID in {edition} (4.6.4)"),
    };
    format!(
        "{n}; CLOSED has {}, OPEN a multiple of {}: {what}",
        llm.closed_mpi_processes, llm.processes_per_instance
    )
}

/// The workload with what makes eight processes a subset of the job, where v2.0 counts them as one and it is not set yet.
fn subset_workload(w: &Workload, llm: Option<&Llm>, args: &SizeArgs) -> Option<Workload> {
    let llm = llm?;
    let is_part = args.accelerators < llm.closed_mpi_processes
        && args.edition == Edition::V2
        && args.edition.rules().has_subset(llm, args.accelerators);
    (is_part && w.model.parallelism.data < 0).then(|| {
        let mut w = w.clone();
        w.checkpoint.mode = CheckpointMode::Subset;
        w.model.parallelism.data = llm.instances() as i64;
        w
    })
}

fn bytes_text(bytes: u128) -> String {
    format!("{bytes} bytes = {:.3} GiB", bytes as f64 / GIB)
}

/// For people.
fn text(size: &Size) -> String {
    let mut lines = Lines::default();
    lines.add(
        "workload",
        format!("{}, rules of {}", size.workload, size.edition),
    );
    if let Some(dataset) = &size.dataset {
        dataset_lines(size, dataset, &mut lines);
    }
    if let Some(checkpoint) = &size.checkpoint {
        checkpoint_lines(checkpoint, &mut lines);
    }
    lines.0 + &size.commands.text() + NOT_CLOSED + "\n"
}

fn dataset_lines(size: &Size, d: &Dataset, lines: &mut Lines) {
    let (files, floor) = (d.num_files_train.0, d.num_files_train_floor.0);
    lines.add("by memory", &d.by_memory.formula);
    lines.add("by steps", &d.by_steps.formula);
    lines.add(
        "decided by",
        match d.decided_by {
            Term::Memory => "memory: five times that of all hosts",
            Term::Steps => "steps: 500 per epoch",
        },
    );
    lines.add("files", files);
    if floor != files {
        let text =
            format!("{floor} (mlpstorage v2.0 to 3.0.42; the validator of v3.0 wants {files})");
        lines.add("  rounded down", text);
    }
    let (total, per_host) = (d.total_bytes.0, d.bytes_per_host.0);
    let folders = match d.num_subfolders_train.0 {
        0 => "none needed (10000 files or fewer)".into(),
        n => format!("dataset.num_subfolders_train={n} is advised, in both commands"),
    };
    let (steps, ranks, hosts) = (d.steps_per_epoch.0, size.accelerators, size.hosts);
    lines.add(
        "total",
        format!("{} = {:.3} TB", bytes_text(total), total as f64 / 1e12),
    );
    lines.add(
        "per host",
        format!("{} on {hosts} host(s)", bytes_text(per_host)),
    );
    lines.add("record length", &d.record);
    lines.add("subfolders", folders);
    lines.add(
        "steps per epoch",
        format!("{steps} on each of {ranks} accelerators"),
    );
}

fn checkpoint_lines(c: &Checkpoint, lines: &mut Lines) {
    let size = |bytes: u64| bytes_text(u128::from(bytes));
    let least = c.bytes_per_host.iter().min().copied().unwrap_or(0);
    let most = c.bytes_per_host.iter().max().copied().unwrap_or(0);
    let per_host = match most - least {
        0 => size(most),
        _ => format!("{} to {}", size(least), size(most)),
    };
    if let Some(processes) = &c.processes {
        lines.add("processes", processes);
    }
    lines.add(
        "one checkpoint",
        format!("{} in {} files", size(c.bytes), c.files),
    );
    lines.add("  per rank, max", size(c.bytes_per_rank_max));
    lines.add("  per host", per_host);
    let (one, all) = (size(c.bytes), bytes_text(c.bytes_written.0));
    lines.add("all checkpoints", format!("{} x {one} = {all}", c.writes));
    let caches = match c.caches_must_be_emptied {
        true => "must",
        false => "need not",
    };
    let (memory, written) = (bytes_text(c.need.threefold), bytes_text(c.need.written));
    lines.add(
        "3 x host memory",
        format!(
            "{memory}; a host writes {written}: caches {caches} be emptied between writing and reading"
        ),
    );
}
