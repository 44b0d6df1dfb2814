//! What every storage system has to do, whichever row of the table it is: one suite over all that hold bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dlio_rs::internal::{
    self as storage, Answer, Client, Entry, Extent, Lane, Request, SYSTEMS, Sink, Storage,
    StorageError, StoreSpec, System,
};

use crate::servers::{ACCOUNT, Azurite, BUCKET, Seaweed};
use crate::support::Scratch;

/// Not a multiple of any block.
const LEN: usize = 3 * 65536 + 517;

fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed)
        .collect()
}

#[derive(Default)]
struct Collect {
    file_len: Option<u64>,
    bytes: Vec<u8>,
    calls: u64,
    stop_after: Option<usize>,
}

impl Sink for Collect {
    fn begin(&mut self, file_len: u64) {
        assert_eq!(self.bytes.len(), 0, "the length comes before the bytes");
        self.file_len = Some(file_len);
    }
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        assert!(!bytes.is_empty());
        self.bytes.extend_from_slice(bytes);
        self.stop_after.is_none_or(|n| self.bytes.len() < n)
    }
    fn position(&mut self, _: u64) {}
    fn called(&mut self, _: u64) {
        self.calls += 1;
    }
}

fn read(
    store: &dyn Storage,
    path: &Path,
    extent: Extent,
    lane: &mut Lane,
) -> Result<(Answer, Collect), StorageError> {
    let mut seen = Collect::default();
    let request = Request {
        path,
        extent,
        planned_len: LEN as u64,
        exact_len: None,
        tag: 0,
    };
    let answer = store.read(&request, lane, &mut seen)?;
    assert_eq!(answer.bytes, seen.bytes.len() as u64);
    assert_eq!(answer.calls, seen.calls);
    Ok((answer, seen))
}

fn write(store: &dyn Storage, path: &Path, bytes: &[u8], piece: usize) {
    let mut writer = store.create(path).unwrap();
    bytes.chunks(piece).for_each(|b| writer.write(b).unwrap());
    writer.sync().unwrap();
    writer.finish().unwrap();
}

/// The bytes of an extent are those of the file, by a lane that keeps files open and by one that does not.
fn ranges(store: &dyn Storage, root: &Path) {
    let (a, b) = (root.join("train/a"), root.join("train/b"));
    let (of_a, of_b) = (bytes(1, LEN), bytes(2, 1000));
    write(store, &a, &of_a, 4096);
    write(store, &b, &of_b, 333);
    let direct = if store.system().page_cache { 1 } else { 4096 };
    for mut lane in [Lane::new(16384), Lane::keeping(16384)] {
        for (from, to) in [
            (0, 1),
            (0, LEN),
            (1, 4097),
            (4095, 4096),
            (517, 100_000),
            (65536, 131072),
            (LEN - 1, LEN),
            (7, 7),
        ] {
            let extent = Extent::Range {
                offset: from as u64,
                len: (to - from) as u64,
            };
            let (answer, seen) = read(store, &a, extent, &mut lane).unwrap();
            assert!(seen.bytes == of_a[from..to], "{from}..{to}");
            let most = (to - from).div_ceil(16384 - direct) as u64 + 1;
            assert!(answer.calls <= most, "{from}..{to}: {} calls", answer.calls);
        }
        let (_, seen) = read(store, &b, Extent::Whole, &mut lane).unwrap();
        assert_eq!(
            (seen.file_len.unwrap_or(1000), seen.bytes),
            (1000, of_b.clone())
        );
        let (_, seen) = read(store, &a, Extent::Whole, &mut lane).unwrap();
        assert!(seen.bytes == of_a);
    }
}

/// A sink that has seen enough ends the read without an error.
fn stops(store: &dyn Storage, root: &Path) {
    let path = root.join("train/a");
    let mut seen = Collect {
        stop_after: Some(1),
        ..Collect::default()
    };
    let request = Request {
        path: &path,
        extent: Extent::Whole,
        planned_len: LEN as u64,
        exact_len: None,
        tag: 0,
    };
    let answer = store
        .read(&request, &mut Lane::new(8192), &mut seen)
        .unwrap();
    assert!(answer.bytes < LEN as u64);
    // The thread can go on with another file.
    let (_, seen) = read(store, &path, Extent::Whole, &mut Lane::new(8192)).unwrap();
    assert_eq!(seen.bytes.len(), LEN);
}

