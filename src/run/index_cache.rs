//! The metadata of files that were read, within a budget of memory per rank.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::Index;
use crate::plan::Split;

/// Bytes of metadata that a rank keeps; beyond that the oldest are read again when they are needed.
const BUDGET: usize = 64 << 20;

type Key = (Split, u64);

/// Parsed metadata by file.
#[derive(Default)]
pub struct IndexCache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    held: HashMap<Key, Arc<dyn Index>>,
    order: VecDeque<Key>,
    memory: usize,
}

impl IndexCache {
    /// The metadata of a file, if it is kept.
    pub fn get(&self, split: Split, file: u64) -> Option<Arc<dyn Index>> {
        self.0.lock().held.get(&(split, file)).cloned()
    }

    /// Keeps the metadata of a file.
    pub fn put(&self, split: Split, file: u64, index: Arc<dyn Index>) {
        let mut inner = self.0.lock();
        inner.memory += index.memory();
        match inner.held.insert((split, file), index) {
            Some(old) => inner.memory -= old.memory(),
            None => inner.order.push_back((split, file)),
        }
        while inner.memory > BUDGET && inner.order.len() > 1 {
            let Some(oldest) = inner.order.pop_front() else {
                break;
            };
            if let Some(old) = inner.held.remove(&oldest) {
                inner.memory -= old.memory();
            }
        }
    }
}
