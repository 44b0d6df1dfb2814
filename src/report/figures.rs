//! Every figure of a run, as rows: what the console prints and what `report.json` holds.
//!
//! The formulas behind the names are in `docs/metrics.md`.

mod tables;

use serde_json::{Value, json};

use super::bottleneck;
use super::checkpoint;
use super::object_store::object_store;
use super::provenance::{HostFolder, Provenance};
use super::rows::{GIB, Report, Row, Table, bytes, plain, row, sentence};
use super::stage::stage;
use crate::config::{MetricFormula, Workload};
use crate::metrics::summary::{HostSummary, JobSummary, PhaseSummary};

/// Version of the layout of `report.json`; a change of meaning raises it.
pub const SCHEMA_VERSION: u32 = 2;

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
    let none = || vec![plain("eval", Value::Null)];
    out.extend((s.eval.as_ref()).map_or_else(none, |p| phase("eval", p, s, eval)));
    match &s.checkpoint {
        Some(c) => checkpoint::rows(&mut out, c, &s.rank_table),
        None => out.push(plain("checkpoint", Value::Null)),
    }
    tables::breakdown_table(&mut out, s);
    out.table(Table {
        path: "stages".into(),
        // A table without lines has no title.
        title: "latency".into(),
        lines: s.stages.iter().map(stage).collect(),
    });
    counters(&mut out, s);
    out.extend(page_cache(s));
    let store = s.object_store.as_ref();
    out.push(plain(
        "object_store",
        store.map(|t| object_store(t, &s.counters)),
    ));
    tables::evidence(&mut out, s);
    tables::epochs(&mut out, s, train);
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
        plain("workload/storage_type", workload.storage_system().word),
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
    let (au, t, expected) = (&p.au_percent, &p.throughput, s.au_expected_percent);
    let per_second = t.mean * s.record_size_bytes;
    let at = |key: &str| format!("{name}/{key}");
    let (au_id, rate_id) = (format!("au_{formula}"), format!("throughput_{formula}"));
    let stdev = |key: &str, x: f64, unit| row(&at(key), x, unit, "population_stdev");
    let io = |key: &str, x: f64, unit| row(&at(key), x, unit, "throughput_times_record_size");
    vec![
        row(&at("au_mean"), au.mean, "%", &au_id)
            .label(format!("{name} AU"))
            .note(format!(
                "(stdev {:.2}; expected >= {expected:.2} %: {})",
                au.stdev,
                p.verdict()
            )),
        stdev("au_stdev", au.stdev, "%"),
        row(&at("au_expected"), expected, "%", "config:metric.au"),
        plain(&at("au_meets_expectation"), p.meets_expectation),
        row(&at("au_values"), &au.values, "%", &au_id),
        row(&at("throughput_mean"), t.mean, "samples/s", &rate_id)
            .label(format!("{name} throughput"))
            .note(format!("(stdev {:.2})", t.stdev)),
        stdev("throughput_stdev", t.stdev, "samples/s"),
        row(&at("throughput_values"), &t.values, "samples/s", &rate_id),
        io("throughput_mean_gib", per_second / GIB, "GiB/s")
            .label(format!("{name} I/O"))
            .note(format!("= {:.3} GB/s", per_second / 1e9)),
        io("throughput_mean_gb", per_second / 1e9, "GB/s"),
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

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn counters(out: &mut Report, s: &JobSummary) {
    let c = &s.counters;
    let at = |key: &str| format!("counters/{key}");
    let sum = |key: &str, n: u64, unit| row(&at(key), n, unit, "sum");
    let time = |key: &str, ns: u64| row(&at(key), seconds(ns), "s", "sum");
    let dropped = c.samples_dropped_per_epoch;
    out.gap();
    let mut rows = vec![
        sum("bytes_read", c.bytes_read, "B"),
        sum("reads", c.reads, "requests"),
        sum("metadata_bytes", c.metadata_bytes, "B"),
        sum("metadata_reads", c.metadata_reads, "requests"),
        sum("samples", c.samples, "samples"),
        sum("retries", c.retries, "requests"),
        row(&at("samples_dropped_per_epoch"), dropped, "samples", "plan"),
        sum("bytes_written", c.bytes_written, "B"),
        sum("files_written", c.files_written, "files"),
        sum("files_skipped", c.files_skipped, "files"),
        row(&at("generate_time"), seconds(c.generate_ns), "s", "max"),
    ];
    if !s.epochs.is_empty() {
        rows[0] = rows[0].clone().label("read").note(format!(
            "in {} calls, {} samples, {} retries; {dropped} samples dropped per epoch",
            c.reads, c.samples, c.retries
        ));
    }
    if c.files_written + c.files_skipped > 0 {
        rows.push(sentence(format!(
            "generated {} files ({}) in {:.2} s, {} were complete",
            c.files_written,
            bytes(c.bytes_written as f64),
            seconds(c.generate_ns),
            c.files_skipped
        )));
    }
    rows.extend([
        time("cpu_time", c.cpu_ns),
        time("reader_cpu_time", c.reader_cpu_ns),
        time("spin_time", c.spin_ns),
        time("report_cpu_time", c.report_cpu_ns),
        row(&at("reader_cpu_wait"), c.delay_ns.map(seconds), "s", "sum"),
        row(&at("peak_rss"), c.peak_rss_bytes, "B", "max"),
        plain(
            "memory/over_ranks",
            json!({"unit": "B", "formula": "min_median_max", "others": s.peaks.others}),
        ),
        row("memory/planned", s.planned_bytes, "B", "memory_plan"),
    ]);
    out.extend(rows);
    out.extend(cpu_per_gib(s));
    out.push(peak_memory(s));
}

fn cpu_per_gib(s: &JobSummary) -> [Row; 2] {
    let c = &s.counters;
    let (read, all) = (s.cpu_seconds_per_gib(), s.cpu_burnt_per_gib());
    let mut reading = row("cpu_seconds_per_gib", read, "s/GiB", "cpu_per_gib");
    let mut burnt = row("cpu_burnt_per_gib", all, "s/GiB", "cpu_burnt");
    if c.bytes_read > 0 {
        reading = reading
            .label("CPU")
            .note("(reading: the reader threads and the object store's library)");
        burnt = burnt.label("CPU burnt, all in").note(format!(
            "(of it spun in deadlines and barriers {:.2} s, reports of rank 0 {:.2} s)",
            seconds(c.spin_ns),
            seconds(c.report_cpu_ns)
        ));
    }
    [reading, burnt]
}

fn peak_memory(s: &JobSummary) -> Row {
    let others = &s.peaks.others;
    let note = match s.ranks {
        1 => String::from("of the one rank"),
        _ => format!(
            "of rank 0; of the others {} / {} / {} (min / median / max)",
            bytes(others.min),
            bytes(others.median),
            bytes(others.max)
        ),
    };
    row("memory/rank_0", s.peaks.rank_0, "B", "peak_rss")
        .label("peak memory")
        .note(note)
}

/// Hosts, ranks, and the last lines of the console.
fn ends(out: &mut Report, s: &JobSummary, formula: &str) {
    let data = s.data_size_per_host_gib;
    out.extend([
        row("data_size_per_host", data, "GiB", "caching_estimate"),
        plain("spreads/unit", "%, B, s"),
        plain("spreads/formula", "min_median_max"),
        plain("spreads/over_ranks", s.spreads),
    ]);
    tables::hosts(out, s);
    tables::ranks(out, s, formula);
    let mut digest = plain("order_digest", format!("{:016x}", s.order_digest));
    if !s.epochs.is_empty() {
        digest = digest.label("order digest");
    }
    out.push(digest);
    for held_back in s.hosts.iter().filter_map(held_back) {
        out.push(sentence(held_back));
    }
    if s.train.is_some() {
        let text = bottleneck::sentence(s);
        out.push(plain("bottleneck", &text));
        out.push(sentence(text));
    }
    out.push(sentence("=".repeat(78)));
}

/// What held a host back, where that is more than a trifle.
fn held_back(h: &HostSummary) -> Option<String> {
    let part = |what: &str, ns: Option<u64>| {
        let s = seconds(ns?);
        (s >= 0.1).then(|| format!("{what} {s:.1} s"))
    };
    let throttled = part("throttled by its CPU limit", h.pressure.throttled_ns);
    let stolen = part("the hypervisor took", h.pressure.steal_ns);
    let parts: Vec<String> = [throttled, stolen].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{}: {}", h.facts.name, parts.join(", ")))
}

/// What the page cache held before the first epoch, and what that did to names and attributes.
fn page_cache(s: &JobSummary) -> Vec<Row> {
    let Some(pages) = &s.page_cache else {
        return vec![plain("page_cache", serde_json::Value::Null)];
    };
    let (files, held, metadata) = (pages.sampled_files, pages.resident_bytes, pages.metadata());
    vec![
        row("page_cache/sampled_files", files, "files", "sum"),
        row("page_cache/resident_bytes", held, "B", "sum"),
        row("page_cache/kept_bytes", pages.kept_bytes, "B", "sum"),
        plain("page_cache/metadata", metadata),
        sentence(format!(
            "before the first epoch the page cache held {:.1} MiB of {files} sampled file(s); metadata: {metadata}",
            held as f64 / 1048576.0
        )),
    ]
}
