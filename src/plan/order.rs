//! Which samples a rank reads, in which order.
//!
//! `reader.order: dlio` is the access order of the MLCommons fork: files go to ranks round robin by position, file
//! shuffling exchanges them between ranks before every epoch, and each loader walks its rank's files in its own way.
//! `reader.order: permutation` is a true shuffle of all samples of the job in constant memory.
//!
//! Source: DLIO `utils/config.py` (`_reshard_files`, `get_global_map_index`, `build_sample_map_iter`) and
//! `data_loader/{torch,tf}_data_loader.py` of the fork.

use std::sync::Arc;

use super::dataset::DatasetPlan;
use super::mt19937::Mt19937;
use super::permutation::Permutation;
use super::{Run, Split};
use crate::config::{DataLoaderKind, FormatKind, Framework, OrderKind, Shuffle, Workload};

/// One rank's files, as indices of file names.
#[derive(Debug, Clone)]
enum LocalFiles {
    /// Positions rank, rank + size, rank + 2 size, ...: nothing is stored.
    Strided {
        plan: Arc<DatasetPlan>,
        rank: u64,
        size: u64,
        count: u64,
    },
    /// As the exchange left them.
    List(Arc<Vec<u32>>),
}

impl LocalFiles {
    fn len(&self) -> u64 {
        match self {
            LocalFiles::Strided { count, .. } => *count,
            LocalFiles::List(list) => list.len() as u64,
        }
    }

    fn at(&self, k: u64) -> u64 {
        match self {
            LocalFiles::Strided {
                plan, rank, size, ..
            } => plan.position_to_index(rank + k * size),
            LocalFiles::List(list) => u64::from(list[k as usize]),
        }
    }
}

/// How a loader walks a rank's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// Ascending ids: PyTorch, native.
    Index,
    /// Per-thread blocks of ids, batches interleaved round robin: TensorFlow.
    Iterative,
    /// Ascending ids of formats that are read as streams: consecutive samples of a file are one run.
    Stream,
}

/// The loader that is emulated: the one named, or the framework's own.
pub fn loader_kind(workload: &Workload) -> DataLoaderKind {
    workload
        .reader
        .data_loader
        .unwrap_or(match workload.framework {
            Framework::PyTorch => DataLoaderKind::PyTorch,
            Framework::TensorFlow => DataLoaderKind::TensorFlow,
        })
}

fn walk(workload: &Workload) -> Walk {
    match (loader_kind(workload), workload.dataset.format) {
        (_, FormatKind::Parquet) | (DataLoaderKind::TensorFlow, FormatKind::TfRecord) => {
            Walk::Stream
        }
        (DataLoaderKind::TensorFlow, _) => Walk::Iterative,
        _ => Walk::Index,
    }
}

/// The access order of one split on one rank, from epoch to epoch.
#[derive(Debug, Clone)]
pub struct ShardOrder {
    kind: Kind,
    rank: u64,
    size: u64,
    samples_per_file: u64,
    batch_size: u64,
    seed: u64,
    seed_change_epoch: bool,
    sample_shuffle: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    Dlio {
        local: LocalFiles,
        file_shuffle: bool,
        walk: Walk,
        threads: u64,
    },
    Permutation {
        plan: Arc<DatasetPlan>,
        files: u64,
        is_shuffled: bool,
    },
}

/// Files of a split that are used, of `found` that exist.
///
/// Source: the fork takes `min(configured, found)`, and nothing of `valid` when evaluation is off.
pub fn files_used(workload: &Workload, split: Split, found: u64) -> u64 {
    match split {
        Split::Train => workload.dataset.num_files_train.min(found),
        Split::Valid if workload.workflow.evaluation => workload.dataset.num_files_eval.min(found),
        Split::Valid => 0,
    }
}

impl ShardOrder {
    /// The order of `split` as `rank` of `size` follows it, when `files_found` files exist.
    pub fn new(
        workload: &Workload,
        split: Split,
        rank: usize,
        size: usize,
        files_found: u64,
    ) -> Self {
        let reader = &workload.reader;
        let (rank, size) = (rank as u64, size as u64);
        let plan = Arc::new(DatasetPlan::new(&workload.dataset, split, files_found));
        let used = files_used(workload, split, files_found);
        let kind = match reader.order {
            OrderKind::Dlio => Kind::Dlio {
                local: LocalFiles::Strided {
                    plan,
                    rank,
                    size,
                    count: used / size,
                },
                file_shuffle: reader.file_shuffle != Shuffle::Off,
                walk: walk(workload),
                threads: reader.read_threads.max(1),
            },
            OrderKind::Permutation => Kind::Permutation {
                plan,
                files: used,
                is_shuffled: reader.file_shuffle != Shuffle::Off
                    || reader.sample_shuffle != Shuffle::Off,
            },
        };
        ShardOrder {
            kind,
            rank,
            size,
            samples_per_file: workload.dataset.num_samples_per_file,
            batch_size: match split {
                Split::Train => reader.batch_size,
                Split::Valid => reader.batch_size_eval,
            },
            seed: workload.train.seed,
            seed_change_epoch: workload.train.seed_change_epoch,
            sample_shuffle: reader.sample_shuffle != Shuffle::Off,
        }
    }

