//! The names of a dataset's files as a listing found them: for datasets that dlio-rs did not name.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::context::JobContext;
use super::failure::{JobError, RankError, agree};
use super::wire;
use crate::config::Workload;
use crate::plan::Split;
use crate::storage::{self, Entry, Storage, StorageError};

/// Folders that are listed at the same time.
const AT_ONCE: usize = 16;

/// Bytes of names that a thread keeps to itself.
const AT_HAND: usize = 64 << 10;

/// What ends a name in the text: no name holds it.
const END: u8 = 0;

/// The first word of a file with names.
const HEADER: &str = "dlio-rs listing";

/// Names below a folder, sorted. Memory: a name's text and one byte, and 8 bytes for where it begins.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Names {
    text: Vec<u8>,
    starts: Vec<u64>,
}

impl Names {
    /// Appends a name; the order is that of [`Names::sort`].
    fn push(&mut self, parts: [&str; 2]) {
        self.starts.push(self.text.len() as u64);
        for part in parts {
            self.text.extend_from_slice(part.as_bytes());
        }
        self.text.push(END);
    }

    /// By the bytes of the whole path, which is the order of their characters, as Python's `sorted` has it.
    fn sort(&mut self) {
        let text = &self.text;
        self.starts
            .sort_unstable_by(|a, b| name_at(text, *a).cmp(name_at(text, *b)));
        self.starts
            .dedup_by(|a, b| name_at(text, *a) == name_at(text, *b));
        // Growing leaves up to as much room again.
        self.starts.shrink_to_fit();
        self.text.shrink_to_fit();
    }

    /// The names as one text, in order, for the other ranks. Where they were found in order, nothing is copied.
    fn into_text(self) -> Vec<u8> {
        let mut next = 0;
        let is_in_order = self.starts.iter().all(|start| {
            let here = *start == next;
            next = start + name_at(&self.text, *start).len() as u64 + 1;
            here
        });
        if is_in_order && next == self.text.len() as u64 {
            return self.text;
        }
        let mut all = Vec::with_capacity(self.text.len());
        for start in &self.starts {
            all.extend_from_slice(name_at(&self.text, *start));
            all.push(END);
        }
        all
    }

    /// Takes those that another thread found.
    fn append(&mut self, others: &mut Names) {
        let base = self.text.len() as u64;
        self.starts
            .extend(others.starts.drain(..).map(|start| start + base));
        self.text.append(&mut others.text);
    }

    /// What [`Names::into_text`] gave.
    fn of_text(text: Vec<u8>) -> Self {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == END);
        let mut starts: Vec<u64> = Vec::with_capacity(ends.clone().count());
        let mut start = 0;
        for (end, _) in ends {
            starts.push(start);
            start = end as u64 + 1;
        }
        Names { text, starts }
    }

    pub(crate) fn len(&self) -> u64 {
        self.starts.len() as u64
    }

    /// The name at a position of the order.
    pub(crate) fn get(&self, position: u64) -> &str {
        let start = self.starts[position as usize];
        std::str::from_utf8(name_at(&self.text, start)).unwrap_or_default()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> u64 {
        (self.text.capacity() + self.starts.capacity() * size_of::<u64>()) as u64
    }
}

fn name_at(text: &[u8], start: u64) -> &[u8] {
    let rest = &text[start as usize..];
    let end = memchr::memchr(END, rest).unwrap_or(rest.len());
    &rest[..end]
}

/// Folders still to be listed, and what was found.
struct Search {
    folders: Vec<String>,
    /// Threads that are listing one.
    busy: usize,
    names: Names,
    failed: Option<StorageError>,
}

/// The files below `root` that end as one of `suffixes` does, at any depth.
fn search(storage: &dyn Storage, root: &Path, suffixes: &[String]) -> Result<Names, StorageError> {
    let search = Mutex::new(Search {
        folders: vec![String::new()],
        busy: 0,
        names: Names::default(),
        failed: None,
    });
    let more = Condvar::new();
    let list = || {
        let mut state = search.lock();
        loop {
            let Some(folder) = state.folders.pop() else {
                if state.busy == 0 {
                    more.notify_all();
                    return;
                }
                more.wait(&mut state);
                continue;
            };
            state.busy += 1;
            drop(state);
            let path = PathBuf::from(format!("{}/{folder}", root.display()));
            let path = if folder.is_empty() { root } else { &path };
            let (mut below, mut found) = (Vec::new(), Names::default());
            let outcome = storage.entries(path, &mut |entry| match entry {
                Entry::Folder(name) => below.push(join(&folder, name)),
                Entry::File(name) if suffixes.iter().any(|s| name.ends_with(s.as_str())) => {
                    found.push([&prefix(&folder), name]);
                    if found.text.len() >= AT_HAND {
                        search.lock().names.append(&mut found);
                    }
                }
                Entry::File(_) => {}
            });
            state = search.lock();
            state.busy -= 1;
            match outcome {
                Ok(()) => {
                    state.folders.append(&mut below);
                    state.names.append(&mut found);
                }
                Err(error) => {
                    state.folders.clear();
                    state.failed.get_or_insert(error);
                }
            }
            more.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(list);
        }
    });
    let mut found = search.into_inner();
    match found.failed.take() {
        Some(error) => Err(error),
        None => {
            found.names.sort();
            Ok(found.names)
        }
    }
}

