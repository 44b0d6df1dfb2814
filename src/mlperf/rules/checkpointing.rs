//! What a checkpointing run must have written and read.

use serde_json::Value;

use super::facts::Facts;
use super::parameters::{one_line, shown};
use super::tables::CHECKPOINTS;
use crate::mlperf::Edition;
use crate::mlperf::json::at;
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::size::{Ratio, ranks_of_hosts};
use crate::mlperf::verdict::{Finding, Original, Standing};
use crate::plan::checkpoint::CheckpointPlan;

/// Every rule of this file; none for training.
pub fn check(facts: &Facts) -> Vec<Finding> {
    if facts.kind != Kind::Checkpointing {
        return Vec::new();
    }
    vec![fsync(facts), counts(facts), data_size(facts)]
}

fn fsync(facts: &Facts) -> Finding {
    let (rule, name) = ("4.3.2", "checkpointFsyncVerification");
    if facts.parameter("checkpoint.fsync") == Some(&Value::Bool(true)) {
        return Finding::pass(rule, name, "checkpoint.fsync is true");
    }
    Finding::fail(
        rule,
        name,
        format!(
            "checkpoint.fsync is {}",
            shown(&facts.raw, "checkpoint.fsync")
        ),
    )
    .remedy("checkpoint.fsync=True")
    .original(Original::Violation.in_v3(facts.edition))
}

/// Checkpoints that the run writes and reads; None where they are no whole numbers.
pub fn written_and_read(parameters: &Value) -> Option<(i64, i64)> {
    let count = |key: &str| match at(parameters, key) {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_i64(),
        None => Some(0),
    };
    Some((
        count("checkpoint.num_checkpoints_write")?,
        count("checkpoint.num_checkpoints_read")?,
    ))
}

fn counts(facts: &Facts) -> Finding {
    let (rule, name) = ("4.7.1", "checkpointWriteReadCounts");
    match written_and_read(&facts.raw) {
        Some((w @ (0 | CHECKPOINTS), r @ (0 | CHECKPOINTS))) if w + r > 0 => {
            let half = if w.min(r) == 0 {
                ": one half of a pair of runs"
            } else {
                ""
            };
            Finding::pass(rule, name, format!("{w} written, {r} read{half}"))
        }
        Some((w, r)) => Finding::fail(
            rule,
            name,
            format!("{w} written, {r} read; the rules want {CHECKPOINTS}, or 0 in one of two runs"),
        )
        .remedy("checkpoint.num_checkpoints_write=10 checkpoint.num_checkpoints_read=10")
        .original(Original::Violation.in_v3(facts.edition)),
        None => Finding::fail(
            rule,
            name,
            format!(
                "checkpoint.num_checkpoints_write is {}, num_checkpoints_read is {}: no whole numbers",
                shown(&facts.raw, "checkpoint.num_checkpoints_write"),
                shown(&facts.raw, "checkpoint.num_checkpoints_read")
            ),
        )
        .remedy("set both to 10")
        .original(Original::Says(Standing::Invalid)),
    }
}

/// Every rank's bytes and files of one checkpoint, by the plan that a run follows. Err: why there is none.
pub(super) fn plan(facts: &Facts) -> Result<CheckpointPlan, String> {
    let workload = facts.typed.as_ref().map_err(Clone::clone)?;
    let ranks = facts.accelerators.ok_or("the number of processes")?;
    let ranks = usize::try_from(ranks).map_err(|e| e.to_string())?;
    if ranks == 0 || ranks > 1 << 20 {
        return Err(format!("{ranks} processes are none that a job has"));
    }
    CheckpointPlan::new(workload, ranks).map_err(|e| one_line(&e.to_string()))
}

/// Bytes of one checkpoint per host, hosts in blocks of ranks.
pub fn bytes_of_hosts(rank_bytes: &[u64], ranks_of_hosts: &[u64]) -> Vec<u64> {
    let mut rest = rank_bytes;
    ranks_of_hosts
        .iter()
        .map(|n| {
            let (own, others) = rest.split_at((*n as usize).min(rest.len()));
            rest = others;
            own.iter().sum()
        })
        .collect()
}

/// Three times a host's memory against what the host with the least writes; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheNeed {
    /// Of one checkpoint on the host with the least.
    pub least: u64,
    /// Of all checkpoints that the run writes, there.
    pub written: u128,
    /// Three times the memory of a host.
    pub threefold: u128,
}

