//! For people: a live line while the run goes on, a table at its end.

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use super::event::{Event, Listener};
use super::figures;
use super::live::fit;
use super::provenance::Provenance;
use super::rows::bytes as bytes_text;
use super::shown::Shown;
use crate::metrics::summary::JobSummary;
use crate::util::text::plain;

/// Without a terminal, at most one progress line in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Columns of a terminal, asked each time: it may grow.
pub type Columns = Box<dyn Fn() -> usize + Send>;

/// How progress is shown.
pub enum Shows {
    Nothing,
    Lines,
    /// One line that is drawn over itself, on a terminal this wide.
    Live(Columns),
}

/// Prints progress for people. Rank 0 only.
pub struct Console {
    out: Box<dyn Write + Send>,
    shows: Shows,
    quiet: bool,
    warned: HashSet<String>,
    last_line: Option<Instant>,
    /// Columns of the live line on screen; 0: none.
    live: usize,
}

impl Console {
    /// `out` is the standard error output, or a terminal; `quiet` leaves only warnings.
    pub fn new(out: Box<dyn Write + Send>, shows: Shows, quiet: bool) -> Self {
        Console {
            out,
            shows,
            quiet,
            warned: HashSet::new(),
            last_line: None,
            live: 0,
        }
    }

    /// A closed console must not end a measurement, so errors are dropped.
    fn emit(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    /// Takes the live line from the screen.
    fn clear(&mut self) {
        if self.live > 0 {
            let live = std::mem::take(&mut self.live);
            self.emit(&format!("\r{}\r", " ".repeat(live)));
        }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        self.emit(&format!("{}\n", plain(text)));
    }

    fn say(&mut self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Parts by what matters most.
    fn progress(&mut self, parts: &[String]) {
        if self.quiet {
            return;
        }
        match &self.shows {
            Shows::Nothing => {}
            Shows::Live(columns) => {
                // In the last column some terminals wrap.
                let parts: Vec<String> = parts.iter().map(|part| plain(part).into()).collect();
                let text = fit(&parts, columns().saturating_sub(1));
                let width = text.chars().count();
                let pad = " ".repeat(self.live.saturating_sub(width));
                self.live = width;
                self.emit(&format!("\r{text}{pad}"));
            }
            Shows::Lines if self.last_line.is_none_or(|t| t.elapsed() >= LINE_INTERVAL) => {
                self.last_line = Some(Instant::now());
                self.line(&parts.join("  "));
            }
            Shows::Lines => {}
        }
    }
}

impl Listener for Console {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Warning(text) => {
                if self.warned.insert(text.clone()) {
                    self.line(&format!("warning: {text}"));
                }
            }
            // The report follows on a line of its own.
            Event::RunMeasured { .. } => self.clear(),
            event => {
                if let Some(parts) = progress_of(event) {
                    self.progress(&parts);
                } else if let Some(text) = line_of(event) {
                    self.say(&text);
                }
            }
        }
    }
}

/// How far something is, by what matters most; None for other events.
fn progress_of(event: &Event) -> Option<Vec<String>> {
    match event {
        Event::GenerationProgress {
            files,
            files_total,
            bytes,
            elapsed_s,
        } => {
            let left = files_total.saturating_sub(*files) as f64;
            let eta_s = (*files > 0).then(|| elapsed_s / *files as f64 * left);
            Some(vec![
                format!("generate {}", percent(*files, *files_total)),
                time_of(eta_s, *elapsed_s),
                format!("{files} of {files_total} files of this rank"),
                format!("{:.2} GB/s", *bytes as f64 / 1e9 / elapsed_s.max(1e-9)),
            ])
        }
        // Work without steps: how far it is, and how long it takes on.
        Event::Working {
            what,
            unit,
            done,
            total,
            elapsed_s,
            eta_s,
        } => {
            let amount = |n: u64| match *unit {
                "B" => bytes_text(n as f64),
                unit => format!("{n} {unit}"),
            };
            let time = time_of(*eta_s, *elapsed_s);
            Some(match total {
                Some(total) => vec![
                    format!("{what} {}", percent(*done, *total)),
                    time,
                    format!("{} of {}", amount(*done), amount(*total)),
                ],
                None if *done > 0 => vec![(*what).to_owned(), time, amount(*done)],
                None => vec![(*what).to_owned(), time],
            })
        }
        Event::Progress {
            epoch,
            epochs,
            step,
            steps,
            au_percent,
            bytes_per_second,
            batch_wait_p99_s,
            eta_s,
        } => {
            let au = au_percent.map_or("-".into(), |au| format!("{au:.1} %"));
            let wait = batch_wait_p99_s.map_or("-".into(), |s| format!("{:.1} ms", s * 1e3));
            Some(vec![
                format!("epoch {epoch}/{epochs} step {step}/{steps}"),
                format!("AU {au}"),
                format!("ETA {eta_s:.0} s"),
                format!("{:.2} GB/s", bytes_per_second / 1e9),
                format!("p99 wait {wait}"),
            ])
        }
        _ => None,
    }
}

