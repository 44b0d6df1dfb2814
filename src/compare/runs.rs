//! Compares two runs, figure by figure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::comparison::{Comparison, Parameter, Verdict};
use super::judge::{Job, Rule};
use super::stats::{mann_whitney, welch};
use super::tolerance::Tolerance;
use crate::metrics::histogram::supports;
use crate::mlperf::figures::{self, Direction as CheckpointDirection, RunFigures};
use crate::mlperf::hash::differing;
use crate::mlperf::leaf::Leaf;
use crate::mlperf::own::{Direction as OwnDirection, OwnReport, Stage};
use crate::mlperf::steps::{KINDS, median_ms, steps};
use crate::report::provenance::Provenance;

/// Compares two runs. Err: one of them cannot be read, or they cannot be compared.
pub(crate) fn compare(a: &Leaf, b: &Leaf, tolerance: &Tolerance) -> Result<Comparison, String> {
    let figures = |leaf: &Leaf| {
        let remedy = "remedy: give a run that has ended well";
        figures::of(leaf).map_err(|u| format!("read {}: {}\n  {remedy}", u.path, u.cause))
    };
    let (fa, fb) = (figures(a)?, figures(b)?);
    for run in [&fa, &fb] {
        if run.training.is_none() && run.checkpoints.is_none() {
            return Err(format!(
                "compare {}: it only generated data and has no figures\n  remedy: give a run that trained or wrote checkpoints",
                run.path
            ));
        }
    }
    if fa.training.is_some() != fb.training.is_some() {
        return Err(format!(
            "compare {} and {}: one trained and the other wrote checkpoints\n  remedy: give two runs of one kind",
            fa.path, fb.path
        ));
    }
    let mut job = Job {
        a,
        b,
        tolerance,
        items: Vec::new(),
    };
    job.layout(&fa, &fb);
    if let (Some(x), Some(y)) = (&fa.training, &fb.training) {
        job.training(x, y);
    }
    if let (Some(x), Some(y)) = (&fa.checkpoints, &fb.checkpoints) {
        job.direction("save", x.save.as_ref(), y.save.as_ref());
        job.direction("load", x.load.as_ref(), y.load.as_ref());
    }
    job.stages();
    let items = job.items;
    Ok(Comparison {
        a: fa.path,
        b: fb.path,
        tolerance: tolerance.clone(),
        within: items.iter().all(|i| i.verdict != Verdict::Beyond),
        items,
        parameters: different(a.workload(), b.workload()),
        environment: different(Some(&environment(a)), Some(&environment(b))),
    })
}

/// With what, and where, dlio-rs made a run; empty for runs of others.
fn environment(leaf: &Leaf) -> Value {
    let provenance = leaf.report.value().and_then(|r| r.provenance.as_ref());
    let of = |p: &Provenance| {
        json!({
            "version": p.version,
            "git_commit": p.git_commit,
            "build_profile": p.build_profile,
            "mpi_library": p.mpi_library,
            "kernel": p.kernel,
            "cpus_allowed": p.cpus_allowed,
            "affinity": p.affinity,
            "memory_bytes": p.memory_bytes,
        })
    };
    provenance.map_or(Value::Null, of)
}

fn different(a: Option<&Value>, b: Option<&Value>) -> Vec<Parameter> {
    let none = Value::Null;
    differing(a.unwrap_or(&none), b.unwrap_or(&none), |_| true)
        .into_iter()
        .map(|(key, a, b)| Parameter { key, a, b })
        .collect()
}

