//! Two runs side by side: each difference with its size, its tolerance and its significance.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::figures::{self, Direction as CheckpointDirection, RunFigures};
use super::hash::{canonical, flatten};
use super::json::{Document, at};
use super::leaf::Leaf;
use super::stats::{Significance, mann_whitney, welch};
use super::tolerance::{Demand, Direction, Tolerance};

/// What a comparison says of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within tolerance.
    Within,
    /// Beyond it.
    Beyond,
    /// Told, without judgement.
    Told,
    /// A run lacks the figure.
    Skip,
}

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// Its name.
    pub figure: String,
    /// Its unit.
    pub unit: &'static str,
    /// Of the first run.
    pub a: Value,
    /// Of the second run.
    pub b: Value,
    /// Second less first; in `difference_unit`.
    pub difference: Option<f64>,
    /// `percentage points` or `%` (of the first run's).
    pub difference_unit: &'static str,
    /// How far they may lie apart, in `difference_unit`.
    pub tolerance: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
    /// Why, where the numbers do not say it.
    pub note: Option<String>,
    /// Whether chance explains the difference, or why that cannot be told.
    #[serde(serialize_with = "test_or_reason")]
    pub significance: Option<Result<Significance, String>>,
}

/// The test as a map; where it could not be made, `{"reason": ...}`.
fn test_or_reason<S: serde::Serializer>(
    test: &Option<Result<Significance, String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match test {
        None => serializer.serialize_none(),
        Some(Ok(test)) => test.serialize(serializer),
        Some(Err(reason)) => BTreeMap::from([("reason", reason)]).serialize(serializer),
    }
}

/// A parameter that the runs do not share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// Dotted.
    pub key: String,
    /// Of the first run; null where it does not set it.
    pub a: Value,
    /// Of the second run.
    pub b: Value,
}

/// The whole comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Folder of the first run.
    pub a: String,
    /// Folder of the second run.
    pub b: String,
    /// The tolerances.
    pub tolerance: Tolerance,
    /// Figures.
    pub items: Vec<Item>,
    /// Parameters of the workloads that differ.
    pub parameters: Vec<Parameter>,
    /// Versions and machines that differ.
    pub environment: Vec<Parameter>,
    /// True where nothing is beyond tolerance.
    pub within: bool,
}

/// Compares two runs. Err: one of them cannot be read, or they cannot be compared.
pub fn compare(a: &Leaf, b: &Leaf, tolerance: &Tolerance) -> Result<Comparison, String> {
    let figures =
        |leaf: &Leaf| figures::of(leaf).map_err(|u| format!("read {}: {}", u.path, u.cause));
    let (fa, fb) = (figures(a)?, figures(b)?);
    for run in [&fa, &fb] {
        if run.training.is_none() && run.checkpoints.is_none() {
            return Err(format!(
                "compare {}: it only generated data and has no figures; give a run that trained or wrote checkpoints",
                run.path
            ));
        }
    }
    if fa.training.is_some() != fb.training.is_some() {
        return Err(format!(
            "compare {} and {}: one trained and the other wrote checkpoints; give two runs of one kind",
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
        parameters: different(a.parameters(), b.parameters(), |_| true),
        environment: different(
            a.report.value().and_then(|r| at(r, "provenance")),
            b.report.value().and_then(|r| at(r, "provenance")),
            |key| ENVIRONMENT.contains(&key),
        ),
    })
}

/// Facts of `report.json` that say with what, and where, a run was made.
const ENVIRONMENT: [&str; 8] = [
    "version",
    "git_commit",
    "build_profile",
    "mpi_library",
    "kernel",
    "cpus_allowed",
    "affinity",
    "memory_bytes",
];

fn different(
    a: Option<&Value>,
    b: Option<&Value>,
    counts: impl Fn(&str) -> bool,
) -> Vec<Parameter> {
    let values = |v: Option<&Value>| v.map_or_else(BTreeMap::new, flatten);
    let (a, b) = (values(a), values(b));
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let of = |map: &BTreeMap<String, Value>, key: &str| map.get(key).cloned().unwrap_or_default();
    keys.into_iter()
        .filter(|key| counts(key))
        .map(|key| Parameter {
            key: key.clone(),
            a: of(&a, key),
            b: of(&b, key),
        })
        // `1` and `1.0`, `true` and `"True"` are the same.
        .filter(|p| canonical(&p.a) != canonical(&p.b))
        .collect()
}

struct Job<'a> {
    a: &'a Leaf,
    b: &'a Leaf,
    tolerance: &'a Tolerance,
    items: Vec<Item>,
}

/// How a figure is judged.
struct Rule {
    tolerance: f64,
    /// In points of the figure itself instead of percent of the first run's.
    points: bool,
    /// Differences below this, in the figure's unit, do not count.
    floor: f64,
    /// None: neither way is worse.
    more_is_better: Option<bool>,
}

