//! The metadata of files that were read, within a budget of memory per rank.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::IndexCacheLife;
use crate::format::Index;
use crate::plan::Split;

/// Bytes of metadata that a rank keeps; beyond that the oldest are read again when they are needed.
const BUDGET: usize = 64 << 20;

type Key = (Split, u64);
/// One file's metadata. Locked by who reads it, so that others wait instead of reading it as well.
type Slot = Arc<Mutex<Option<Arc<dyn Index>>>>;

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
    /// An empty one.
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

    /// The metadata of a file: what is kept, or what `read` reads.
    ///
    /// Errors: those of `read`; the next call tries again.
    pub fn get_or_read<E>(
        &self,
        split: Split,
        file: u64,
        read: impl FnOnce() -> Result<Arc<dyn Index>, E>,
    ) -> Result<Arc<dyn Index>, E> {
        if self.life == IndexCacheLife::None {
            return read();
        }
        let key = (split, file);
        let slot = self.inner.lock().held.entry(key).or_default().clone();
        let mut kept = slot.lock();
        if let Some(index) = &*kept {
            return Ok(index.clone());
        }
        let index = read()?;
        *kept = Some(index.clone());
        drop(kept);
        self.inner.lock().keep(key, index.memory());
        Ok(index)
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

    /// Reads of files 0 to `files`, each twice; returns how often metadata was read.
    fn reads(cache: &IndexCache, files: u64, bytes: usize) -> u64 {
        let mut reads = 0;
        for file in (0..files).chain(0..files) {
            let read = || {
                reads += 1;
                Ok::<_, ()>(Arc::new(Sized(bytes)) as Arc<dyn Index>)
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
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let read = || {
                        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        std::thread::yield_now();
                        Ok::<_, ()>(Arc::new(Sized(1)) as Arc<dyn Index>)
                    };
                    cache.get_or_read(Split::Valid, 7, read).unwrap();
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }
}