impl CacheNeed {
    /// Bytes of one checkpoint per host, checkpoints that the run writes, bytes of a host's memory.
    pub fn new(bytes_of_hosts: &[u64], writes: u128, memory: u128) -> Self {
        let least = bytes_of_hosts.iter().min().copied().unwrap_or(0);
        CacheNeed {
            least,
            written: u128::from(least).saturating_mul(writes),
            threefold: memory.saturating_mul(3),
        }
    }

    /// True where memory may hold what was written: caches must be emptied between writing and reading.
    pub fn must_empty(self) -> bool {
        self.written < self.threefold
    }
}

fn data_size(facts: &Facts) -> Finding {
    let (rule, name) = ("4.3.1", "checkpointDataSizeRatio");
    let (Some(n), Some(hosts), Some(memory)) = (facts.accelerators, facts.hosts, &facts.memory)
    else {
        return Finding::skip(
            rule,
            name,
            "missing: accelerators, hosts or their memory (--accelerators, --hosts, --host-memory-gib; summary.json)",
        );
    };
    let plan = match plan(facts) {
        Ok(plan) => plan,
        Err(why) => return Finding::skip(rule, name, why),
    };
    let writes = written_and_read(&facts.raw).map_or(0, |(written, _)| written.max(0) as u128);
    let hosts = hosts.min(n.max(1));
    let ranks = facts
        .ranks_of_hosts
        .clone()
        .unwrap_or_else(|| ranks_of_hosts(n, hosts));
    let per_host = memory
        .bytes
        .over(Ratio::whole(u128::from(hosts)))
        .map_or(0, Ratio::ceil);
    let of_hosts = bytes_of_hosts(&plan.totals().rank_bytes, &ranks);
    let need = CacheNeed::new(&of_hosts, writes, per_host);
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    let what = format!(
        "{writes} checkpoints x {:.1} GiB = {:.1} GiB written on the host with the least; 3 x {:.1} GiB memory = {:.1} GiB",
        gib(u128::from(need.least)),
        gib(need.written),
        gib(per_host),
        gib(need.threefold)
    );
    if need.must_empty() {
        Finding::warn(
            rule,
            name,
            format!("{what}: caches must be emptied between writing and reading"),
        )
        .remedy("checkpoint.between_phases or reader.drop_cache=system, or two runs with caches emptied in between")
        .original(Original::Warning.in_v3(facts.edition))
    } else {
        Finding::pass(rule, name, what)
    }
}

/// What the files of a run say of its checkpoints.
pub fn after(leaf: &Leaf, edition: Edition) -> Vec<Finding> {
    let (rule, name) = ("report", "checkpointMetrics");
    let Some((written, read)) = leaf.parameters().and_then(written_and_read) else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    for (count, word) in [(written, "save"), (read, "load")] {
        if count <= 0 {
            continue;
        }
        for key in ["io_mean_GB_per_second", "duration_mean_seconds"] {
            let key = format!("{word}_checkpoint_{key}");
            if leaf.metric(&key).is_none() {
                missing.push(key);
            }
        }
    }
    vec![if missing.is_empty() {
        Finding::pass(rule, name, "every published number is there")
    } else {
        Finding::fail(
            rule,
            name,
            format!("summary.json lacks metric {}", missing.join(", ")),
        )
        .remedy("run again: a run that ends before its last checkpoint leaves no numbers")
        .original(match edition {
            // It copies what it finds.
            Edition::V2 => Original::Silent,
            Edition::V3 => Original::Says(Standing::Invalid),
        })
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_hold_blocks_of_ranks() {
        assert_eq!(bytes_of_hosts(&[1, 2, 3, 4, 5], &[3, 2]), [6, 9]);
        assert_eq!(bytes_of_hosts(&[1], &[1, 1]), [1, 0]);
    }

    #[test]
    fn the_host_with_the_least_decides() {
        let need = CacheNeed::new(&[40, 30], 10, 100);
        assert_eq!((need.written, need.threefold), (300, 300));
        assert!(!need.must_empty());
        assert!(CacheNeed::new(&[40, 29], 10, 100).must_empty());
        assert!(CacheNeed::new(&[40, 30], 0, 100).must_empty());
    }

    #[test]
    fn counts_are_numbers_or_text() {
        let of = |w: Value, r: Value| {
            written_and_read(
                &json!({"checkpoint": {"num_checkpoints_write": w, "num_checkpoints_read": r}}),
            )
        };
        assert_eq!(of(json!(10), json!("0")), Some((10, 0)));
        assert_eq!(of(json!([1]), json!(1)), None);
        assert_eq!(of(json!(1.5), json!(1)), None);
        assert_eq!(written_and_read(&json!({})), Some((0, 0)));
    }
}
