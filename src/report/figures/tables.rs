//! Figures by cause, epoch, host and rank: the tables of a report.

use serde_json::{Value, json};

use super::seconds;
use crate::metrics::breakdown::{Breakdown, Line};
use crate::metrics::evidence::Evidence;
use crate::metrics::summary::{EpochSummary, HostSummary, JobSummary};
use crate::report::provenance::machine_json;
use crate::report::rows::{Report, Row, Table, object, plain, row, sentence};
use crate::report::stage::verdict;
use crate::stage::Part;

/// Seconds and percent of a line of a breakdown.
fn part(seconds: f64, percent: f64) -> Value {
    json!({"seconds": seconds, "percent": percent})
}

/// A breakdown as one object of `report.json`.
fn breakdown_rows(b: &Breakdown) -> Vec<Row> {
    let (seconds, percent) = (&b.seconds, &b.percent);
    let mut rows = vec![
        plain("unit", "s, mean per rank; % of AU's window"),
        plain("formula", "breakdown"),
        plain("window_seconds", b.window_s()),
        plain("wait", part(seconds.wait(), percent.wait())),
    ];
    rows.extend(Line::all().map(|line| {
        let path = match line {
            Line::Wait(part) => format!("wait/parts/{}", part.name()),
            _ => line.name().into(),
        };
        plain(&path, part(seconds[line], percent[line]))
    }));
    rows.push(plain("overshoot", part(b.overshoot_s, b.overshoot_percent)));
    rows.push(plain("left_out/steps", b.left_out_steps));
    rows.push(plain("left_out/seconds", b.left_out_s));
    rows
}

pub(super) fn breakdown_table(out: &mut Report, s: &JobSummary) {
    let b = &s.breakdown;
    out.extend(breakdown_rows(b).into_iter().map(|mut row| {
        row.path = format!("breakdown/{}", row.path);
        row
    }));
    if s.train.is_none() || s.epochs.is_empty() {
        return;
    }
    let line = |name: String, seconds: f64, percent: Option<f64>| {
        vec![
            plain("", name).label("mean per rank"),
            row("", seconds, "s", "").label("time"),
            row("", percent, "%", "").label("share"),
        ]
    };
    let mut lines: Vec<Vec<Row>> = Line::all()
        // Lines that are always there, and those of the rest that took something.
        .filter(|l| {
            let is_main = matches!(l, Line::Compute | Line::Barrier | Line::Harness);
            is_main || *l == Line::Wait(Part::Io) || b.percent[*l] >= 0.005
        })
        .map(|l| {
            let name = match l {
                Line::Wait(part) => format!("  wait: {}", part.label()),
                _ => format!("  {}", l.label()),
            };
            line(name, b.seconds[l], Some(b.percent[l]))
        })
        .collect();
    lines.push(line("together".into(), b.window_s(), Some(100.0)));
    if b.overshoot_percent >= 0.005 {
        let name = "    of it oversleep (harness)".into();
        lines.insert(1, line(name, b.overshoot_s, Some(b.overshoot_percent)));
    }
    if b.left_out_steps > 0.0 {
        let name = format!("left out: {:.0} step(s) of a rank", b.left_out_steps);
        lines.push(line(name, b.left_out_s, None));
    }
    out.table(Table {
        title: "AU's window: compute and losses add up to 100 %".into(),
        lines,
        ..Table::default()
    });
}

