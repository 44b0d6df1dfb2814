//! One reader: it reads runs of samples, has them checked, and keeps the record of what that took.

use std::sync::Arc;

use super::account::{Debt, Meter, RunTimes};
use super::shared::Shared;
use super::{Activity, LoaderError, Metadata, Place, Recorder, Work};
use crate::clock::{look_ns, now_ns, pause, seen_ns};
use crate::format::{Checker, FormatError};
use crate::plan::Run;
use crate::stage::{Part, Parts, Stage};
use crate::storage::{Answer, Extent, Lane, Request, Sink, ring};

/// What one reader owns. It is a thread, or a task of a ring.
pub(super) struct Reader {
    index: usize,
    pub(super) lane: Lane,
    place: Place,
    checker: Option<Box<dyn Checker>>,
    recorder: Box<dyn Recorder>,
    debt: Option<Debt>,
}

impl Reader {
    pub(super) fn new(index: usize, lane: Lane, recorder: Box<dyn Recorder>) -> Self {
        Reader {
            index,
            lane,
            place: Place::default(),
            checker: None,
            recorder,
            debt: None,
        }
    }

    /// Before the first run of an epoch, which is metered by `meter`.
    pub(super) fn begin_epoch(&mut self, work: &dyn Work, meter: Arc<Meter>) {
        self.debt = Some(Debt::new(meter));
        self.checker = work.checker();
    }

    /// After the last one.
    pub(super) fn end_epoch(&mut self) {
        self.lane.close();
        self.debt = None;
    }

    /// Reads one run of samples; returns what the time went to.
    pub(super) fn read_run(
        &mut self,
        shared: &Shared,
        work: &dyn Work,
        run: &Run,
    ) -> Result<Parts, LoaderError> {
        let (begun, held_up_ns) = (look_ns(), ring::held_up_ns());
        if let Some(debt) = &mut self.debt {
            debt.begin(begun);
        }
        // Finding and opening the file, too, may hang.
        shared
            .activity
            .io_begins_at(begun, self.index, work.number_of(run), 0);
        let place = &mut self.place;
        let located = work.locate(run, place, &mut self.lane);
        if located.is_err() || self.place.extents.is_empty() {
            shared.activity.io_ends(self.index);
        }
        located?;
        let mut times = RunTimes::default();
        times.parts[Part::Metadata] = self.place.metadata.read_ns();
        let mut seen = Seen::after(&self.place.metadata);
        let mut answers = self.place.metadata.opening();
        times.parts[Part::Io] += answers.open_ns;
        for (i, &extent) in self.place.extents.iter().enumerate() {
            let request = Request {
                path: &self.place.path,
                extent,
                planned_len: match extent {
                    Extent::Whole => self.place.planned_len,
                    Extent::Range { len, .. } => len,
                },
                exact_len: self.place.exact_len,
                tag: run.file << 20 ^ run.first ^ (i as u64) << 40,
            };
            let mut sight = Sight {
                checker: self.checker.as_deref_mut(),
                recorder: &mut *self.recorder,
                work,
                run,
                place: &self.place,
                is_first: i == 0,
                activity: shared.activity,
                thread: self.index,
                seen: &mut seen,
            };
            let before = seen_ns();
            let answer = shared.storage.read(&request, &mut self.lane, &mut sight);
            let after = look_ns();
            shared.activity.io_ends_at(after, self.index);
            if let Some(refused) = seen.refused.take() {
                return Err(refused);
            }
            let answer = answer?;
            // All of the call but what the checker took: pauses before retries count as the storage system's.
            times.parts[Part::Io] += (after - before).saturating_sub(seen.take_lap());
            if i == 0 {
                answers.first_byte_ns = answer.first_byte_ns;
            }
            answers.bytes += answer.bytes;
            answers.opens += answer.opens;
            answers.open_ns += answer.open_ns;
            answers.calls += answer.calls;
            answers.retries += answer.retries;
            if seen.failure.is_some() {
                break;
            }
        }
        self.account(shared, run, answers, seen, &mut times)?;
        self.preprocess(shared, work, run, &mut times);
        let ended = seen_ns();
        let each = (ended - begun) / run.count.max(1);
        self.recorder.record(Stage::Sample, each, run.count);
        times.held_up_ns = ring::held_up_ns() - held_up_ns;
        Ok(match &mut self.debt {
            Some(debt) => debt.settle(times, ended),
            None => times.parts,
        })
    }

