//! The merge of many ranks: what is summed stays exact, and what travels stays small.

use super::assemble::{Gathered, timeline};
use super::gauges::Gauges;
use super::host_series::{HOST_BYTES, HostSeries, MORE_LEVELS, fitting};
use super::incidents::Incidents;
use super::longest::{KEPT, Selection};
use super::merge::merge;
use super::recorder::{Recorded, Recorder, StepSpan};
use super::series::Column;
use super::shape::Shape;
use super::{BIN_NS, Timeline};
use crate::cluster::Cluster;
use crate::cluster::threads;
use crate::config::MetricFormula;
use crate::loader::Delivery;
use crate::metrics::au::Window;
use crate::metrics::histogram::StageHistograms;
use crate::metrics::record::{BlockRecord, EpochRecord, StepTime};
use crate::stage::{Parts, Stage};
use crate::util::hash::mix64;

const MS: u64 = 1_000_000;

/// What was put into a recording.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Put {
    wait: u64,
    compute: u64,
    barrier: u64,
    bytes: u64,
    steps: u64,
    retries: u64,
}

impl Put {
    fn add(&mut self, other: &Put, times: u64) {
        self.wait += other.wait * times;
        self.compute += other.compute * times;
        self.barrier += other.barrier * times;
        self.bytes += other.bytes * times;
        self.steps += other.steps * times;
        self.retries += other.retries * times;
    }
}

/// A rank that takes steps of irregular lengths in virtual time. Waits are longer than `wait_ms` by up to a half.
fn record(rank: usize, epochs: u64, steps: u64, wait_ms: u64) -> (Recorded, Put) {
    let gauges = Gauges::new(0, true);
    let mut incidents = Incidents::default();
    for at in 0..64 {
        incidents.add(
            Some("http://storage-03.example.com:9000"),
            at << 40,
            (at << 40) + 1,
            1,
        );
    }
    let mut recorder = Recorder::new(0);
    let mut put = Put::default();
    let mut now = 0;
    let mut seed = rank as u64 * 7_919 + 1;
    let mut random = |below: u64| {
        seed = mix64(seed);
        seed % below
    };
    for epoch in 1..=epochs {
        let mut block = BlockRecord::default();
        let mut readers = StageHistograms::new();
        recorder.block_begins(now);
        for step in 1..=steps {
            let wait = wait_ms * MS + random(wait_ms * MS / 2 + 1);
            let compute = 2 * MS + random(10_000);
            let barrier = random(MS);
            let asked = now;
            let (loaded, computed) = (asked + wait, asked + wait + compute);
            let met = computed + barrier;
            recorder.step(&StepSpan {
                epoch,
                step,
                number: Some((epoch - 1) * steps + step - 1),
                asked,
                loaded,
                computed,
                met,
                parts: Parts([3, 1, 1, 0, 0, 0]).of_wait(wait, wait),
                file: Some(step),
            });
            let bytes = 100_000 + random(100_000);
            gauges.delivered(std::iter::once(Delivery {
                from_ns: asked,
                to_ns: loaded,
                bytes,
                samples: 4,
            }));
            readers.record(Stage::Read, wait / 2);
            block.steps.push(StepTime {
                load_ns: wait,
                compute_ns: compute,
                proc_ns: wait + compute,
                barrier_ns: barrier,
            });
            put.add(
                &Put {
                    wait,
                    compute,
                    barrier,
                    bytes,
                    steps: 1,
                    retries: 0,
                },
                1,
            );
            now = met;
        }
        recorder.block_ends(now);
        gauges.virtual_now(now);
        gauges.add(Column::Retries, 0, 0, epoch);
        put.retries += epoch;
        block.wall_ns = block.steps.iter().map(|s| s.proc_ns + s.barrier_ns).sum();
        let mut row = EpochRecord {
            epoch,
            blocks: vec![block],
            ..EpochRecord::default()
        };
        row.counts.delivered = put.bytes;
        let window = Window::new(steps, 0, 0);
        recorder.epoch_ended(&row, MetricFormula::V3, window, &readers);
    }
    let name = |file| Some(format!("/data/train/img_{file:07}_of_1000000.npz"));
    let mut recorded = Recorded::new(rank, recorder, &gauges, name);
    recorded.sampled.incidents = incidents;
    (recorded, put)
}

