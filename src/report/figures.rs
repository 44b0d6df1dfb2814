//! Every figure of a run, as rows: what the console prints and what `report.json` holds.
//!
//! The formulas behind the names are in `docs/metrics.md`.

use serde_json::{Value, json};

use super::bottleneck;
use super::checkpoint;
use super::json::{HostFolder, Provenance, SCHEMA_VERSION, object_store};
use super::provenance::machine_json;
use super::rows::{GIB, Report, Row, Table, bytes, object, plain, row, sentence};
use crate::config::{MetricFormula, Workload};
use crate::metrics::breakdown::{Breakdown, Line};
use crate::metrics::histogram::StageSummary;
use crate::metrics::reduce::{EpochSummary, JobSummary, PhaseSummary, ServedByStorage};
use crate::stage::{Part, UNIT};

/// Ends of the names of DLIO's formulas.
fn formulas(s: &JobSummary) -> (&'static str, &'static str) {
    match s.formula {
        MetricFormula::V3 => ("v3", "eval"),
        MetricFormula::V2 => ("v2", "eval_v2"),
    }
}

/// The whole report. `workload` gives names only; without one the rows of the file's head are left out.
pub(super) fn report(
    workload: Option<&Workload>,
    s: &JobSummary,
    provenance: &Provenance,
    warnings: &[String],
) -> Report {
    let mut out = Report::default();
    head(&mut out, workload, s, provenance, warnings);
    let (train, eval) = formulas(s);
    match &s.train {
        Some(p) => training(&mut out, p, s, train),
        None => out.push(plain("train", Value::Null)),
    }
    match &s.eval {
        Some(p) => out.extend(phase("eval", p, s, eval)),
        None => out.push(plain("eval", Value::Null)),
    }
    match &s.checkpoint {
        Some(c) => checkpoint::rows(&mut out, c, &s.rank_table),
        None => out.push(plain("checkpoint", Value::Null)),
    }
    breakdown_table(&mut out, s);
    out.table(Table {
        path: "stages".into(),
        title: if s.stages.is_empty() {
            String::new()
        } else {
            "latency".into()
        },
        lines: s.stages.iter().map(stage).collect(),
    });
    counters(&mut out, s);
    out.push(plain(
        "object_store",
        s.object_store
            .as_ref()
            .map(|t| object_store(t, &s.counters)),
    ));
    evidence(&mut out, s);
    epochs(&mut out, s, train);
    ends(&mut out, s, train);
    out
}

fn head(
    out: &mut Report,
    workload: Option<&Workload>,
    s: &JobSummary,
    provenance: &Provenance,
    warnings: &[String],
) {
    let rule = "=".repeat(78);
    out.push(sentence(&rule));
    out.push(sentence(format!(
        "dlio-rs {}   {} accelerator(s) on {} host(s)   {} epoch(s)   formulas {}",
        provenance.version,
        s.ranks,
        s.hosts.len(),
        s.epochs.len(),
        s.formula
    )));
    out.extend(folder_lines(&provenance.folders).into_iter().map(sentence));
    out.push(sentence(&rule));
    out.push(plain("schema_version", SCHEMA_VERSION));
    let Some(workload) = workload else { return };
    out.extend([
        plain("provenance", provenance),
        plain("workload/model", &workload.model.name),
        plain("workload/framework", workload.framework),
        plain("workload/format", workload.dataset.format),
        plain("workload/storage_type", workload.storage_type_effective()),
        row(
            "workload/record_size",
            s.record_size_bytes,
            "B",
            "record_size",
        ),
        plain("warnings", warnings),
        plain("rules", &provenance.rules),
    ]);
}