fn empty_short_and_missing(store: &dyn Storage, root: &Path) {
    let mut lane = Lane::keeping(4096);
    let empty = root.join("train/empty");
    write(store, &empty, &[], 1);
    assert_eq!(store.len(&empty).unwrap(), Some(0));
    assert_eq!(store.head(&empty, &mut [0; 8]).unwrap(), 0);
    let (answer, _) = read(store, &empty, Extent::Whole, &mut lane).unwrap();
    assert_eq!(answer.bytes, 0);

    let path = root.join("train/a");
    let beyond = Extent::Range {
        offset: LEN as u64 - 10,
        len: 20,
    };
    match read(store, &path, beyond, &mut lane) {
        Err(StorageError::Short { expected, got, .. }) => {
            assert_eq!((expected, got), (LEN as u64 + 10, LEN as u64));
        }
        other => panic!("{:?}", other.map(|(answer, _)| answer)),
    }
    let missing = root.join("train/missing");
    for extent in [Extent::Whole, Extent::Range { offset: 0, len: 1 }] {
        let outcome = read(store, &missing, extent, &mut lane);
        assert!(matches!(outcome, Err(StorageError::Missing { .. })));
    }
    assert!(matches!(
        store.head(&missing, &mut [0; 8]),
        Err(StorageError::Missing { .. })
    ));
    assert_eq!(store.len(&missing).unwrap(), None);
    // After an error the lane reads on.
    let (_, seen) = read(store, &path, Extent::Whole, &mut lane).unwrap();
    assert_eq!(seen.bytes.len(), LEN);
}

fn head_and_length(store: &dyn Storage, root: &Path) {
    let path = root.join("train/a");
    assert_eq!(store.len(&path).unwrap(), Some(LEN as u64));
    let mut first = [0; 100];
    assert_eq!(store.head(&path, &mut first).unwrap(), 100);
    assert!(first == bytes(1, LEN)[..100]);
    let mut all = vec![0; LEN + 5];
    assert_eq!(store.head(&path, &mut all).unwrap(), LEN);
}

/// A file is there when it is finished, whole; one that was dropped never was.
fn writing(store: &dyn Storage, root: &Path) {
    let path = root.join("valid/w");
    let mut writer = store.create(&path).unwrap();
    writer.write(&bytes(3, 50_000)).unwrap();
    assert_eq!(store.len(&path).unwrap(), None);
    drop(writer);
    assert_eq!(store.len(&path).unwrap(), None);
    // In place of an older one, which stays as it is until then.
    write(store, &path, &bytes(4, 70_000), 70_000);
    let mut writer = store.create(&path).unwrap();
    writer.write(&bytes(5, 100)).unwrap();
    assert_eq!(store.len(&path).unwrap(), Some(70_000));
    writer.finish().unwrap();
    let (_, seen) = read(store, &path, Extent::Whole, &mut Lane::new(4096)).unwrap();
    assert!(seen.bytes == bytes(5, 100));
}

fn removing(store: &dyn Storage, root: &Path) {
    let paths: Vec<PathBuf> = (0..5).map(|i| root.join(format!("valid/r{i}"))).collect();
    paths.iter().for_each(|path| write(store, path, b"x", 1));
    store.remove(&paths[0]).unwrap();
    assert_eq!(store.len(&paths[0]).unwrap(), None);
    assert_eq!(store.len(&paths[1]).unwrap(), Some(1));
    // What is not there is no error.
    store.remove(&paths[0]).unwrap();
    let all: Vec<&Path> = paths[1..].iter().map(PathBuf::as_path).collect();
    store.remove_many(&all).unwrap();
    assert!(paths.iter().all(|path| store.len(path).unwrap().is_none()));
    store.remove_many(&[]).unwrap();
}

fn folders(store: &dyn Storage, root: &Path) {
    let folder = root.join("deep/er/est");
    store.create_folder(&folder).unwrap();
    store.create_folder(&folder).unwrap();
    assert!(store.has_folder(&folder).unwrap());
    store.sync_folder(&folder).unwrap();
    write(store, &folder.join("f"), b"x", 1);
    // Not while something is in it.
    store.remove_folder(&folder).unwrap();
    assert_eq!(store.len(&folder.join("f")).unwrap(), Some(1));
    store.remove(&folder.join("f")).unwrap();
    store.remove_folder(&folder).unwrap();
    store.remove_folder(&folder).unwrap();
    let is_gone = !store.has_folder(&folder).unwrap();
    assert!(is_gone || store.system().objects);
}

