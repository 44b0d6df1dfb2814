//! How a checkpointing run may be arranged, and what it must have written and read: rules 4.3.1 to 4.3.6, 4.6.1, 4.6.2,
//! 4.6.4 and 4.7.1.

use crate::mlperf::editions::{CHECKPOINTS, Edition, Llm, SUBSET_PROCESSES, accelerator_memory_gb};
use crate::mlperf::facts::{Facts, one_line};
use crate::mlperf::foreign::{Loose, Parameters};
use crate::mlperf::leaf::Leaf;
use crate::mlperf::ratio::Ratio;
use crate::mlperf::size::{GIB, ranks_of_hosts};
use crate::mlperf::verdict::{Found, Standing};
use crate::plan::checkpoint::CheckpointPlan;

const PROCESSES: &str = "the number of processes (--accelerators; summary.json num_accelerators)";

/// Rule 4.3.3.
pub(super) fn model(facts: &Facts, out: &mut Found) {
    let model = facts.model.as_deref().unwrap_or("a model without a name");
    match Llm::named(model) {
        Some(_) => out.pass(model),
        None => out.invalid(format!("{model} is none of {}", Llm::names().join(", "))),
    };
}

/// Rule 4.3.2. Text is no truth value of DLIO's.
pub(super) fn fsync(facts: &Facts, out: &mut Found) {
    let fsync = &facts.parameters.checkpoint.fsync;
    out.holds(fsync.0 == true, format!("checkpoint.fsync is {fsync}"));
}

/// Checkpoints that a run writes and reads; None where they are no whole numbers.
pub(super) fn written_and_read(parameters: &Parameters) -> Option<(u64, u64)> {
    let count = |value: &Loose| match value.is_set() {
        true => value.whole(),
        false => Some(0),
    };
    let c = &parameters.checkpoint;
    count(&c.num_checkpoints_write).zip(count(&c.num_checkpoints_read))
}

/// Rule 4.7.1, of one run.
pub(super) fn counts(facts: &Facts, out: &mut Found) {
    match written_and_read(&facts.parameters) {
        Some((w @ (0 | CHECKPOINTS), r @ (0 | CHECKPOINTS))) if w + r > 0 => {
            let half = match w.min(r) {
                0 => ": one half of a pair of runs",
                _ => "",
            };
            out.pass(format!("{w} written, {r} read{half}"))
        }
        Some((w, r)) => out.fail(format!(
            "{w} written, {r} read; {CHECKPOINTS} each are expected, or 0 in one of two runs"
        )),
        None => {
            let c = &facts.parameters.checkpoint;
            let (w, r) = (&c.num_checkpoints_write, &c.num_checkpoints_read);
            out.fail(format!(
                "num_checkpoints_write is {w}, num_checkpoints_read is {r}; whole numbers are expected"
            ))
        }
    };
}

/// Every rank's bytes and files of one checkpoint, by the plan that a run follows. Err: why there is none.
pub(super) fn plan(facts: &Facts) -> Result<CheckpointPlan, String> {
    let workload = facts.typed.as_ref().map_err(Clone::clone)?;
    let ranks = facts.accelerators.ok_or(PROCESSES)?;
    if ranks == 0 || ranks > 1 << 20 {
        return Err(format!("a job of {ranks} processes"));
    }
    CheckpointPlan::new(&workload.model, workload.checkpoint.mode, ranks as usize)
        .map_err(|e| one_line(&e.to_string()))
}

/// Bytes of one checkpoint per host, hosts in blocks of ranks.
pub(crate) fn bytes_of_hosts(rank_bytes: &[u64], ranks_of_hosts: &[u64]) -> Vec<u64> {
    let mut rest = rank_bytes;
    let host = |n: &u64| {
        let (own, others) = rest.split_at((*n as usize).min(rest.len()));
        rest = others;
        own.iter().sum()
    };
    ranks_of_hosts.iter().map(host).collect()
}

/// Three times a host's memory against what the host with the least writes; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheNeed {
    /// Of one checkpoint on the host with the least.
    pub(crate) least: u64,
    /// Of all checkpoints that the run writes, there.
    pub(crate) written: u128,
    /// Three times the memory of a host.
    pub(crate) threefold: u128,
}

