//! How ranks and hosts may be arranged, and where data and results may lie.

use super::facts::Facts;
use super::tables::{Llm, SUBSET_RANKS, accelerator_memory_gb};
use crate::config::StorageType;
use crate::mlperf::Edition;
use crate::mlperf::leaf::Kind;
use crate::mlperf::size::ranks_of_hosts;
use crate::mlperf::verdict::{Finding, Original, Standing};

/// Every rule of this file.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut out = match facts.kind {
        Kind::TrainingRun => training(facts),
        Kind::Checkpointing => checkpointing(facts),
        _ => Vec::new(),
    };
    out.extend(separation(facts));
    out
}

const MISSING: &str = "missing: accelerators and hosts (--accelerators, --hosts; summary.json num_accelerators, num_hosts)";

fn training(facts: &Facts) -> Vec<Finding> {
    let few = ("3.3.3", "trainingSingleHostSimulatedAccelerators");
    let even = ("3.3.6", "trainingIdenticalAcceleratorsPerNode");
    let (Some(n), Some(hosts)) = (facts.accelerators, facts.hosts) else {
        return vec![
            Finding::skip(few.0, few.1, MISSING),
            Finding::skip(even.0, even.1, MISSING),
        ];
    };
    let mut out = Vec::new();
    if hosts == 1 {
        let what = format!("{n} accelerator(s) on a single host");
        out.push(if n < 4 {
            Finding::warn(few.0, few.1, format!("{what}; 4 are the least"))
                .remedy("start at least 4 ranks")
                .original(Original::Warning.in_v3(facts.edition))
        } else {
            Finding::pass(few.0, few.1, what)
        });
    }
    let what = match &facts.ranks_of_hosts {
        Some(ranks) => format!("{n} accelerators on {hosts} host(s): {ranks:?}"),
        None => format!("{n} accelerators on {hosts} host(s)"),
    };
    let is_even = match &facts.ranks_of_hosts {
        Some(ranks) => ranks.windows(2).all(|pair| pair[0] == pair[1]),
        None => n % hosts == 0,
    };
    out.push(if is_even {
        Finding::pass(even.0, even.1, what)
    } else {
        Finding::fail(even.0, even.1, format!("{what}: not equal"))
            .remedy(even_remedy(n, hosts))
            .original(Original::Violation.in_v3(facts.edition))
    });
    out
}

/// The numbers next to `n` that share evenly among the hosts, where they are numbers of a job.
fn even_remedy(n: u64, hosts: u64) -> String {
    let below = (n / hosts * hosts).to_string();
    let above = (n / hosts + 1).checked_mul(hosts);
    let numbers: Vec<String> = (n >= hosts)
        .then_some(below)
        .into_iter()
        .chain(above.map(|n| n.to_string()))
        .collect();
    format!(
        "start {} accelerators, the same number on each host",
        numbers.join(" or ")
    )
}

fn checkpointing(facts: &Facts) -> Vec<Finding> {
    let Some(llm) = facts.model.as_deref().and_then(Llm::named) else {
        return Vec::new();
    };
    let Some(n) = facts.accelerators else {
        let missing =
            "missing: the number of processes (--accelerators; summary.json num_accelerators)";
        return vec![Finding::skip(
            "4.6.1",
            "checkpointClosedMpiProcesses",
            missing,
        )];
    };
    let mut out = vec![processes(facts, llm, n)];
    out.extend(subset(facts, llm, n));
    out.push(accelerator_memory(facts, llm, n));
    out.push(per_host(facts, n));
    out
}

/// What so many processes qualify for.
pub fn standing_of_ranks(edition: Edition, llm: &Llm, n: u64) -> Standing {
    let is_subset = n == SUBSET_RANKS && edition == Edition::V2;
    // Counted in the tool's table as ranks of a replica: 8 for 8B, though its tensors are not split.
    match n {
        n if n == llm.closed_ranks || is_subset => Standing::Closed,
        n if n > 0 && n.is_multiple_of(llm.ranks_per_replica) => Standing::Open,
        _ => Standing::Invalid,
    }
}