fn check_sums(timeline: &Timeline, put: &Put) {
    let series = &timeline.series;
    let sum = |column| series.sum(column);
    assert_eq!(series.wait_ns().iter().sum::<u64>(), put.wait);
    assert_eq!(sum(Column::Compute), Some(put.compute));
    assert_eq!(sum(Column::Barrier), Some(put.barrier));
    assert_eq!(sum(Column::Bytes), Some(put.bytes));
    assert_eq!(sum(Column::Samples), Some(4 * put.steps));
    assert_eq!(sum(Column::Requests), Some(put.steps));
    assert_eq!(sum(Column::Retries), Some(put.retries));
    // Virtual time uses no CPU, and no device.
    assert_eq!(sum(Column::Cpu), None);
    assert!(series.columns.values().all(|v| v.len() == series.bins));
    let steps = &timeline.steps.bins;
    assert_eq!(steps.counts.iter().sum::<u64>(), put.steps);
    assert_eq!(steps.wait.sum_ns.iter().sum::<u64>(), put.wait);
    assert_eq!(steps.barrier.sum_ns.iter().sum::<u64>(), put.barrier);
    assert_eq!(
        steps.step.sum_ns.iter().sum::<u64>(),
        put.wait + put.compute
    );
    for (stage, sum) in [(Stage::BatchWait, put.wait), (Stage::Barrier, put.barrier)] {
        let heat = timeline.latency.stages.iter().find(|s| s.stage == stage);
        let counts = heat.unwrap().counts.iter().flatten();
        assert_eq!(counts.sum::<u64>(), put.steps, "{stage:?}");
        let all = timeline.histograms.iter().flat_map(|entry| &entry.stages);
        let (n, ns) = all
            .filter(|s| s.stage == stage)
            .fold((0, 0), |(n, ns), s| (n + s.count(), ns + s.sum_ns));
        assert_eq!((n, ns), (put.steps, sum), "{stage:?}");
    }
    for column in [Column::Bytes, Column::Compute, Column::Retries] {
        let hosts: u64 = (timeline.host_series.iter())
            .map(|s| s.sum(column).unwrap())
            .sum();
        assert_eq!(Some(hosts), sum(column), "{column:?}");
    }
}

#[test]
fn ranks_of_different_lengths_are_added_up_exactly() {
    let nodes = [0, 0, 1, 1, 1];
    let made = threads::run(&nodes, |cluster| {
        let rank = cluster.rank();
        // Rank 3 is so slow that its bins are wider than those of the others.
        let wait_ms = if rank == 3 { 700 } else { 3 };
        let (recorded, put) = record(rank, 5, 100, wait_ms);
        (merge(cluster, recorded), put)
    });
    let mut all = Put::default();
    made.iter().for_each(|(_, put)| all.add(put, 1));
    assert!(made[1..].iter().all(|(timeline, _)| timeline.is_none()));
    let timeline = made[0].0.as_ref().unwrap();
    check_sums(timeline, &all);
    assert_eq!(timeline.series.bin_ns, 4 * BIN_NS);
    assert_eq!(timeline.host_series.len(), 2);
    assert_eq!(timeline.steps.total, 500);
    assert_eq!(timeline.steps.first.counts, vec![5; 64]);
    // The slow rank is named everywhere.
    assert!(timeline.steps.bins.wait.max_rank.iter().all(|r| *r == 3));
    assert!(
        timeline
            .steps
            .bins
            .wait
            .min_ns
            .iter()
            .all(|ns| *ns < 5 * MS)
    );
    let waits = &timeline.steps.longest_waits;
    assert_eq!(waits.len(), KEPT);
    assert!(waits.iter().all(|wait| (wait.rank, wait.host) == (3, 1)));
    assert!(waits.is_sorted_by(|a, b| a.wait_ns >= b.wait_ns));
    assert!(waits[0].file.as_ref().unwrap().starts_with("/data/train/"));
    let table = &timeline.rank_epochs;
    assert_eq!((table.columns(), table.wait_s.len()), (5, 5));
    for epoch in 0..5 {
        let column = |t: &Vec<Vec<f32>>| t.iter().map(|row| row[epoch]).collect::<Vec<_>>();
        let (au, wait) = (column(&table.au_percent), column(&table.wait_s));
        assert!((0..5).all(|r| r == 3 || (au[r] > au[3] && wait[r] < wait[3])));
    }
    assert_eq!(timeline.histograms.len(), 5);
    let back: Timeline = serde_json::from_slice(&serde_json::to_vec(timeline).unwrap()).unwrap();
    assert_eq!(&back, timeline);
}

/// Ranks of the large job, and on each of its hosts.
const RANKS: usize = 4_096;
const PER_HOST: usize = 8;
/// All tables are full: 4,096 steps in 64 epochs, and nearly 2,048 bins of time.
const STEPS: u64 = 64;
const EPOCHS: u64 = 64;

/// Bytes that rank 0 is sent at most.
const LIMIT: usize = 8 << 20;

/// What came of a large job.
pub(crate) struct Large {
    pub(crate) timeline: Timeline,
    pub(crate) sent: usize,
    /// Seconds that rank 0 needed once all had recorded.
    pub(crate) merge_s: f64,
    put: Put,
}

