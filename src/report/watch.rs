//! A running job seen through its events, by another process.

use serde_json::Value;

use super::live::fit;
use crate::util::text::plain;

/// Rates that are kept for the sparkline.
const RATES: usize = 24;

/// Bars of a sparkline, lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is known of a job.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    place: String,
    epochs: Option<u64>,
    au: Option<f64>,
    /// GiB/s, oldest first.
    rates: Vec<f64>,
    p99_s: Option<f64>,
    eta_s: Option<f64>,
    slow: String,
    /// Set when the job has ended: its last words.
    pub(crate) ended: Option<Ended>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Results are in this folder.
    Saved(String),
    /// Why not.
    Failed(String),
}

impl Watched {
    /// Takes in a line of events. Lines that are none (the last one may be half written) change nothing.
    pub(crate) fn line(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let number = |key: &str| event[key].as_f64();
        let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().unwrap_or_default() {
            "progress" => {
                let at = |key: &str| event[key].as_u64().unwrap_or(0);
                self.place = format!(
                    "epoch {}/{} step {}/{}",
                    at("epoch"),
                    at("epochs"),
                    at("step"),
                    at("steps")
                );
                self.epochs = Some(at("epochs"));
                self.au = number("au_percent");
                self.p99_s = number("batch_wait_p99_s");
                self.eta_s = number("eta_s");
                if let Some(rate) = number("bytes_per_second") {
                    self.rates.push(rate / crate::util::units::GIB);
                    let old = self.rates.len().saturating_sub(RATES);
                    self.rates.drain(..old);
                }
            }
            "working" => {
                let total = event["total"]
                    .as_u64()
                    .map_or(String::new(), |n| format!("/{n}"));
                self.place = format!(
                    "{} {}{total} {}",
                    word("what"),
                    number("done").unwrap_or(0.0),
                    word("unit")
                );
                self.eta_s = number("eta_s");
            }
            "generation_progress" => {
                let at = |key: &str| event[key].as_u64().unwrap_or(0);
                let (files, total) = (at("files"), at("files_total"));
                self.place = format!("generate {files}/{total} files of rank 0");
                let left = total.saturating_sub(files) as f64;
                let per_file = number("elapsed_s").filter(|_| files > 0);
                self.eta_s = per_file.map(|s| s / files as f64 * left);
            }
            "slow_ranks" => {
                let looks = event["looks"].as_u64().unwrap_or(0);
                let ranks = event["ranks"].as_array().into_iter().flatten();
                let words =
                    ranks.filter_map(|r| Some(format!("{} ({}/{looks})", r.get(0)?, r.get(1)?)));
                self.slow = words.collect::<Vec<_>>().join(", ");
            }
            "epoch_ended" => {
                let of = self.epochs.map_or(String::new(), |n| format!("/{n}"));
                self.place = format!("epoch {}{of} done", event["epoch"]);
                self.eta_s = None;
            }
            "run_started" => self.place = format!("started with {} rank(s)", event["ranks"]),
            "outputs_saved" => self.ended = Some(Ended::Saved(word("folder"))),
            "failed" => self.ended = Some(Ended::Failed(word("message"))),
            _ => {}
        }
    }

    /// One line of at most `columns` characters; what matters least is left out first.
    pub(crate) fn text(&self, columns: usize) -> String {
        let mut parts = vec![self.place.clone()];
        parts.extend(self.au.map(|au| format!("AU {au:.1} %")));
        parts.extend(
            self.rates
                .last()
                .map(|rate| format!("{rate:.2} GiB/s {}", self.sparkline())),
        );
        parts.extend(self.p99_s.map(|s| format!("p99 wait {:.1} ms", s * 1e3)));
        parts.extend(self.eta_s.map(|s| format!("ETA {s:.0} s")));
        if !self.slow.is_empty() {
            parts.push(format!("slow ranks: {}", self.slow));
        }
        let parts: Vec<String> = parts.iter().map(|part| plain(part).into()).collect();
        fit(&parts, columns)
    }

    fn sparkline(&self) -> String {
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        let bar = |rate: &f64| {
            let part = if most > 0.0 { rate / most } else { 0.0 };
            BARS[((part * (BARS.len() - 1) as f64).round() as usize).min(BARS.len() - 1)]
        };
        self.rates.iter().map(bar).collect()
    }
}
