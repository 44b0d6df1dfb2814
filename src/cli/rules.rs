//! `--rules`: the rules of MLPerf Storage before a run's first I/O, with the job's real ranks, hosts and memory.

use std::path::Path;

use serde_json::{Value, json};

use super::args::RunArgs;
use super::check::text;
use super::out;
use crate::cluster::Cluster;
use crate::config::Loaded;
use crate::host::facts::HostFacts;
use crate::interrupt::say;
use crate::mlperf::NOT_CLOSED;
use crate::mlperf::editions::Edition;
use crate::mlperf::facts::{Inputs, Memory};
use crate::mlperf::rules::engine;
use crate::mlperf::size::Ratio;
use crate::mlperf::verdict::{Checked, Verdict};

/// Checks the job on rank 0 and prints what it found there; the findings, for the report. A collective.
///
/// Errors: a rule is violated; the message is rank 0's and names all of them.
pub(super) fn enforce(
    cluster: &dyn Cluster,
    loaded: &Loaded,
    args: &RunArgs,
    results: &Path,
    as_dlio: bool,
) -> Result<Value, String> {
    let Some(edition) = args.rules else {
        return Ok(Value::Null);
    };
    let inputs = inputs(cluster, results);
    let mut found = Value::Null;
    let mut violations = 0;
    let mut message = String::new();
    if cluster.rank() == 0 {
        let assessment = engine::before(loaded, &inputs, edition);
        // `rules` of the report.
        found =
            json!({"not_closed": NOT_CLOSED, "edition": edition, "findings": assessment.findings});
        let checked = Checked::new(edition, vec![assessment]);
        violations = checked.violations;
        print(&checked, args, as_dlio);
        message = refusal(&checked, edition);
    }
    if cluster.any(violations > 0) {
        return Err(message);
    }
    Ok(found)
}

/// The job as it stands. A collective.
fn inputs(cluster: &dyn Cluster, results: &Path) -> Inputs {
    let names = cluster.host_names();
    let nodes = cluster.node_of_rank();
    let own = nodes[cluster.rank()];
    let mut memory = vec![0u64; names.len()];
    memory[own] = HostFacts::read(&names[own]).memory_bytes;
    cluster.max_u64(&mut memory);
    let ranks_of_hosts = (0..names.len())
        .map(|host| nodes.iter().filter(|node| **node == host).count() as u64)
        .collect();
    let is_known = memory.iter().all(|bytes| *bytes > 0);
    let total: u128 = memory.iter().map(|bytes| u128::from(*bytes)).sum();
    Inputs {
        accelerators: Some(cluster.size() as u64),
        hosts: Some(names.len() as u64),
        ranks_of_hosts: Some(ranks_of_hosts),
        memory: is_known.then(|| Memory {
            bytes: Ratio::whole(total),
            source: format!("MemTotal of {} host(s)", names.len()),
        }),
        gib_per_host: None,
        results: Some(results.to_owned()),
    }
}

/// Where stdout holds something else, on stderr.
fn print(checked: &Checked, args: &RunArgs, as_dlio: bool) {
    if args.json || as_dlio {
        say(text(checked).trim_end());
    } else {
        // Who does not read the findings has them in report.json.
        let _ = out(&text(checked));
    }
}

fn refusal(checked: &Checked, edition: Edition) -> String {
    let findings = checked.assessments.iter().flat_map(|a| &a.findings);
    let failed = findings.filter(|f| f.verdict == Verdict::Fail);
    let failed: Vec<String> = failed.map(|f| format!("{} {}", f.rule, f.name)).collect();
    format!(
        "refused before any I/O: {} violation(s) of the rules of {edition}: {}\n  remedy: that of each FAIL above; without --rules the run starts",
        checked.violations,
        failed.join(", ")
    )
}
