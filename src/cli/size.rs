//! `dlio-rs size`: the dataset or the checkpoints that the rules of MLPerf Storage demand, and how to make them.
//!
//! With `--json` one object: `schema` (1), `edition`, `not_closed`, `workload`, `accelerators`, `hosts`,
//! `host_memory_gib` (text, as typed), `commands` {`generate`?, `run`, `mlpstorage_v2` and `mlpstorage_v3`: a list each, empty where
//! that mlpstorage cannot run the same; then `mlpstorage_v2_why_not` and `mlpstorage_v3_why_not`: text}, and either
//!
//! - `dataset`: `by_memory` and `by_steps` {`value`, `floor`, `ceil`, `formula`}, `decided_by` memory | steps, `num_files_train` (of the
//!   edition: `ceil`), `num_files_train_floor` (v2.0 to 3.0.42), `total_bytes`, `bytes_per_host`, `record_length_bytes`,
//!   `record_length_bytes_dlio`, `num_subfolders_train` (0: none advised), `steps_per_epoch`; or
//! - `checkpoint`: `bytes`, `files`, `bytes_per_rank_max`, `bytes_per_host` (list), `bytes_written`, `host_memory_x3_bytes`,
//!   `caches_must_be_emptied`, `harness_gb`, `harness_gb_rank_0`.

use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::args::WorkloadArgs;
use super::commands::Commands;
use super::{Exit, Stop};
use crate::config::{CheckpointMode, Loaded, Workload};
use crate::mlperf::rules::checkpointing::{CacheNeed, bytes_of_hosts};
use crate::mlperf::rules::dataset;
use crate::mlperf::rules::facts::{Facts, Inputs};
use crate::mlperf::rules::hosts::{is_subset_allowed, standing_of_ranks};
use crate::mlperf::rules::tables::Llm;
use crate::mlperf::size::{
    DatasetSize, Ratio, Term, harness_checkpoint_gb, memory_of_hosts, ranks_of_hosts, subfolders,
};
use crate::mlperf::verdict::Standing;
use crate::mlperf::{Edition, NOT_CLOSED};
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
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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

/// Prints the sizes.
pub(super) fn print(loaded: &Loaded, args: &SizeArgs) -> Result<(), Stop> {
    if args.hosts > args.accelerators {
        return Err(Stop::usage(format!(
            "size: --hosts {} is more than --accelerators {}: a host would have no rank\n  remedy: name at most {} host(s)",
            args.hosts, args.accelerators, args.accelerators
        )));
    }
    let (text, value) = if loaded.workload.is_checkpoint_only() {
        checkpoint(loaded, args)?
    } else {
        training(loaded, args)?
    };
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{value:#}")
    } else {
        out.write_all(text.as_bytes())
    };
    written.map_err(|e| Stop {
        exit: Exit::Failed,
        message: format!("failed to write the size: {e}"),
    })
}

/// What both kinds of workload say.
fn common(loaded: &Loaded, args: &SizeArgs) -> Value {
    json!({
        "schema": 1,
        "edition": args.edition,
        "not_closed": NOT_CLOSED,
        "workload": loaded.name,
        "accelerators": args.accelerators,
        "hosts": args.hosts,
        "host_memory_gib": args.host_memory_gib.text,
    })
}

fn inputs(args: &SizeArgs) -> Inputs {
    Inputs {
        accelerators: Some(args.accelerators),
        hosts: Some(args.hosts),
        gib_per_host: Some(args.host_memory_gib.value),
        ..Inputs::default()
    }
}

