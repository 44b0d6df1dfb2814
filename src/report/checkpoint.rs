//! Checkpoints in DLIO's files, in `report.json` and on the console.
//!
//! Keys are DLIO's; "GB" in them is 2^30 bytes. Source: DLIO `utils/statscounter.py`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::rows::{GIB, Report, Row, object, plain, row, sentence};
use super::stage::{stage, verdict};
use crate::config::MetricFormula;
use crate::metrics::checkpoint::{
    CheckpointKind, CheckpointPhase, CheckpointRecord, CheckpointSummary,
};
use crate::metrics::series::Series;
use crate::metrics::summary::RankSummary;

fn both(s: &CheckpointSummary) -> [(CheckpointKind, Option<&CheckpointPhase>); 2] {
    let (save, load) = (s.save.as_ref(), s.load.as_ref());
    [(CheckpointKind::Save, save), (CheckpointKind::Load, load)]
}

fn phases(s: &CheckpointSummary) -> impl Iterator<Item = (CheckpointKind, &CheckpointPhase)> {
    both(s)
        .into_iter()
        .filter_map(|(kind, phase)| Some((kind, phase?)))
}

/// DLIO's keys of `summary.json`'s `metric`. As in its fork, what did not happen has no key.
pub fn summary_metrics(metric: &mut Map<String, Value>, s: &CheckpointSummary) {
    for (kind, p) in phases(s) {
        let word = kind.word();
        let (rate, time) = (&p.throughput_gib, &p.duration_s);
        for (key, value) in [
            ("io_mean_GB_per_second", rate.mean),
            ("io_stdev_GB_per_second", rate.stdev),
            ("duration_mean_seconds", time.mean),
            ("duration_stdev_seconds", time.stdev),
        ] {
            metric.insert(format!("{word}_checkpoint_{key}"), json!(value));
        }
    }
    let size = s.size_bytes as f64 / GIB;
    metric.insert("checkpoint_size_GB".into(), json!(size));
}

/// DLIO's size over this rank's seconds, GiB/s; 0 for a checkpoint that took no time.
pub fn throughput_gib(record: &CheckpointRecord, size_bytes: u64) -> f64 {
    if record.wall_ns == 0 {
        return 0.0;
    }
    size_bytes as f64 / GIB / (record.wall_ns as f64 / 1e9)
}

/// Key and entry of one checkpoint in `<r>_per_epoch_stats.json`. Unlike those of blocks, its durations are numbers.
pub fn epoch_entry(record: &CheckpointRecord, size_bytes: u64) -> (String, Value) {
    let key = format!("{}_ckpt{}", record.kind.word(), record.number);
    let entry = json!({
        "start": record.start,
        "end": record.end,
        "duration": record.wall_ns as f64 / 1e9,
        "throughput": throughput_gib(record, size_bytes),
    });
    (key, entry)
}

/// The lines of `dlio.log`'s metric block.
pub fn metric_lines(s: &CheckpointSummary, formula: MetricFormula) -> String {
    let unit = match formula {
        MetricFormula::V3 => "GiB",
        MetricFormula::V2 => "GB",
    };
    let mut out = String::new();
    for (kind, p) in phases(s) {
        let word = kind.word();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "[METRIC] Checkpoint {word} duration (seconds): {:.4} ({:.4})",
            p.duration_s.mean, p.duration_s.stdev
        );
        let _ = writeln!(
            out,
            "[METRIC] Checkpoint {word} I/O Throughput ({unit}/second): {:.4} ({:.4})",
            p.throughput_gib.mean, p.throughput_gib.stdev
        );
    }
    out
}

fn phase_rows(kind: CheckpointKind, p: &CheckpointPhase) -> Vec<Row> {
    let word = kind.word();
    let at = |key: &str| format!("checkpoint/{word}/{key}");
    let (time, rate, n) = (&p.duration_s, &p.throughput_gib, p.duration_s.values.len());
    let stdev = |key, x: f64, unit| row(&at(key), x, unit, "population_stdev");
    let [time_mean, times] = series(&at("duration"), time, "s", "checkpoint_duration");
    let [rate_mean, rates] = series(&at("throughput"), rate, "GiB/s", "checkpoint_throughput");
    let mut rows = vec![
        plain(&at("count"), n),
        time_mean.label(format!("{word} of {n}")).note(format!(
            "(stdev {:.3}), slowest rank {:.3} s",
            time.stdev, p.slowest_s.mean
        )),
        stdev("duration_stdev", time.stdev, "s"),
        times,
        rate_mean.label(format!("{word} throughput")).note(format!(
            "= {:.3} GB/s, by the slowest rank {:.3} GiB/s",
            rate.mean * GIB / 1e9,
            p.slowest_gib.mean
        )),
        stdev("throughput_stdev", rate.stdev, "GiB/s"),
        rates,
    ];
    let slowest = at("slowest_rank_duration");
    rows.extend(series(&slowest, &p.slowest_s, "s", "checkpoint_slowest"));
    let (slowest, formula) = (
        at("slowest_rank_throughput"),
        "checkpoint_slowest_throughput",
    );
    rows.extend(series(&slowest, &p.slowest_gib, "GiB/s", formula));
    rows.extend([
        plain(
            &at("rank_duration"),
            json!({"unit": "s", "formula": "min_median_max", "over_ranks": p.rank_s}),
        ),
        row(&at("tensor_bytes"), p.tensor_bytes, "B", "sum"),
        row(&at("file_bytes"), p.file_bytes, "B", "sum"),
    ]);
    rows.extend(match kind {
        CheckpointKind::Save => durability(p, at),
        CheckpointKind::Load => origin(p, at),
    });
    rows
}