    /// Records what the reads of a run took, and what the checker says of them.
    fn account(
        &mut self,
        shared: &Shared,
        run: &Run,
        answers: Answer,
        mut seen: Seen,
        times: &mut RunTimes,
    ) -> Result<(), LoaderError> {
        let has_read = !self.place.extents.is_empty();
        if has_read && shared.storage.system().has_bytes {
            if let Some(checker) = self.checker.as_deref_mut()
                && seen.failure.is_none()
            {
                let before = seen_ns();
                seen.failure = checker.finish().err();
                seen.spent_ns += look_ns() - before;
            }
            // A thread that still had the file open opened nothing.
            if answers.opens > 0 || !shared.storage.system().opens_by_path {
                self.recorder.record(Stage::Open, answers.open_ns, 1);
            }
            if self.checker.is_some() {
                self.recorder.record(Stage::Decode, seen.spent_ns, 1);
            }
        }
        if let Some(source) = seen.failure {
            return Err(LoaderError::Content {
                path: self.place.path.clone(),
                source,
            });
        }
        let metadata = &self.place.metadata;
        if metadata.answer.calls > 0 {
            self.recorder.record(Stage::Metadata, metadata.read_ns(), 1);
        }
        for ns in &metadata.calls_ns {
            self.recorder.record(Stage::Read, *ns, 1);
        }
        if let Some(ns) = answers.first_byte_ns {
            self.recorder.record(Stage::FirstByte, ns, 1);
        }
        times.parts[Part::Decode] = seen.spent_ns;
        shared.count(self.index, &answers, &metadata.answer, run.count);
        Ok(())
    }

    /// The pause after each sample of a run.
    fn preprocess(&mut self, shared: &Shared, work: &dyn Work, run: &Run, times: &mut RunTimes) {
        for _ in 0..run.count {
            let ns = work.preprocess_ns(self.index);
            if ns == 0 {
                break;
            }
            let before = now_ns();
            shared.activity.pauses_until(before + ns);
            match ring::is_task() {
                true => ring::pause_until(before + ns),
                false => pause(std::time::Duration::from_nanos(ns)),
            }
            let took = look_ns() - before;
            times.parts[Part::Preprocess] += took;
            times.asleep_ns += ns.min(took);
            self.recorder.record(Stage::Preprocess, took, 1);
        }
    }
}

/// What a checker took and found during the reads of one run.
#[derive(Default)]
struct Seen {
    spent_ns: u64,
    /// `spent_ns` when it was last looked at.
    lap_ns: u64,
    failure: Option<FormatError>,
    /// The file is another one than was planned.
    refused: Option<LoaderError>,
}

impl Seen {
    /// Parsing metadata is decoding; it was before the reads, out of whose time what the checker takes is left.
    fn after(metadata: &Metadata) -> Self {
        Seen {
            spent_ns: metadata.client_ns,
            lap_ns: metadata.client_ns,
            ..Seen::default()
        }
    }

    /// What the checker took since the last look.
    fn take_lap(&mut self) -> u64 {
        self.spent_ns - std::mem::replace(&mut self.lap_ns, self.spent_ns)
    }
}

/// Shows a thread's checker the bytes as they come.
struct Sight<'a> {
    checker: Option<&'a mut (dyn Checker + 'static)>,
    recorder: &'a mut (dyn Recorder + 'static),
    work: &'a dyn Work,
    run: &'a Run,
    place: &'a Place,
    is_first: bool,
    activity: Activity,
    thread: usize,
    seen: &'a mut Seen,
}

impl Sink for Sight<'_> {
    fn begin(&mut self, file_len: u64) {
        if let Some(checker) = self.checker.as_deref_mut()
            && self.is_first
        {
            let before = seen_ns();
            let begun = self.work.begin(checker, self.run, self.place, file_len);
            self.seen.refused = begun.err();
            self.seen.spent_ns += look_ns() - before;
        }
    }
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        let Some(checker) = self.checker.as_deref_mut() else {
            return true;
        };
        if self.seen.refused.is_some() {
            return false;
        }
        // What was seen last is the turn of another task, where this is one.
        let before = look_ns();
        self.seen.failure = checker.push(bytes).err();
        self.seen.spent_ns += look_ns() - before;
        self.seen.failure.is_none()
    }
    fn position(&mut self, offset: u64) {
        let number = self.work.number_of(self.run);
        (self.activity).io_begins_at(seen_ns(), self.thread, number, offset);
    }
    fn called(&mut self, ns: u64) {
        self.recorder.record(Stage::Read, ns, 1);
    }
}
