//! For people: a live line while the run goes on, a table at its end. For programs: events as JSON lines.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use super::checkpoint::console_lines;
use super::event::{Event, Listener};
use super::json::Provenance;
use crate::metrics::au::Breakdown;
use crate::metrics::reduce::{JobSummary, PhaseSummary, ServedByStorage};

const GIB: f64 = 1073741824.0;
/// Without a terminal, at most one progress line in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Prints progress for people. Rank 0 only.
pub struct Console {
    out: Box<dyn Write>,
    terminal: bool,
    quiet: bool,
    warned: HashSet<String>,
    last_line: Option<Instant>,
    /// Columns of the live line on screen; 0: none.
    live: usize,
}

impl Console {
    /// `out` is the standard error output; `terminal` says whether it is one; `quiet` leaves only
    /// warnings.
    pub fn new(out: Box<dyn Write>, terminal: bool, quiet: bool) -> Self {
        Console {
            out,
            terminal,
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

    fn line(&mut self, text: &str) {
        let clear = if self.live > 0 {
            format!("\r{}\r", " ".repeat(self.live))
        } else {
            String::new()
        };
        self.live = 0;
        self.emit(&format!("{clear}{text}\n"));
    }

    fn say(&mut self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    fn progress(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        if self.terminal {
            let width = text.chars().count();
            let pad = " ".repeat(self.live.saturating_sub(width));
            self.live = width;
            self.emit(&format!("\r{text}{pad}"));
        } else if self.last_line.is_none_or(|t| t.elapsed() >= LINE_INTERVAL) {
            self.last_line = Some(Instant::now());
            self.line(text);
        }
    }
}

impl Listener for Console {
    fn on(&mut self, event: &Event) {
        match event {
            Event::RunStarted { ranks, phases } => {
                self.say(&format!("{}, {ranks} rank(s)", phases.join(", ")));
            }
            Event::Warning(text) => {
                if self.warned.insert(text.clone()) {
                    self.line(&format!("warning: {text}"));
                }
            }
            Event::Info(text) => self.say(text),
            Event::GenerationStarted { files, bytes } => {
                let size = bytes.map_or(String::new(), |b| format!(", {}", gib(b as f64)));
                self.say(&format!("generating {files} files{size}"));
            }
            Event::GenerationProgress {
                files,
                files_total,
                bytes,
                elapsed_s,
            } => self.progress(&format!(
                "generate: {files}/{files_total} files of this rank, {:.2} GB/s",
                *bytes as f64 / 1e9 / elapsed_s.max(1e-9)
            )),
            Event::GenerationDone {
                files_written,
                files_skipped,
                bytes,
                elapsed_s,
            } => self.say(&format!(
                "generated {files_written} files, {} in {elapsed_s:.2} s ({:.2} GB/s); {files_skipped} were complete",
                gib(*bytes as f64),
                *bytes as f64 / 1e9 / elapsed_s.max(1e-9)
            )),
            Event::CheckpointPlanned {
                subset_of,
                parameters,
                model_bytes,
                optimizer_bytes,
            } => {
                let part = subset_of.map_or(String::new(), |n| format!(", a subset of {n} ranks"));
                self.say(&format!(
                    "checkpoint: {} of weights and {} of the optimizer, {parameters:.0} parameters{part}",
                    gib(*model_bytes as f64),
                    gib(*optimizer_bytes as f64)
                ));
            }
            Event::CheckpointEnded { record, size_bytes } => {
                let seconds = record.wall_ns as f64 / 1e9;
                self.say(&format!(
                    "{} of checkpoint {} (epoch {}, step {}): {seconds:.3} s, {}/s",
                    record.kind.word(),
                    record.number,
                    record.epoch,
                    record.step,
                    gib(*size_bytes as f64 / seconds.max(1e-9))
                ));
            }
            Event::StepsPlanned {
                steps,
                eval_steps,
                dropped,
            } => self.say(&format!(
                "{steps} steps per epoch, {eval_steps} per evaluation; {dropped} samples dropped per epoch"
            )),
            Event::Progress {
                epoch,
                epochs,
                step,
                steps,
                au_percent,
                bytes_per_second,
                batch_wait_p99_s,
                eta_s,
            } => self.progress(&format!(
                "epoch {epoch}/{epochs} step {step}/{steps}  AU {au_percent:.1} %  {:.2} GB/s  p99 wait {:.1} ms  ETA {eta_s:.0} s",
                bytes_per_second / 1e9,
                batch_wait_p99_s * 1e3
            )),
            Event::EpochEnded {
                epoch,
                steps,
                elapsed_s,
            } => self.say(&format!("epoch {epoch}: {steps} steps in {elapsed_s:.2} s")),
            Event::EvalEnded { epoch, record } => self.say(&format!(
                "evaluation after epoch {epoch}: {} steps in {:.2} s",
                record.steps.len(),
                record.wall_ns as f64 / 1e9
            )),
            Event::OutputsSaved { folder } => self.say(&format!("results in {folder}")),
            // The process edge prints it.
            Event::Failed { .. }
            | Event::EpochStarted { .. }
            | Event::CheckpointsStarted { .. }
            | Event::CheckpointsEnded { .. }
            | Event::CheckpointStarted { .. }
            | Event::BlockStarted { .. }
            | Event::BlockEnded { .. }
            | Event::EvalStarted { .. }
            | Event::RunMeasured { .. } => {}
        }
    }
}

/// Writes every event as one line of JSON. Rank 0 only.
pub struct JsonLines {
    out: Box<dyn Write>,
}

impl JsonLines {
    /// To the standard output, as a rule.
    pub fn new(out: Box<dyn Write>) -> Self {
        JsonLines { out }
    }
}

impl Listener for JsonLines {
    fn on(&mut self, event: &Event) {
        let mut line = serde_json::to_string(event)
            .expect("events are structs of numbers and strings, which always serialize");
        line.push('\n');
        // A reader that went away must not end the measurement.
        let _ = self.out.write_all(line.as_bytes());
        let _ = self.out.flush();
    }
}

fn gib(bytes: f64) -> String {
    if bytes >= GIB {
        format!("{:.2} GiB", bytes / GIB)
    } else {
        format!("{:.2} MiB", bytes / 1048576.0)
    }
}

fn duration(ns: u64) -> String {
    let ns = ns as f64;
    if ns < 1e3 {
        format!("{ns:.0} ns")
    } else if ns < 1e6 {
        format!("{:.1} us", ns / 1e3)
    } else if ns < 1e9 {
        format!("{:.2} ms", ns / 1e6)
    } else {
        format!("{:.3} s", ns / 1e9)
    }
}

/// The sentence that names what to look at first.
pub fn bottleneck(b: &Breakdown) -> String {
    if b.wall_s <= 0.0 {
        return "Nothing was trained, so no bottleneck can be named.".into();
    }
    let (part, seconds, advice) = [
        ("batch wait", b.wait_s, "storage did not deliver in time; look at the read percentiles, reader.read_threads and reader.prefetch_size"),
        ("barrier", b.barrier_s, "ranks waited for each other; compare the ranks' AU and wait in report.json"),
        ("harness", b.harness_s, "the benchmark itself took the time; give each rank more CPU or fewer ranks per host before judging the storage"),
    ]
    .into_iter()
    .max_by(|x, y| x.1.total_cmp(&y.1))
    .expect("the list has three entries");
    let percent = b.percent(seconds);
    if percent < 1.0 {
        return format!(
            "No bottleneck: the accelerators computed for {:.1} % of the time; the largest loss is {part} with {percent:.2} %.",
            b.percent(b.compute_s)
        );
    }
    format!("Bottleneck: {part} took {percent:.1} % of the training time; {advice}.")
}

fn phase(out: &mut String, name: &str, p: &PhaseSummary, s: &JobSummary) {
    let verdict = if p.meets_expectation {
        "success"
    } else {
        "fail"
    };
    let bytes = p.throughput.mean * s.record_size_bytes;
    let _ = writeln!(
        out,
        "{name} AU                 {:9.2} %   (stdev {:.2}; expected >= {:.2} %: {verdict})",
        p.au_percent.mean, p.au_percent.stdev, s.au_expected_percent
    );
    let _ = writeln!(
        out,
        "{name} throughput         {:9.2} samples/s (stdev {:.2})",
        p.throughput.mean, p.throughput.stdev
    );
    let _ = writeln!(
        out,
        "{name} I/O                {:9.3} GiB/s = {:.3} GB/s",
        bytes / GIB,
        bytes / 1e9
    );
}

/// The report for people, several lines with a final line break.
pub fn final_report(s: &JobSummary, provenance: &Provenance) -> String {
    let rule = "=".repeat(78);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{rule}");
    let _ = writeln!(
        out,
        "dlio-rs {}   {} accelerator(s) on {} host(s)   {} epoch(s)   formulas {}",
        provenance.version,
        s.ranks,
        s.hosts.len(),
        s.epochs.len(),
        s.formula
    );
    let _ = writeln!(out, "{rule}");
    if let Some(p) = &s.train {
        phase(&mut out, "train", p, s);
        if let Some(au) = s.au_storage_percent {
            let _ = writeln!(
                out,
                "train AU of storage      {au:9.2} %   (without barrier and harness)"
            );
        }
    }
    if let Some(p) = &s.eval {
        phase(&mut out, "eval ", p, s);
    }
    if let Some(c) = &s.checkpoint {
        out += &console_lines(c);
    }
    let b = &s.breakdown;
    if b.wall_s > 0.0 {
        let _ = writeln!(out, "\ntraining time, mean per rank: {:.3} s", b.wall_s);
        for (name, seconds) in [
            ("wait", b.wait_s),
            ("compute", b.compute_s),
            ("barrier", b.barrier_s),
            ("harness", b.harness_s),
        ] {
            let _ = writeln!(
                out,
                "  {name:<10} {seconds:12.3} s {:7.2} %",
                b.percent(seconds)
            );
        }
    }
    if !s.stages.is_empty() {
        let _ = writeln!(
            out,
            "\n{:<17} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "latency", "count", "p50", "p90", "p99", "p99.9", "max"
        );
        for x in &s.stages {
            let _ = writeln!(
                out,
                "{:<17} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
                x.stage.name(),
                x.count,
                duration(x.p50_ns),
                duration(x.p90_ns),
                duration(x.p99_ns),
                duration(x.p999_ns),
                duration(x.max_ns)
            );
        }
    }
    let c = &s.counters;
    if s.epochs.is_empty() {
        let _ = writeln!(
            out,
            "peak memory of a rank {}",
            gib(c.peak_rss_bytes as f64)
        );
        return out + &rule + "\n";
    }
    let _ = writeln!(
        out,
        "\nread {} in {} requests, {} samples, {} retries; {} samples dropped per epoch",
        gib(c.bytes_read as f64),
        c.reads,
        c.samples,
        c.retries,
        c.samples_dropped_per_epoch
    );
    if c.files_written + c.files_skipped > 0 {
        let _ = writeln!(
            out,
            "generated {} files ({}) in {:.2} s, {} were complete",
            c.files_written,
            gib(c.bytes_written as f64),
            c.generate_ns as f64 / 1e9,
            c.files_skipped
        );
    }
    if let Some(x) = s.cpu_seconds_per_gib() {
        let _ = writeln!(
            out,
            "CPU {x:.3} s/GiB, peak memory of a rank {}",
            gib(c.peak_rss_bytes as f64)
        );
    }
    for e in &s.epochs {
        let verdict = match e.served_by_storage {
            ServedByStorage::Pass => "PASS",
            ServedByStorage::Suspect => "SUSPECT: part of the bytes came from the page cache",
            ServedByStorage::Cached => "CACHED: the page cache answered, not the storage",
            ServedByStorage::Unknown => {
                "UNKNOWN: the kernel does not count device reads for this storage"
            }
        };
        let _ = writeln!(out, "epoch {} served by storage: {verdict}", e.epoch);
    }
    let _ = writeln!(out, "order digest {:016x}", s.order_digest);
    if s.train.is_some() {
        let _ = writeln!(out, "{}", bottleneck(b));
    }
    out + &rule + "\n"
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::dlio::tests::job;
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
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
            au_percent: 98.76,
            bytes_per_second: 2.5e9,
            batch_wait_p99_s: 0.0012,
            eta_s: 7.0,
        }
    }

    #[test]
    fn warnings_appear_once_and_quiet_hides_the_rest() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), true, true);
        c.on(&progress(1));
        c.on(&Event::Warning("a".into()));
        c.on(&Event::Warning("a".into()));
        assert_eq!(sink.text(), "warning: a\n");
    }

    #[test]
    fn a_terminal_has_one_live_line() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), true, false);
        c.on(&progress(1));
        c.on(&progress(2));
        let line = "epoch 1/2 step 1/9  AU 98.8 %  2.50 GB/s  p99 wait 1.2 ms  ETA 7 s";
        assert_eq!(
            sink.text(),
            format!("\r{line}\r{}", line.replace("step 1", "step 2"))
        );
    }

    #[test]
    fn elsewhere_lines_are_rare() {
        let sink = Shared::default();
        let mut c = Console::new(Box::new(sink.clone()), false, false);
        (1..9).for_each(|i| c.on(&progress(i)));
        assert_eq!(sink.text().matches('\n').count(), 1);
    }

    #[test]
    fn json_lines_name_the_event() {
        let sink = Shared::default();
        let mut j = JsonLines::new(Box::new(sink.clone()));
        j.on(&Event::Warning("a".into()));
        j.on(&Event::BlockStarted { epoch: 1, block: 2 });
        j.on(&Event::RunMeasured {
            summary: Box::new(job()),
            folder: "f".into(),
        });
        let text = sink.text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(r#"{"event":"warning","text":"a"}"#));
        assert_eq!(
            lines.next(),
            Some(r#"{"event":"block_started","epoch":1,"block":2}"#)
        );
        let v: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(v["summary"]["train"]["au_percent"]["mean"], 40.0);
    }

    #[test]
    fn report_names_figures_and_bottleneck() {
        let text = final_report(&job(), &Provenance::default());
        for part in [
            "40.00 %",
            "expected >= 90.00 %: fail",
            "batch_wait",
            "20.00 ms",
            "order digest 0000000000000000",
            "Bottleneck: batch wait took 44.0 %",
        ] {
            assert!(text.contains(part), "{part} missing in\n{text}");
        }
    }

    #[test]
    fn bottleneck_is_the_largest_loss() {
        let b = Breakdown {
            wall_s: 100.0,
            wait_s: 1.0,
            compute_s: 80.0,
            barrier_s: 15.0,
            harness_s: 4.0,
        };
        assert!(bottleneck(&b).starts_with("Bottleneck: barrier took 15.0 %"));
        let b = Breakdown {
            wall_s: 100.0,
            wait_s: 0.1,
            compute_s: 99.6,
            barrier_s: 0.1,
            harness_s: 0.2,
        };
        assert!(bottleneck(&b).starts_with("No bottleneck: the accelerators computed for 99.6 %"));
    }
}