/// One line when all epochs agree, else one per run of epochs with the same verdict.
pub(super) fn evidence(out: &mut Report, s: &JobSummary) {
    let alike = |a: &EpochSummary, b: &EpochSummary| a.served_by_storage == b.served_by_storage;
    for same in s.epochs.chunk_by(alike) {
        let word = verdict(same[0].served_by_storage);
        let which = match same {
            all if all.len() == s.epochs.len() => String::new(),
            [one] => format!("epoch {} ", one.epoch),
            [one, .., last] => format!("epochs {} to {} ", one.epoch, last.epoch),
            [] => continue,
        };
        let rule = &same[0].rule;
        let first = match same.iter().all(|e| e.rule == *rule) {
            true => String::new(),
            false => format!("; epoch {}", same[0].epoch),
        };
        out.push(sentence(format!(
            "{which}served by storage: {word} ({rule}{first})"
        )));
    }
    let line = |e: &Evidence| {
        let c = &e.counts;
        let host = e.host.and_then(|h| s.hosts.get(h));
        let share =
            (c.sampled_pages > 0).then(|| 100.0 * c.resident_pages as f64 / c.sampled_pages as f64);
        vec![
            plain("epoch", e.epoch),
            plain("host", host.map(|h| &h.facts.name)),
            plain("medium", host.map(|h| &h.medium)),
            row("delivered", c.delivered, "B", "sum"),
            row("device", c.device, "B", "proc_io"),
            row("mount", c.mount, "B", "mount_bytes"),
            row("sockets", c.socket, "B", "socket_bytes"),
            row("nic", c.nic, "B", "nic_bytes"),
            row("resident_before", share, "%", "sampled_residency"),
            plain("verdict", e.verdict),
            plain("rule", &e.rule),
        ]
    };
    out.list("evidence", s.evidence.iter().map(line).collect());
}

pub(super) fn epochs(out: &mut Report, s: &JobSummary, formula: &str) {
    let (au, rate) = (format!("au_{formula}"), format!("throughput_{formula}"));
    let line = |e: &EpochSummary| {
        vec![
            plain("epoch", e.epoch),
            plain("steps", e.steps),
            row("train_time", e.train_s, "s", "max"),
            row("au", e.au_percent, "%", &au),
            row("au_nominal", e.au_nominal_percent, "%", "au_nominal"),
            row("au_storage", e.au_storage_percent, "%", "au_storage"),
            row("throughput", e.throughput, "samples/s", &rate),
            row("bytes_read", e.bytes_read, "B", "sum"),
            row("bytes_from_device", e.bytes_from_device, "B", "sum"),
            plain("served_by_storage", e.served_by_storage),
            plain("rule", &e.rule),
            plain("breakdown", object(breakdown_rows(&e.breakdown))),
        ]
    };
    out.list("epochs", s.epochs.iter().map(line).collect());
}

pub(super) fn hosts(out: &mut Report, s: &JobSummary) {
    let hosts = s.hosts.iter().map(|h: &HostSummary| {
        let time = |key: &str, ns: Option<u64>, id: &str| row(key, ns.map(seconds), "s", id);
        vec![
            plain("name", &h.facts.name),
            plain("ranks", h.ranks),
            plain("cpu_count", h.facts.cpu_count),
            row("memory", h.facts.memory_bytes, "B", "proc_meminfo"),
            plain("machine", machine_json(&h.facts.machine)),
            plain("medium", &h.medium),
            plain("limits", &h.limits),
            time("throttled", h.pressure.throttled_ns, "cgroup_cpu_stat"),
            plain("throttled_periods", h.pressure.throttled_periods),
            time("steal", h.pressure.steal_ns, "proc_stat_steal"),
            time("reader_cpu_wait", h.delay_ns, "sum"),
            plain("spreads", h.spreads),
        ]
    });
    out.list("hosts", hosts.collect());
}

pub(super) fn ranks(out: &mut Report, s: &JobSummary, formula: &str) {
    let (au, rate) = (format!("au_{formula}"), format!("throughput_{formula}"));
    let ranks = s.rank_table.iter().map(|r| {
        let host = s.hosts.get(r.host).map_or("", |h| h.facts.name.as_str());
        vec![
            plain("rank", r.rank),
            plain("host", host),
            row("au", r.au_percent, "%", &au),
            row("throughput", r.throughput, "samples/s", &rate),
            plain("breakdown", object(breakdown_rows(&r.breakdown))),
            plain("counters", r.counters),
            plain("order_digest", format!("{:016x}", r.order_digest)),
        ]
    });
    out.list("ranks", ranks.collect());
}
