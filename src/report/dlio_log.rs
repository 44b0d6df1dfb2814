//! `dlio.log`: DLIO's own lines, for the scripts that read them.

use std::io::Write;

use super::checkpoint::throughput_gib;
use super::dlio::metric_block;
use super::event::{Event, Listener};
use super::{python, timestamp};
use crate::config::{Distribution, MetricFormula, Workload};
use crate::interrupt::say;
use crate::metrics::au::{block_au, mean_and_std};
use crate::metrics::checkpoint::{CheckpointKind, CheckpointRecord};
use crate::metrics::record::BlockRecord;
use crate::metrics::spec::MetricSpec;
use crate::metrics::throughput::{block_throughput, eval_throughput};
use crate::util::text::plain;
use crate::util::units::gib;

/// What `DLIO_LOG_LEVEL` lets through, from the most to the least talkative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    Debug,
    Info,
    /// Warnings, DLIO's own `[OUTPUT]` lines, errors.
    #[default]
    Warning,
    /// Between warnings and errors; not a value of the variable.
    Output,
    Error,
    Critical,
}

impl Level {
    /// From the variable's value; DLIO's default is `warning`.
    ///
    /// Errors: a word that DLIO does not know either.
    pub fn from_env(value: Option<&str>) -> Result<Self, String> {
        Ok(match value {
            None | Some("" | "warning" | "warn" | "WARNING" | "WARN") => Level::Warning,
            Some("debug" | "DEBUG") => Level::Debug,
            Some("info" | "INFO") => Level::Info,
            Some("error" | "ERROR") => Level::Error,
            Some("critical" | "CRITICAL") => Level::Critical,
            Some(other) => {
                return Err(format!(
                    "environment variable DLIO_LOG_LEVEL: {other:?} is no level\n  remedy: set it to debug, info, warning, error or critical, or unset it"
                ));
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Output => "OUTPUT",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// A listener that writes DLIO's `[OUTPUT]` and `[WARNING]` lines. Rank 0 only.
///
/// DLIO writes the same lines to the standard error output; pass it as a second sink for that. A sink
/// that fails is named on the standard error output and not written again.
pub struct DlioLog {
    sinks: Vec<Box<dyn Write + Send>>,
    workload: Workload,
    spec: MetricSpec,
    ranks: usize,
    level: Level,
}

impl DlioLog {
    /// Writes what `level` lets through to every sink. `workload` and `ranks` give the formulas their parameters.
    pub fn new(
        sinks: Vec<Box<dyn Write + Send>>,
        workload: &Workload,
        ranks: usize,
        level: Level,
    ) -> Self {
        DlioLog {
            level,
            sinks,
            workload: workload.clone(),
            spec: MetricSpec::of(workload, ranks),
            ranks,
        }
    }

    fn line(&mut self, level: Level, message: &str) {
        if level < self.level {
            return;
        }
        let text = format!("[{}] {}\n", level.name(), plain(message));
        self.sinks.retain_mut(|sink| {
            match sink.write_all(text.as_bytes()).and_then(|()| sink.flush()) {
                Ok(()) => true,
                Err(error) => {
                    // Without a log the figures still stand.
                    say(&format!("dlio-rs: the log ends here: {error}"));
                    false
                }
            }
        });
    }

    fn output(&mut self, message: &str) {
        self.line(Level::Output, &format!("{} {message}", timestamp()));
    }

    fn steps_planned(&mut self, steps: u64, eval_steps: u64) {
        let (d, r, ranks) = (&self.workload.dataset, &self.workload.reader, self.ranks);
        let n = d.num_samples_per_file;
        // The fork says "per rank" and then uses all files; the division by the ranks belongs there.
        let per_rank = match self.workload.metric.formula {
            MetricFormula::V3 => " per rank",
            MetricFormula::V2 => "",
        };
        let mut lines = vec![format!(
            "Max steps per epoch{per_rank}: {steps} = {n} * {} / {} / {ranks} (samples per file * num files / batch size / comm size)",
            d.num_files_train, r.batch_size
        )];
        if self.workload.workflow.evaluation {
            lines.push(format!(
                "Steps per eval{per_rank}: {eval_steps} = {n} * {} / {} / {ranks} (samples per file * num files / batch size eval / comm size)",
                d.num_files_eval, r.batch_size_eval
            ));
        }
        let t = &self.workload.train;
        let total = u64::try_from(t.total_training_steps).ok();
        if let Some(k) = total.filter(|k| *k > 0) {
            let most = k.min(steps.saturating_mul(t.epochs));
            lines.push(format!(
                "Total training steps is set to be {k}. Will only run up to {most}"
            ));
        }
        lines.iter().for_each(|l| self.output(l));
    }

    fn block_ended(&mut self, epoch: u64, block: u64, b: &BlockRecord) {
        let steps = b.steps.len();
        let s = seconds(b.wall_ns);
        self.output(&format!(
            "Ending block {block} - {steps} steps completed in {s:.2} s"
        ));
        if !self.workload.workflow.train {
            return;
        }
        let (formula, window) = (self.spec.formula, self.spec.train);
        let au = block_au(formula, b, window);
        let rate = block_throughput(formula, b, window, self.spec.batch_size);
        let compute = b.steps[window.range(steps)].iter();
        let compute = compute.map(|s| seconds(s.compute_ns));
        let mean = match mean_and_std(&compute.collect::<Vec<_>>()) {
            Some((mean, std)) => format!("{mean:.4}+/-{std:.4}"),
            None => "n/a+/-n/a (metric window empty — too few steps)".into(),
        };
        let set = python_dict(&self.workload.train.computation_time.0);
        let prefix = format!("Epoch {epoch} - Block {block} [Training]");
        let all = rate * self.ranks as f64;
        self.output(&format!(
            "{prefix} Accelerator Utilization [AU] (%): {au:.4}"
        ));
        self.output(&format!("{prefix} Throughput (samples/second): {all:.4}"));
        self.output(&format!(
            "{prefix} Computation time per step (second): {mean} (set value: {set})"
        ));
    }

    fn unit(&self) -> &'static str {
        match self.workload.metric.formula {
            MetricFormula::V3 => "GiB",
            MetricFormula::V2 => "GB",
        }
    }

    fn checkpoint_planned(
        &mut self,
        subset_of: Option<u64>,
        parameters: f64,
        model_bytes: u64,
        optimizer_bytes: u64,
    ) {
        let suffix = if subset_of.is_some() { "(subset)" } else { "" };
        if let Some(whole) = subset_of {
            let ranks = self.ranks;
            self.output(&format!(
                "Performing subset checkpointing: {ranks} of {whole}"
            ));
        }
        self.output(&format!(
            "Total number of parameters in the model: {parameters:.0}"
        ));
        let unit = self.unit();
        for (what, bytes) in [
            ("Model size", model_bytes),
            ("Optimizer state size", optimizer_bytes),
            ("Total checkpoint size", model_bytes + optimizer_bytes),
        ] {
            let size = gib(bytes as f64);
            self.output(&format!("{what}: {size:.6} {unit} {suffix}"));
        }
    }

    fn checkpoint_ended(&mut self, r: &CheckpointRecord, size_bytes: u64) {
        let done = match r.kind {
            CheckpointKind::Save => "Saved",
            CheckpointKind::Load => "Loaded",
        };
        for (what, ns) in [("model", r.model_ns), ("optimizer", r.optimizer_ns)] {
            let s = seconds(ns);
            self.output(&format!("{done} {what} checkpoint in {s:.4} seconds"));
        }
        let unit = self.unit();
        self.output(&format!(
            "Finished {} checkpoint {} for epoch {} in {:.4} s; Throughput: {:.4} {unit}/s",
            participle(r.kind),
            r.number,
            r.epoch,
            seconds(r.wall_ns),
            throughput_gib(r, size_bytes)
        ));
    }

    fn eval_ended(&mut self, epoch: u64, b: &BlockRecord) {
        let au = block_au(self.spec.formula, b, self.spec.eval);
        let rate = eval_throughput(b, self.spec.batch_size_eval) * self.ranks as f64;
        let (steps, s) = (b.steps.len(), seconds(b.wall_ns));
        self.output(&format!(
            "Ending eval - {steps} steps completed in {s:.2} s"
        ));
        let prefix = format!("Epoch {epoch} [Eval]");
        self.output(&format!(
            "{prefix} Accelerator Utilization [AU] (%): {au:.4}"
        ));
        self.output(&format!("{prefix} Throughput (samples/second): {rate:.4}"));
    }
}

/// DLIO's words for a phase.
fn activity(phase: &str) -> &str {
    match phase {
        "generate" => "Generating data",
        "train" => "Training",
        "evaluate" => "Evaluation",
        "checkpoint" => "Checkpointing",
        other => other,
    }
}

fn phase_word(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Save => "write",
        CheckpointKind::Load => "read",
    }
}

fn participle(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Save => "saving",
        CheckpointKind::Load => "loading",
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A time specification as Python prints the dictionary that DLIO keeps.
fn python_dict(d: &Distribution) -> String {
    let (kind, entries): (&str, Vec<(&str, f64)>) = match *d {
        Distribution::Constant { mean } => ("", vec![("mean", mean)]),
        Distribution::Normal { mean, stdev } => ("", vec![("mean", mean), ("stdev", stdev)]),
        Distribution::Uniform { min, max } => ("uniform", vec![("min", min), ("max", max)]),
        Distribution::Gamma { shape, scale } => ("gamma", vec![("shape", shape), ("scale", scale)]),
        Distribution::Exponential { scale } => ("exponential", vec![("scale", scale)]),
        Distribution::Poisson { lam } => ("poisson", vec![("lam", lam)]),
    };
    let kind = (!kind.is_empty()).then(|| format!("'type': '{kind}'"));
    let entries = entries
        .iter()
        .map(|(k, v)| format!("'{k}': {}", python::float(*v)));
    let all: Vec<String> = kind.into_iter().chain(entries).collect();
    format!("{{{}}}", all.join(", "))
}

impl Listener for DlioLog {
    fn on(&mut self, event: &Event) {
        match event {
            Event::RunStarted { ranks, phases } => {
                let phases: Vec<&str> = phases.iter().map(|phase| activity(phase)).collect();
                let active = phases.join(" & ");
                self.output(&format!("Running DLIO [{active}] with {ranks} process(es)"));
            }
            Event::Warning(text) => self.line(Level::Warning, text),
            Event::GenerationStarted { .. } => self.output("Starting data generation"),
            Event::GenerationDone { .. } => self.output("Generation done"),
            Event::StepsPlanned {
                steps, eval_steps, ..
            } => self.steps_planned(*steps, *eval_steps),
            Event::EpochStarted {
                epoch,
                steps,
                overridden,
            } => self.output(&if *overridden {
                format!("Starting epoch {epoch}: Overriding number of steps to {steps}.")
            } else {
                format!("Starting epoch {epoch}: {steps} steps expected")
            }),
            Event::BlockStarted { block, .. } => self.output(&format!("Starting block {block}")),
            Event::BlockEnded {
                epoch,
                block,
                record,
            } => self.block_ended(*epoch, *block, record),
            Event::EpochEnded {
                epoch,
                steps,
                elapsed_s,
            } => self.output(&format!(
                "Ending epoch {epoch} - {steps} steps completed in {elapsed_s:.2} s"
            )),
            Event::EvalStarted { steps, .. } => {
                self.output(&format!("Starting eval - {steps} steps expected"));
            }
            Event::EvalEnded { epoch, record } => self.eval_ended(*epoch, record),
            Event::RunMeasured { summary, folder } => {
                self.output(&format!("Saved outputs in {folder}"));
                self.line(Level::Output, &metric_block(summary));
                self.output("outputs saved in RANKID_output.json");
            }
            Event::CheckpointPlanned {
                subset_of,
                parameters,
                model_bytes,
                optimizer_bytes,
            } => self.checkpoint_planned(*subset_of, *parameters, *model_bytes, *optimizer_bytes),
            Event::CheckpointsStarted { kind } => {
                self.output(&format!("Checkpointing {} started", phase_word(*kind)));
            }
            // DLIO ends both series with the words of the first, and says "started" after the second.
            Event::CheckpointsEnded { kind } => self.output(match kind {
                CheckpointKind::Save => "Checkpointing write finished",
                CheckpointKind::Load => "Checkpointing write started",
            }),
            Event::CheckpointStarted {
                kind,
                epoch,
                number,
                step,
            } => self.output(&format!(
                "Starting {} checkpoint {number} after total step {step} for epoch {epoch}",
                participle(*kind)
            )),
            Event::CheckpointEnded { record, size_bytes } => {
                self.checkpoint_ended(record, *size_bytes);
            }
            Event::Failed { message } => self.line(Level::Error, message),
            Event::Info(text) => self.line(Level::Info, text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::console::tests::Shared;
    use super::super::dlio::tests::{job, record, workload};
    use super::*;
    use crate::config::TimeSpec;

    #[test]
    fn lines_are_dlios() {
        let sink = Shared::default();
        let mut w = workload();
        w.train.computation_time = TimeSpec(Distribution::Constant { mean: 0.323 });
        let mut log = DlioLog::new(vec![Box::new(sink.clone())], &w, 1, Level::default());
        let r = record();
        log.on(&Event::RunStarted {
            ranks: 1,
            phases: vec!["generate", "train"],
        });
        log.on(&Event::Warning("w".into()));
        log.on(&Event::StepsPlanned {
            steps: 3,
            eval_steps: 2,
            dropped: 0,
        });
        log.on(&Event::EpochStarted {
            epoch: 1,
            steps: 3,
            overridden: false,
        });
        log.on(&Event::BlockStarted { epoch: 1, block: 1 });
        log.on(&Event::BlockEnded {
            epoch: 1,
            block: 1,
            record: r.epochs[0].blocks[0].clone(),
        });
        log.on(&Event::EpochEnded {
            epoch: 1,
            steps: 3,
            elapsed_s: 0.976,
        });
        log.on(&Event::EvalStarted { epoch: 1, steps: 2 });
        log.on(&Event::EvalEnded {
            epoch: 1,
            record: r.epochs[0].eval.clone().unwrap(),
        });
        log.on(&Event::RunMeasured {
            summary: Box::new(job()),
            folder: "out".into(),
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        // Every OUTPUT line but the metric block has a 26-character label.
        let lines: Vec<String> = text
            .lines()
            .filter(|l| !l.starts_with("[METRIC]"))
            .map(|l| match l.strip_prefix("[OUTPUT] 20") {
                Some(rest) => rest[25..].to_owned(),
                None => l.to_owned(),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "Running DLIO [Generating data & Training] with 1 process(es)",
                "[WARNING] w",
                "Max steps per epoch per rank: 3 = 1 * 12 / 4 / 1 (samples per file * num files / batch size / comm size)",
                "Steps per eval per rank: 2 = 1 * 2 / 1 / 1 (samples per file * num files / batch size eval / comm size)",
                "Starting epoch 1: 3 steps expected",
                "Starting block 1",
                "Ending block 1 - 3 steps completed in 1.00 s",
                "Epoch 1 - Block 1 [Training] Accelerator Utilization [AU] (%): 40.0000",
                "Epoch 1 - Block 1 [Training] Throughput (samples/second): 16.0000",
                "Epoch 1 - Block 1 [Training] Computation time per step (second): 0.1000+/-0.0000 (set value: {'mean': 0.323})",
                "Ending epoch 1 - 3 steps completed in 0.98 s",
                "Starting eval - 2 steps expected",
                "Ending eval - 2 steps completed in 0.50 s",
                "Epoch 1 [Eval] Accelerator Utilization [AU] (%): 22.5000",
                "Epoch 1 [Eval] Throughput (samples/second): 4.0000",
                "Saved outputs in out",
                "[OUTPUT] Averaged metric over all steps/epochs",
                "",
                "outputs saved in RANKID_output.json",
            ]
        );
    }
}
