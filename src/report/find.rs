//! What a search for the largest job that passes leaves: one JSON document, which also is what it resumes from, and a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::host::witness::Medium;
use crate::metrics::breakdown::{Breakdown, Line};
use crate::metrics::evidence::ServedByStorage;
use crate::metrics::sequential::Outcome;
use crate::metrics::summary::JobSummary;
use crate::stage::{Blame, Part};

/// Version of [`Document`].
pub const SCHEMA: &str = "dlio-rs/find/1";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum By {
    /// Accelerators: the first ranks of the job
    Ranks,
    /// Hosts, each with all of its ranks
    Hosts,
    /// Reader threads of every rank: the fewest that pass
    ReadThreads,
}

impl By {
    /// `8 accelerators`
    pub fn of(self, number: u64) -> String {
        let (one, many) = match self {
            By::Ranks => ("accelerator", "accelerators"),
            By::Hosts => ("host", "hosts"),
            By::ReadThreads => ("reader thread", "reader threads"),
        };
        format!("{number} {}", if number == 1 { one } else { many })
    }

    fn head(self) -> &'static str {
        match self {
            By::Ranks => "accelerators",
            By::Hosts => "hosts",
            By::ReadThreads => "read_threads",
        }
    }
}

/// What was asked. A search resumes only where this is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What is counted.
    pub by: By,
    /// Numbers from 1 up to this one are tried.
    pub at_most: u64,
    /// Each is a multiple of this many ranks.
    pub unit: u64,
    /// AU that passes, percent; None: checkpoints, whose rate has to be within [`KNEE`] of the highest.
    pub threshold_percent: Option<f64>,
    /// How often a search may end with a number that does not reach the threshold.
    pub error: f64,
    /// Ranks of the whole job, and its hosts.
    pub ranks: usize,
    pub hosts: usize,
    pub virtual_time: bool,
    /// Hash of the effective workload.
    pub workload_hash: String,
}

/// A checkpoint's rate counts as the highest when it is within this part of it.
pub const KNEE: f64 = 0.05;

/// One number that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Accelerators, hosts or threads.
    pub number: u64,
    pub ranks: usize,
    pub hosts: usize,
    pub read_threads: u64,
    /// Against the threshold; None for checkpoints.
    pub outcome: Option<Outcome>,
    /// AU of the steady state, percent.
    pub au_percent: Option<f64>,
    /// Its bounds; None where the steady state was too short.
    pub au_interval_percent: Option<[f64; 2]>,
    pub warm_up_steps: usize,
    pub steps: usize,
    pub seconds: f64,
    /// Samples per second of all ranks in the steady state.
    pub samples_per_second: Option<f64>,
    /// GiB per second of all ranks: read by training, saved or loaded by checkpoints.
    pub gib_per_second: f64,
    /// GiB per second of checkpoint loads, where there were both.
    pub load_gib_per_second: Option<f64>,
    /// CPU time that the job used of the CPUs that it may use, percent.
    pub cpu_busy_percent: f64,
    /// Percent of AU's window, by cause.
    pub lost_percent: BTreeMap<String, f64>,
    /// What held it back most; None where next to nothing did.
    pub limit: Option<Limit>,
}

/// What keeps more accelerators from passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Storage,
    ClientCpu,
    MemoryBandwidth,
    Network,
}

impl Limit {
    pub fn words(self) -> &'static str {
        match self {
            Limit::Storage => "storage",
            Limit::ClientCpu => "the client's CPUs",
            Limit::MemoryBandwidth => "memory bandwidth: the data come from memory",
            Limit::Network => "the network cards of the hosts",
        }
    }
}

/// A loss below this is none, percent of AU's window.
const SMALL: f64 = 1.0;

/// A network card is full at this part of its speed.
const FULL: f64 = 0.8;

/// What held a trial back: the larger one of the losses that the storage system caused and of those that the client caused.
/// Time in the barrier is neither's: ranks wait there for one that lost time by one of the two.
///
/// `seconds`: of the trial.
pub fn limit_of(summary: &JobSummary, seconds: f64) -> Option<Limit> {
    let b = &summary.breakdown;
    let client = b.overshoot_percent + lost_to(b, Blame::Client);
    let storage = lost_to(b, Blame::Storage);
    if client + storage + b.percent[Line::Barrier] < SMALL {
        return None;
    }
    if client > storage {
        return Some(Limit::ClientCpu);
    }
    let cached = |e: &crate::metrics::evidence::Evidence| e.verdict == ServedByStorage::Cached;
    let is_memory = summary.hosts.iter().all(|h| h.medium == Medium::Memory)
        || !summary.evidence.is_empty() && summary.evidence.iter().all(cached);
    if is_memory {
        return Some(Limit::MemoryBandwidth);
    }
    let received: u64 = summary.evidence.iter().filter_map(|e| e.counts.nic).sum();
    let nics = summary.hosts.iter().flat_map(|h| &h.facts.machine.nics);
    let megabits: u64 = nics.filter_map(|nic| nic.speed_mbit).sum();
    let speed = megabits as f64 * 1e6 / 8.0;
    if speed > 0.0 && received as f64 / seconds.max(1e-9) >= FULL * speed {
        return Some(Limit::Network);
    }
    Some(Limit::Storage)
}

fn lost_to(b: &Breakdown, blame: Blame) -> f64 {
    let lines = Line::all().filter(|line| line.blame() == Some(blame));
    lines.map(|line| b.percent[line]).sum()
}

