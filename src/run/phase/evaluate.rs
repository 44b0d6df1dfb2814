//! Evaluation: the `valid` split, read after an epoch of training.

use std::sync::Arc;

use crate::config::Workload;
use crate::loader::{BatchSource, Phase};
use crate::metrics::record::BlockRecord;
use crate::metrics::trace::PhaseKind;
use crate::plan::Split;
use crate::plan::order::ShardOrder;
use crate::report::Event;
use crate::run::context::JobContext;
use crate::run::dataset::DatasetFiles;
use crate::run::events::Events;
use crate::run::failure::{RankError, Result, agree};
use crate::run::sources::reshard;
use crate::run::steps::{Span, StepLoop};
use crate::run::wire;
use crate::run::work::{EpochWork, Reading};

/// The evaluations of a job.
pub(super) struct Evaluation<'a> {
    job: &'a JobContext<'a>,
    source: Box<dyn BatchSource>,
    order: ShardOrder,
    steps: u64,
    /// The epoch after which the next one is due.
    next: u64,
    /// What the next one reads.
    work: Option<Arc<EpochWork>>,
}

impl<'a> Evaluation<'a> {
    /// True where a workload evaluates.
    pub(super) fn is_wanted(w: &Workload) -> bool {
        w.workflow.evaluation && w.dataset.num_files_eval > 0
    }

    pub(super) fn prepare(
        job: &'a JobContext,
        source: Box<dyn BatchSource>,
        files: &DatasetFiles,
        steps: u64,
    ) -> Self {
        let (cluster, w) = (job.cluster, job.workload);
        let (rank, ranks) = (cluster.rank(), cluster.size());
        Evaluation {
            job,
            source,
            order: ShardOrder::new(
                wire::order(w, Split::Valid, files.valid.files()),
                rank,
                ranks,
            ),
            steps,
            next: w.evaluation.eval_after_epoch,
            work: None,
        }
    }

    /// Draws the order of an epoch, which goes on also where no evaluation is due. A collective.
    pub(super) fn begin_epoch(&mut self, reading: &Arc<Reading>, epoch: u64) {
        self.work = None;
        reshard(self.job.cluster, &mut self.order, epoch);
        let order = self.order.epoch(epoch);
        self.work = (epoch >= self.next)
            .then(|| Arc::new(EpochWork::new(reading.clone(), Split::Valid, epoch, order)));
    }

    pub(super) fn source(&self) -> &dyn BatchSource {
        &*self.source
    }

    /// Evaluates where it is due. A collective.
    pub(super) fn step(
        &mut self,
        events: &mut Events,
        steps: &mut StepLoop,
        epoch: u64,
    ) -> Result<Option<BlockRecord>> {
        let Some(work) = self.work.take() else {
            return Ok(None);
        };
        let w = self.job.workload;
        self.next += w.evaluation.epochs_between_evals;
        events.emit(Event::EvalStarted {
            epoch,
            steps: self.steps,
        });
        self.source.start(work);
        let span = Span {
            epoch,
            epochs: w.train.epochs,
            steps: self.steps,
            next_step: 1,
            pause_after: None,
        };
        let started = steps.clock.now_ns();
        let eval = steps.evaluate(&mut *self.source, span, &w.evaluation.eval_time);
        steps.phase(PhaseKind::Evaluation, started, steps.clock.now_ns());
        let stopped = self.source.stop().map_err(RankError::from);
        steps.activity.enter(Phase::Barrier, epoch, self.steps);
        let eval = agree(
            self.job.cluster,
            eval.and_then(|eval| stopped.map(|()| eval)),
        )?;
        events.emit(Event::EvalEnded {
            epoch,
            record: eval.clone(),
        });
        Ok(Some(eval))
    }
}
