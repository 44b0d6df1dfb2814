use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::plan::simulate::JobOrder;
use crate::plan::steps::Steps;

fn workload(files: u64, n: u64, batch: u64, threads: u64) -> Workload {
    let mut w = Workload {
        framework: Framework::PyTorch,
        ..Workload::default()
    };
    w.dataset.format = FormatKind::Npz;
    w.dataset.num_files_train = files;
    w.dataset.num_samples_per_file = n;
    w.reader.batch_size = batch;
    w.reader.read_threads = threads;
    w
}

fn read(w: &Workload, ranks: usize, epoch: u64) -> Vec<Vec<(u64, u64)>> {
    let mut job = JobOrder::new(w, Split::Train, ranks, w.dataset.num_files_train);
    (1..=epoch).for_each(|e| job.advance(e));
    (0..ranks)
        .map(|r| {
            let order = job.rank(r);
            let mut runs = Vec::new();
            (0..order.batches()).for_each(|b| order.batch(b, &mut runs));
            runs.iter()
                .flat_map(|run| (run.first..run.first + run.count).map(|s| (run.file, s)))
                .collect()
        })
        .collect()
}

// 12 files, 3 ranks: the fork deals file p to rank p mod 3.
#[test]
fn pytorch_without_shuffle_reads_dealt_files_in_order() {
    let got = read(&workload(12, 1, 2, 1), 3, 1);
    assert_eq!(got[1], [(1, 0), (4, 0), (7, 0), (10, 0)]);
}

// One rank: shuffle with 124, deal to oneself, shuffle with 124 again.
#[test]
fn reshard_of_one_rank_is_two_numpy_shuffles() {
    let mut w = workload(10, 1, 1, 1);
    w.reader.file_shuffle = Shuffle::Seed;
    let first = [6u64, 8, 3, 5, 4, 0, 9, 2, 7, 1];
    let expected: Vec<(u64, u64)> = first.iter().map(|&i| (first[i as usize], 0)).collect();
    assert_eq!(read(&w, 1, 1)[0], expected);
}

// 8 samples, 2 threads: thread 0 owns 0..4, thread 1 owns 4..8; batches of 2 alternate.
#[test]
fn tensorflow_interleaves_the_threads_batches() {
    let mut w = workload(8, 1, 2, 2);
    w.framework = Framework::TensorFlow;
    let files: Vec<u64> = read(&w, 1, 1)[0].iter().map(|&(f, _)| f).collect();
    assert_eq!(files, [0, 1, 4, 5, 2, 3, 6, 7]);
}

// 7 samples, 3 threads, batch 1: blocks of 2; the seventh goes back to thread 0.
#[test]
fn tensorflow_remainder_goes_to_the_first_thread() {
    let mut w = workload(7, 1, 1, 3);
    w.framework = Framework::TensorFlow;
    let files: Vec<u64> = read(&w, 1, 1)[0].iter().map(|&(f, _)| f).collect();
    assert_eq!(files, [0, 2, 4, 1, 3, 5, 6]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_sample_twice_and_none_lost_but_the_remainder(
        files in 1u64..998,
        n in 1u64..6,
        ranks in 1usize..34,
        batch in 1u64..9,
        threads in 1u64..6,
        epoch in 1u64..4,
        tensorflow: bool,
        shuffle: bool,
        permutation: bool,
    ) {
        let mut w = workload(files, n, batch, threads);
        if tensorflow { w.framework = Framework::TensorFlow; }
        if shuffle { w.reader.file_shuffle = Shuffle::Seed; }
        if permutation { w.reader.order = OrderKind::Permutation; }
        let got = read(&w, ranks, epoch);
        let steps = Steps::new(&w, ranks);
        let mut seen = HashMap::new();
        for samples in &got {
            prop_assert_eq!(samples.len() as u64, steps.train * batch);
            for sample in samples {
                prop_assert!(sample.0 < files && sample.1 < n);
                *seen.entry(*sample).or_insert(0) += 1;
            }
        }
        prop_assert!(seen.values().all(|&count| count == 1));
        prop_assert_eq!(seen.len() as u64 + steps.dropped, files * n);
        if permutation {
            prop_assert!(steps.dropped < batch * ranks as u64);
        } else if !tensorflow {
            // Whole files that do not go round, and a partial batch on every rank.
            prop_assert!(steps.dropped < (ranks as u64) * n + batch * ranks as u64);
        } else {
            prop_assert!(steps.dropped < (ranks as u64) * n + batch * threads * ranks as u64);
        }
    }
}
