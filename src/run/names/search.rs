//! The files below a folder, found by several threads.

use std::path::{Path, PathBuf};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::index::Names;
use crate::storage::{Entry, StorageError};

/// Folders that are listed at the same time.
const AT_ONCE: usize = 16;

/// Shows what is in a folder, as [`crate::storage::Storage::entries`] does.
pub(super) type Lister<'a> =
    dyn Fn(&Path, &mut dyn FnMut(Entry)) -> Result<(), StorageError> + Sync + 'a;

/// The files below `root` that end as one of `suffixes` does, at any depth.
///
/// Errors: the first of those that listing a folder gave.
pub(super) fn search(
    entries: &Lister,
    root: &Path,
    suffixes: &[String],
) -> Result<Names, StorageError> {
    let search = Search::new(root, suffixes);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| search.work(entries));
        }
    });
    search.finish()
}

struct Search<'a> {
    root: &'a Path,
    suffixes: &'a [String],
    state: Mutex<State>,
    more: Condvar,
}

/// Folders still to be listed, and what was found.
struct State {
    folders: Vec<String>,
    /// Threads that are listing one.
    busy: usize,
    names: Names,
    failed: Option<StorageError>,
}

impl<'a> Search<'a> {
    fn new(root: &'a Path, suffixes: &'a [String]) -> Self {
        let state = Mutex::new(State {
            folders: vec![String::new()],
            busy: 0,
            names: Names::default(),
            failed: None,
        });
        Search {
            root,
            suffixes,
            state,
            more: Condvar::new(),
        }
    }

    /// What one thread does, until no folder is left.
    fn work(&self, entries: &Lister) {
        let mut found = Names::default();
        let mut state = self.state.lock();
        while let Some(folder) = self.next(&mut state) {
            drop(state);
            let mut below = Vec::new();
            let outcome = self.list(entries, &folder, &mut below, &mut found);
            state = self.state.lock();
            state.busy -= 1;
            match outcome {
                Ok(()) => state.folders.append(&mut below),
                Err(error) => {
                    state.folders.clear();
                    state.failed.get_or_insert(error);
                }
            }
            self.more.notify_all();
        }
        state.names.take(found);
    }

    /// The next folder, for which it may have to wait; None: all are listed.
    fn next(&self, state: &mut MutexGuard<State>) -> Option<String> {
        loop {
            if let Some(folder) = state.folders.pop() {
                state.busy += 1;
                return Some(folder);
            }
            if state.busy == 0 {
                self.more.notify_all();
                return None;
            }
            self.more.wait(state);
        }
    }

    fn list(
        &self,
        entries: &Lister,
        folder: &str,
        below: &mut Vec<String>,
        found: &mut Names,
    ) -> Result<(), StorageError> {
        let (path, prefix) = if folder.is_empty() {
            (self.root.to_path_buf(), String::new())
        } else {
            let path = format!("{}/{folder}", self.root.display());
            (PathBuf::from(path), format!("{folder}/"))
        };
        entries(&path, &mut |entry| match entry {
            Entry::Folder(name) => below.push(format!("{prefix}{name}")),
            Entry::File(name) if self.suffixes.iter().any(|s| name.ends_with(s.as_str())) => {
                found.push([&prefix, name]);
                if found.has_full() {
                    self.state.lock().names.take_full(found);
                }
            }
            Entry::File(_) => {}
        })
    }

    fn finish(self) -> Result<Names, StorageError> {
        let State {
            mut names, failed, ..
        } = self.state.into_inner();
        match failed {
            Some(error) => Err(error),
            None => {
                names.sort();
                Ok(names)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, threads};
    use crate::plan::allocated::peak_of;

    type Visit<'a> = &'a mut dyn FnMut(Entry);

    /// Lists `folders` folders, of which each holds its part of `names` names, in an order of no use.
    fn shown(folders: u64, names: u64) -> impl Fn(&Path, Visit) -> Result<(), StorageError> + Sync {
        move |path, visit| {
            let mut name = String::with_capacity(64);
            use std::fmt::Write;
            if folders > 1 && path.ends_with("data") {
                for i in 0..folders {
                    name.clear();
                    write!(name, "part-{:05}", i * 7919 % folders).unwrap();
                    visit(Entry::Folder(&name));
                }
            } else {
                let each = names / folders;
                for i in 0..each {
                    name.clear();
                    write!(name, "sample.{:08}.npz", i * 7919 % each).unwrap();
                    visit(Entry::File(&name));
                }
            }
            Ok(())
        }
    }

    fn text_of(names: &Names) -> u64 {
        (0..names.len()).map(|i| names.get(i).len() as u64).sum()
    }

    /// By the allocator's account: what one thread of the search allocates at once, and what is left of it.
    #[test]
    fn names_take_their_text_and_sixteen_bytes_each_at_most() {
        const COUNT: u64 = 100_000;
        for folders in [1, 100, 10_000] {
            let (root, suffixes) = (Path::new("/data"), ["npz".to_string()]);
            let mut names = Names::default();
            let peak = peak_of(|| {
                let search = Search::new(root, &suffixes);
                search.work(&shown(folders, COUNT));
                names = search.finish().unwrap();
            });
            let most = text_of(&names) + 16 * COUNT;
            assert!((1..COUNT).all(|i| names.get(i - 1) < names.get(i)));
            assert_eq!(names.len(), COUNT);
            assert!(peak <= most, "{folders} folders: {peak} > {most}");
            assert!(names.memory() <= peak, "{folders}: {}", names.memory());
        }
    }

    #[test]
    fn names_that_others_receive_take_no_more() {
        const COUNT: u64 = 100_000;
        let suffixes = ["npz".to_string()];
        let held = threads::run(&[0, 0, 1], |cluster| {
            let mine = if cluster.rank() == 0 {
                search(&shown(100, COUNT), Path::new("/data"), &suffixes).unwrap()
            } else {
                Names::default()
            };
            let there = mine.shared(cluster);
            let first = there.get(0).to_string();
            let last = there.get(COUNT - 1).to_string();
            (there.len(), text_of(&there), there.memory(), [first, last])
        });
        for (count, text, memory, ends) in held {
            assert_eq!(count, COUNT);
            assert_eq!(
                ends,
                [
                    "part-00000/sample.00000000.npz",
                    "part-00099/sample.00000999.npz"
                ]
            );
            assert!(memory <= text + 16 * COUNT, "{memory}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_listed_ends_the_search() {
        let failed = search(
            &|path, visit| {
                visit(Entry::Folder("below"));
                if path.ends_with("below") {
                    return Err(StorageError::Missing { path: path.into() });
                }
                Ok(())
            },
            Path::new("/data"),
            &[],
        );
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("/data/below"), "{error}");
    }
}