impl CacheNeed {
    /// Bytes of one checkpoint per host, checkpoints that the run writes, bytes of a host's memory.
    pub(crate) fn new(bytes_of_hosts: &[u64], writes: u128, memory: u128) -> Self {
        let least = bytes_of_hosts.iter().min().copied().unwrap_or(0);
        CacheNeed {
            least,
            written: u128::from(least).saturating_mul(writes),
            threefold: memory.saturating_mul(3),
        }
    }

    /// True where memory may hold what was written: caches must be emptied between writing and reading.
    pub(crate) fn must_empty(self) -> bool {
        self.written < self.threefold
    }
}

fn ranks_per_host(facts: &Facts, processes: u64) -> Option<Vec<u64>> {
    let hosts = facts.hosts.filter(|hosts| *hosts <= 1 << 20)?;
    let known = facts.ranks_of_hosts.clone();
    Some(known.unwrap_or_else(|| ranks_of_hosts(processes, hosts)))
}

/// Rule 4.3.1.
pub(super) fn data_size(facts: &Facts, out: &mut Found) {
    let (Some(n), Some(memory)) = (facts.accelerators, &facts.memory) else {
        return out.skip(
            "accelerators, hosts or their memory (--accelerators, --hosts, --host-memory-gib; summary.json)",
        );
    };
    let Some(ranks) = ranks_per_host(facts, n) else {
        return out.skip("hosts (--hosts; summary.json num_hosts)");
    };
    let plan = match plan(facts) {
        Ok(plan) => plan,
        Err(why) => return out.skip(&why),
    };
    let writes = written_and_read(&facts.parameters).map_or(0, |(written, _)| u128::from(written));
    let hosts = Ratio::whole(ranks.len().min(n.max(1) as usize) as u128);
    let per_host = memory.bytes.over(hosts).map_or(0, Ratio::ceil);
    let of_hosts = bytes_of_hosts(&plan.totals().rank_bytes, &ranks);
    let need = CacheNeed::new(&of_hosts, writes, per_host);
    let gib = |bytes: u128| bytes as f64 / GIB;
    let what = format!(
        "{writes} checkpoints x {:.1} GiB = {:.1} GiB written on the host with the least; 3 x {:.1} GiB memory = {:.1} GiB",
        gib(u128::from(need.least)),
        gib(need.written),
        gib(per_host),
        gib(need.threefold)
    );
    match need.must_empty() {
        true => out.warn(what + ": caches must be emptied between writing and reading"),
        false => out.pass(what),
    };
}

/// Rule 4.3.4. The size is what the run wrote, else what the plan says it will write; of a subset both are its part.
pub(super) fn accelerator_memory(facts: &Facts, out: &mut Found) {
    let Some(n) = facts.accelerators else {
        return out.skip(PROCESSES);
    };
    let accelerator = facts.accelerator.as_deref();
    let Some((gb, name)) = accelerator_memory_gb(accelerator) else {
        let name = accelerator.unwrap_or_default();
        out.fail(format!("{name} is no accelerator of the rules"));
        return;
    };
    let written = facts.leaf.metric("checkpoint_size_GB").number();
    let planned = || plan(facts).map(|p| p.totals().bytes() as f64 / GIB);
    let size = match written.filter(|size| *size > 0.0).map_or_else(planned, Ok) {
        Ok(size) => size,
        Err(why) => return out.skip(&why),
    };
    let has = n.saturating_mul(gb);
    let assumed = match accelerator {
        None => ", assumed: none is recorded",
        Some(_) => "",
    };
    let what = format!(
        "{n} x {gb} GB ({name}{assumed}) = {has} GB of accelerator memory, checkpoint of {size:.1} GiB"
    );
    let enough = (size / gb as f64).ceil();
    out.holds(has as f64 >= size, what)
        .remedy(format!("start at least {enough} processes"));
}

/// What so many processes qualify for.
pub(crate) fn standing_of_processes(edition: Edition, llm: &Llm, n: u64) -> Standing {
    let is_subset = edition == Edition::V2 && n == SUBSET_PROCESSES;
    if n == llm.closed_mpi_processes || is_subset {
        Standing::Closed
    } else if n > 0 && n.is_multiple_of(llm.processes_per_instance) {
        Standing::Open
    } else {
        Standing::Invalid
    }
}

/// Model and processes, where both are known.
fn job(facts: &Facts) -> Option<(&'static Llm, u64)> {
    Some((Llm::named(facts.model.as_deref()?)?, facts.accelerators?))
}