/// Mean and values of a figure.
fn series(at: &str, s: &Series, unit: &'static str, formula: &str) -> [Row; 2] {
    [
        row(&format!("{at}_mean"), s.mean, unit, formula),
        row(&format!("{at}_values"), &s.values, unit, formula),
    ]
}

/// Of saves alone: how they became durable, and what the generator took.
fn durability(p: &CheckpointPhase, at: impl Fn(&str) -> String) -> Vec<Row> {
    let (files, folder, stall) = (&p.fsync_s, &p.fsync_folder_s, p.stall_percent);
    vec![
        row(&at("fsync_max"), &files.values, "s", "max"),
        row(&at("fsync_folder_max"), &folder.values, "s", "max"),
        row(&at("generator_stall"), stall, "%", "generator_stall"),
        sentence(format!(
            "  fsync of files {:.3} s, of the folder {:.4} s (longest of a rank, mean); generator stall {stall:.2} %",
            files.mean, folder.mean
        )),
    ]
}

/// Of loads alone: where their bytes came from.
fn origin(p: &CheckpointPhase, at: impl Fn(&str) -> String) -> Vec<Row> {
    vec![
        row(&at("bytes_from_device"), p.device_bytes, "B", "sum"),
        plain(&at("served_by_storage"), p.served_by_storage),
        sentence(format!(
            "  served by storage: {}",
            verdict(p.served_by_storage)
        )),
    ]
}

pub(super) fn rows(out: &mut Report, s: &CheckpointSummary, ranks: &[RankSummary]) {
    out.push(row("checkpoint/size", s.size_bytes, "B", "checkpoint_size").label("checkpoint"));
    for (kind, phase) in both(s) {
        match phase {
            Some(p) => out.extend(phase_rows(kind, p)),
            None => out.push(plain(&format!("checkpoint/{}", kind.word()), Value::Null)),
        }
    }
    let between = s.between_phases_s;
    out.push(row(
        "checkpoint/between_phases",
        between,
        "s",
        "between_phases",
    ));
    let line = |r: &RankSummary| {
        let stages: Vec<Value> = (r.checkpoint_stages.iter())
            .map(|s| object(stage(s)).into())
            .collect();
        vec![plain("rank", r.rank), plain("stages", stages)]
    };
    out.list("checkpoint/ranks", ranks.iter().map(line).collect());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cluster::Solo;
    use crate::metrics::checkpoint::{CheckpointLog, reduce};

    fn record(kind: CheckpointKind, number: u64, wall_ns: u64) -> CheckpointRecord {
        CheckpointRecord {
            kind,
            epoch: 1,
            step: number,
            number,
            start: "s".into(),
            end: "e".into(),
            wall_ns,
            own_ns: wall_ns - 100_000_000,
            tensor_bytes: 2 << 30,
            file_bytes: (2 << 30) + 1000,
            stall_ns: 9_000_000,
            ..CheckpointRecord::default()
        }
    }

    pub(crate) fn summary() -> CheckpointSummary {
        let log = CheckpointLog {
            size_bytes: 2 << 30,
            records: vec![
                record(CheckpointKind::Save, 1, 1_000_000_000),
                record(CheckpointKind::Save, 2, 2_000_000_000),
                record(CheckpointKind::Load, 1, 500_000_000),
            ],
            ..CheckpointLog::default()
        };
        reduce(&Solo::new("node0".into()), &log, false)
    }

    #[test]
    fn figures_are_bytes_over_time() {
        let s = summary();
        let save = s.save.as_ref().unwrap();
        assert_eq!(save.throughput_gib.values, [2.0, 1.0]);
        assert_eq!(save.slowest_s.values, [0.9, 1.9]);
        assert_eq!(save.slowest_gib.values, [2.0 / 0.9, 2.0 / 1.9]);
        // 18 of 2800 ms.
        assert_eq!(save.stall_percent, 100.0 * 18.0 / 2800.0);
        assert_eq!(s.load.as_ref().unwrap().throughput_gib.values, [4.0]);
        let mut metric = Map::new();
        summary_metrics(&mut metric, &s);
        assert_eq!(
            serde_json::to_string(&metric).unwrap(),
            r#"{"save_checkpoint_io_mean_GB_per_second":1.5,"save_checkpoint_io_stdev_GB_per_second":0.5,"save_checkpoint_duration_mean_seconds":1.5,"save_checkpoint_duration_stdev_seconds":0.5,"load_checkpoint_io_mean_GB_per_second":4.0,"load_checkpoint_io_stdev_GB_per_second":0.0,"load_checkpoint_duration_mean_seconds":0.5,"load_checkpoint_duration_stdev_seconds":0.0,"checkpoint_size_GB":2.0}"#
        );
    }
}
