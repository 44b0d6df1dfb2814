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
