//! How ranks and hosts may be arranged, and where data and results may lie: rules 3.3.3, 3.3.6, 3.4.2 and 4.4.2.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::mlperf::facts::Facts;
use crate::mlperf::verdict::Outcome;

const MISSING: &str =
    "accelerators and hosts (--accelerators, --hosts; summary.json num_accelerators, num_hosts)";

/// Rule 3.3.3.
pub(super) fn single_host(facts: &Facts) -> Vec<Outcome> {
    vec![match (facts.accelerators, facts.hosts) {
        (Some(n), Some(1)) if n < 4 => Outcome::warn(format!(
            "{n} accelerator(s) on a single host; 4 are the least"
        )),
        (Some(n), Some(hosts)) => Outcome::pass(format!("{n} accelerator(s) on {hosts} host(s)")),
        _ => Outcome::skip(MISSING),
    }]
}

/// Rule 3.3.6.
pub(super) fn equal_hosts(facts: &Facts) -> Vec<Outcome> {
    let (Some(n), Some(hosts)) = (facts.accelerators, facts.hosts) else {
        return vec![Outcome::skip(MISSING)];
    };
    let what = format!("{n} accelerators on {hosts} host(s)");
    let (is_even, what) = match &facts.ranks_of_hosts {
        Some(ranks) => (
            ranks.windows(2).all(|pair| pair[0] == pair[1]),
            format!("{what}: {ranks:?}"),
        ),
        None => (n % hosts == 0, what),
    };
    // The next numbers that share evenly, where they are numbers of a job.
    let below = Some(n / hosts * hosts).filter(|below| *below > 0);
    let above = (n / hosts)
        .checked_add(1)
        .and_then(|n| n.checked_mul(hosts));
    let numbers: Vec<String> = [below, above]
        .into_iter()
        .flatten()
        .map(|n| n.to_string())
        .collect();
    let numbers = numbers.join(" or ");
    vec![if is_even {
        Outcome::pass(what)
    } else {
        Outcome::fail(format!("{what}: not equal")).remedy(format!(
            "start {numbers} accelerators, the same number on each host"
        ))
    }]
}

/// Rules 3.4.2 and 4.4.2: results do not lie on the file system that is measured.
pub(super) fn separation(facts: &Facts) -> Vec<Outcome> {
    let Some((data, results)) = &facts.folders else {
        return Vec::new();
    };
    let storage = facts.storage();
    if storage.is_some_and(|s| !s.has_bytes) {
        return Vec::new();
    }
    let folder = facts
        .effective
        .dataset
        .data_folder
        .text()
        .unwrap_or_default();
    if storage.is_some_and(|s| s.objects)
        || folder.contains("://")
        || data.to_string_lossy().contains("://")
    {
        return vec![Outcome::pass(
            "the data lies in an object store, of which the rule does not ask",
        )];
    }
    let device = |folder: &Path| {
        // The nearest folder above that exists: neither need be made yet.
        let folder = std::path::absolute(folder).ok()?;
        let there = folder
            .ancestors()
            .find_map(|above| std::fs::metadata(above).ok());
        there.map(|meta| meta.dev())
    };
    let shown = format!(
        "data in {}, results in {}",
        data.display(),
        results.display()
    );
    vec![match (device(data), device(results)) {
        (Some(a), Some(b)) if a == b => Outcome::fail(format!("{shown}: the same file system")),
        (Some(_), Some(_)) => Outcome::pass(format!("{shown}: different file systems")),
        _ => Outcome::skip(&format!("one of {shown}")),
    }]
}
