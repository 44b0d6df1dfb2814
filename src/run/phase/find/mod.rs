//! A search for the largest part of a job that passes: one trial after the other, each by the first ranks of the job while
//! the others sleep.
//!
//! A trial is a job of its own: its ranks have their own collectives, shard the files as a run with that many ranks does, and
//! train until [`AuTest`](crate::metrics::sequential::AuTest) has decided. What was tried is written down after each trial,
//! so a search can go on where it ended.

mod answer;
mod judge;
mod question;
mod trial;

use std::cell::Cell;
use std::path::{Path, PathBuf};

pub use question::FindLimits;

use super::{checkpoint, train};
use crate::clock::now_ns;
use crate::cluster::Cluster;
use crate::config::{Loaded, Machine};
use crate::host::cpus::Mask;
use crate::metrics::sequential::Outcome;
use crate::report::find::{By, Document, Question, SCHEMA, Trial};
use crate::report::{Event, ReportError, html};
use crate::run::context::{JobContext, io_threads};
use crate::run::events::Events;
use crate::run::failure::{JobError, RankError, Result, agree};
use crate::run::preflight::preflight;
use crate::run::results;
use crate::run::waiting::{Waiting, meeting};
use crate::storage::replace_file;
use answer::{answer_of, line_of, next_of, search_of};
use judge::AuJudge;
use trial::{of_checkpoints, of_training};

/// Reader threads of a rank that is alone on its host, at most, where the machine sizes them.
const MOST_SIZED: u64 = 32;

/// A search, the same on all ranks but for what it resumes from.
#[derive(Debug, Clone)]
pub struct FindSpec {
    pub question: Question,
    pub minutes: f64,
    /// Shortest trial, seconds; virtual time has none.
    pub seconds: f64,
    /// Where it is written down; counts on rank 0.
    pub file: PathBuf,
    /// On rank 0: what was tried before.
    pub tried: Vec<Trial>,
    pub command_line: Vec<String>,
    /// Print the document, not the table.
    pub prints_json: bool,
}

impl FindSpec {
    /// The trials of an earlier search, without those that more time may decide.
    ///
    /// Errors: it asked something else.
    pub fn resume(&mut self, earlier: Document) -> Result<(), String> {
        if earlier.schema != SCHEMA {
            return Err(format!(
                "its schema is {}, this version reads {SCHEMA}",
                earlier.schema
            ));
        }
        let (was, is) = (&earlier.question, &self.question);
        let values = |q: &Question| serde_json::to_value(q).unwrap_or_default();
        let (was, is) = (values(was), values(is));
        let keys = is.as_object().into_iter().flat_map(|map| map.keys());
        for key in keys {
            if was.get(key) != is.get(key) {
                let show = |value: &serde_json::Value| {
                    value.get(key).map_or("nothing".into(), ToString::to_string)
                };
                return Err(format!(
                    "it asked something else: {key} was {}, now it is {}\n  remedy: use the words of that search, or begin a new one",
                    show(&was),
                    show(&is)
                ));
            }
        }
        let is_final = |trial: &Trial| {
            self.minutes <= earlier.minutes || trial.outcome != Some(Outcome::Undecided)
        };
        self.tried = earlier.trials.into_iter().filter(is_final).collect();
        Ok(())
    }

    /// Reader threads of a rank in the largest trial.
    pub(in crate::run) fn io_threads(&self, loaded: &Loaded) -> usize {
        let mut w = loaded.workload.clone();
        let most = match self.question.by {
            By::ReadThreads => self.question.at_most,
            // A rank that is alone on its host has the most, where the machine sizes them.
            _ if loaded.sized_threads(READ_THREADS).is_some() => MOST_SIZED,
            _ => return io_threads(&w),
        };
        w.reader.read_threads = Some(most);
        io_threads(&w)
    }
}

const READ_THREADS: &str = "reader.read_threads";

/// Searches. A collective; the document is on rank 0.
pub fn run(
    job: &JobContext,
    spec: &FindSpec,
    loaded: &Loaded,
    placed: Mask,
    events: &mut Events,
) -> Result<Option<Document>> {
    let mut search = Finder::prepare(job, spec, loaded, placed)?;
    while let Some(number) = search.next()? {
        search.step(events, number)?;
    }
    Ok(search.document)
}

struct Finder<'a> {
    job: &'a JobContext<'a>,
    spec: &'a FindSpec,
    loaded: &'a Loaded,
    /// CPUs of this rank's readers.
    placed: Mask,
    document: Option<Document>,
}

impl<'a> Finder<'a> {
    fn prepare(
        job: &'a JobContext,
        spec: &'a FindSpec,
        loaded: &'a Loaded,
        placed: Mask,
    ) -> Result<Self> {
        let document = (job.cluster.rank() == 0).then(|| Document {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            workload: loaded.name.clone(),
            command_line: spec.command_line.clone(),
            minutes: spec.minutes,
            question: spec.question.clone(),
            trials: spec.tried.clone(),
            answer: None,
        });
        let finder = Finder {
            job,
            spec,
            loaded,
            placed,
            document,
        };
        // What cannot be written is better known before the first trial than after it.
        finder.write()?;
        Ok(finder)
    }

    /// The number to try next; None, and then the answer is written, when it is known. A collective.
    fn next(&mut self) -> Result<Option<u64>> {
        let mut bytes = Vec::new();
        if let Some(document) = &mut self.document {
            let next = next_of(document);
            if next.is_none() {
                document.answer = Some(answer_of(document));
            }
            bytes = next.unwrap_or(0).to_le_bytes().to_vec();
        }
        self.job.cluster.broadcast(&mut bytes);
        let number = bytes.as_slice().try_into().map_or(0, u64::from_le_bytes);
        if number == 0 {
            self.write()?;
        }
        Ok((number > 0).then_some(number))
    }