fn gib_of(bytes: u128) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn training(loaded: &Loaded, args: &SizeArgs) -> Result<(String, Value), Stop> {
    let facts = Facts::before(loaded, &inputs(args), args.edition);
    let too_large = || Stop::usage("failed to compute the size: the numbers are too large");
    if facts.memory.is_none() {
        return Err(too_large());
    }
    let size = dataset::size(&facts)
        .map_err(|e| Stop::usage(format!("failed to compute the size: {e}")))?;
    let files = size.files();
    let floor = size.files_floor();
    let bytes = size.bytes(files).ok_or_else(too_large)?;
    let per_host = bytes.div_ceil(u128::from(args.hosts));
    let folders = subfolders(files);
    let steps = size.steps(files).unwrap_or(0);
    let commands = Commands::training(loaded, args, &facts, files, folders);

    let mut t = String::new();
    let mut line = |name: &str, text: String| {
        let _ = writeln!(t, "{name:<20} {text}");
    };
    line(
        "workload",
        format!("{}, rules of {}", loaded.name, args.edition),
    );
    line("by memory", size.by_memory_text());
    line("by steps", size.by_steps_text());
    line(
        "decided by",
        match size.decided_by() {
            Term::Memory => "memory: five times that of all hosts".into(),
            Term::Steps => "steps: 500 per epoch".into(),
        },
    );
    line("files", files.to_string());
    if floor != files {
        line(
            "  rounded down",
            format!("{floor} (mlpstorage v2.0 to 3.0.42; the validator of v3.0 wants {files})"),
        );
    }
    line(
        "total",
        format!(
            "{bytes} bytes = {:.3} GiB = {:.3} TB",
            gib_of(bytes),
            bytes as f64 / 1e12
        ),
    );
    line(
        "per host",
        format!(
            "{per_host} bytes = {:.3} GiB on {} host(s)",
            gib_of(per_host),
            args.hosts
        ),
    );
    line("record length", record_text(&size));
    line(
        "subfolders",
        if folders == 0 {
            "none needed (10000 files or fewer)".into()
        } else {
            format!("dataset.num_subfolders_train={folders} is advised, in both commands")
        },
    );
    line(
        "steps per epoch",
        format!("{steps} on each of {} accelerators", args.accelerators),
    );
    t += &commands.text();
    let _ = writeln!(t, "{NOT_CLOSED}");

    let term = |r: Ratio, formula: String| {
        json!({
            "value": r.to_f64(),
            "floor": number(r.floor()),
            "ceil": number(r.ceil()),
            "formula": formula,
        })
    };
    let mut value = common(loaded, args);
    value["dataset"] = json!({
        "by_memory": term(size.by_memory, size.by_memory_text()),
        "by_steps": term(size.by_steps, size.by_steps_text()),
        "decided_by": size.decided_by(),
        "num_files_train": number(files),
        "num_files_train_floor": number(floor),
        "total_bytes": number(bytes),
        "bytes_per_host": number(per_host),
        "record_length_bytes": size.need.record.harness.to_f64(),
        "record_length_bytes_dlio": size.need.record.dlio.to_f64(),
        "num_subfolders_train": number(folders),
        "steps_per_epoch": number(steps),
    });
    value["commands"] = commands.json();
    Ok((t, value))
}

/// A whole number, or text where JSON's 64 bits do not hold it.
fn number(n: u128) -> Value {
    u64::try_from(n).map_or_else(|_| Value::from(n.to_string()), Value::from)
}

fn record_text(size: &DatasetSize) -> String {
    let record = size.need.record;
    let source = if record.from_columns {
        "the sum over dataset.parquet.columns"
    } else {
        "dataset.record_length_bytes"
    };
    if record.harness == record.dlio {
        format!("{} bytes, {source}", record.harness)
    } else {
        format!(
            "{} bytes by mlpstorage's formula ({source}); {} bytes by DLIO's, which throughput is computed from",
            record.harness, record.dlio
        )
    }
}