/// One line per host: what its folders are mounted from.
fn folder_lines(folders: &[HostFolder]) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for f in folders {
        let own = if f.shared { "" } else { ", of this host alone" };
        let text = format!("{} on {} of {}{own}", f.folder, f.fs_type, f.source);
        match lines.iter_mut().find(|(host, _)| *host == f.host) {
            Some((_, line)) => *line += &format!("; {text}"),
            None => lines.push((&f.host, format!("{}: {text}", f.host))),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn phase(name: &str, p: &PhaseSummary, s: &JobSummary, formula: &str) -> Vec<Row> {
    let verdict = if p.meets_expectation {
        "success"
    } else {
        "fail"
    };
    let (au, t) = (&p.au_percent, &p.throughput);
    let per_second = t.mean * s.record_size_bytes;
    let at = |key: &str| format!("{name}/{key}");
    let (au_id, rate_id) = (format!("au_{formula}"), format!("throughput_{formula}"));
    vec![
        row(&at("au_mean"), au.mean, "%", &au_id)
            .label(format!("{name} AU"))
            .note(format!(
                "(stdev {:.2}; expected >= {:.2} %: {verdict})",
                au.stdev, s.au_expected_percent
            )),
        row(&at("au_stdev"), au.stdev, "%", "population_stdev"),
        row(
            &at("au_expected"),
            s.au_expected_percent,
            "%",
            "config:metric.au",
        ),
        plain(&at("au_meets_expectation"), p.meets_expectation),
        row(&at("au_values"), &au.values, "%", &au_id),
        row(&at("throughput_mean"), t.mean, "samples/s", &rate_id)
            .label(format!("{name} throughput"))
            .note(format!("(stdev {:.2})", t.stdev)),
        row(
            &at("throughput_stdev"),
            t.stdev,
            "samples/s",
            "population_stdev",
        ),
        row(&at("throughput_values"), &t.values, "samples/s", &rate_id),
        row(
            &at("throughput_mean_gib"),
            per_second / GIB,
            "GiB/s",
            "throughput_times_record_size",
        )
        .label(format!("{name} I/O"))
        .note(format!("= {:.3} GB/s", per_second / 1e9)),
        row(
            &at("throughput_mean_gb"),
            per_second / 1e9,
            "GB/s",
            "throughput_times_record_size",
        ),
    ]
}

fn training(out: &mut Report, p: &PhaseSummary, s: &JobSummary, formula: &str) {
    let mut rows = phase("train", p, s, formula);
    let b = &s.breakdown;
    let nominal = row("au_nominal", s.au_nominal_percent, "%", "au_nominal")
        .label("train AU nominal")
        .note("(by the configured computation)");
    let storage = row("au_storage", s.au_storage_percent, "%", "au_storage")
        .label("train AU of storage")
        .note("(computation and waits for I/O and metadata only)");
    rows.splice(1..1, [nominal, storage]);
    if let Some(caution) = s.oversleep_caution() {
        rows.insert(2, sentence(format!("  warning: {caution}")));
    }
    rows.push(row("overshoot", b.overshoot_of_nominal(), "%", "overshoot"));
    out.extend(rows);
}

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

fn breakdown_table(out: &mut Report, s: &JobSummary) {
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
            plain("", name).label("AU's window, mean per rank"),
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
    if b.overshoot_percent >= 0.005 {
        let name = "    of it oversleep (harness)".into();
        lines.insert(1, line(name, b.overshoot_s, Some(b.overshoot_percent)));
    }
    if b.left_out_steps > 0.0 {
        let name = format!("left out: {:.0} step(s) of a rank", b.left_out_steps);
        lines.push(line(name, b.left_out_s, None));
    }
    out.table(Table {
        title: format!(
            "AU's window lasted {:.3} s of a rank; compute and losses add up to 100 %",
            b.window_s()
        ),
        lines,
        ..Table::default()
    });
}

/// A stage's percentiles; those that the count does not support are null.
pub(super) fn stage(s: &StageSummary) -> Vec<Row> {
    let ns = |key: &str, value: Value| Row {
        path: key.into(),
        label: key.into(),
        value,
        unit: UNIT,
        ..Row::default()
    };
    vec![
        plain("stage", s.stage.name()).label("stage"),
        plain("doc", s.stage.doc()),
        plain("unit", UNIT),
        plain("blame", s.stage.blame().word()),
        plain("formula", "hdr_percentile"),
        plain("count", s.count).label("count"),
        plain("mean", s.mean_ns),
        ns("p50", json!(s.p50_ns)),
        ns("p90", json!(s.p90_ns)),
        ns("p99", json!(s.p99_ns)),
        ns("p99.9", json!(s.p999_ns)),
        ns("max", json!(s.max_ns)),
    ]
}

fn counters(out: &mut Report, s: &JobSummary) {
    let c = &s.counters;
    let at = |key: &str| format!("counters/{key}");
    out.gap();
    let mut rows = vec![
        row(&at("bytes_read"), c.bytes_read, "B", "sum"),
        row(&at("reads"), c.reads, "requests", "sum"),
        row(&at("metadata_bytes"), c.metadata_bytes, "B", "sum"),
        row(&at("metadata_reads"), c.metadata_reads, "requests", "sum"),
        row(&at("samples"), c.samples, "samples", "sum"),
        row(&at("retries"), c.retries, "requests", "sum"),
        row(
            &at("samples_dropped_per_epoch"),
            c.samples_dropped_per_epoch,
            "samples",
            "plan",
        ),
        row(&at("bytes_written"), c.bytes_written, "B", "sum"),
        row(&at("files_written"), c.files_written, "files", "sum"),
        row(&at("files_skipped"), c.files_skipped, "files", "sum"),
        row(&at("generate_time"), c.generate_ns as f64 / 1e9, "s", "max"),
    ];
    if !s.epochs.is_empty() {
        rows[0] = rows[0].clone().label("read").note(format!(
            "in {} calls, {} samples, {} retries; {} samples dropped per epoch",
            c.reads, c.samples, c.retries, c.samples_dropped_per_epoch
        ));
    }
    if c.files_written + c.files_skipped > 0 {
        rows.push(sentence(format!(
            "generated {} files ({}) in {:.2} s, {} were complete",
            c.files_written,
            bytes(c.bytes_written as f64),
            c.generate_ns as f64 / 1e9,
            c.files_skipped
        )));
    }
    rows.extend([
        row(&at("cpu_time"), c.cpu_ns as f64 / 1e9, "s", "sum"),
        row(&at("spin_time"), c.spin_ns as f64 / 1e9, "s", "sum"),
        row(
            "cpu_seconds_per_gib",
            s.cpu_seconds_per_gib(),
            "s/GiB",
            "cpu_per_gib",
        ),
        row(&at("peak_rss"), c.peak_rss_bytes, "B", "max").label("peak memory of a rank"),
    ]);
    if let Some(x) = s.cpu_seconds_per_gib() {
        let last = rows.len() - 2;
        rows[last] = rows[last].clone().label("CPU");
        rows[last].value = json!(x);
    }
    out.extend(rows);
}

/// What a verdict means.
pub(super) fn verdict(v: ServedByStorage) -> &'static str {
    match v {
        ServedByStorage::Pass => "PASS",
        ServedByStorage::Suspect => "SUSPECT: part of the bytes came from the page cache",
        ServedByStorage::Cached => "CACHED: the page cache answered, not the storage",
        ServedByStorage::Unknown => {
            "UNKNOWN: the kernel does not count device reads for this storage"
        }
    }
}

/// One line when all epochs agree, else one per run of epochs with the same verdict.
fn evidence(out: &mut Report, s: &JobSummary) {
    for same in s
        .epochs
        .chunk_by(|a, b| a.served_by_storage == b.served_by_storage)
    {
        let word = verdict(same[0].served_by_storage);
        let which = match same {
            all if all.len() == s.epochs.len() => String::new(),
            [one] => format!("epoch {} ", one.epoch),
            many => format!(
                "epochs {} to {} ",
                many[0].epoch,
                many[many.len() - 1].epoch
            ),
        };
        out.push(sentence(format!("{which}served by storage: {word}")));
    }
}

fn epochs(out: &mut Report, s: &JobSummary, formula: &str) {
    let line = |e: &EpochSummary| {
        vec![
            plain("epoch", e.epoch),
            plain("steps", e.steps),
            row("train_time", e.train_s, "s", "max"),
            row("au", e.au_percent, "%", &format!("au_{formula}")),
            row("au_nominal", e.au_nominal_percent, "%", "au_nominal"),
            row("au_storage", e.au_storage_percent, "%", "au_storage"),
            row(
                "throughput",
                e.throughput,
                "samples/s",
                &format!("throughput_{formula}"),
            ),
            row("bytes_read", e.bytes_read, "B", "sum"),
            row("bytes_from_device", e.bytes_from_device, "B", "sum"),
            plain("served_by_storage", e.served_by_storage),
            plain("breakdown", object(&breakdown_rows(&e.breakdown))),
        ]
    };
    out.table(Table {
        path: "epochs".into(),
        lines: s.epochs.iter().map(line).collect(),
        ..Table::default()
    });
}

/// Hosts, ranks, and the last lines of the console.
fn ends(out: &mut Report, s: &JobSummary, formula: &str) {
    out.push(row(
        "data_size_per_host",
        s.data_size_per_host_gib,
        "GiB",
        "caching_estimate",
    ));
    out.extend([
        plain("spreads/unit", "%, B, s"),
        plain("spreads/formula", "min_median_max"),
        plain("spreads/over_ranks", s.spreads),
    ]);
    let hosts = s.hosts.iter().map(|h| {
        vec![
            plain("name", &h.facts.name),
            plain("ranks", h.ranks),
            plain("cpu_count", h.facts.cpu_count),
            row("memory", h.facts.memory_bytes, "B", "proc_meminfo"),
            plain("machine", machine_json(&h.facts.machine)),
            plain("spreads", h.spreads),
        ]
    });
    out.table(Table {
        path: "hosts".into(),
        lines: hosts.collect(),
        ..Table::default()
    });
    let ranks = s.rank_table.iter().map(|r| {
        let host = s.hosts.get(r.host).map_or("", |h| h.facts.name.as_str());
        vec![
            plain("rank", r.rank),
            plain("host", host),
            row("au", r.au_percent, "%", &format!("au_{formula}")),
            row(
                "throughput",
                r.throughput,
                "samples/s",
                &format!("throughput_{formula}"),
            ),
            plain("breakdown", object(&breakdown_rows(&r.breakdown))),
            plain("counters", r.counters),
            plain("order_digest", format!("{:016x}", r.order_digest)),
        ]
    });
    out.table(Table {
        path: "ranks".into(),
        lines: ranks.collect(),
        ..Table::default()
    });
    let mut digest = plain("order_digest", format!("{:016x}", s.order_digest));
    if !s.epochs.is_empty() {
        digest = digest.label("order digest");
    }
    out.push(digest);
    if s.train.is_some() {
        let text = bottleneck::sentence(s);
        out.push(plain("bottleneck", &text));
        out.push(sentence(text));
    }
    out.push(sentence("=".repeat(78)));
}
