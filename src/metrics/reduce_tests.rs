use super::*;
use crate::cluster::threads;
use crate::config::MetricFormula;
use crate::host::witness::Medium;
use crate::metrics::au::tests::block;
use crate::metrics::breakdown::Line;
use crate::metrics::evidence::{Counts, ServedByStorage};
use crate::metrics::record::{BlockRecord, Counters, EpochRecord};
use crate::stage::{Part, Parts, Stage};

fn workload() -> crate::config::Workload {
    let mut w = crate::config::Workload::default();
    w.workflow.evaluation = true;
    w.dataset.num_files_train = 48;
    w.dataset.num_files_eval = 8;
    w.dataset.record_length_bytes = 1048576.0;
    w.reader.batch_size = 4;
    w.reader.batch_size_eval = 2;
    w
}

/// Rank r: 3 steps; (windowed) C = 200 ms, T = 1000 - 500 - 100 r, wait = 2 * (20 + 10 r).
fn record(rank: usize) -> RankRecord {
    let wait = 20 + 10 * rank as u64;
    RankRecord {
        checkpoints: Default::default(),
        object_store: None,
        page_cache: None,
        rank,
        epochs: vec![EpochRecord {
            epoch: 1,
            train_ns: 1_000_000_000,
            blocks: vec![BlockRecord {
                // A quarter of the waits that count is I/O, the rest decoding.
                wait_parts: Parts([1, 0, 3, 0, 0, 0]).of_wait(2_000_000 * wait, u64::MAX),
                nominal_ns: 190_000_000,
                ..block(
                    1000,
                    &[
                        (400 + 100 * rank as u64, 100, 0),
                        (wait, 100, 10),
                        (wait, 100, 10),
                    ],
                )
            }],
            eval: Some(block(500, &[(10, 90, 0), (10, 90, 0)])),
            counts: Counts {
                delivered: 1000,
                device: Some(950 * (rank as u64 % 2)),
                ..Counts::default()
            },
            ..EpochRecord::default()
        }],
        counters: Counters {
            bytes_read: 1 << 30,
            cpu_ns: 3_000_000_000,
            reader_cpu_ns: 2_000_000_000,
            delay_ns: (rank > 0).then_some(5),
            spin_ns: 1_000_000_000,
            peak_rss_bytes: 100 + rank as u64,
            samples_dropped_per_epoch: 5,
            ..Counters::default()
        },
        order_digest: 10 + rank as u64,
        medium: Medium::Device,
        pressure: Default::default(),
    }
}

fn combine(d: &[u64]) -> u64 {
    d.iter().fold(0, |a, x| a * 100 + x)
}

fn run(
    ranks: usize,
    formula: MetricFormula,
    same_epochs: bool,
) -> Vec<Result<Option<JobSummary>, ReduceError>> {
    let nodes: Vec<usize> = (0..ranks).map(|rank| rank / 2).collect();
    threads::run(&nodes, |cluster| {
        let rank = cluster.rank();
        let mut w = workload();
        w.metric.formula = formula;
        let mut record = record(rank);
        if !same_epochs && rank == 1 {
            record.epochs.clear();
        }
        let mut h = StageHistograms::new();
        h.record(Stage::Read, 100 + rank as u64);
        let host = HostFacts {
            name: format!("host{}", nodes[rank]),
            memory_bytes: 1 << 30,
            ..Default::default()
        };
        let input = ReduceInput {
            record: &record,
            histograms: &h,
            spec: &MetricSpec::of(&w, ranks),
            host: &host,
            limits: &Default::default(),
            planned_bytes: rank as u64,
            checkpoint_device_counter_valid: true,
            combine_digests: combine,
        };
        reduce(cluster, &input)
    })
}