fn processes(facts: &Facts, llm: &Llm, n: u64) -> Finding {
    let (rule, name) = ("4.6.1", "checkpointClosedMpiProcesses");
    let closed = llm.closed_ranks;
    let what = format!("{n} process(es) for {}", llm.name);
    let standing = standing_of_ranks(facts.edition, llm, n);
    if standing == Standing::Closed {
        let how = if n == closed {
            "CLOSED"
        } else {
            "a subset of v2.0"
        };
        return Finding::pass(rule, name, format!("{what}: the number of {how}"))
            .standing(Standing::Closed);
    }
    let step = llm.ranks_per_replica;
    let wanted = match facts.edition {
        Edition::V2 => format!("{SUBSET_RANKS} or {closed}"),
        Edition::V3 => closed.to_string(),
    };
    let original = match facts.edition {
        // It starts any number.
        Edition::V2 => Original::Silent,
        Edition::V3 => Original::Says(standing),
    };
    if standing == Standing::Open {
        Finding::info(
            "4.6.4",
            "checkpointOpenScaling",
            format!("{what}: CLOSED has {wanted}; a multiple of {step} is OPEN"),
        )
        .standing(standing)
        .original(original)
    } else {
        Finding::fail(
            rule,
            name,
            format!("{what}: CLOSED has {wanted}, OPEN a multiple of {step}"),
        )
        .remedy(format!("start {closed} processes, or a multiple of {step}"))
        .standing(standing)
        .original(original)
    }
}

/// Whether an edition has subsets of so many processes.
pub fn is_subset_allowed(edition: Edition, llm: &Llm, n: u64) -> bool {
    n == SUBSET_RANKS
        && match edition {
            Edition::V2 => true,
            Edition::V3 => llm.name == "llama3-8b",
        }
}

fn subset(facts: &Facts, llm: &Llm, n: u64) -> Option<Finding> {
    let (rule, name) = ("4.3.5", "checkpointSubset");
    let mode = facts
        .parameter("checkpoint.mode")
        .and_then(|mode| mode.as_str());
    let data = llm.replicas();
    if mode != Some("subset") {
        if n >= llm.closed_ranks {
            return None;
        }
        let what = format!(
            "{n} processes in default mode: a smaller job, not a part of the one of {}",
            llm.closed_ranks
        );
        // Where eight processes count as a subset, they must be one.
        return Some(if n == SUBSET_RANKS && facts.edition == Edition::V2 {
            Finding::fail(rule, name, what)
                .remedy(format!(
                    "checkpoint.mode=subset model.parallelism.data={data}"
                ))
                .standing(Standing::Invalid)
        } else {
            Finding::info(rule, name, what)
        });
    }
    let has = facts
        .parameter("model.parallelism.data")
        .map_or_else(|| "not set".into(), ToString::to_string);
    let what = format!(
        "subset of {n} processes of {}, model.parallelism.data {has} (the tool sets {data})",
        llm.name
    );
    Some(if is_subset_allowed(facts.edition, llm, n) {
        Finding::pass(rule, name, what)
    } else {
        let allowed = match facts.edition {
            Edition::V2 => "v2.0 knows subsets of 8 processes".to_owned(),
            Edition::V3 => {
                "v3.0 allows a subset for llama3-8b with 8 processes only; published rows of larger models were withdrawn".to_owned()
            }
        };
        Finding::fail(rule, name, format!("{what}: {allowed}"))
            .remedy(format!(
                "start {} processes without checkpoint.mode=subset",
                llm.closed_ranks
            ))
            .standing(Standing::Invalid)
    })
}

