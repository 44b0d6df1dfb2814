//! A job from agreement to verdict: the folder of results, the listeners, the phases in order, the report, the judgement.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::context::{JobContext, io_threads, label};
use super::events::Events;
use super::failure::{JobError, RankError, Result, agree, only_where};
use super::patient::Patient;
use super::phase::{Measured, checkpoint, clean, find, generate, train};
use super::profile;
use super::recording::EventRecorder;
use super::request::JobRequest;
use super::results::Begun;
use super::ticker;
use super::trace::{self, Tracing};
use super::waiting::{Waiting, meeting};
use super::watch::{self, Board};
use super::{results, screen, shared, wire};
use crate::clock::now_ns;
use crate::cluster::Cluster;
use crate::config::Workload;
use crate::host::cpus::{Choice, Placement, place};
use crate::interrupt;
use crate::metrics::spec::MetricSpec;
use crate::metrics::summary::JobSummary;
use crate::metrics::timeline::{Gauges, Sampler};
use crate::report::dlio_log::{DlioLog, Level};
use crate::report::event_file::{self, JsonLines};
use crate::report::log_file::LogFile;
use crate::report::{Event, OutputDir, ReportError};
use crate::storage::Telemetry;

pub struct JobFailure {
    pub error: JobError,
    /// The standard error output has it already, as a line of DLIO's log.
    pub is_printed: bool,
}

impl From<JobError> for JobFailure {
    fn from(error: JobError) -> Self {
        JobFailure {
            error,
            is_printed: false,
        }
    }
}

/// Runs the job. A collective.
pub fn run(cluster: &dyn Cluster, request: &JobRequest) -> Result<(), JobFailure> {
    let start = label();
    let workload = request.workload();
    let threads = match &request.find {
        Some(find) => find.io_threads(request.loaded),
        None => io_threads(workload),
    };
    let board = Board::lay_out(cluster, threads);
    interrupt::speak_once(board.spoken);
    let ranks = cluster;
    let mut cluster = Waiting::new(ranks, board.pages[ranks.local_rank()]);
    let placement = agree(&cluster, place_threads(workload))?;
    if let Some(meeting) = meeting(ranks, workload, placement.mask) {
        cluster.meet_in(meeting);
    }
    let cluster = cluster;
    let mut job = JobContext::new(&cluster, workload, request.options, &board);
    let seen = board.clone();
    let _watchdog = watch::start(&cluster, board, request.options.stall_timeout);
    let sampler = if request.is_recorded() {
        Some(agree(&cluster, start_recording(&mut job))?)
    } else {
        None
    };
    let trace = match &request.trace {
        Some(trace) => agree(&cluster, Tracing::start(&mut job, trace))?,
        None => None,
    };
    let profiled = profile::start(&mut job, request);
    agree(&cluster, profiled)?;
    let output = agree(&cluster, request.make_output(&job))?;
    let mut events = request.listeners(&job, output.as_ref())?;
    let is_shown = cluster.rank() == 0 && !request.options.virtual_time;
    let ticker = is_shown.then(|| ticker::start(&events, &seen, cluster.local_rank()));
    if let Some(reason) = &placement.reason {
        events.emit(Event::Info(format!(
            "reader and writer threads of rank 0 run on CPUs {}: {reason}",
            placement.mask
        )));
    }
    let done = request.phases(&job, &mut events, output, (&start, &placement));
    drop(sampler);
    drop(ticker);
    let traced = match &done {
        Ok(()) | Err(JobError::AuBelow { .. }) => {
            trace::finish(&job, request.trace.as_ref(), trace)
        }
        Err(_) => Ok(()),
    };
    let done = done.and(traced);
    done.map_err(|error| {
        let mut failure = JobFailure::from(error);
        if matches!(failure.error, JobError::Failed { .. }) {
            let voice = request.voice;
            failure.is_printed = voice.as_dlio && voice.level <= Level::Error;
            events.emit(Event::Failed {
                message: failure.error.to_string(),
            });
        }
        failure
    })
}