fn prefix(folder: &str) -> String {
    if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    }
}

fn join(folder: &str, name: &str) -> String {
    format!("{}{name}", prefix(folder))
}

/// What names of the workload's files end with: the word of the format as DLIO asks for it, in upper case too, or another
/// extension of the format.
fn suffixes(w: &Workload) -> Vec<String> {
    let word = w.dataset.format.word();
    let others = wire::format_row(w).extensions.iter();
    let others = others.map(|extension| format!(".{extension}"));
    [word.to_string(), word.to_uppercase()]
        .into_iter()
        .chain(others)
        .collect()
}

/// Names of both splits.
pub(super) type Listed = [Arc<Names>; 2];

/// The names of the training and the evaluation files on every rank: listed by rank 0, or read from the file of names.
///
/// A collective. Errors: what cannot be listed; fewer files than the workload wants.
pub(super) fn list(job: &JobContext, storage: &dyn Storage) -> Result<Listed, JobError> {
    let (cluster, w) = (job.cluster, job.workload);
    let mine = if cluster.rank() == 0 {
        let root = w.data_root();
        let _task = job.doing("list", &root);
        found(w, storage)
    } else {
        Ok([Names::default(), Names::default()])
    };
    let [train, valid] = agree(cluster, mine)?;
    let share = |names: Names| {
        let mut text = names.into_text();
        cluster.broadcast(&mut text);
        Arc::new(Names::of_text(text))
    };
    Ok([share(train), share(valid)])
}

/// The names of a workload's files outside of a job.
///
/// Errors: as [`list`].
pub fn of(w: &Workload) -> Result<[Names; 2], RankError> {
    let storage = storage::open(&wire::dataset_store(w), &[])?;
    found(w, &*storage)
}

/// Rank 0's part of [`list`].
fn found(w: &Workload, storage: &dyn Storage) -> Result<[Names; 2], RankError> {
    let root = w.data_root();
    let kept = w.dataset.listing_file.as_deref().map(Path::new);
    if let Some(path) = kept
        && let Some(names) = read(path, &root, w)?
    {
        return enough(w, names);
    }
    let suffixes = suffixes(w);
    let of = |split: Split, wanted: u64| match wanted {
        0 => Ok(Names::default()),
        _ => search(storage, &root.join(split.folder()), &suffixes),
    };
    let names = [
        of(Split::Train, w.dataset.num_files_train)?,
        of(Split::Valid, evaluated(w))?,
    ];
    let names = enough(w, names)?;
    if let Some(path) = kept {
        write(path, &root, w, &names)?;
    }
    Ok(names)
}

/// Evaluation files that the workload reads.
fn evaluated(w: &Workload) -> u64 {
    if w.workflow.evaluation {
        w.dataset.num_files_eval
    } else {
        0
    }
}

/// Source: DLIO `main.py`: "Not enough training dataset is found".
fn enough(w: &Workload, names: [Names; 2]) -> Result<[Names; 2], RankError> {
    for (names, wanted, split, key) in [
        (
            &names[0],
            w.dataset.num_files_train,
            Split::Train,
            "dataset.num_files_train",
        ),
        (
            &names[1],
            evaluated(w),
            Split::Valid,
            "dataset.num_files_eval",
        ),
    ] {
        let found = names.len();
        if found < wanted {
            return Err(RankError::Dataset(format!(
                "find the files of {}: {found} files end with {}, and {key} is {wanted}\n  remedy: lower {key} to {found}, or check dataset.data_folder and dataset.format",
                w.data_root().join(split.folder()).display(),
                suffixes(w).join(" or ")
            )));
        }
    }
    Ok(names)
}

/// The first line of a file of names: what they are names of.
fn header(root: &Path, w: &Workload) -> String {
    format!("{HEADER} of {} in {}", w.dataset.format, root.display())
}

