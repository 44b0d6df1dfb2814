//! Runs in virtual time, whose recordings are known to the nanosecond.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::clock::VirtualClock;
use crate::cluster::threads;
use crate::config::{MetricFormula, Workload};
use crate::format::Checker;
use crate::loader::{LoaderError, Place, Shape, SimulatedLoader, Unit, Work};
use crate::metrics::record::EpochRecord;
use crate::metrics::timeline::{Column, Recorded, Timeline, merge};
use crate::plan::Run;
use crate::storage::{Lane, TimeModel};

const MS: u64 = 1_000_000;
const BATCHES: u64 = 200;

/// Batches of one sample of 1,000 bytes, of which one may be larger.
struct Samples {
    /// Number of the large one from 0, and its bytes.
    large: Option<(u64, u64)>,
}

impl Work for Samples {
    fn batches(&self) -> u64 {
        BATCHES
    }
    fn batch(&self, batch: u64, out: &mut Vec<Run>) {
        out.push(Run {
            file: batch,
            first: 0,
            count: 1,
        });
    }
    fn path_of(&self, _: &Run, _: &mut PathBuf) {}
    fn planned_len(&self, run: &Run) -> u64 {
        match self.large {
            Some((file, bytes)) if file == run.file => bytes,
            _ => 1_000,
        }
    }
    fn locate(&self, _: &Run, _: &mut Place, _: &mut Lane) -> Result<(), LoaderError> {
        Ok(())
    }
    fn step_hash(&self, batch: u64, _: &[Run]) -> u64 {
        batch
    }
    fn checker(&self) -> Option<Box<dyn Checker>> {
        None
    }
    fn begin(&self, _: &mut dyn Checker, _: &Run, _: &Place, _: u64) -> Result<(), LoaderError> {
        Ok(())
    }
    fn preprocess_ns(&self, _: usize) -> u64 {
        0
    }
}

/// Four ranks on two hosts take one epoch of steps that compute for 5 ms. A rank reads a batch at a time over a link of its
/// own of 1 MB/s, after this latency.
fn train(latency_ms: fn(usize) -> u64, large: Option<(u64, u64)>) -> Timeline {
    let mut made = threads::run(&[0, 0, 1, 1], |cluster| {
        let rank = cluster.rank();
        let words = (0..Activity::words(0)).map(|_| AtomicU64::new(0));
        let activity = Activity::new(words.collect::<Vec<_>>().leak());
        let clock = Rc::new(VirtualClock::default());
        let shape = Shape {
            unit: Unit::Batch,
            threads: 1,
            window: 0,
        };
        let time = TimeModel {
            latency_ns: latency_ms(rank) * MS,
            jitter_ns: 0,
            bandwidth: 1e6,
            ..TimeModel::default()
        };
        let mut source = SimulatedLoader::new(shape, time, clock.clone());
        let gauges = Arc::new(Gauges::new(0, true));
        let mut w = Workload::default();
        w.dataset.num_files_train = 4 * BATCHES;
        let mut steps = StepLoop {
            clock,
            cluster,
            activity,
            histograms: StageHistograms::new(),
            draws: TimeDraw::new(0),
            spec: MetricSpec::of(&w, cluster.size()),
            digest: Digest::default(),
            spin_ns: 0,
            done: (0, BATCHES),
            judge: None,
            recording: Some(Recording {
                recorder: Recorder::new(0),
                gauges: gauges.clone(),
            }),
            tracer: None,
        };
        source.start(Arc::new(Samples { large }));
        let span = Span {
            epoch: 1,
            epochs: 1,
            steps: BATCHES,
            next_step: 1,
            pause_after: None,
        };
        let compute = TimeSpec(crate::config::Distribution::Constant { mean: 0.005 });
        let mut events = Events::default();
        let (block, _) = steps
            .train(&mut events, &mut source, span, &compute)
            .unwrap();
        let mut row = EpochRecord {
            epoch: 1,
            blocks: vec![block],
            ..EpochRecord::default()
        };
        row.counts.delivered = source.totals().bytes;
        let mut recorder = steps.recording.unwrap().recorder;
        let readers = StageHistograms::new();
        recorder.epoch_ended(&row, MetricFormula::V3, steps.spec.train, &readers);
        let name = |file| Some(format!("img_{file}"));
        merge(cluster, Recorded::new(rank, recorder, &gauges, name))
    });
    let mut timeline = made.swap_remove(0).unwrap();
    timeline.note_long_waits();
    timeline
}

