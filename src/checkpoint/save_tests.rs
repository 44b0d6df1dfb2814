//! Files of one rank that are written at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::checkpoint::content::ContentSource;
use crate::checkpoint::image::{Container, Image};
use crate::plan::checkpoint::{DType, FilePlan, TensorPlan};
use crate::plan::fill::Shrink;
use crate::storage::{self, SHARED_WORDS, StoreSpec, System};

/// Long enough for a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn files_are_dealt_by_their_length_and_stay_in_order() {
    assert_eq!(deal(&[5, 1, 1, 1, 1], 2), [vec![0], vec![1, 2, 3, 4]]);
    assert_eq!(deal(&[1, 1, 1, 1, 5], 2), [vec![4], vec![0, 1, 2, 3]]);
    assert_eq!(deal(&[3, 3], 4), [vec![0], vec![1], vec![], vec![]]);
    assert_eq!(deal(&[0, 0], 2), [vec![0], vec![1]]);
    assert_eq!(deal(&[9, 1, 9], 1), [vec![0, 1, 2]]);
    assert_eq!(deal(&[u64::MAX, u64::MAX, 1], 1), [vec![0, 1, 2]]);
}

/// Holds every file back until as many as are wanted have been open at one time.
struct Meeting {
    want: usize,
    /// The file that each thread has open, and how many there were at most.
    state: Mutex<(BTreeMap<usize, usize>, usize)>,
    changed: Condvar,
}

impl Meeting {
    fn of(want: usize) -> Self {
        Meeting {
            want,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
    fn peak(&self) -> usize {
        self.state.lock().1
    }
}

impl Observer for Meeting {
    fn begins(&self, thread: usize, file: usize, _: u64) {
        let mut state = self.state.lock();
        state.0.insert(thread, file);
        state.1 = state.1.max(state.0.len());
        self.changed.notify_all();
        let end = Instant::now() + LIMIT;
        while state.1 < self.want {
            let waited = self.changed.wait_until(&mut state, end);
            assert!(!waited.timed_out(), "{:?} are open", state.0);
        }
    }
    fn may_last(&self, _: u64) {}
    fn done(&self, thread: usize) {
        self.state.lock().0.remove(&thread);
    }
    fn ended(&self, _: usize, _: Call, _: u64) {}
}

fn store(folder: &Path) -> Box<dyn Storage> {
    static SHARED: [AtomicU64; SHARED_WORDS] = [const { AtomicU64::new(0) }; SHARED_WORDS];
    storage::open(
        &StoreSpec::new(<&System>::default(), folder.into()),
        &SHARED,
    )
    .unwrap()
}

/// Files of 3, 2, 1 and 4 million bytes, the last one of the optimizer.
fn targets(folder: &Path) -> Vec<Target> {
    let source = ContentSource::new(10, true, Shrink::NOT);
    let file = |(number, millions): (usize, u64)| {
        let state = if millions == 4 {
            State::Optimizer
        } else {
            State::Layers
        };
        let plan = FilePlan {
            name: format!("layer_{number}"),
            state,
            tensors: vec![TensorPlan {
                group: None,
                key: "0".into(),
                dtype: DType::Int8,
                elements: millions * 1_000_000,
            }],
        };
        Target {
            path: folder.join(format!("{}.pt", plan.name)),
            state,
            image: Image::new(Container::PyTorch, &plan, "global_epoch1_step1", &source),
        }
    };
    [3, 2, 1, 4].into_iter().enumerate().map(file).collect()
}

fn save_by(
    lanes: usize,
    folder: &Path,
    files: &[Target],
    observer: &dyn Observer,
) -> (Result<Saved, CheckpointError>, usize) {
    let storage = store(folder);
    let options = SaveOptions {
        fsync: true,
        packing: Packing::None,
        thread_begins: || {},
    };
    let mut buffers = Buffers::new(&*storage, lanes);
    let memory = Buffers::bytes_for(&*storage, lanes);
    let mut ready = 0;
    let outcome = save(
        &*storage,
        folder,
        files,
        &options,
        &mut buffers,
        observer,
        &mut || {
            ready += 1;
            // Nothing is written before all ranks are ready.
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
        },
    );
    let held: usize = buffers.lanes.iter().map(Vec::len).sum();
    assert_eq!((held * buffers.size) as u64, memory);
    (outcome, ready)
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn files_are_written_at_the_same_time_with_the_same_bytes() {
    let mut saved = Vec::new();
    for lanes in [1, 2, 4] {
        let scratch = tempfile::tempdir().unwrap();
        let meeting = Meeting::of(lanes);
        let files = targets(scratch.path());
        let (outcome, ready) = save_by(lanes, scratch.path(), &files, &meeting);
        let outcome = outcome.unwrap();
        assert_eq!((ready, meeting.peak()), (1, lanes));
        let bytes: u64 = files.iter().map(|file| file.image.len()).sum();
        assert_eq!(outcome.file_bytes, bytes);
        assert!(outcome.model_ns > 0 && outcome.optimizer_ns > 0);
        saved.push(files_of(scratch.path()));
    }
    assert_eq!(saved[0].len(), 4);
    assert!(saved[0] == saved[1] && saved[0] == saved[2]);
}

#[test]
fn a_file_that_is_refused_ends_all_lanes_and_leaves_no_part() {
    let scratch = tempfile::tempdir().unwrap();
    let mut files = targets(scratch.path());
    files[0].path = scratch.path().join("no-such-folder/layer_0.pt");
    let (outcome, ready) = save_by(2, scratch.path(), &files, &Meeting::of(2));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("no-such-folder"), "{error}");
    assert_eq!(ready, 1);
    for (name, bytes) in files_of(scratch.path()) {
        let whole = files.iter().find(|file| file.path.ends_with(&name));
        assert_eq!(bytes.len() as u64, whole.unwrap().image.len(), "{name}");
    }
}