/// The names in a file; None: there is no such file.
fn read(path: &Path, root: &Path, w: &Workload) -> Result<Option<[Names; 2]>, RankError> {
    let wrong = |what: String| {
        RankError::Dataset(format!(
            "read dataset.listing_file={}: {what}\n  remedy: delete it, and the next run lists the dataset again",
            path.display()
        ))
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(wrong(storage::errno_words(&e))),
    };
    let lines = BufReader::new(file).lines();
    let mut lines = lines.map(|line| line.map_err(|e| wrong(storage::errno_words(&e))));
    let first = lines.next().transpose()?.unwrap_or_default();
    if first != header(root, w) {
        return Err(wrong(format!(
            "its first line is {first:?}, and the dataset's would be {:?}",
            header(root, w)
        )));
    }
    let mut names = [Names::default(), Names::default()];
    for line in lines {
        let line = line?;
        let (split, name) = line.split_once('/').unwrap_or((&line, ""));
        let at = [Split::Train, Split::Valid]
            .iter()
            .position(|s| s.folder() == split && !name.is_empty());
        let at = at.ok_or_else(|| wrong(format!("the line {line:?} is below neither split")))?;
        names[at].push([name, ""]);
    }
    names.iter_mut().for_each(Names::sort);
    Ok(Some(names))
}

fn write(path: &Path, root: &Path, w: &Workload, names: &[Names; 2]) -> Result<(), RankError> {
    let wrong = |what: String| {
        RankError::Dataset(format!(
            "write dataset.listing_file={}: {what}",
            path.display()
        ))
    };
    let header = header(root, w);
    let room = |names: &Names| names.text.len() + names.starts.len() * "train/".len();
    let room = names.iter().map(room).sum::<usize>() + header.len() + 1;
    let mut text = String::with_capacity(room);
    for part in [header.as_str(), "\n"] {
        text.push_str(part);
    }
    for (names, split) in names.iter().zip([Split::Train, Split::Valid]) {
        for position in 0..names.len() {
            let name = names.get(position);
            if name.contains('\n') {
                return Err(wrong(format!(
                    "the name {name:?} holds a line end\n  remedy: leave dataset.listing_file out"
                )));
            }
            for part in [split.folder(), "/", name, "\n"] {
                text.push_str(part);
            }
        }
    }
    // Complete, or not there under its name.
    storage::replace_file(path, text.as_bytes()).map_err(|e| wrong(storage::errno_words(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::allocated::peak_of;

    /// `count` names, not in order, and the bytes of their text.
    fn many(count: u64) -> (Names, u64) {
        let (mut names, mut text) = (Names::default(), 0);
        for i in (0..count).map(|i| i * 7 % count) {
            let name = format!("part-{:03}/sample.{i}.npz", i % 100);
            text += name.len() as u64;
            names.push([&name, ""]);
        }
        names.sort();
        (names, text)
    }

    #[test]
    fn names_take_their_text_and_sixteen_bytes_each_at_most() {
        let (names, text) = many(100_000);
        assert!((1..names.len()).all(|i| names.get(i - 1) < names.get(i)));
        assert_eq!(names.get(0), "part-000/sample.0.npz");
        let most = text + 16 * names.len();
        assert!(names.memory() <= most, "{}", names.memory());
        // What the others keep of it, by their own account and by the allocator's.
        let text = names.into_text();
        let (mut there, received) = (Names::default(), text.capacity() as u64);
        let held = received + peak_of(|| there = Names::of_text(text));
        assert_eq!((there.len(), held), (100_000, there.memory()));
        assert!(held <= most, "{held}");
        // They are in order now: nothing is copied for another hop.
        assert_eq!(peak_of(|| drop(Names::of_text(there.into_text()))), 0);
    }

    #[test]
    fn names_go_to_other_ranks_and_back() {
        let mut names = Names::default();
        for name in ["b", "a/é", "a", "", "b"] {
            names.push([name, ""]);
        }
        let mut more = Names::default();
        more.push(["c", ""]);
        names.append(&mut more);
        assert_eq!(more, Names::default());
        names.sort();
        let there = Names::of_text(names.into_text());
        let all: Vec<_> = (0..there.len()).map(|i| there.get(i)).collect();
        assert_eq!(all, ["", "a", "a/é", "b", "c"]);
        assert_eq!(Names::of_text(Vec::new()), Names::default());
        // A name found twice is no name of its own.
        let mut twice = Names::default();
        for name in ["a", "b", "b"] {
            twice.push([name, ""]);
        }
        twice.sort();
        assert_eq!(twice.into_text(), b"a\0b\0");
    }
}