impl Job<'_> {
    fn layout(&mut self, a: &RunFigures, b: &RunFigures) {
        let t = self.tolerance;
        let hash = |r: &RunFigures| r.core_config.as_ref().map(|c| c.hash.clone()).into();
        let ranks = (a.accelerators.into(), b.accelerators.into());
        let hosts = (a.hosts.into(), b.hosts.into());
        let hashes = (hash(a), hash(b));
        self.equal("ranks", ranks, "num_accelerators in summary.json", t.layout);
        self.equal("hosts", hosts, "num_hosts in summary.json", t.layout);
        self.equal(
            "comparability hash",
            hashes,
            "parameters",
            t.comparability_hash,
        );
    }

    fn training(&mut self, a: &figures::Training, b: &figures::Training) {
        let t = self.tolerance;
        let known = |list: &[Option<f64>]| -> Vec<f64> { list.iter().copied().flatten().collect() };
        let test = |of: fn(&figures::Training) -> &Vec<Option<f64>>| {
            Some(welch(&known(of(a)), &known(of(b))))
        };
        let rate = Rule {
            more_is_better: Some(true),
            ..Rule::percent(t.throughput_percent)
        };
        let points = Rule {
            points: true,
            more_is_better: Some(true),
            ..Rule::percent(t.au_points)
        };
        let au = (a.au_mean_percent, b.au_mean_percent);
        let source = "train_au_mean_percentage in summary.json";
        self.number("AU", "%", au, source, &points, test(|t| &t.au_percent));
        let samples = (a.samples_per_second, b.samples_per_second);
        let source = "train_throughput_mean_samples_per_second in summary.json";
        let chance = test(|t| &t.samples_per_second_values);
        self.number("throughput", "samples/s", samples, source, &rate, chance);
        let read = (a.io_gib_per_second, b.io_gib_per_second);
        let source = "train_io_mean_MB_per_second in summary.json";
        self.number("read bandwidth", "GiB/s", read, source, &rate, None);
        let bytes = self.own(|r| r.counters.bytes_read.value);
        let rule = Rule::percent(t.bytes_percent);
        self.number("bytes read", "B", bytes, OURS, &rule, None);
        let samples = self.own(|r| r.counters.samples.value);
        let rule = Rule::percent(t.samples_percent);
        self.number("samples", "samples", samples, OURS, &rule, None);
        let (x, y) = self.own(|r| r.order_digest.clone());
        self.equal("order digest", (x.into(), y.into()), OURS, t.order_digest);
        self.steps();
    }

    /// Times of steps, of all ranks and blocks: DLIO keeps them too.
    fn steps(&mut self) {
        let (a, b) = (steps(self.a), steps(self.b));
        for (what, key) in KINDS {
            let figure = format!("median {what} time of a step");
            let source = "step times in <rank>_output.json";
            let [x, y] = [&a, &b].map(|all| all.get(key).map_or(&[][..], Vec::as_slice));
            let test = (!x.is_empty() && !y.is_empty()).then(|| mann_whitney(x, y));
            let (medians, rule) = ((median_ms(x), median_ms(y)), self.latency());
            self.number(&figure, "ms", medians, source, &rule, test);
        }
    }

    /// A value of both reports.
    fn own<T>(&self, of: impl Fn(&OwnReport) -> Option<T>) -> (Option<T>, Option<T>) {
        let value = |leaf: &Leaf| leaf.report.value().and_then(&of);
        (value(self.a), value(self.b))
    }

    fn latency(&self) -> Rule {
        Rule {
            floor: self.tolerance.percentile_floor_ms,
            more_is_better: Some(false),
            ..Rule::percent(self.tolerance.percentile_percent)
        }
    }

    fn direction(
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
        let test = |of: fn(&CheckpointDirection) -> &Vec<f64>| {
            let [a, b] = [a, b].map(|d| d.map_or(&[][..], |d| of(d).as_slice()));
            Some(welch(a, b))
        };
        let of_speed = |more_is_better| Rule {
            more_is_better: Some(more_is_better),
            ..Rule::percent(t.throughput_percent)
        };
        let (time, rate) = (of_speed(false), of_speed(true));
        let name = |what: &str| format!("checkpoint {word} {what}");
        let source = format!("{word}s of checkpoints");
        let rates = of(|d| d.means.gib_per_second);
        let chance = test(|d| &d.throughputs);
        self.number(&name("bandwidth"), "GiB/s", rates, &source, &rate, chance);
        let times = of(|d| d.means.duration_seconds);
        let chance = test(|d| &d.durations);
        self.number(&name("duration"), "s", times, &source, &time, chance);
        let slowest = of(|d| d.means.slowest_rank_seconds);
        let figure = name("duration of the slowest rank");
        self.number(&figure, "s", slowest, OURS, &time, None);
        let bytes = Rule::percent(t.bytes_percent);
        let is_save = word == "save";
        let bytes_of = self.own(|r| {
            let both = r.checkpoint.as_ref()?;
            let of = |d: &Option<OwnDirection>| d.as_ref()?.tensor_bytes.value;
            of(if is_save { &both.save } else { &both.load })
        });
        self.number(&name("bytes"), "B", bytes_of, OURS, &bytes, None);
    }

    /// Percentiles of every stage that both reports have.
    fn stages(&mut self) {
        let (a, b) = (stages(self.a), stages(self.b));
        if a.is_empty() || b.is_empty() {
            let why = Self::lacking(a.is_empty(), b.is_empty(), OURS);
            return self.push_skip("percentiles per stage", "ms", Value::Null, Value::Null, why);
        }
        for (name, x) in &a {
            let Some(y) = b.get(name) else {
                let figure = format!("{name} percentiles");
                let why = Self::lacking(false, true, "this stage");
                self.push_skip(&figure, "ms", Value::Null, Value::Null, why);
                continue;
            };
            type Percentile = fn(&Stage) -> Option<f64>;
            let percentiles: [(&str, f64, Percentile); 4] = [
                ("p50", 0.5, |s| s.p50),
                ("p90", 0.9, |s| s.p90),
                ("p99", 0.99, |s| s.p99),
                ("p99.9", 0.999, |s| s.p999),
            ];
            for (key, quantile, of) in percentiles {
                let figure = format!("{name} {key}");
                let [va, vb] = [x, y].map(|s| Some(of(s)? / 1e6));
                // With fewer, the percentile is but one of the largest values.
                if [x, y].iter().all(|s| supports(s.count, quantile, BEYOND)) {
                    let latency = self.latency();
                    self.number(&figure, "ms", (va, vb), "it", &latency, None);
                } else {
                    let why = format!("n is too small: {} and {} values", x.count, y.count);
                    self.push_skip(&figure, "ms", va, vb, why);
                }
            }
        }
    }
}

/// Values that lie beyond a percentile that is compared.
const BEYOND: f64 = 5.0;

/// What runs of DLIO do not have.
const OURS: &str = "report.json of dlio-rs, which has this figure";

fn stages(leaf: &Leaf) -> BTreeMap<&str, &Stage> {
    let stages = leaf.report.value().into_iter().flat_map(|r| &r.stages);
    stages.map(|s| (s.stage.as_str(), s)).collect()
}
