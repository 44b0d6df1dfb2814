//! Which samples a rank reads, in which order.
//!
//! `reader.order: dlio` is the access order of the MLCommons fork: files go to ranks round robin by position, file
//! shuffling exchanges them between ranks before every epoch, and each loader walks its rank's files in its own way.
//! `reader.order: permutation` is a true shuffle of all samples of the job in constant memory.
//!
//! Source: DLIO `utils/config.py` (`_reshard_files`, `get_global_map_index`, `build_sample_map_iter`) and
//! `data_loader/{torch,tf}_data_loader.py` of the fork.

use std::sync::Arc;

use super::Run;
use super::dataset::DatasetPlan;
use super::mt19937::Mt19937;
use super::permutation::Permutation;
use super::reshard::Reshard;
use crate::config::{OrderKind, Shuffle};

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
pub enum Walk {
    /// Ascending ids: PyTorch, native.
    Index,
    /// Per-thread blocks of ids, batches interleaved round robin: TensorFlow.
    Iterative,
    /// Ascending ids of formats that are read as streams: consecutive samples of a file are one run.
    Stream,
}

/// What the order of one split depends on.
#[derive(Debug, Clone)]
pub struct OrderSpec {
    /// The files that exist.
    pub dataset: Arc<DatasetPlan>,
    /// How many of them are used.
    pub files: u64,
    pub kind: OrderKind,
    /// How the loader walks a rank's samples.
    pub walk: Walk,
    /// Threads among which [`Walk::Iterative`] divides the samples.
    pub threads: u64,
    pub batch_size: u64,
    pub seed: u64,
    /// Whether the epoch is part of the seed.
    pub seed_change_epoch: bool,
    /// Whether files are shuffled.
    pub file_shuffle: bool,
    /// Whether samples are shuffled.
    pub sample_shuffle: bool,
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

impl ShardOrder {
    /// The order as `rank` of `size` follows it.
    pub fn new(spec: OrderSpec, rank: usize, size: usize) -> Self {
        let (rank, size) = (rank as u64, size as u64);
        let plan = spec.dataset;
        let samples_per_file = plan.samples_per_file();
        let kind = match spec.kind {
            OrderKind::Dlio => Kind::Dlio {
                local: LocalFiles::Strided {
                    plan,
                    rank,
                    size,
                    count: spec.files / size,
                },
                file_shuffle: spec.file_shuffle,
                walk: spec.walk,
                threads: spec.threads,
            },
            OrderKind::Permutation => Kind::Permutation {
                plan,
                files: spec.files,
                is_shuffled: spec.file_shuffle || spec.sample_shuffle,
            },
        };
        ShardOrder {
            kind,
            rank,
            size,
            samples_per_file,
            batch_size: spec.batch_size,
            seed: spec.seed,
            seed_change_epoch: spec.seed_change_epoch,
            sample_shuffle: spec.sample_shuffle,
        }
    }

    /// Bytes of the lists that an epoch's order needs at most.
    pub fn memory_bytes(&self) -> u64 {
        let Kind::Dlio {
            local,
            file_shuffle,
            walk,
            ..
        } = &self.kind
        else {
            return 0;
        };
        let files = if *file_shuffle { local.len() } else { 0 };
        let samples = match walk {
            Walk::Iterative if self.sample_shuffle => local.len() * self.samples_per_file,
            _ => 0,
        };
        // The exchange needs a byte more per file for a while.
        5 * files + samples * Ids::bytes(samples)
    }

    fn epoch_seed(&self, epoch: u64) -> u64 {
        if self.seed_change_epoch {
            self.seed + epoch
        } else {
            self.seed
        }
    }

    /// Begins the exchange of files before `epoch`; None when files stay where they are. Every rank calls this for every
    /// epoch from 1 on, because an exchange starts from the one before; [`ShardOrder::resharded`] ends it.
    pub fn reshard(&mut self, epoch: u64) -> Option<Reshard> {
        let Kind::Dlio {
            local,
            file_shuffle: true,
            ..
        } = &mut self.kind
        else {
            return None;
        };
        let files = match std::mem::replace(local, LocalFiles::List(Arc::default())) {
            // Nobody else has the list any more once the epoch is over.
            LocalFiles::List(list) => Arc::unwrap_or_clone(list),
            strided => (0..strided.len()).map(|k| strided.at(k) as u32).collect(),
        };
        // The epoch is part of the second seed even when seed_change_epoch is off.
        let last_seed = self.seed + epoch + 31 * self.rank;
        let (rank, size) = (self.rank as usize, self.size as usize);
        let first_seed = self.epoch_seed(epoch);
        Some(Reshard::new(files, rank, size, first_seed, last_seed))
    }

    /// Takes the files that an exchange gave.
    pub fn resharded(&mut self, reshard: Reshard) {
        if let Kind::Dlio { local, .. } = &mut self.kind {
            *local = LocalFiles::List(Arc::new(reshard.finish()));
        }
    }

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
                    let mut random = Mt19937::new(self.epoch_seed(epoch));
                    Arc::new(Ids::shuffled(samples, &mut random))
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

/// Sample ids in shuffled order, as narrow as their number allows.
#[derive(Debug)]
enum Ids {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

impl Ids {
    /// Bytes of one id among `samples`.
    fn bytes(samples: u64) -> u64 {
        if samples <= 1 << 32 { 4 } else { 8 }
    }

    fn shuffled(samples: u64, random: &mut Mt19937) -> Self {
        if Self::bytes(samples) == 4 {
            let mut ids: Vec<u32> = (0..samples).map(|id| id as u32).collect();
            random.shuffle(&mut ids);
            Ids::Narrow(ids)
        } else {
            let mut ids: Vec<u64> = (0..samples).collect();
            random.shuffle(&mut ids);
            Ids::Wide(ids)
        }
    }

    fn at(&self, position: u64) -> u64 {
        match self {
            Ids::Narrow(ids) => u64::from(ids[position as usize]),
            Ids::Wide(ids) => ids[position as usize],
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
    ids: Option<Arc<Ids>>,
}

impl Iterative {
    fn new(
        local: LocalFiles,
        samples: u64,
        threads: u64,
        batch_size: u64,
        ids: Option<Arc<Ids>>,
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
            let id = self.ids.as_ref().map_or(position, |ids| ids.at(position));
            // Shuffled ids choose the sample inside the file, never the file: that is DLIO's order.
            Run {
                file: self.local.at(position / n),
                first: id % n,
                count: 1,
            }
        }));
    }
}

/// What `reader.sample_shuffle` comes to in [`OrderKind::Dlio`], for who set it.
pub fn sample_shuffle_warning(
    walk: Walk,
    shuffle: Shuffle,
    loader: impl std::fmt::Display,
) -> String {
    match walk {
        Walk::Index => format!(
            "reader.sample_shuffle={shuffle} has no effect on the access order of the {loader} loader, as in DLIO; reader.order=permutation shuffles samples"
        ),
        Walk::Iterative => format!(
            "reader.sample_shuffle={shuffle} changes which sample of a file is taken and not the order of files, as in DLIO; reader.order=permutation shuffles samples"
        ),
        Walk::Stream => format!(
            "reader.sample_shuffle={shuffle} has no effect on reads: files are read as streams, as in DLIO"
        ),
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