/// What a folder holds, one level of it; object stores list all that is below, too.
fn listing(store: &dyn Storage, root: &Path) {
    let mut names = Vec::new();
    let train = root.join("train");
    let shown = store.entries(&train, &mut |entry| match entry {
        Entry::File(name) => names.push(name.to_owned()),
        Entry::Folder(name) => panic!("{name}"),
    });
    shown.unwrap();
    names.sort();
    assert_eq!(names, ["a", "b", "empty"]);
    let mut has_train = false;
    let shown = store.entries(root, &mut |entry| {
        has_train |= match entry {
            Entry::Folder(name) => name == "train",
            // Azure's SDK knows no levels.
            Entry::File(name) => name == "train/a",
        }
    });
    shown.unwrap();
    assert!(has_train);
    let mut found = BTreeMap::new();
    let listed = store.list(&root.join("train"), &mut |name, len| {
        found.insert(name.to_owned(), len);
    });
    if !store.system().objects {
        assert!(listed.is_err());
        return;
    }
    listed.unwrap();
    let expected = [("a", LEN as u64), ("b", 1000), ("empty", 0)];
    assert_eq!(
        found,
        expected.map(|(name, len)| (name.to_owned(), len)).into()
    );
}

/// Only where the page cache stands before a system are there pages, and they can be made to go.
fn pages(store: &dyn Storage, root: &Path) {
    let path = root.join("train/a");
    let (_, seen) = read(store, &path, Extent::Whole, &mut Lane::new(65536)).unwrap();
    assert_eq!(seen.bytes.len(), LEN);
    let held = store.resident(&path).unwrap().bytes;
    if store.system().page_cache {
        assert!(held >= LEN as u64, "{held}");
    } else {
        // The kernel keeps the last page of a file that was cut to its length.
        assert!(held <= 4096, "{held}");
    }
    store.evict(&path).unwrap();
    assert_eq!(store.resident(&path).unwrap().bytes, 0);
}

/// A file that is cut off while it is open ends before its extent does: an error, not a signal, in a memory map too.
fn cut_off_meanwhile(store: &dyn Storage, root: &Path) {
    if !store.system().opens_by_path {
        return;
    }
    let path = root.join("valid/cut");
    write(store, &path, &bytes(6, LEN), LEN);
    let mut lane = Lane::keeping(16384);
    let at = |offset, len| Extent::Range { offset, len };
    read(store, &path, at(0, 100), &mut lane).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(8192).unwrap();
    let outcome = read(store, &path, at(65536, 40_000), &mut lane);
    assert!(
        matches!(outcome, Err(StorageError::Short { .. })),
        "{:?}",
        outcome.map(|(answer, _)| answer)
    );
    store.remove(&path).unwrap();
}

/// One writing job at a time, where a job could meet another one unseen.
fn locking(store: &dyn Storage, root: &Path) {
    let lock = store.lock(root).unwrap();
    assert_eq!(lock.is_some(), store.system().opens_by_path);
    assert_eq!(store.lock(root).is_err(), lock.is_some());
    drop(lock);
    store.lock(root).unwrap();
}

fn conforms(store: &dyn Storage, root: &Path) {
    for folder in ["train", "valid"] {
        store.create_folder(&root.join(folder)).unwrap();
    }
    ranges(store, root);
    stops(store, root);
    empty_short_and_missing(store, root);
    head_and_length(store, root);
    writing(store, root);
    removing(store, root);
    folders(store, root);
    listing(store, root);
    pages(store, root);
    cut_off_meanwhile(store, root);
    locking(store, root);
}

