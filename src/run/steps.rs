//! The steps of training and evaluation, as DLIO's loops take them.
//!
//! The clock and the source of batches are parameters, so that the same loop runs in real and in virtual time.

use std::rc::Rc;
use std::sync::Arc;

use crate::clock::{Clock, RealClock, VirtualClock, thread_cpu_ns};
use crate::cluster::Cluster;
use crate::config::TimeSpec;
use crate::loader::{Activity, BatchSource, Phase, Stretch};
use crate::metrics::au::{block_au, is_counted, window_sums};
use crate::metrics::histogram::StageHistograms;
use crate::metrics::record::{BlockRecord, StepTime};
use crate::metrics::spec::MetricSpec;
use crate::metrics::timeline::{Gauges, Recorder, StepSpan};
use crate::metrics::trace::{PhaseKind, TracedStep, Tracer};
use crate::plan::digest::Digest;
use crate::plan::draw::TimeDraw;
use crate::report::Event;
use crate::stage::Stage;

use super::context::{JobContext, label};
use super::events::Events;
use super::failure::RankError;

/// Looks on while a job trains, and may end its training early. All ranks have one, or none.
pub trait Judge {
    /// A step has ended at `now_ns`, together with those of the other ranks. `index`: of this block, from 0.
    fn step(&mut self, index: usize, time: &StepTime, now_ns: u64);
    /// True on a rank that wants all ranks to look after the next step.
    fn wants_look(&self, now_ns: u64) -> bool;
    /// All ranks look, after the same step; `now_ns` tells when the next step begins. A collective.
    fn look(&mut self, cluster: &dyn Cluster, now_ns: &dyn Fn() -> u64);
    /// True, on all ranks, when nothing more is wanted.
    fn is_done(&self) -> bool;
}

/// The loops over steps, and what they keep from step to step.
pub struct StepLoop<'a> {
    pub clock: Rc<dyn Clock>,
    pub cluster: &'a dyn Cluster,
    /// This rank's page.
    pub activity: Activity,
    pub histograms: StageHistograms,
    /// Draws of computation times.
    pub draws: TimeDraw,
    /// Formulas and the steps that count.
    pub spec: MetricSpec,
    pub digest: Digest,
    /// CPU nanoseconds spun for deadlines and in barriers.
    pub spin_ns: u64,
    /// Steps done in the whole run, of how many (for the estimate of what is left).
    pub done: (u64, u64),
    /// Who may end the training early.
    pub judge: Option<&'a mut dyn Judge>,
    /// What happens over time; None where nothing is recorded.
    pub recording: Option<Recording>,
    /// Single steps, where this rank is traced.
    pub tracer: Option<Arc<Tracer>>,
}

/// What the loops record over time.
pub struct Recording {
    /// Of the loops themselves.
    pub recorder: Recorder,
    /// Of everything else on this rank.
    pub gauges: Arc<Gauges>,
}

/// One epoch's or evaluation's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// From 1.
    pub epoch: u64,
    pub epochs: u64,
    pub steps: u64,
    /// The step that comes next, from 1.
    pub next_step: u64,
    /// The step after which a checkpoint ends the block.
    pub pause_after: Option<u64>,
}

impl<'a> StepLoop<'a> {
    /// The loops of a job with `steps` training steps in an epoch; in virtual time where that has a clock.
    pub fn new(job: &'a JobContext, virtual_clock: Option<Rc<VirtualClock>>, steps: u64) -> Self {
        let (cluster, w) = (job.cluster, job.workload);
        let clock: Rc<dyn Clock> = match virtual_clock {
            Some(clock) => clock,
            None => Rc::new(RealClock {
                spin: cluster.local_size() <= job.node_cpus,
            }),
        };
        StepLoop {
            clock,
            cluster,
            activity: job.activity,
            histograms: StageHistograms::new(),
            draws: TimeDraw::new(job.draw_seed()),
            spec: MetricSpec::of(w, cluster.size()),
            digest: Digest::default(),
            spin_ns: 0,
            done: (0, steps * w.train.epochs),
            recording: job.gauges.clone().map(|gauges| Recording {
                recorder: Recorder::new(gauges.zero_ns()),
                gauges,
            }),
            tracer: job.tracer.clone(),
            judge: None,
        }
    }

