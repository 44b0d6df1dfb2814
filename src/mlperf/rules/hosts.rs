//! How ranks and hosts may be arranged, and where data and results may lie: rules 3.3.3, 3.3.6, 3.4.2 and 4.4.2.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::mlperf::facts::Facts;
use crate::mlperf::verdict::Found;

const MISSING: &str =
    "accelerators and hosts (--accelerators, --hosts; summary.json num_accelerators, num_hosts)";

/// Rule 3.3.3.
pub(super) fn single_host(facts: &Facts, out: &mut Found) {
    let (Some(n), Some(hosts)) = (facts.accelerators, facts.hosts) else {
        return out.skip(MISSING);
    };
    match hosts {
        1 if n < 4 => out.warn(format!(
            "{n} accelerator(s) on a single host; 4 are the least"
        )),
        _ => out.pass(format!("{n} accelerator(s) on {hosts} host(s)")),
    };
}

/// Rule 3.3.6.
pub(super) fn equal_hosts(facts: &Facts, out: &mut Found) {
    let (Some(n), Some(hosts)) = (facts.accelerators, facts.hosts) else {
        return out.skip(MISSING);
    };
    let mut what = format!("{n} accelerators on {hosts} host(s)");
    let is_even = match &facts.ranks_of_hosts {
        Some(ranks) => {
            what += &format!(": {ranks:?}");
            ranks.windows(2).all(|pair| pair[0] == pair[1])
        }
        None => n % hosts == 0,
    };
    if is_even {
        out.pass(what);
        return;
    }
    // The next numbers that share evenly, where they are numbers of a job.
    let below = Some(n / hosts * hosts).filter(|below| *below > 0);
    let above = (n / hosts + 1).checked_mul(hosts);
    let numbers = [below, above].into_iter().flatten();
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    out.fail(what + ": not equal").remedy(format!(
        "start {} accelerators, the same number on each host",
        numbers.join(" or ")
    ));
}

/// Rules 3.4.2 and 4.4.2: results do not lie on the file system that is measured.
pub(super) fn separation(facts: &Facts, out: &mut Found) {
    let storage = facts.storage();
    let Some((data, results)) = &facts.folders else {
        return;
    };
    if storage.is_some_and(|s| !s.has_bytes) {
        return;
    }
    let folder = facts.effective.dataset.data_folder.text();
    if storage.is_some_and(|s| s.objects)
        || folder.is_some_and(|folder| folder.contains("://"))
        || data.to_string_lossy().contains("://")
    {
        out.pass("the data lies in an object store, of which the rule does not ask");
        return;
    }
    let device = |folder: &Path| {
        // The nearest folder above that exists: neither need be made yet.
        let folder = std::path::absolute(folder).ok()?;
        let mut there = folder.ancestors().flat_map(std::fs::metadata);
        there.next().map(|meta| meta.dev())
    };
    let shown = format!(
        "data in {}, results in {}",
        data.display(),
        results.display()
    );
    match (device(data), device(results)) {
        (Some(a), Some(b)) if a == b => _ = out.fail(shown + ": the same file system"),
        (Some(_), Some(_)) => _ = out.pass(shown + ": different file systems"),
        _ => out.skip(&format!("one of {shown}")),
    }
}