    fn epoch_seed(&self, epoch: u64) -> u64 {
        if self.seed_change_epoch {
            self.seed + epoch
        } else {
            self.seed
        }
    }

    /// What this rank sends to each rank before `epoch`; None when files stay where they are. Every rank calls this
    /// for every epoch from 1 on, because an exchange starts from the one before.
    pub fn reshard_split(&self, epoch: u64) -> Option<Vec<Vec<u32>>> {
        let Kind::Dlio {
            local,
            file_shuffle: true,
            ..
        } = &self.kind
        else {
            return None;
        };
        let mut files: Vec<u32> = (0..local.len()).map(|k| local.at(k) as u32).collect();
        Mt19937::new(self.epoch_seed(epoch)).shuffle(&mut files);
        let mut parts =
            vec![Vec::with_capacity(files.len() / self.size as usize + 1); self.size as usize];
        for (i, file) in files.into_iter().enumerate() {
            parts[(i + self.rank as usize) % self.size as usize].push(file);
        }
        Some(parts)
    }

    /// Takes what every rank sent, in rank order.
    pub fn reshard_merge(&mut self, epoch: u64, received: Vec<Vec<u32>>) {
        let mut files = received.concat();
        // The epoch is part of this seed even when seed_change_epoch is off.
        Mt19937::new(self.seed + epoch + 31 * self.rank).shuffle(&mut files);
        if let Kind::Dlio { local, .. } = &mut self.kind {
            *local = LocalFiles::List(Arc::new(files));
        }
    }

    /// The order of one epoch.
    pub fn epoch(&self, epoch: u64) -> EpochOrder {
        let (n, b) = (self.samples_per_file, self.batch_size);
        let kind = match &self.kind {
            Kind::Permutation {
                plan,
                files,
                is_shuffled,
            } => {
                let total = files * n;
                let key = self.epoch_seed(epoch);
                EpochKind::Permutation {
                    plan: plan.clone(),
                    permutation: is_shuffled.then(|| Permutation::new(total.max(1), key)),
                    batches: total / (b * self.size),
                    rank: self.rank,
                    size: self.size,
                }
            }
            Kind::Dlio {
                local,
                walk: Walk::Iterative,
                threads,
                ..
            } => {
                let samples = local.len() * n;
                let ids = self.sample_shuffle.then(|| {
                    let mut ids: Vec<u32> = (0..samples as u32).collect();
                    Mt19937::new(self.epoch_seed(epoch)).shuffle(&mut ids);
                    Arc::new(ids)
                });
                EpochKind::Iterative(Iterative::new(local.clone(), samples, *threads, b, ids))
            }
            Kind::Dlio { local, walk, .. } => EpochKind::Index {
                local: local.clone(),
                batches: local.len() * n / b,
                is_stream: *walk == Walk::Stream,
            },
        };
        EpochOrder {
            kind,
            samples_per_file: n,
            batch_size: b,
        }
    }
}

/// The order of one epoch: batches by number, from any thread.
#[derive(Debug, Clone)]
pub struct EpochOrder {
    kind: EpochKind,
    samples_per_file: u64,
    batch_size: u64,
}

#[derive(Debug, Clone)]
enum EpochKind {
    Index {
        local: LocalFiles,
        batches: u64,
        is_stream: bool,
    },
    Iterative(Iterative),
    Permutation {
        plan: Arc<DatasetPlan>,
        permutation: Option<Permutation>,
        batches: u64,
        rank: u64,
        size: u64,
    },
}

impl EpochOrder {
    /// Batches that the loader offers: the same number on every rank.
    pub fn batches(&self) -> u64 {
        match &self.kind {
            EpochKind::Index { batches, .. } | EpochKind::Permutation { batches, .. } => *batches,
            EpochKind::Iterative(iterative) => iterative.batches,
        }
    }

