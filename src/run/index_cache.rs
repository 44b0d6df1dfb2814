//! The metadata of files that were read, within a budget of memory per rank.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::now_ns;
use crate::config::IndexCacheLife;
use crate::format::Index;
use crate::plan::Split;
use crate::storage::ring;

/// Bytes of metadata that a rank keeps; beyond that the oldest are read again when they are needed.
pub(super) const BUDGET: usize = 64 << 20;

type Key = (Split, u64);
/// One file's metadata. Locked by who reads it, so that others wait instead of reading it as well.
type Slot = Arc<Mutex<Option<Kept>>>;

/// One file's metadata.
#[derive(Clone)]
pub struct Kept {
    pub index: Arc<dyn Index>,
    /// Nanoseconds of reading it in which the storage system was waited for.
    pub storage_ns: u64,
}

/// Parsed metadata by file. Clones share what is kept.
#[derive(Clone)]
pub struct IndexCache {
    life: IndexCacheLife,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    held: HashMap<Key, Slot>,
    /// Files whose metadata is kept, and its bytes, oldest first.
    order: VecDeque<(Key, usize)>,
    memory: usize,
}

impl IndexCache {
    pub fn new(life: IndexCacheLife) -> Self {
        IndexCache {
            life,
            inner: Arc::default(),
        }
    }

    /// The cache of the next epoch: the same where metadata is kept for the run, else an empty one.
    pub fn next_epoch(&self) -> Self {
        match self.life {
            IndexCacheLife::Run => self.clone(),
            life => IndexCache::new(life),
        }
    }

    /// The metadata of a file: what is kept, or what `read` reads; and of the time that was spent here waiting for another
    /// reader of the same file, the part in which that one waited for the storage system, nanoseconds.
    ///
    /// Errors: those of `read`; the next call tries again.
    pub fn get_or_read<E>(
        &self,
        split: Split,
        file: u64,
        read: impl FnOnce() -> Result<Kept, E>,
    ) -> Result<(Arc<dyn Index>, u64), E> {
        if self.life == IndexCacheLife::None {
            return read().map(|kept| (kept.index, 0));
        }
        let key = (split, file);
        let slot = self.inner.lock().held.entry(key).or_default().clone();
        let (mut held, waited_ns) = match slot.try_lock() {
            Some(held) => (held, 0),
            None => {
                let before = now_ns();
                let held = ring::lock(&slot);
                (held, now_ns() - before)
            }
        };
        if let Some(kept) = &*held {
            return Ok((kept.index.clone(), kept.storage_ns.min(waited_ns)));
        }
        let kept = read()?;
        let index = kept.index.clone();
        *held = Some(kept);
        drop(held);
        self.inner.lock().keep(key, index.memory());
        Ok((index, 0))
    }
}

impl Inner {
    fn keep(&mut self, key: Key, bytes: usize) {
        self.memory += bytes;
        self.order.push_back((key, bytes));
        while self.memory > BUDGET && self.order.len() > 1 {
            let Some((oldest, bytes)) = self.order.pop_front() else {
                break;
            };
            self.held.remove(&oldest);
            self.memory -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sized(usize);

    impl Index for Sized {
        fn samples(&self) -> u64 {
            1
        }
        fn extents(
            &self,
            _: u64,
            _: u64,
            _: crate::format::Access,
            _: &mut Vec<crate::storage::Extent>,
        ) {
        }
        fn memory(&self) -> usize {
            self.0
        }
        fn describe(&self) -> Vec<String> {
            Vec::new()
        }
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    fn sized(bytes: usize) -> Kept {
        Kept {
            index: Arc::new(Sized(bytes)),
            storage_ns: 5,
        }
    }

    /// Reads of files 0 to `files`, each twice; returns how often metadata was read.
    fn reads(cache: &IndexCache, files: u64, bytes: usize) -> u64 {
        let mut reads = 0;
        for file in (0..files).chain(0..files) {
            let read = || {
                reads += 1;
                Ok::<_, ()>(sized(bytes))
            };
            cache.get_or_read(Split::Train, file, read).unwrap();
        }
        reads
    }

    #[test]
    fn metadata_lives_as_long_as_it_is_asked_to() {
        let epoch = IndexCache::new(IndexCacheLife::Epoch);
        assert_eq!(reads(&epoch, 5, 100), 5);
        assert_eq!(reads(&epoch.next_epoch(), 5, 100), 5);
        let run = IndexCache::new(IndexCacheLife::Run);
        assert_eq!(reads(&run, 5, 100), 5);
        assert_eq!(reads(&run.next_epoch(), 5, 100), 0);
        let none = IndexCache::new(IndexCacheLife::None);
        assert_eq!(reads(&none, 5, 100), 10);
    }

    #[test]
    fn what_exceeds_the_budget_is_read_again() {
        let cache = IndexCache::new(IndexCacheLife::Epoch);
        assert_eq!(reads(&cache, 5, BUDGET / 4), 10);
        assert!(cache.inner.lock().memory <= BUDGET);
    }

    #[test]
    fn threads_that_want_the_same_file_read_its_metadata_once() {
        let cache = IndexCache::new(IndexCacheLife::Epoch);
        let count = std::sync::atomic::AtomicU64::new(0);
        let (begun, go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let read = || {
                        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        begun.wait();
                        go.wait();
                        Ok::<_, ()>(sized(1))
                    };
                    let (_, waited_ns) = cache.get_or_read(Split::Valid, 7, read).unwrap();
                    // Of a wait, no more is the storage's than the reader waited for it.
                    assert!(waited_ns <= 5);
                });
            }
            begun.wait();
            go.wait();
        });
        assert_eq!(count.into_inner(), 1);
    }
}