/// The same by a task, beside others that read.
fn conforms_through_a_ring(store: &Arc<dyn Storage>, root: &Path) {
    let root = root.join("ring");
    store.create_folder(&root).unwrap();
    let path = root.join("beside");
    write(&**store, &path, &bytes(7, LEN), 4096);
    let is_over = Arc::new(AtomicBool::new(false));
    let (own, over) = (store.clone(), is_over.clone());
    let mut tasks: Vec<Box<dyn FnOnce()>> = vec![Box::new(move || {
        conforms(&*own, &root);
        over.store(true, SeqCst);
    })];
    for _ in 0..3 {
        let (own, path, over) = (store.clone(), path.clone(), is_over.clone());
        tasks.push(Box::new(move || {
            let mut lane = Lane::new(16384);
            while !over.load(SeqCst) {
                let (_, seen) = read(&*own, &path, Extent::Whole, &mut lane).unwrap();
                assert!(seen.bytes == bytes(7, LEN));
            }
        }));
    }
    storage::run_tasks(tasks).unwrap();
    store.remove(&path).unwrap();
}

#[test]
fn every_row_of_the_table_that_holds_bytes_conforms() {
    let (s3, azure) = (Seaweed::shared(), Azurite::shared());
    let mut seen = 0;
    for system in SYSTEMS
        .iter()
        .filter(|s| s.has_bytes && s.unbuilt().is_none())
    {
        println!("{system}");
        let dir = Scratch::on_disk();
        if system.objects {
            seen += 1;
            // Whoever moves the bytes: they are the same.
            for client in clients() {
                println!("{client:?}");
                let folder = format!("conforms-{system}-{client:?}");
                let (store, root) = match system.schemes {
                    ["az", "azure"] => (
                        azure.storage_at(&azure.url(), client, &folder),
                        format!("az://{ACCOUNT}/{BUCKET}/{folder}").into(),
                    ),
                    [scheme] => (
                        s3.storage_of(system.word, client, &folder),
                        PathBuf::from(format!("{scheme}://{BUCKET}/{folder}")),
                    ),
                    other => panic!("{other:?}"),
                };
                assert_eq!(store.system(), system);
                conforms(&*store, &root);
                let store: Arc<dyn Storage> = store.into();
                if client == Client::Native {
                    conforms_through_a_ring(&store, &root);
                }
                let telemetry = store.telemetry().unwrap();
                assert_eq!(
                    telemetry.connections.is_some(),
                    client == Client::Native,
                    "what an SDK does not count is absent"
                );
            }
            continue;
        }
        let root = dir.path("");
        let store = storage::open(&StoreSpec::new(system, root.clone()), &[]).unwrap();
        assert_eq!(store.system(), system);
        conforms(&*store, &root);
        if system.rings {
            conforms_through_a_ring(&store.into(), &root);
        }
        seen += 1;
        if system.opens_by_path {
            let mut left: Vec<_> = std::fs::read_dir(dir.path("valid")).unwrap().collect();
            assert_eq!(left.len(), 1, "{:?}", left.pop());
        }
    }
    assert_eq!(seen, 6);
}

/// Who can move the bytes of objects in this build.
fn clients() -> Vec<Client> {
    let sdk = cfg!(feature = "sdk").then_some(Client::Sdk);
    [Client::Native].into_iter().chain(sdk).collect()
}

/// The simulated ones answer with the planned bytes and keep nothing.
#[test]
fn simulated_systems_answer_without_bytes() {
    use std::sync::atomic::AtomicU64;
    static WORDS: [AtomicU64; 1] = [AtomicU64::new(0)];
    for system in SYSTEMS.iter().filter(|s| !s.has_bytes) {
        assert!(system.simulated);
        let store = storage::open(&StoreSpec::new(system, "x".into()), &WORDS).unwrap();
        let path = Path::new("x/f");
        let mut seen = Collect::default();
        let request = Request {
            path,
            extent: Extent::Whole,
            planned_len: 12_345,
            exact_len: None,
            tag: 0,
        };
        let answer = store
            .read(&request, &mut Lane::new(4096), &mut seen)
            .unwrap();
        assert_eq!((answer.bytes, answer.calls, seen.calls), (12_345, 1, 1));
        assert_eq!(seen.bytes.len(), 0);
        write(&*store, path, b"x", 1);
        assert_eq!(store.len(path).unwrap(), None);
    }
}

#[test]
fn a_system_that_is_not_built_names_another_way() {
    for word in ["parallel_fs", "aistore"] {
        let spec = StoreSpec::new(System::of_word(word).unwrap(), "x".into());
        let error = storage::open(&spec, &[]).err().unwrap().to_string();
        assert!(
            error.contains(word) && error.contains("remedy: "),
            "{error}"
        );
    }
}