#[test]
fn four_ranks_reduce_to_exact_figures() {
    let mut results = run(4, MetricFormula::V3, true);
    assert!(results[1..].iter().all(|r| matches!(r, Ok(None))));
    let s = results.remove(0).unwrap().unwrap();
    let t = s.train.as_ref().unwrap();
    // T per rank: 0.5, 0.4, 0.3, 0.2 s; C = 0.2 s; two steps of 4 samples.
    let au = (40.0 + 50.0 + 200.0 / 3.0 + 100.0) / 4.0;
    assert!(
        (t.au_percent.mean - au).abs() < 1e-9,
        "{:?} {au}",
        t.au_percent
    );
    assert!((t.throughput.mean - (16.0 + 20.0 + 8.0 / 0.3 + 40.0)).abs() < 1e-9);
    assert!(!t.meets_expectation);
    // C = 0.8 s; wait = 2 * (20 + 30 + 40 + 50) ms = 0.28 s, of which a quarter went to I/O.
    assert!((s.au_storage_percent.unwrap() - 100.0 * 0.8 / 0.87).abs() < 1e-9);
    // Configured were 95 of 100 ms of each step.
    assert!((s.au_nominal_percent.unwrap() - 0.95 * au).abs() < 1e-9);
    assert_eq!(s.breakdown.percent[Line::Compute], t.au_percent.mean);
    assert!((s.breakdown.percent.total() - 100.0).abs() < 1e-9);
    assert_eq!(s.order_digest, 10_111_213);
    assert_eq!(s.counters.bytes_read, 4 << 30);
    assert_eq!(
        (
            s.counters.peak_rss_bytes,
            s.counters.samples_dropped_per_epoch
        ),
        (103, 5)
    );
    assert_eq!(
        (s.cpu_seconds_per_gib(), s.cpu_burnt_per_gib()),
        (Some(2.0), Some(3.0))
    );
    // Rank 0 does not know its delay, so neither does its host.
    assert_eq!((s.hosts[0].delay_ns, s.hosts[1].delay_ns), (None, Some(10)));
    assert_eq!(s.planned_bytes, 3);
    assert_eq!(s.histograms.count(Stage::Read), 4);
    assert_eq!(s.stages[0].max_ns, 103);
    assert_eq!(
        s.hosts
            .iter()
            .map(|h| (h.facts.name.as_str(), h.ranks))
            .collect::<Vec<_>>(),
        [("host0", 2), ("host1", 2)]
    );
    assert_eq!(s.spreads.au_percent.min, 40.0);
    let e = &s.epochs[0];
    assert_eq!((e.bytes_read, e.bytes_from_device), (4000, Some(1900)));
    // Half on each host.
    assert_eq!(e.served_by_storage, ServedByStorage::Suspect);
    assert_eq!(s.evidence.len(), 2);
    assert_eq!(s.evidence[1].counts.device, Some(950));
    let b = &e.breakdown;
    // T = 500 - 100 r ms; waits of 40 + 20 r ms, 2 computations of 100 ms, 2 barriers of 10 ms; left out 500 + 100 r ms.
    let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(
        close(b.window_s(), 0.35)
            && close(b.seconds.wait(), 0.07)
            && close(b.seconds[Line::Wait(Part::Io)], 0.0175)
            && close(b.seconds[Line::Compute], 0.2)
            && close(b.seconds[Line::Barrier], 0.02)
            && close(b.left_out_s, 0.65),
        "{b:?}"
    );
    // Eval: window drops the first of 1 planned steps (8 / 2 / 4), so AU is 0; throughput is summed.
    let eval = s.eval.unwrap();
    assert_eq!(eval.throughput.values, [32.0]);
}

#[test]
fn v2_concatenates_evaluations() {
    let s = run(2, MetricFormula::V2, true).remove(0).unwrap().unwrap();
    let eval = s.eval.unwrap();
    // Window 1..2: C = 90 ms, T = 400 ms, AU 22.5 on each rank, divided by 2.
    assert_eq!(eval.au_percent.values, [11.25, 11.25]);
    assert_eq!(eval.throughput.values, [8.0, 8.0]);
    let s = run(2, MetricFormula::V3, true).remove(0).unwrap().unwrap();
    let eval = s.eval.unwrap();
    assert_eq!(
        (eval.au_percent.values, eval.throughput.values),
        (vec![22.5], vec![16.0])
    );
}

#[test]
fn unequal_epochs_are_an_error_on_every_rank() {
    for r in run(2, MetricFormula::V3, false) {
        assert!(matches!(
            r,
            Err(ReduceError::Unequal {
                what: "epochs",
                min: 0,
                max: 1
            })
        ));
    }
}
