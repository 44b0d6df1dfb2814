use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::config::SizeLaw;
use crate::plan::Split;
use crate::plan::dataset::DatasetSpec;
use crate::plan::simulate::JobOrder;
use crate::plan::steps::{Steps, StepsSpec};

fn spec(files: u64, n: u64, batch: u64, threads: u64) -> OrderSpec {
    let dataset = DatasetSpec {
        prefix: "img".into(),
        extension: "npz".into(),
        subfolders_train: 0,
        subfolders_valid: 0,
        samples_per_file: n,
        record_dims: Vec::new(),
        record_len: 65536.0,
        record_len_stdev: 0.0,
        element_bytes: 1,
        size_law: SizeLaw::Upstream,
        names_in_order: false,
    };
    OrderSpec {
        dataset: Arc::new(DatasetPlan::new(&dataset, Split::Train, files)),
        files,
        kind: OrderKind::Dlio,
        walk: Walk::Index,
        threads,
        batch_size: batch,
        seed: 123,
        seed_change_epoch: true,
        file_shuffle: false,
        sample_shuffle: false,
    }
}

fn read(w: &OrderSpec, ranks: usize, epoch: u64) -> Vec<Vec<(u64, u64)>> {
    let mut job = JobOrder::new(w.clone(), ranks);
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
    let got = read(&spec(12, 1, 2, 1), 3, 1);
    assert_eq!(got[1], [(1, 0), (4, 0), (7, 0), (10, 0)]);
}

// One rank: shuffle with 124, deal to oneself, shuffle with 124 again.
#[test]
fn reshard_of_one_rank_is_two_numpy_shuffles() {
    let mut w = spec(10, 1, 1, 1);
    w.file_shuffle = true;
    let first = [6u64, 8, 3, 5, 4, 0, 9, 2, 7, 1];
    let expected: Vec<(u64, u64)> = first.iter().map(|&i| (first[i as usize], 0)).collect();
    assert_eq!(read(&w, 1, 1)[0], expected);
}

// 8 samples, 2 threads: thread 0 owns 0..4, thread 1 owns 4..8; batches of 2 alternate.
#[test]
fn tensorflow_interleaves_the_threads_batches() {
    let mut w = spec(8, 1, 2, 2);
    w.walk = Walk::Iterative;
    let files: Vec<u64> = read(&w, 1, 1)[0].iter().map(|&(f, _)| f).collect();
    assert_eq!(files, [0, 1, 4, 5, 2, 3, 6, 7]);
}

// 7 samples, 3 threads, batch 1: blocks of 2; the seventh goes back to thread 0.
#[test]
fn tensorflow_remainder_goes_to_the_first_thread() {
    let mut w = spec(7, 1, 1, 3);
    w.walk = Walk::Iterative;
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
        let mut w = spec(files, n, batch, threads);
        if tensorflow { w.walk = Walk::Iterative; }
        if shuffle { w.file_shuffle = true; }
        if permutation { w.kind = OrderKind::Permutation; }
        let got = read(&w, ranks, epoch);
        let steps = Steps::new(&StepsSpec { train: w.clone(), valid: None, cap: None }, ranks);
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