fn checkpoint(loaded: &Loaded, args: &SizeArgs) -> Result<(String, Value), Stop> {
    let w = &loaded.workload;
    let model = Facts::before(loaded, &inputs(args), args.edition).model;
    let llm = model.as_deref().and_then(Llm::named);
    let ranks = args.accelerators as usize;
    let subset = subset_workload(w, llm, args);
    let w = subset.as_ref().unwrap_or(w);
    let refused = |why: &dyn std::fmt::Display| match llm {
        Some(llm) => Stop::usage(format!("{}: {why}", processes_text(args, llm, w))),
        None => Stop::usage(why),
    };
    crate::config::validate(w, ranks, ranks).map_err(|e| refused(&e))?;
    let plan = CheckpointPlan::new(w, ranks).map_err(|e| refused(&e))?;
    let totals = plan.totals();
    let of_hosts = bytes_of_hosts(
        &totals.rank_bytes,
        &ranks_of_hosts(args.accelerators, args.hosts),
    );
    let [_, _, rank_max] = totals.min_median_max();
    let writes = w.checkpoint.num_checkpoints_write.max(0) as u128;
    let least = of_hosts.iter().min().copied().unwrap_or(0);
    let most = of_hosts.iter().max().copied().unwrap_or(0);
    let memory = memory_of_hosts(args.host_memory_gib.value, 1)
        .ok_or_else(|| Stop::usage("failed to compute the size: --host-memory-gib is too large"))?
        .ceil();
    let need = CacheNeed::new(&of_hosts, writes, memory);
    let harness = llm.map(|llm| harness_checkpoint_gb(llm, args.accelerators));
    let commands = Commands::checkpoint(loaded, args, llm, subset.as_ref());

    let mut t = String::new();
    let mut line = |name: &str, text: String| {
        let _ = writeln!(t, "{name:<20} {text}");
    };
    let size = |bytes: u128| format!("{bytes} bytes = {:.3} GiB", gib_of(bytes));
    line(
        "workload",
        format!("{}, rules of {}", loaded.name, args.edition),
    );
    if let Some(llm) = llm {
        line("processes", processes_text(args, llm, w));
    }
    line(
        "one checkpoint",
        format!(
            "{} in {} files",
            size(u128::from(totals.bytes())),
            totals.files
        ),
    );
    line("  per rank, max", size(u128::from(rank_max)));
    line(
        "  per host",
        if least == most {
            size(u128::from(most))
        } else {
            format!("{} to {}", size(u128::from(least)), size(u128::from(most)))
        },
    );
    if let (Some(parts), Some(llm)) = (&harness, llm) {
        line(
            "by mlpstorage",
            format!(
                "{:.2} GB in all, {:.3} GB on rank 0 (its table: model {} GB, optimizer {} GB)",
                parts.iter().sum::<f64>(),
                parts.first().copied().unwrap_or(0.0),
                llm.model_gb,
                llm.optimizer_gb
            ),
        );
    }
    line(
        "all checkpoints",
        format!(
            "{writes} x {} = {}",
            size(u128::from(totals.bytes())),
            size(u128::from(totals.bytes()) * writes)
        ),
    );
    line(
        "3 x host memory",
        format!(
            "{}; a host writes {}: caches {} be emptied between writing and reading",
            size(need.threefold),
            size(need.written),
            if need.must_empty() {
                "must"
            } else {
                "need not"
            }
        ),
    );
    t += &commands.text();
    let _ = writeln!(t, "{NOT_CLOSED}");

    let mut value = common(loaded, args);
    value["checkpoint"] = json!({
        "bytes": totals.bytes(),
        "files": totals.files,
        "bytes_per_rank_max": rank_max,
        "bytes_per_host": of_hosts,
        "bytes_written": number(u128::from(totals.bytes()) * writes),
        "host_memory_x3_bytes": number(need.threefold),
        "caches_must_be_emptied": need.must_empty(),
        "harness_gb": harness.as_ref().map(|h| h.iter().sum::<f64>()),
        "harness_gb_rank_0": harness.as_ref().and_then(|h| h.first().copied()),
    });
    value["commands"] = commands.json();
    Ok((t, value))
}

/// What the number of processes is by the rules; `w` as it is computed.
fn processes_text(args: &SizeArgs, llm: &Llm, w: &Workload) -> String {
    let (edition, n) = (args.edition, args.accelerators);
    let is_subset = w.checkpoint.mode == CheckpointMode::Subset;
    let what = match (standing_of_ranks(edition, llm, n), edition) {
        (_, Edition::V3) if is_subset && !is_subset_allowed(edition, llm, n) => {
            format!("a subset of {n} is INVALID in {edition} (4.3.5)")
        }
        (Standing::Closed, Edition::V2) if is_subset => {
            format!("computed as a subset of the whole job, a category of {edition}")
        }
        (Standing::Closed, _) => format!("the number of CLOSED in {edition}"),
        (Standing::Open, _) => format!("{n} is OPEN in {edition}"),
        (Standing::Invalid, _) => format!("{n} is INVALID in {edition} (4.6.1)"),
    };
    format!(
        "{n}; CLOSED has {}, OPEN a multiple of {}: {what}",
        llm.closed_ranks, llm.ranks_per_replica
    )
}

/// The workload with what makes eight processes a subset of the job, where v2.0 counts them as one and it is not set yet.
fn subset_workload(w: &Workload, llm: Option<&Llm>, args: &SizeArgs) -> Option<Workload> {
    let llm = llm?;
    let is_part = args.accelerators < llm.closed_ranks
        && args.edition == Edition::V2
        && is_subset_allowed(args.edition, llm, args.accelerators);
    (is_part && w.model.parallelism.data < 0).then(|| {
        let mut w = w.clone();
        w.checkpoint.mode = CheckpointMode::Subset;
        w.model.parallelism.data = llm.replicas() as i64;
        w
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_number_above_zero() {
        assert_eq!(gib("376.4").unwrap().value, Ratio::new(3764, 10).unwrap());
        for bad in ["0", "-1", "x", ""] {
            assert!(gib(bad).is_err(), "{bad}");
        }
    }
}