    /// Trains until the epoch ends or a checkpoint is due. The source has been started. Returns the block, and true when it
    /// ended for a checkpoint.
    ///
    /// As in DLIO, one more batch is asked for after the last step when the source has one, inside the block's wall time.
    /// Errors: this rank's own failure, or [`RankError::Elsewhere`] when another rank failed.
    /// Source: DLIO `main.py::_train`.
    pub fn train(
        &mut self,
        events: &mut Events,
        source: &mut dyn BatchSource,
        span: Span,
        computation: &TimeSpec,
    ) -> Result<(BlockRecord, bool), RankError> {
        let (mut record, block_start) = self.begin_block();
        let mut progress = Pulse::new(block_start, source.totals().bytes);
        let mut asked = block_start;
        let mut step = span.next_step;
        let mut is_paused = false;
        let outcome = loop {
            self.activity.enter(Phase::BatchWait, span.epoch, step);
            let batch = match source.next() {
                Ok(Some(batch)) if step <= span.steps => batch,
                Ok(_) => {
                    let ended = self.clock.now_ns();
                    record.closing_ns = ended - asked;
                    self.record(|r| r.closing(asked, ended));
                    break Ok(());
                }
                Err(error) => {
                    if step <= span.steps {
                        self.sync(Word::Failed);
                    }
                    break Err(RankError::from(error));
                }
            };
            let loaded = self.clock.now_ns();
            source.release();
            self.digest.push(batch.hash);
            let nominal_ns = self.compute(computation, loaded, span.epoch, step);
            let computed = self.clock.now_ns();
            self.activity.enter(Phase::Barrier, span.epoch, step);
            let word = self.sync(match &self.judge {
                Some(judge) if judge.wants_look(computed) => Word::Look,
                _ => Word::GoOn,
            });
            let met = self.clock.now_ns();
            self.activity.moved();
            let parts = batch.parts_of_wait(asked, loaded);
            if self.spec.train.contains(record.steps.len()) {
                record.wait_parts.add(&parts);
                record.nominal_ns += nominal_ns;
            }
            let taken = StepSpan {
                epoch: span.epoch,
                step,
                number: Some(self.done.0),
                asked,
                loaded,
                computed,
                met,
                parts,
                file: batch.late_file,
            };
            let time = self.taken(source, &mut record, taken);
            self.histograms.record(Stage::Barrier, time.barrier_ns);
            if word == Word::Failed {
                break Err(RankError::Elsewhere);
            }
            if self.is_judged(record.steps.len() - 1, &time, met, word) {
                break Ok(());
            }
            self.done.0 += 1;
            progress.tick(self, events, source, span, step, &mut record);
            if span.pause_after == Some(step) {
                is_paused = true;
                break Ok(());
            }
            step += 1;
            asked = self.clock.now_ns();
        };
        self.end_block(source, &mut record, block_start);
        outcome.map(|()| (record, is_paused))
    }

    /// Evaluates: the same without barriers.
    ///
    /// Source: DLIO `main.py::_eval`.
    pub fn evaluate(
        &mut self,
        source: &mut dyn BatchSource,
        span: Span,
        computation: &TimeSpec,
    ) -> Result<BlockRecord, RankError> {
        let (mut record, start) = self.begin_block();
        let mut asked = start;
        let mut step = 1;
        let _work = self.activity.work(Stretch::Evaluation, span.steps);
        while step <= span.steps {
            self.activity.enter(Phase::BatchWait, span.epoch, step);
            let Some(batch) = source.next()? else { break };
            let loaded = self.clock.now_ns();
            source.release();
            self.digest.push(batch.hash);
            self.compute(computation, loaded, span.epoch, step);
            let computed = self.clock.now_ns();
            self.activity.moved();
            self.activity.worked(1);
            let taken = StepSpan {
                epoch: span.epoch,
                step,
                number: None,
                asked,
                loaded,
                computed,
                met: computed,
                parts: batch.parts_of_wait(asked, loaded),
                file: batch.late_file,
            };
            self.taken(source, &mut record, taken);
            step += 1;
            asked = computed;
        }
        self.end_block(source, &mut record, start);
        Ok(record)
    }

    /// A block begins: its record, and when.
    fn begin_block(&mut self) -> (BlockRecord, u64) {
        let record = BlockRecord {
            start: label(),
            ..BlockRecord::default()
        };
        let now = self.clock.now_ns();
        self.record(|r| r.block_begins(now));
        (record, now)
    }

    fn end_block(&mut self, source: &mut dyn BatchSource, record: &mut BlockRecord, start: u64) {
        let now = self.clock.now_ns();
        self.record(|r| r.block_ends(now));
        self.delivered(source);
        record.wall_ns = now - start;
        record.end = label();
    }

    fn record(&mut self, what: impl FnOnce(&mut Recorder)) {
        if let Some(recording) = &mut self.recording {
            what(&mut recording.recorder);
        }
    }

    /// Something that the whole rank did, for the trace.
    pub(super) fn phase(&self, kind: PhaseKind, from: u64, to: u64) {
        if let Some(tracer) = &self.tracer {
            tracer.phase(kind, from, to);
        }
    }