    /// Appends the runs of a batch to `out`.
    pub fn batch(&self, batch: u64, out: &mut Vec<Run>) {
        let (n, b) = (self.samples_per_file, self.batch_size);
        match &self.kind {
            EpochKind::Index {
                local,
                is_stream: false,
                ..
            } => {
                out.extend((batch * b..(batch + 1) * b).map(|id| Run {
                    file: local.at(id / n),
                    first: id % n,
                    count: 1,
                }));
            }
            EpochKind::Index {
                local,
                is_stream: true,
                ..
            } => {
                let (mut id, end) = (batch * b, (batch + 1) * b);
                while id < end {
                    let count = (n - id % n).min(end - id);
                    out.push(Run {
                        file: local.at(id / n),
                        first: id % n,
                        count,
                    });
                    id += count;
                }
            }
            EpochKind::Iterative(iterative) => iterative.batch(batch, n, b, out),
            EpochKind::Permutation {
                plan,
                permutation,
                rank,
                size,
                ..
            } => {
                out.extend((0..b).map(|slot| {
                    let position = (batch * size + rank) * b + slot;
                    let id = permutation.map_or(position, |p| p.at(position));
                    Run {
                        file: plan.position_to_index(id / n),
                        first: id % n,
                        count: 1,
                    }
                }));
            }
        }
    }
}

/// TensorFlow's generators: thread t owns every block of `block` consecutive positions whose number is t mod threads,
/// cuts them into batches, and drops its last partial one; batches come round robin over the threads that have any.
#[derive(Debug, Clone)]
struct Iterative {
    local: LocalFiles,
    block: u64,
    threads: u64,
    batches: u64,
    /// Batches of each thread.
    per_thread: Vec<u64>,
    /// Sample ids by position, where they are shuffled.
    ids: Option<Arc<Vec<u32>>>,
}

impl Iterative {
    fn new(
        local: LocalFiles,
        samples: u64,
        threads: u64,
        batch_size: u64,
        ids: Option<Arc<Vec<u32>>>,
    ) -> Self {
        // DLIO divides by zero when a rank has fewer samples than threads.
        let block = (samples / threads).max(1);
        let (blocks, rest) = (samples / block, samples % block);
        let per_thread: Vec<u64> = (0..threads)
            .map(|t| {
                let whole = (blocks + threads - 1 - t) / threads;
                let partial = if blocks % threads == t { rest } else { 0 };
                (whole * block + partial) / batch_size
            })
            .collect();
        Iterative {
            local,
            block,
            threads,
            batches: per_thread.iter().sum(),
            per_thread,
            ids,
        }
    }

    /// Thread and number within the thread of batch `batch`.
    fn place(&self, batch: u64) -> (u64, u64) {
        let mut before = 0;
        let mut round = self
            .per_thread
            .iter()
            .copied()
            .min()
            .unwrap_or(0)
            .min(batch / self.threads);
        before += round * self.threads;
        loop {
            let active = self
                .per_thread
                .iter()
                .filter(|&&count| count > round)
                .count() as u64;
            if batch < before + active {
                let thread = (0u64..)
                    .zip(&self.per_thread)
                    .filter(|&(_, &count)| count > round)
                    .nth((batch - before) as usize)
                    .map_or(0, |(t, _)| t);
                return (thread, round);
            }
            before += active;
            round += 1;
        }
    }

    fn batch(&self, batch: u64, n: u64, b: u64, out: &mut Vec<Run>) {
        let (thread, number) = self.place(batch);
        out.extend((number * b..(number + 1) * b).map(|j| {
            let position = (thread + self.threads * (j / self.block)) * self.block + j % self.block;
            let id = self
                .ids
                .as_ref()
                .map_or(position, |ids| u64::from(ids[position as usize]));
            // Shuffled ids choose the sample inside the file, never the file: that is DLIO's order.
            Run {
                file: self.local.at(position / n),
                first: id % n,
                count: 1,
            }
        }));
    }
}

/// What a user of the shuffle keys should know, once.
pub fn warnings(workload: &Workload) -> Vec<String> {
    let reader = &workload.reader;
    let mut out = Vec::new();
    if reader.order == OrderKind::Permutation || !workload.workflow.train {
        return out;
    }
    if reader.sample_shuffle != Shuffle::Off {
        match walk(workload) {
            Walk::Index => out.push(format!(
                "reader.sample_shuffle={} has no effect on the access order of the {} loader, as in DLIO; reader.order=permutation shuffles samples",
                reader.sample_shuffle,
                loader_kind(workload)
            )),
            Walk::Iterative => out.push(format!(
                "reader.sample_shuffle={} changes which sample of a file is taken and not the order of files, as in DLIO; reader.order=permutation shuffles samples",
                reader.sample_shuffle
            )),
            Walk::Stream => out.push(format!(
                "reader.sample_shuffle={} has no effect on reads: files are read as streams, as in DLIO",
                reader.sample_shuffle
            )),
        }
    }
    out
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