impl Job<'_> {
    fn push_skip(&mut self, figure: &str, unit: &'static str, a: Value, b: Value, why: String) {
        self.items.push(Item {
            figure: figure.into(),
            unit,
            a,
            b,
            difference: None,
            difference_unit: "",
            tolerance: None,
            verdict: Verdict::Skip,
            note: Some(why),
            significance: None,
        });
    }

    fn lacking(a: bool, b: bool, what: &str) -> String {
        let who = match (a, b) {
            (true, true) => "neither run has",
            (true, false) => "the first run lacks",
            _ => "the second run lacks",
        };
        format!("{who} {what}")
    }

    fn number(
        &mut self,
        figure: &str,
        unit: &'static str,
        (a, b): (Option<f64>, Option<f64>),
        source: &str,
        rule: &Rule,
        significance: Option<Result<Significance, String>>,
    ) {
        let (Some(x), Some(y)) = (a, b) else {
            let why = Self::lacking(a.is_none(), b.is_none(), source);
            return self.push_skip(figure, unit, Value::from(a), Value::from(b), why);
        };
        let change = if rule.points {
            y - x
        } else if x == y {
            0.0
        } else {
            100.0 * (y - x) / x.abs()
        };
        let worse = rule.more_is_better.is_none_or(|more| (y < x) == more);
        let mut note = None;
        let mut beyond = change.abs() > rule.tolerance;
        if beyond && (y - x).abs() <= rule.floor {
            beyond = false;
            note = Some("below the floor".into());
        }
        if beyond && self.tolerance.direction == Direction::Worse && !worse {
            beyond = false;
            note = Some("better".into());
        }
        let p = significance.as_ref().and_then(|s| s.as_ref().ok());
        if beyond
            && self.tolerance.only_significant
            && p.is_some_and(|s| s.p_value >= self.tolerance.alpha)
        {
            beyond = false;
            note = Some(format!("not significant at {}", self.tolerance.alpha));
        }
        self.items.push(Item {
            figure: figure.into(),
            unit,
            a: x.into(),
            b: y.into(),
            // From 0 to something is no percentage.
            difference: change.is_finite().then_some(change),
            difference_unit: if rule.points {
                "percentage points"
            } else {
                "%"
            },
            tolerance: Some(rule.tolerance),
            verdict: if beyond {
                Verdict::Beyond
            } else {
                Verdict::Within
            },
            note,
            significance,
        });
    }

    fn equal(&mut self, figure: &str, (a, b): (Value, Value), source: &str, demand: Demand) {
        if a.is_null() || b.is_null() {
            let why = Self::lacking(a.is_null(), b.is_null(), source);
            return self.push_skip(figure, "", a, b, why);
        }
        let verdict = match (a == b, demand) {
            (true, _) => Verdict::Within,
            (false, Demand::Equal) => Verdict::Beyond,
            (false, Demand::Ignore) => Verdict::Told,
        };
        self.items.push(Item {
            figure: figure.into(),
            unit: "",
            a,
            b,
            difference: None,
            difference_unit: "",
            tolerance: None,
            verdict,
            note: Some(
                if verdict == Verdict::Within {
                    "equal"
                } else {
                    "different"
                }
                .into(),
            ),
            significance: None,
        });
    }

    fn layout(&mut self, a: &RunFigures, b: &RunFigures) {
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

    fn training(&mut self, a: &figures::Training, b: &figures::Training) {
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
    fn stages(&mut self) {
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

/// Seconds of every step by kind of time, of all ranks. Files that are no JSON hold none.
fn steps(leaf: &Leaf) -> BTreeMap<&'static str, Vec<f64>> {
    let mut out: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let files = leaf.files.iter().filter(|name| {
        name.strip_suffix("_output.json")
            .is_some_and(|rank| !rank.is_empty() && rank.bytes().all(|b| b.is_ascii_digit()))
    });
    for name in files {
        let document = Document::json(&leaf.path.join(name));
        let epochs = document.value().and_then(Value::as_object);
        for (key, epoch) in epochs.into_iter().flatten() {
            if !key.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            for kind in ["load", "proc", "compute"] {
                let blocks = epoch.get(kind).and_then(Value::as_object);
                for (block, list) in blocks.into_iter().flatten() {
                    if block.starts_with("block") {
                        let list = list.as_array().into_iter().flatten();
                        out.entry(kind)
                            .or_default()
                            .extend(list.filter_map(Value::as_f64));
                    }
                }
            }
        }
    }
    out
}

fn median_ms(seconds: &[f64]) -> Option<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    let median = if sorted.len() % 2 == 1 {
        *upper
    } else {
        (sorted[middle - 1] + upper) / 2.0
    };
    Some(median * 1e3)
}