    /// One trial. A collective.
    fn step(&mut self, events: &mut Events, number: u64) -> Result<()> {
        let job = self.job;
        let cluster = job.cluster;
        let takes_part = |rank: usize| match self.spec.question.by {
            By::Ranks => (rank as u64) < number * self.spec.question.unit,
            By::Hosts => (cluster.node_of_rank()[rank] as u64) < number,
            By::ReadThreads => true,
        };
        let is_member = takes_part(cluster.rank());
        let names = job.names.count();
        let part = cluster.split(is_member.then_some(0));
        let trial = match &part {
            Some(part) => self.trial(&**part, number, events),
            None => Ok(None),
        };
        drop(part);
        job.names.keep(names);
        let nodes = cluster.node_of_rank();
        let node = nodes[cluster.rank()];
        let is_host_idle = !(0..nodes.len()).any(|rank| nodes[rank] == node && takes_part(rank));
        if is_host_idle {
            // Nothing moves here, and that is no stall.
            job.activity.busy_until(u64::MAX);
        }
        let failed = cluster.max_u64_patiently(u64::from(trial.is_err()));
        job.activity.busy_until(0);
        job.activity.moved();
        let trial = match (trial, failed) {
            (Ok(trial), 0) => trial,
            (Ok(_), _) => return Err(JobError::ReportedElsewhere),
            (Err(error), _) => return Err(error),
        };
        if let (Some(trial), Some(document)) = (trial, &mut self.document) {
            events.emit(Event::Info(line_of(document, &trial)));
            document.trials.push(trial);
        }
        self.write()
    }

    /// The trial, on each of its ranks; the result is on the first.
    fn trial(&self, part: &dyn Cluster, number: u64, events: &mut Events) -> Result<Option<Trial>> {
        let (job, question) = (self.job, &self.spec.question);
        let loaded = self.sized(part, number)?;
        let w = &loaded.workload;
        let ready = preflight(&loaded, part.size());
        let refused = |cause| {
            let what = question.by.of(number * question.unit);
            RankError::Dataset(format!("try {what}: {cause}"))
        };
        agree(part, ready.map_err(refused))?;
        let mut waiting = Waiting::new(part, job.activity);
        if let Some(meeting) = meeting(part, w, self.placed) {
            waiting.meet_in(meeting);
        }
        let inner = JobContext {
            cluster: &waiting,
            workload: w,
            options: job.options,
            activity: job.activity,
            names: job.names.clone(),
            node_cpus: job.node_cpus,
            has_own_data: Cell::new(job.has_own_data.get()),
            gauges: None,
            tracer: None,
        };
        // What a trial says of itself is not said again and again; what it warns of is.
        let mut own = Events::default();
        let trial = self.measure(&inner, number, &mut own);
        for warning in own.warnings {
            events.emit(Event::Warning(warning));
        }
        trial
    }

    fn measure(&self, job: &JobContext, number: u64, events: &mut Events) -> Result<Option<Trial>> {
        let question = &self.spec.question;
        let Some(threshold) = question.threshold_percent else {
            let begun = now_ns();
            let measured = checkpoint::run(job, events)?;
            let summary = results::summarize(job, &measured)?;
            let seconds = (now_ns() - begun) as f64 / 1e9;
            return Ok(summary.map(|s| of_checkpoints(number, job, &s, seconds)));
        };
        let error = question.error / f64::from(search_of(question).trials());
        let mut judge = AuJudge::new(job, self.spec, threshold, error);
        let measured = train::run_until(job, events, &mut judge)?;
        let summary = results::summarize(job, &measured)?;
        Ok(summary.map(|summary| of_training(number, job, &summary, &judge)))
    }

    /// The workload with as many reader threads as the trial's ranks have. A collective of its ranks.
    fn sized(&self, part: &dyn Cluster, number: u64) -> Result<Loaded> {
        let mut loaded = self.loaded.clone();
        if self.spec.question.by == By::ReadThreads {
            loaded.workload.reader.read_threads = Some(number);
            return Ok(loaded);
        }
        if loaded.sized_threads(READ_THREADS).is_none() {
            return Ok(loaded);
        }
        loaded.workload.reader.read_threads = None;
        let machine = Machine {
            cpus: self.job.node_cpus,
            ranks: part.local_size(),
        };
        let sized = loaded.size_threads(machine, false);
        agree(part, sized.map_err(|e| RankError::Dataset(e.to_string())))?;
        // The first host's, as in a run.
        let mut bytes = loaded.workload.reader.threads().to_le_bytes().to_vec();
        part.broadcast(&mut bytes);
        let threads = bytes.as_slice().try_into().map_or(1, u64::from_le_bytes);
        loaded.workload.reader.read_threads = Some(threads);
        Ok(loaded)
    }

    /// Writes the document down. A collective.
    fn write(&self) -> Result<()> {
        let job = self.job;
        let written = match &self.document {
            None => Ok(()),
            Some(document) => {
                let _task = job.doing("write", &self.spec.file);
                write(&self.spec.file, document)
            }
        };
        agree(job.cluster, written.map_err(RankError::from))
    }
}

/// Replaces the file at once: an end at any moment leaves the old one or the new one. Its page, `find.html`, lies beside it.
fn write(file: &Path, document: &Document) -> Result<(), ReportError> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(ReportError::writing(folder))?;
    }
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    replace_file(file, text.as_bytes()).map_err(ReportError::writing(file))?;
    let page = file.with_extension("html");
    replace_file(&page, html::find::page(document).as_bytes()).map_err(ReportError::writing(&page))
}