// A step takes 1 ms of latency, 1 ms on the link and 5 ms of computation: batch 100 is asked for at 700 ms. Its 2,000,000
// bytes take 2 s on the link.
#[test]
fn a_pause_of_the_storage_is_in_series_steps_and_events_at_its_time() {
    let timeline = train(|_| 1, Some((100, 2_000_000)));
    let (from, long) = (700 * MS, 2_001 * MS);
    let wait = &timeline.steps.bins.wait;
    for i in 0..BATCHES as usize {
        let expected = if i == 100 { long } else { 2 * MS };
        assert_eq!((wait.min_ns[i], wait.max_ns[i]), (expected, expected));
        assert_eq!(wait.sum_ns[i], 4 * expected);
    }
    // Four ranks wait through every bin of 100 ms of the pause, and nobody computes.
    let series = &timeline.series;
    assert_eq!(series.bin_ns, 100 * MS);
    let io = series.get(Column::WaitIo).unwrap();
    let compute = series.get(Column::Compute).unwrap();
    for bin in 7..27 {
        assert_eq!((io[bin], compute[bin]), (400 * MS, 0), "bin {bin}");
    }
    assert!(io[..7].iter().all(|ns| *ns < 130 * MS));
    assert!(compute[28..34].iter().all(|ns| *ns > 250 * MS));
    // The bytes of the pause come evenly while the link is busy.
    let bytes = series.get(Column::Bytes).unwrap();
    assert!(bytes[7..27].iter().all(|n| n.abs_diff(399_800) < 500));
    let log = &timeline.events.events;
    assert_eq!(log.len(), 1, "{log:?}");
    let event = &log[0];
    assert_eq!(event.kind, "long_wait");
    assert_eq!((event.at_ns, event.until_ns), (from, Some(from + long)));
    assert_eq!(event.fields["ranks"], 4);
    assert_eq!(event.fields["step"], 101);
    assert_eq!(event.fields["file"], "img_100");
    let longest = &timeline.steps.longest_waits[0];
    assert_eq!((longest.at_ns, longest.wait_ns), (from, long));
    assert_eq!((longest.epoch, longest.step), (1, 101));
    assert_eq!(longest.file.as_deref(), Some("img_100"));
    assert_eq!(
        series.sum(Column::Bytes),
        Some(4 * (199 * 1_000 + 2_000_000))
    );
}

#[test]
fn a_rank_that_is_slow_is_named_by_its_waits_and_the_others_by_their_barriers() {
    let timeline = train(|rank| if rank == 2 { 20 } else { 1 }, None);
    let steps = &timeline.steps;
    assert!(steps.longest_waits[..BATCHES as usize].iter().all(|wait| (
        wait.rank,
        wait.host,
        wait.wait_ns
    ) == (2, 1, 21 * MS)));
    assert!(steps.bins.wait.max_rank.iter().all(|rank| *rank == 2));
    assert!(steps.bins.barrier.max_ns.iter().all(|ns| *ns == 19 * MS));
    let table = &timeline.rank_epochs;
    let of = |t: &[Vec<f32>]| t.iter().map(|row| row[0]).collect::<Vec<_>>();
    assert_eq!(of(&table.wait_s), [0.4, 0.4, 4.2, 0.4]);
    assert_eq!(of(&table.barrier_s), [3.8, 3.8, 0.0, 3.8]);
    assert_eq!(table.bytes.iter().map(|row| row[0]).sum::<f64>(), 800_000.0);
    // A rank that is always slow is no event.
    assert!(timeline.events.events.is_empty());
    let host = |i: usize| timeline.host_series[i].wait_ns().iter().sum::<u64>();
    assert_eq!((host(0), host(1)), (800 * MS, 4_600 * MS));
}