/// From here on is recorded, over time, what happens on this rank. The common start follows a barrier. A collective.
fn start_recording(job: &mut JobContext) -> Result<Sampler, RankError> {
    let is_virtual = job.options.virtual_time;
    job.cluster.barrier();
    let zero_ns = if is_virtual { 0 } else { now_ns() };
    let gauges = Arc::new(Gauges::new(zero_ns, is_virtual));
    let sampler = gauges.start().map_err(|e| {
        RankError::Dataset(format!(
            "start the thread that samples: {e}\n  remedy: raise the limit of processes (ulimit -u), or set output.timeline=false"
        ))
    })?;
    if job.cluster.local_rank() == 0 {
        gauges.watch_cpu_limit();
    }
    job.gauges = Some(gauges);
    Ok(sampler)
}

/// The CPUs of this rank's threads.
fn place_threads(w: &Workload) -> Result<Placement, RankError> {
    let choice = w.reader.cpus.as_deref().map(Choice::parse).transpose();
    choice
        .and_then(|choice| place(choice.as_ref(), |name| std::env::var(name).ok()))
        .map_err(RankError::Dataset)
}

impl JobRequest<'_> {
    /// The folder of results, on rank 0.
    fn make_output(&self, job: &JobContext) -> Result<Option<OutputDir>, RankError> {
        if job.cluster.rank() > 0 || !self.leaves_folder() {
            return Ok(None);
        }
        let _task = job.doing("make the folder of results", &self.folder);
        // Under DLIO's name the folder is there from the beginning, as with hydra: a run that fails leaves its log in it.
        OutputDir::create(&self.folder, self.clash, self.voice.as_dlio)
            .map(Some)
            .map_err(|e| RankError::from(ReportError::from(e)))
    }

    fn listeners(&self, job: &JobContext, output: Option<&OutputDir>) -> Result<Events> {
        let mut events = Events::new(job.activity);
        let is_first = job.cluster.rank() == 0;
        only_where(job.cluster, is_first, || {
            self.listen(job, output, &mut events)
        })?;
        if is_first {
            events.recorder = job.gauges.clone().map(EventRecorder::new);
        }
        Ok(events)
    }

    /// On rank 0: the console, events and logs.
    fn listen(
        &self,
        job: &JobContext,
        output: Option<&OutputDir>,
        events: &mut Events,
    ) -> Result<(), ReportError> {
        if self.voice.json {
            let out = Patient::new(std::io::stdout(), job.activity);
            events.listen(Box::new(JsonLines::new(Box::new(out), events.run.clone())));
        } else if !self.voice.as_dlio {
            events.listen(Box::new(screen::console(self.voice, job.activity)));
        }
        let create = |path: &Path| {
            let _task = job.doing("create", path);
            LogFile::create(path).map_err(ReportError::writing(path))
        };
        let mut sinks: Vec<Box<dyn Write + Send>> = Vec::new();
        if self.voice.as_dlio {
            let out = Patient::new(std::io::stderr(), job.activity);
            sinks.push(Box::new(out));
        }
        if let Some(dir) = output {
            if !self.voice.as_dlio {
                let file = create(&dir.path().join(event_file::FILE))?;
                let lines = JsonLines::thin(Box::new(file), events.run.clone());
                events.listen(Box::new(lines));
            }
            // DLIO's own log grows where people look for it, also when the run fails.
            let live = self.voice.as_dlio && dir.is_inside_target();
            let folder = if live { dir.target() } else { dir.path() };
            let file = create(&folder.join(&self.workload().output.log_file))?;
            if live && self.voice.level <= Level::Error {
                file.again().into_iter().for_each(interrupt::log_in);
            }
            sinks.push(Box::new(file));
        }
        if !sinks.is_empty() {
            let (w, ranks) = (self.workload(), job.cluster.size());
            let log = DlioLog::new(sinks, w, ranks, self.voice.level);
            events.listen(Box::new(log));
        }
        Ok(())
    }

    fn phases(
        &self,
        job: &JobContext,
        events: &mut Events,
        output: Option<OutputDir>,
        begun: (&str, &Placement),
    ) -> Result<()> {
        let w = self.workload();
        self.announce(job, events);
        let hosts = shared::compare(job, events)?;
        job.has_own_data.set(hosts.has_own_data);
        let generated = if w.workflow.generate_data {
            Some(generate::run(job, events)?)
        } else {
            None
        };
        if let Some(spec) = &self.find {
            let placed = begun.1.mask;
            let found = find::run(job, spec, self.loaded, placed, events)?;
            clean::clean_up(job)?;
            return results::print_search(job, found, spec.prints_json);
        }
        if !self.measures() {
            let written = output.map_or(Ok(()), |output| {
                results::write_unmeasured(self, output, events)
            });
            agree(job.cluster, written)?;
            return clean::clean_up(job);
        }
        let mut measured = if w.is_checkpoint_only() {
            checkpoint::run(job, events)?
        } else {
            train::run(job, events)?
        };
        if let Some(generated) = generated {
            add_generation(&mut measured, &generated);
        }
        let begun = Begun {
            start: begun.0,
            placement: begun.1,
            folders: hosts.folders,
            run: events.run.clone(),
        };
        let summary = results::report(self, job, &mut measured, events, output, &begun)?;
        clean::clean_up(job)?;
        self.judge(job.cluster, summary)
    }

    /// What the job will do, and what is odd about it.
    fn announce(&self, job: &JobContext, events: &mut Events) {
        let (w, ranks) = (self.workload(), job.cluster.size());
        let phases = [
            (w.workflow.generate_data, "generate"),
            (w.workflow.train, "train"),
            (w.workflow.train && w.workflow.evaluation, "evaluate"),
            (w.workflow.checkpoint, "checkpoint"),
        ];
        let phases = phases
            .into_iter()
            .filter_map(|(on, name)| on.then_some(name))
            .collect();
        events.emit(Event::RunStarted { ranks, phases });
        let loaded = self.loaded.warnings.iter().chain(&self.warnings).cloned();
        for warning in loaded.chain(MetricSpec::of(w, ranks).warning()) {
            events.emit(Event::Warning(warning));
        }
        for (is_on, key) in [
            (w.workflow.train, "reader.read_threads"),
            (w.workflow.generate_data, "reader.write_threads"),
        ] {
            if let Some(how) = self.loaded.sized_threads(key).filter(|_| is_on) {
                events.emit(Event::Info(format!("{key}: {how}")));
            }
        }
        // Nearly every workload of DLIO shuffles samples, which no loader of DLIO acts on: a fact, and no figure misleads.
        if let Some(note) = wire::order_warning(w) {
            events.emit(Event::Info(note));
        }
    }

    fn judge(&self, cluster: &dyn Cluster, summary: Option<JobSummary>) -> Result<()> {
        let Some(required) = self.require_au else {
            return Ok(());
        };
        let au = summary
            .as_ref()
            .and_then(|s| s.train.as_ref())
            .map_or(100.0, |t| t.au_percent.mean);
        if cluster.any(cluster.rank() == 0 && au < required) {
            Err(JobError::AuBelow { au, required })
        } else {
            Ok(())
        }
    }
}

fn add_generation(measured: &mut Measured, generated: &generate::Generated) {
    let c = &mut measured.record.counters;
    c.bytes_written = generated.bytes_written;
    c.files_written = generated.files_written;
    c.files_skipped = generated.files_skipped;
    c.generate_ns = generated.elapsed_ns;
    let all = &mut measured.record.object_store;
    *all = Telemetry::both(all.take(), generated.object_store.clone());
}