/// Rule 4.6.1.
pub(super) fn closed_processes(facts: &Facts, out: &mut Found) {
    let Some((llm, n)) = job(facts) else {
        let is_known = facts.model.as_deref().and_then(Llm::named).is_some();
        return if is_known {
            out.skip(PROCESSES)
        };
    };
    let closed = llm.closed_mpi_processes;
    let what = format!("{n} process(es) for {}; CLOSED has {closed}", llm.name);
    match standing_of_processes(facts.edition, llm, n) {
        Standing::Closed if n == closed => out.closed(what),
        Standing::Closed => out.closed(what + ", or 8 as a subset"),
        _ => out.info(format!("not CLOSED: {what}")),
    };
}

/// Rule 4.6.4.
pub(super) fn open_processes(facts: &Facts, out: &mut Found) {
    let Some((llm, n)) = job(facts) else { return };
    let (name, step) = (&llm.name, llm.processes_per_instance);
    let what = format!("{n} process(es) for {name}; OPEN has a multiple of {step}");
    match standing_of_processes(facts.edition, llm, n) {
        Standing::Closed => return,
        Standing::Open => out.pass(what).standing(Standing::Open),
        Standing::Invalid => out.invalid(what).remedy(format!(
            "start {} processes, or a multiple of {step}",
            llm.closed_mpi_processes
        )),
    };
}

/// Rule 4.3.5.
pub(super) fn subset(facts: &Facts, out: &mut Found) {
    let Some((llm, n)) = job(facts) else { return };
    let (name, closed, data) = (&llm.name, llm.closed_mpi_processes, llm.instances());
    let has_subset = facts.edition.rules().has_subset(llm, n);
    if facts.parameters.checkpoint.mode.text() == Some("subset") {
        let has = &facts.parameters.model.parallelism.data;
        let what = format!(
            "subset of {n} processes of {name}, model.parallelism.data {has} (mlpstorage sets {data})"
        );
        match has_subset {
            true => out.closed(what),
            false => out.invalid(what),
        };
    } else if n < closed {
        let what = format!(
            "{n} processes in default mode: a smaller job, not a part of the one of {closed}"
        );
        // Where eight processes count as a subset, they must be one.
        match has_subset {
            true => out.invalid(what).remedy(format!(
                "checkpoint.mode=subset model.parallelism.data={data}"
            )),
            false => out.info(what),
        };
    }
}

/// Rule 4.6.2.
pub(super) fn processes_per_host(facts: &Facts, out: &mut Found) {
    let Some(ranks) = facts.accelerators.and_then(|n| ranks_per_host(facts, n)) else {
        return out.skip(
            "processes and hosts (--accelerators, --hosts; summary.json num_accelerators, num_hosts)",
        );
    };
    let least = ranks.iter().min().copied().unwrap_or(0);
    let what = format!("{least} process(es) on the host with the fewest");
    match least {
        n if n >= facts.edition.rules().processes_per_host => out.pass(what),
        4 => out.warn(what + ": the rule says more than 4, the table beside it at least 4"),
        _ => out.fail(what + "; at least 4 are expected"),
    };
}

/// Rule 4.3.6.
pub(super) fn published(facts: &Facts, out: &mut Found) {
    if let Some((written, read)) = written_and_read(&facts.parameters)
        && facts.leaf.summary.value().is_some()
    {
        let missing = missing_metrics(&facts.leaf, written, read);
        match missing.is_empty() {
            true => out.pass("every published number is there"),
            false => out.fail(format!("summary.json lacks metric {}", missing.join(", "))),
        };
    }
}

fn missing_metrics(leaf: &Leaf, written: u64, read: u64) -> Vec<String> {
    let done = [(written, "save"), (read, "load")]
        .into_iter()
        .filter(|(n, _)| *n > 0);
    let keys = done.flat_map(|(_, word)| {
        ["io_mean_GB_per_second", "duration_mean_seconds"]
            .map(|key| format!("{word}_checkpoint_{key}"))
    });
    keys.filter(|key| leaf.metric(key).number().is_none())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_hold_blocks_of_ranks() {
        assert_eq!(bytes_of_hosts(&[1, 2, 3, 4, 5], &[3, 2]), [6, 9]);
        assert_eq!(bytes_of_hosts(&[1], &[1, 1]), [1, 0]);
    }
}
