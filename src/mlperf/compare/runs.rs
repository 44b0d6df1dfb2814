//! Which figures of two runs are compared.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::figures::{self, Direction as CheckpointDirection, RunFigures};
use super::super::json::at;
use super::super::leaf::Leaf;
use super::super::stats::{mann_whitney, welch};
use super::judge::{Job, Rule};
use super::steps::{median_ms, steps};

impl Job<'_> {
    pub(super) fn layout(&mut self, a: &RunFigures, b: &RunFigures) {
        let demand = self.tolerance.layout;
        self.equal(
            "ranks",
            (a.accelerators.into(), b.accelerators.into()),
            "num_accelerators in summary.json",
            demand,
        );
        self.equal(
            "hosts",
            (a.hosts.into(), b.hosts.into()),
            "num_hosts in summary.json",
            demand,
        );
        let hash = |r: &RunFigures| r.core_config.as_ref().map(|c| c.hash.clone()).into();
        self.equal(
            "comparability hash",
            (hash(a), hash(b)),
            "parameters",
            self.tolerance.comparability_hash,
        );
    }

    pub(super) fn training(&mut self, a: &figures::Training, b: &figures::Training) {
        let t = self.tolerance;
        let known = |list: &[Option<f64>]| -> Vec<f64> { list.iter().copied().flatten().collect() };
        self.number(
            "AU",
            "%",
            (a.au_mean_percent, b.au_mean_percent),
            "train_au_mean_percentage in summary.json",
            &Rule {
                tolerance: t.au_points,
                points: true,
                floor: 0.0,
                more_is_better: Some(true),
            },
            Some(welch(&known(&a.au_percent), &known(&b.au_percent))),
        );
        let rate = Rule {
            tolerance: t.throughput_percent,
            points: false,
            floor: 0.0,
            more_is_better: Some(true),
        };
        self.number(
            "throughput",
            "samples/s",
            (a.samples_per_second, b.samples_per_second),
            "train_throughput_mean_samples_per_second in summary.json",
            &rate,
            Some(welch(
                &known(&a.samples_per_second_values),
                &known(&b.samples_per_second_values),
            )),
        );
        self.number(
            "read bandwidth",
            "GiB/s",
            (a.io_gib_per_second, b.io_gib_per_second),
            "train_io_mean_MB_per_second in summary.json",
            &rate,
            None,
        );
        for (figure, unit, key, tolerance) in [
            ("bytes read", "B", "counters.bytes_read", t.bytes_percent),
            ("samples", "samples", "counters.samples", t.samples_percent),
        ] {
            let rule = Rule {
                tolerance,
                points: false,
                floor: 0.0,
                more_is_better: None,
            };
            self.number(
                figure,
                unit,
                (ours(self.a, key), ours(self.b, key)),
                OURS,
                &rule,
                None,
            );
        }
        let digest = |leaf: &Leaf| {
            let report = leaf.report.value();
            report
                .and_then(|r| at(r, "order_digest"))
                .cloned()
                .unwrap_or_default()
        };
        self.equal(
            "order digest",
            (digest(self.a), digest(self.b)),
            OURS,
            t.order_digest,
        );
        self.steps();
    }

    /// Times of steps, of all ranks and blocks: DLIO keeps them too.
    fn steps(&mut self) {
        let (a, b) = (steps(self.a), steps(self.b));
        for (what, key) in [
            ("load", "load"),
            ("load + compute", "proc"),
            ("compute", "compute"),
        ] {
            let figure = format!("median {what} time of a step");
            let source = "step times in <rank>_output.json";
            let none = Vec::new();
            let x = a.get(key).unwrap_or(&none);
            let y = b.get(key).unwrap_or(&none);
            let test = (!x.is_empty() && !y.is_empty()).then(|| mann_whitney(x, y));
            self.number(
                &figure,
                "ms",
                (median_ms(x), median_ms(y)),
                source,
                &self.latency(),
                test,
            );
        }
    }

    fn latency(&self) -> Rule {
        Rule {
            tolerance: self.tolerance.percentile_percent,
            points: false,
            floor: self.tolerance.percentile_floor_ms,
            more_is_better: Some(false),
        }
    }

    pub(super) fn direction(
        &mut self,
        word: &str,
        a: Option<&CheckpointDirection>,
        b: Option<&CheckpointDirection>,
    ) {
        if a.is_none() && b.is_none() {
            return;
        }
        let t = self.tolerance;
        let of = |f: fn(&CheckpointDirection) -> Option<f64>| (a.and_then(f), b.and_then(f));
        let values = |d: Option<&CheckpointDirection>, f: fn(&CheckpointDirection) -> &Vec<f64>| {
            d.map_or_else(Vec::new, |d| f(d).clone())
        };
        let time = Rule {
            tolerance: t.throughput_percent,
            points: false,
            floor: 0.0,
            more_is_better: Some(false),
        };
        let rate = Rule {
            more_is_better: Some(true),
            ..time
        };
        let name = |what: &str| format!("checkpoint {word} {what}");
        let source = format!("{word}s of checkpoints");
        self.number(
            &name("bandwidth"),
            "GiB/s",
            of(|d| d.gib_per_second),
            &source,
            &rate,
            Some(welch(
                &values(a, |d| &d.throughputs),
                &values(b, |d| &d.throughputs),
            )),
        );
        self.number(
            &name("duration"),
            "s",
            of(|d| d.duration_seconds),
            &source,
            &time,
            Some(welch(
                &values(a, |d| &d.durations),
                &values(b, |d| &d.durations),
            )),
        );
        self.number(
            &name("duration of the slowest rank"),
            "s",
            of(|d| d.slowest_rank_seconds),
            OURS,
            &time,
            None,
        );
        let bytes = Rule {
            tolerance: t.bytes_percent,
            more_is_better: None,
            ..time
        };
        let key = format!("checkpoint.{word}.tensor_bytes");
        self.number(
            &name("bytes"),
            "B",
            (ours(self.a, &key), ours(self.b, &key)),
            OURS,
            &bytes,
            None,
        );
    }

    /// Percentiles of every stage that both reports have.
    pub(super) fn stages(&mut self) {
        let (a, b) = (stages(self.a), stages(self.b));
        if a.is_empty() || b.is_empty() {
            let why = Self::lacking(a.is_empty(), b.is_empty(), OURS);
            return self.push_skip("percentiles per stage", "ms", Value::Null, Value::Null, why);
        }
        for (name, x) in &a {
            let Some(y) = b.get(name) else {
                let why = Self::lacking(false, true, "this stage");
                self.push_skip(
                    &format!("{name} percentiles"),
                    "ms",
                    Value::Null,
                    Value::Null,
                    why,
                );
                continue;
            };
            let counts = [x, y].map(|s| s.get("count").and_then(Value::as_u64).unwrap_or(0));
            for (key, beyond) in [("p50", 0.5), ("p90", 0.1), ("p99", 0.01), ("p99.9", 0.001)] {
                let figure = format!("{name} {key}");
                let value = |s: &Value| Some(s.get(key)?.as_f64()? / 1e6);
                let (va, vb) = (value(x), value(y));
                // With fewer, the percentile is but one of the largest values.
                let enough = counts.iter().all(|n| *n as f64 * beyond >= 5.0);
                if enough {
                    let latency = self.latency();
                    self.number(&figure, "ms", (va, vb), "it", &latency, None);
                } else {
                    let why = format!("n is too small: {} and {} values", counts[0], counts[1]);
                    self.push_skip(&figure, "ms", va.into(), vb.into(), why);
                }
            }
        }
    }
}

/// What runs of DLIO do not have.
const OURS: &str = "report.json of dlio-rs, which has this figure";

fn ours(leaf: &Leaf, key: &str) -> Option<f64> {
    let figure = at(leaf.report.value()?, key)?;
    figure.get("value")?.as_f64()
}

fn stages(leaf: &Leaf) -> BTreeMap<String, Value> {
    let list = leaf.report.value().and_then(|r| at(r, "stages"));
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| Some((s.get("stage")?.as_str()?.to_owned(), s.clone())))
        .collect()
}