/// Recordings of 4,096 ranks, of which every fourth is alike but for its number, are merged as [`merge`] does it.
pub(crate) fn large_job(epochs: u64, steps: u64) -> Large {
    let mut kinds: Vec<(Recorded, Put)> = (0..4)
        .map(|kind| record(kind, epochs, steps, if kind == 3 { 36 } else { 20 }))
        .collect();
    for (recorded, _) in &kinds {
        let bytes = recorded.most_bytes() + super::devices::MOST_BYTES;
        assert!(bytes <= 2 << 20, "{bytes} bytes per rank");
    }
    let began = std::time::Instant::now();
    let times = (RANKS / kinds.len()) as u64;
    let mut sent = 0;
    let mut reduce = |words: usize| sent += 8 * words;
    let mut widths = [0; 5];
    for (recorded, _) in &kinds {
        for (max, width) in widths.iter_mut().zip(recorded.widths()) {
            *max = width.max(*max);
        }
    }
    reduce(widths.len());
    let maximum = |all: &mut Vec<u64>, one: Vec<u64>| {
        all.resize(one.len(), 0);
        all.iter_mut().zip(one).for_each(|(a, b)| *a = b.max(*a));
    };
    let mut words = Vec::new();
    for (recorded, _) in &mut kinds {
        recorded.align(widths);
        maximum(&mut words, recorded.shape().into_words());
    }
    reduce(words.len());
    let mut shape: Shape = kinds[0].0.shape();
    shape.set_words(&words);
    let (mut sums, mut put) = (Vec::new(), Put::default());
    for (recorded, one) in &mut kinds {
        let mut own = shape.clone();
        own.set_words(&words);
        recorded.fit(&mut own);
        let mine = recorded.sums(&own);
        sums.resize(mine.len(), 0);
        sums.iter_mut().zip(mine).for_each(|(a, b)| *a += b * times);
        put.add(one, times);
    }
    reduce(sums.len());
    let mut fitted = shape.clone();
    fitted.set_words(&words);
    kinds[0].0.fit(&mut fitted);
    let shape = fitted;
    let (mut maxima, mut selection) = (Vec::new(), Selection::default());
    for rank in 0..RANKS {
        let recorded = &mut kinds[rank % 4].0;
        recorded.rank = rank;
        maximum(&mut maxima, recorded.maxima(&shape));
    }
    reduce(maxima.len());
    for _ in 0..Selection::ROUNDS {
        let mut sum = vec![0; 256];
        for rank in 0..RANKS {
            let counts = selection.counts(&kinds[rank % 4].0.looped.longest, rank);
            sum.iter_mut().zip(counts).for_each(|(a, b)| *a += b);
        }
        reduce(sum.len());
        selection.narrow(&sum);
    }
    let (level, bins) = HostSeries::level(&shape);
    // All hosts have two ranks of each kind.
    let mut host = Vec::new();
    for (recorded, _) in &kinds {
        let words = HostSeries::of_rank(recorded, &shape, level);
        host.resize(words.len(), 0);
        host.iter_mut().zip(words).for_each(|(a, b)| *a += 2 * b);
    }
    let host = HostSeries::new(bins, host);
    let sizes: Vec<u64> = (0..=MORE_LEVELS)
        .map(|more| host.encode(more).len() as u64)
        .collect();
    reduce(sizes.len());
    let hosts = RANKS / PER_HOST;
    let more = fitting(&sizes, hosts as u64);
    let encoded = vec![host.encode(more); hosts];
    assert!(encoded.concat().len() as u64 <= HOST_BYTES);
    reduce(1);
    let parts: Vec<Vec<u8>> = (0..RANKS)
        .map(|rank| {
            let recorded = &mut kinds[rank % 4].0;
            recorded.rank = rank;
            recorded.part(&shape, &selection, RANKS as u64)
        })
        .collect();
    // A gather also sends a length per rank.
    sent += encoded.concat().len() + parts.concat().len() + 2 * 8 * RANKS;
    assert!(sent <= LIMIT, "{sent} bytes");
    let gathered = Gathered {
        sums,
        maxima,
        parts,
        hosts: encoded,
        host_level: level + more,
        host_bins: bins.div_ceil(1 << more),
    };
    let names: Vec<String> = (0..hosts).map(|host| format!("node{host}")).collect();
    let nodes: Vec<usize> = (0..RANKS).map(|rank| rank / PER_HOST).collect();
    let timeline = timeline(&shape, &gathered, &names, &nodes, true);
    Large {
        timeline,
        sent,
        merge_s: began.elapsed().as_secs_f64(),
        put,
    }
}

#[test]
fn four_thousand_ranks_send_less_than_eight_mebibytes() {
    let Large {
        timeline,
        sent,
        put,
        ..
    } = large_job(EPOCHS, STEPS);
    check_sums(&timeline, &put);
    assert_eq!(timeline.rank_epochs.au_percent.len(), RANKS);
    assert_eq!(timeline.rank_epochs.columns(), 64);
    assert_eq!(timeline.steps.bins.width, 1);
    assert!(timeline.series.bins > 1_800);
    assert_eq!(timeline.steps.longest_waits.len(), KEPT);
    // All ranks saw the same; those of their incidents that had no room are counted.
    let down = &timeline.events.events[0];
    assert_eq!(down.kind, "endpoint_down");
    assert_eq!(down.fields["ranks"], RANKS);
    assert!(timeline.events.dropped["incidents"] > 0);
    // The fourth kind waits longest; of equals the lowest rank is named.
    assert!(timeline.steps.bins.wait.max_rank.iter().all(|r| *r == 3));
    assert!(timeline.steps.longest_waits.iter().all(|w| w.rank % 4 == 3));
    let packed = timeline.to_bytes().unwrap().len();
    assert!(packed < LIMIT, "{packed} bytes");
    eprintln!("messages {sent} bytes, file {packed} bytes");
}