/// The parts of AU's window that were not computation, by their names in `report.json`.
pub fn lost(b: &Breakdown) -> BTreeMap<String, f64> {
    Line::all()
        .filter(|line| !matches!(line, Line::Compute | Line::Uncounted))
        .map(|line| (line.name().to_owned(), b.percent[line]))
        .collect()
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The number looked for; None: none passes.
    pub number: Option<u64>,
    /// Percent of searches that end with a number that passes, or with none.
    pub confidence_percent: f64,
    /// What kept the next number from passing.
    pub limit: Option<Limit>,
    pub text: String,
    /// What is odd about it.
    pub notes: Vec<String>,
}

/// A search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub schema: String,
    pub version: String,
    pub workload: String,
    /// The command line, credentials starred.
    pub command_line: Vec<String>,
    /// Longest trial, minutes.
    pub minutes: f64,
    pub question: Question,
    /// In the order in which they were made.
    pub trials: Vec<Trial>,
    pub answer: Option<Answer>,
}

impl Document {
    pub fn table(&self) -> String {
        let by = self.question.by;
        let is_au = self.question.threshold_percent.is_some();
        let mut rows = vec![head(by, is_au)];
        let mut trials: Vec<&Trial> = self.trials.iter().collect();
        trials.sort_by_key(|trial| trial.number);
        rows.extend(trials.into_iter().map(|trial| row(trial, is_au)));
        let mut out = String::new();
        let width = |at: usize| rows.iter().filter_map(|r| r.get(at)).map(String::len).max();
        for row in &rows {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let _ = write!(line, "{cell:>width$}  ", width = width(at).unwrap_or(0));
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        if let Some(answer) = &self.answer {
            let _ = writeln!(out, "{}", answer.text);
            for note in &answer.notes {
                let _ = writeln!(out, "note: {note}");
            }
        }
        out
    }
}

fn head(by: By, is_au: bool) -> Vec<String> {
    let mut head = vec![by.head()];
    if is_au {
        head.extend(["AU %", "interval %", "outcome"]);
    }
    head.extend(["GiB/s", "CPU %"]);
    if is_au {
        head.extend(Part::ALL.iter().map(|part| part.name()));
        head.extend(["barrier", "harness", "steps"]);
    }
    head.extend(["s", "limit"]);
    head.into_iter().map(String::from).collect()
}

fn row(trial: &Trial, is_au: bool) -> Vec<String> {
    let mut row = vec![trial.number.to_string()];
    if is_au {
        row.push(trial.au_percent.map_or("-".into(), |au| format!("{au:.2}")));
        row.push(match trial.au_interval_percent {
            Some([low, high]) => format!("{low:.2}-{high:.2}"),
            None => "-".into(),
        });
        row.push(match trial.outcome {
            Some(Outcome::Pass) => "pass".into(),
            Some(Outcome::Fail) => "fail".into(),
            _ => "undecided".into(),
        });
    }
    row.push(format!("{:.3}", trial.gib_per_second));
    row.push(format!("{:.0}", trial.cpu_busy_percent));
    if is_au {
        let lost = |name: &str| format!("{:.1}", trial.lost_percent.get(name).unwrap_or(&0.0));
        row.extend(Part::ALL.iter().map(|part| lost(part.name())));
        row.extend([lost("barrier"), lost("harness"), trial.steps.to_string()]);
    }
    row.push(format!("{:.1}", trial.seconds));
    row.push(trial.limit.map_or("-", Limit::words).into());
    row
}

#[cfg(test)]
mod tests {
    use super::super::dlio::tests::job;
    use super::*;

    fn with(lines: &[(Line, f64)], medium: Medium) -> JobSummary {
        let mut s = job();
        s.breakdown = Breakdown::default();
        for (line, percent) in lines {
            s.breakdown.percent[*line] = *percent;
        }
        for host in &mut s.hosts {
            host.medium = medium.clone();
            host.facts.machine.nics.clear();
        }
        s.evidence.clear();
        s
    }

    #[test]
    fn the_limit_is_whose_losses_are_larger() {
        let io = (Line::Wait(Part::Io), 12.0);
        let cpu = (Line::Wait(Part::Cpu), 15.0);
        let barrier = (Line::Barrier, 40.0);
        let of = |lines: &[(Line, f64)], medium| limit_of(&with(lines, medium), 1.0);
        assert_eq!(of(&[io, barrier], Medium::Device), Some(Limit::Storage));
        assert_eq!(
            of(&[io, cpu, barrier], Medium::Device),
            Some(Limit::ClientCpu)
        );
        assert_eq!(
            of(&[io, barrier], Medium::Memory),
            Some(Limit::MemoryBandwidth)
        );
        assert_eq!(of(&[(Line::Barrier, 0.5)], Medium::Device), None);
        let mut s = with(&[io], Medium::Device);
        s.breakdown.overshoot_percent = 20.0;
        assert_eq!(limit_of(&s, 1.0), Some(Limit::ClientCpu));
    }

    #[test]
    fn a_card_that_is_full_is_the_limit() {
        let mut s = with(&[(Line::Wait(Part::Io), 12.0)], Medium::Nfs);
        let nic = crate::host::machine::Nic {
            name: "eth0".into(),
            speed_mbit: Some(1000),
            model: None,
        };
        s.hosts[0].facts.machine.nics.push(nic);
        let mut line = crate::metrics::evidence::Evidence {
            epoch: 1,
            host: Some(0),
            counts: Default::default(),
            verdict: ServedByStorage::Pass,
            rule: String::new(),
        };
        line.counts.nic = Some(200_000_000);
        s.evidence.push(line);
        assert_eq!(limit_of(&s, 2.0), Some(Limit::Network));
        assert_eq!(limit_of(&s, 20.0), Some(Limit::Storage));
    }
}