fn accelerator_memory(facts: &Facts, llm: &Llm, n: u64) -> Finding {
    let (rule, name) = ("4.3.4", "aggregateAcceleratorMemory");
    // A part of the job needs a part of the memory.
    let of = if n == SUBSET_RANKS && n < llm.closed_ranks {
        llm.closed_ranks
    } else {
        n
    };
    let gb = facts
        .accelerator
        .as_deref()
        .and_then(accelerator_memory_gb)
        .unwrap_or(80);
    let has = of.saturating_mul(gb);
    let what = format!(
        "{of} x {gb} GB = {has} GB of accelerator memory, checkpoint of {} GB",
        llm.size_gb
    );
    if has >= llm.size_gb {
        Finding::pass(rule, name, what)
    } else {
        Finding::fail(rule, name, what)
            .remedy(format!(
                "start at least {} processes",
                llm.size_gb.div_ceil(gb)
            ))
            .original(Original::Violation.in_v3(facts.edition))
    }
}

fn per_host(facts: &Facts, n: u64) -> Finding {
    let (rule, name) = ("4.6.2", "acceleratorsPerHost");
    let ranks = match (&facts.ranks_of_hosts, facts.hosts) {
        (Some(ranks), _) => ranks.clone(),
        (None, Some(hosts)) if hosts <= 1 << 20 => ranks_of_hosts(n, hosts),
        _ => {
            return Finding::skip(
                rule,
                name,
                "missing: hosts (--hosts; summary.json num_hosts)",
            );
        }
    };
    let least = ranks.iter().min().copied().unwrap_or(0);
    let what = format!("{least} process(es) on the host with the fewest");
    // The table of the same document says at least 4.
    let finding = match (facts.edition, least) {
        (_, 5..) | (Edition::V2, 4) => Finding::pass(rule, name, what),
        (Edition::V3, 4) => Finding::warn(
            rule,
            name,
            format!("{what}: the rule says more than 4, the table beside it at least 4"),
        )
        .remedy("use fewer hosts"),
        _ => Finding::fail(rule, name, format!("{what}: at least 4 are needed"))
            .remedy("use fewer hosts, or start more processes"),
    };
    finding.original(Original::Dead.in_v3(facts.edition))
}

/// Results must not lie on the file system that is measured.
fn separation(facts: &Facts) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt;
    let (rule, name) = match facts.kind {
        Kind::Checkpointing => ("4.4.2", "checkpointFilesystemCheck"),
        Kind::TrainingRun => ("3.4.2", "trainingFilesystemCheck"),
        _ => return None,
    };
    let (data, results) = facts.folders.as_ref()?;
    let kind = facts
        .typed
        .as_ref()
        .ok()
        .map(|w| w.storage_type_effective());
    if matches!(kind, Some(StorageType::Null | StorageType::Model)) {
        return None;
    }
    let device = |folder: &std::path::Path| {
        // The nearest folder above that exists: neither need be made yet.
        let folder = std::path::absolute(folder).ok()?;
        folder
            .ancestors()
            .find_map(|above| std::fs::metadata(above).ok())
            .map(|meta| meta.dev())
    };
    let is_object = data.to_string_lossy().contains("://")
        || facts
            .typed
            .as_ref()
            .is_ok_and(|w| w.dataset.data_folder.contains("://"));
    if is_object {
        return Some(Finding::pass(
            rule,
            name,
            "data lies in an object store: not asked there",
        ));
    }
    let shown = format!(
        "data in {}, results in {}",
        data.display(),
        results.display()
    );
    Some(match (device(data), device(results)) {
        (Some(a), Some(b)) if a == b && facts.edition == Edition::V2 => Finding::info(
            rule,
            name,
            format!("{shown}: the same file system, which v3.0 refuses"),
        ),
        (Some(a), Some(b)) if a == b => {
            Finding::fail(rule, name, format!("{shown}: the same file system"))
                .remedy("name a folder of results on another file system (--output)")
                .original(Original::Violation.in_v3(facts.edition))
        }
        (Some(_), Some(_)) => Finding::pass(rule, name, format!("{shown}: different file systems")),
        _ => Finding::skip(rule, name, format!("{shown}: one cannot be looked at")),
    })
}