    /// A step was taken: it is counted and recorded. Returns what it took.
    #[inline]
    fn taken(
        &mut self,
        source: &mut dyn BatchSource,
        record: &mut BlockRecord,
        step: StepSpan,
    ) -> StepTime {
        let time = StepTime {
            load_ns: step.loaded - step.asked,
            compute_ns: step.computed - step.loaded,
            proc_ns: step.computed - step.asked,
            barrier_ns: step.met - step.computed,
        };
        self.histograms.record(Stage::BatchWait, time.load_ns);
        self.histograms.record(Stage::Compute, time.compute_ns);
        record.steps.push(time);
        self.record(|r| r.step(&step));
        if let Some(tracer) = &self.tracer {
            tracer.step(TracedStep {
                epoch: step.epoch,
                step: step.step,
                trains: step.number.is_some(),
                asked: step.asked,
                loaded: step.loaded,
                computed: step.computed,
                met: step.met,
            });
        }
        self.delivered(source);
        time
    }

    /// In virtual time: what the source has read since the last call.
    fn delivered(&mut self, source: &mut dyn BatchSource) {
        if !self.clock.is_virtual() {
            return;
        }
        let deliveries = source.take_deliveries();
        if let Some(tracer) = &self.tracer {
            deliveries
                .iter()
                .for_each(|d| tracer.read(d.from_ns, d.to_ns));
        }
        if let Some(recording) = &self.recording {
            recording.gauges.delivered(deliveries.into_iter());
            recording.gauges.virtual_now(self.clock.now_ns());
        }
    }

    /// The accelerator begins with the batch at `from`; what the host does meanwhile is hidden behind it. Returns the
    /// configured time.
    fn compute(&mut self, computation: &TimeSpec, from: u64, epoch: u64, step: u64) -> u64 {
        let ns = (self.draws.draw_s(computation) * 1e9).round() as u64;
        self.activity.enter(Phase::Compute, epoch, step);
        self.activity.busy_until(crate::clock::now_ns() + ns);
        self.spin_ns += self.clock.wait_until(from + ns);
        ns
    }

    /// Shows a step to the judge, if there is one; true when that ends the training. A collective where a rank wants to look.
    fn is_judged(&mut self, index: usize, time: &StepTime, met: u64, word: Word) -> bool {
        let Some(judge) = &mut self.judge else {
            return false;
        };
        judge.step(index, time, met);
        if word == Word::Look {
            judge.look(self.cluster, &|| self.clock.now_ns());
        }
        judge.is_done()
    }

    /// The step's barrier, which also brings virtual clocks together. Returns the gravest word of all ranks.
    fn sync(&mut self, word: Word) -> Word {
        let now = if self.clock.is_virtual() {
            self.clock.now_ns()
        } else {
            0
        };
        // What MPI spins is no cost of reading. A single rank waits for nobody, and these clocks are system calls.
        let before = (self.cluster.size() > 1).then(thread_cpu_ns);
        let [any, latest] = self.cluster.max_pair([word as u64, now]);
        self.spin_ns += before.map_or(0, |before| thread_cpu_ns() - before);
        self.clock.advance_to(latest);
        [Word::GoOn, Word::Look]
            .into_iter()
            .find(|&word| word as u64 == any)
            .unwrap_or(Word::Failed)
    }
}

/// What a rank says to the others after a step, in order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    GoOn,
    Look,
    Failed,
}

/// Says how far the epoch is, at most once a second, by the formulas of the report.
struct Pulse {
    last_ns: u64,
    last_bytes: u64,
    start_ns: u64,
}

impl Pulse {
    fn new(now: u64, bytes: u64) -> Self {
        Pulse {
            last_ns: now,
            last_bytes: bytes,
            start_ns: now,
        }
    }

    fn tick(
        &mut self,
        ctx: &StepLoop,
        events: &mut Events,
        source: &dyn BatchSource,
        span: Span,
        step: u64,
        record: &mut BlockRecord,
    ) {
        let now = ctx.clock.now_ns();
        if now - self.last_ns < 1_000_000_000 || ctx.cluster.rank() != 0 || ctx.clock.is_virtual() {
            return;
        }
        let bytes = source.totals().bytes;
        let since = (now - self.last_ns) as f64 / 1e9;
        let delta = bytes - self.last_bytes;
        self.last_ns = now;
        self.last_bytes = bytes;
        let elapsed = now - self.start_ns;
        record.wall_ns = elapsed;
        let (formula, window) = (ctx.spec.formula, ctx.spec.train);
        let counts = is_counted(&window_sums(record, window));
        let per_step = elapsed as f64 / 1e9 / record.steps.len() as f64;
        events.emit(Event::Progress {
            epoch: span.epoch,
            epochs: span.epochs,
            step,
            steps: span.steps,
            au_percent: counts.then(|| block_au(formula, record, window)),
            bytes_per_second: delta as f64 / since * ctx.cluster.size() as f64,
            batch_wait_p99_s: (ctx.histograms.supported(Stage::BatchWait, 0.99))
                .map(|ns| ns as f64 / 1e9),
            eta_s: per_step * ctx.done.1.saturating_sub(ctx.done.0) as f64,
        });
    }
}