/// A share in whole percent: 100 % only where all of it is done.
fn percent(done: u64, total: u64) -> String {
    let share = u128::from(done) * 100 / u128::from(total.max(1));
    format!("{} %", share.min(100))
}

/// How long something takes on, or how long it has taken where nobody knows.
fn time_of(eta_s: Option<f64>, elapsed_s: f64) -> String {
    match eta_s {
        Some(s) => format!("ETA {s:.0} s"),
        None => format!("for {elapsed_s:.0} s"),
    }
}

/// The line of an event that stays on the console; None where there is none.
fn line_of(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { ranks, phases } => format!("{}, {ranks} rank(s)", phases.join(", ")),
        Event::Info(text) => text.clone(),
        Event::GenerationStarted { files, bytes } => {
            let size = bytes.map_or(String::new(), |b| format!(", {}", bytes_text(b as f64)));
            format!("generating {files} files{size}")
        }
        Event::GenerationDone {
            files_written,
            files_skipped,
            bytes,
            elapsed_s,
        } => format!(
            "generated {files_written} files, {} in {elapsed_s:.2} s ({:.2} GB/s); {files_skipped} were complete",
            bytes_text(*bytes as f64),
            *bytes as f64 / 1e9 / elapsed_s.max(1e-9)
        ),
        Event::CheckpointPlanned {
            subset_of,
            parameters,
            model_bytes,
            optimizer_bytes,
        } => {
            let part = subset_of.map_or(String::new(), |n| format!(", a subset of {n} ranks"));
            format!(
                "checkpoint: {} of weights and {} of the optimizer, {parameters:.0} parameters{part}",
                bytes_text(*model_bytes as f64),
                bytes_text(*optimizer_bytes as f64)
            )
        }
        Event::CheckpointEnded { record, size_bytes } => {
            let seconds = record.wall_ns as f64 / 1e9;
            format!(
                "{} of checkpoint {} (epoch {}, step {}): {seconds:.3} s, {}/s",
                record.kind.word(),
                record.number,
                record.epoch,
                record.step,
                bytes_text(*size_bytes as f64 / seconds.max(1e-9))
            )
        }
        Event::StepsPlanned {
            steps,
            eval_steps,
            dropped,
        } => format!(
            "{steps} steps per epoch, {eval_steps} per evaluation; {dropped} samples dropped per epoch"
        ),
        Event::EpochEnded {
            epoch,
            steps,
            elapsed_s,
        } => format!("epoch {epoch}: {steps} steps in {elapsed_s:.2} s"),
        Event::EvalEnded { epoch, record } => format!(
            "evaluation after epoch {epoch}: {} steps in {:.2} s",
            record.steps.len(),
            record.wall_ns as f64 / 1e9
        ),
        Event::OutputsSaved { folder } => format!("results in {folder}"),
        // The process edge prints failures; warnings and progress are shown in ways of their own.
        // What others show, or nobody.
        _ => return None,
    })
}

/// The report for people, several lines with a final line break.
pub fn final_report(s: &JobSummary, provenance: &Provenance) -> String {
    Shown::of(&figures::report(None, s, provenance, &[])).to_text()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, readable beside its writer.
    #[derive(Clone, Default)]
    pub(in crate::report) struct Shared(pub(in crate::report) Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, b: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(b)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn progress(step: u64) -> Event {
        Event::Progress {
            epoch: 1,
            epochs: 2,
            step,
            steps: 9,
            au_percent: Some(98.76),
            bytes_per_second: 2.5e9,
            batch_wait_p99_s: Some(0.0012),
            eta_s: 7.0,
        }
    }

    #[test]
    fn warnings_appear_once_and_quiet_hides_the_rest() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), Shows::Live(Box::new(|| 120)), true);
        c.on(&progress(1));
        c.on(&Event::Warning("a".into()));
        c.on(&Event::Warning("a".into()));
        assert_eq!(sink.text(), "warning: a\n");
    }

    #[test]
    fn a_terminal_has_one_live_line() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), Shows::Live(Box::new(|| 120)), false);
        c.on(&progress(1));
        c.on(&progress(2));
        let line = "epoch 1/2 step 1/9  AU 98.8 %  ETA 7 s  2.50 GB/s  p99 wait 1.2 ms";
        assert_eq!(
            sink.text(),
            format!("\r{line}\r{}", line.replace("step 1", "step 2"))
        );
    }

    #[test]
    fn a_narrow_terminal_gets_what_matters_most() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), Shows::Live(Box::new(|| 40)), false);
        c.on(&progress(1));
        assert_eq!(sink.text(), "\repoch 1/2 step 1/9  AU 98.8 %  ETA 7 s");
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), Shows::Nothing, false);
        c.on(&progress(1));
        c.on(&Event::Info("a".into()));
        assert_eq!(sink.text(), "a\n");
    }

    #[test]
    fn elsewhere_lines_are_rare() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), Shows::Lines, false);
        (1..9).for_each(|i| c.on(&progress(i)));
        assert_eq!(sink.text().matches('\n').count(), 1);
    }
}
