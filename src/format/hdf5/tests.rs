use super::layout::guessed;
use super::*;
use crate::config::Decode;
use crate::format::test_support::{Memory, all, spec};

/// Chunk shapes that h5py 3.14 chose for these datasets (`compression="gzip"`).
#[test]
fn chunks_are_those_of_h5py() {
    for (dims, size, expected) in [
        (&[1, 70, 70][..], 1, &[1, 70, 70][..]),
        (&[1, 1024, 1024], 1, &[1, 128, 128]),
        (&[4, 338, 338], 1, &[1, 85, 169]),
        (&[5, 40, 41], 4, &[3, 20, 41]),
        (&[16, 128, 128, 4], 4, &[4, 32, 32, 2]),
    ] {
        assert_eq!(guessed(dims, size), expected, "{dims:?}");
    }
}

#[test]
fn keys_that_contradict_the_sample_are_refused() {
    let refused = |change: &dyn Fn(&mut FormatOptions), word: &str| {
        let mut options = FormatOptions::default();
        change(&mut options);
        let error = Hdf5.supports(&spec(&[40, 41], 5, &options)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(&|o| o.hdf5.chunk_dims = vec![16, 41], "chunk_dims");
    refused(&|o| o.hdf5.chunk_dims = vec![1, 16, 42], "chunk_dims");
    refused(&|o| o.hdf5.max_shape = vec![40, 40], "max_shape");
    refused(&|o| o.hdf5.num_dset_per_record = 41, "num_dset_per_record");
    refused(&|o| o.compression = Compression::Bz2, "gzip and lzf");
}

/// The same index whatever is fetched at once: with 16 bytes nearly every read of libhdf5 fails at first.
#[test]
fn metadata_is_the_same_by_windows_of_any_size() {
    let mut options = FormatOptions::default();
    options.hdf5.num_dset_per_record = 2;
    options.hdf5.chunk_dims = vec![1, 2, 9];
    let spec = spec(&[40, 41], 5, &options);
    let file = Memory::made(&Hdf5, &spec);
    let read = |window| {
        let mut source = file.source();
        let reader = reader::Reader::with_window(&mut source, window).unwrap();
        let index = Hdf5Index::read_by(reader).unwrap();
        let mut extents = Vec::new();
        index.extents(0, 5, crate::format::Access::Random, &mut extents);
        (index.describe(), extents)
    };
    let whole = read(1 << 20);
    assert_eq!(whole.0.len(), 3);
    for window in [16, 100, 512, 4096] {
        assert_eq!(read(window), whole, "windows of {window}");
    }
}

/// A superblock may lie at byte 512 and its doubles; addresses count from it.
#[test]
fn a_user_block_is_left_out() {
    let options = FormatOptions::default();
    for chunked in [false, true] {
        let mut options = options.clone();
        if chunked {
            options.hdf5.chunk_dims = vec![1, 16, 41];
        }
        let spec = spec(&[40, 41], 5, &options);
        let plain = Memory::made(&Hdf5, &spec);
        for block in [512, 1024, 65536] {
            let mut bytes = vec![b'#'; block];
            bytes.extend_from_slice(&plain.file);
            let mut file = Memory::new(bytes);
            for decode in [Decode::None, Decode::Verify, Decode::Full] {
                file.read(&Hdf5, decode, &options, all(5), Some(&spec))
                    .unwrap_or_else(|e| panic!("{block} {decode:?}: {e}"));
            }
        }
        // Anywhere else it is no superblock.
        let mut bytes = vec![b'#'; 700];
        bytes.extend_from_slice(&plain.file);
        let error = Memory::new(bytes)
            .read(&Hdf5, Decode::None, &options, all(5), None)
            .unwrap_err();
        assert!(error.to_string().contains("wrong magic"), "{error}");
    }
}

#[test]
fn a_file_that_is_compressed_as_a_whole_is_named() {
    let mut bytes = vec![0x1f, 0x8b, 8, 0];
    bytes.resize(700, b'#');
    let options = FormatOptions::default();
    let error = Memory::new(bytes)
        .read(&Hdf5, Decode::None, &options, all(5), None)
        .unwrap_err();
    assert!(error.to_string().contains("gzip"), "{error}");
}

/// Threads that read metadata at the same time do not wait for each other's storage: every one of them is inside its
/// source at once.
#[test]
fn no_lock_is_held_while_bytes_come() {
    use std::sync::Barrier;
    const THREADS: usize = 4;
    struct Meeting<'a> {
        inner: super::super::memory::InMemory<'a>,
        barrier: &'a Barrier,
        first: bool,
    }
    impl Source for Meeting<'_> {
        fn file_len(&mut self) -> Result<u64> {
            self.inner.file_len()
        }
        fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
            // The first read is ours, before libhdf5 is called; the second is one that libhdf5 waits for.
            if !std::mem::take(&mut self.first) {
                self.barrier.wait();
            }
            self.inner.read_at(offset, buf)
        }
        fn companion(&mut self, _: &super::super::Companion, _: u64) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }
    }
    let options = FormatOptions::default();
    let file = Memory::made(&Hdf5, &spec(&[40, 41], 5, &options));
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut source = Meeting {
                    inner: file.source(),
                    barrier: &barrier,
                    first: true,
                };
                let reader = reader::Reader::with_window(&mut source, 64).unwrap();
                Hdf5Index::read_by(reader).unwrap();
            });
        }
    });
}

/// A file made in memory has, around its samples, the bytes that libhdf5's own driver writes into a file.
#[test]
fn an_image_in_memory_is_the_file_that_libhdf5_writes() {
    let mut cases = vec![FormatOptions::default(); 4];
    cases[1].hdf5.num_dset_per_record = 3;
    cases[2].hdf5.chunk_dims = vec![1, 16, 41];
    cases[3].hdf5.chunk_dims = vec![3, 4, 9];
    cases[3].hdf5.max_shape = vec![90, 90];
    for options in cases {
        let spec = spec(&[40, 41], 5, &options);
        let mut made = Memory::made(&Hdf5, &spec);
        let (extents, _) = made.locate(&Hdf5, &options, all(5)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.hdf5");
        let layout = Layout::of(&spec).unwrap();
        {
            let file = library::create_file(&path).unwrap();
            skeleton::create(&file, &layout).unwrap();
        }
        let mut written = std::fs::read(&path).unwrap();
        assert_eq!(made.file.len(), written.len(), "{options:?}");
        for extent in extents {
            let crate::storage::Extent::Range { offset, len } = extent else {
                panic!("{extent:?}");
            };
            for bytes in [&mut made.file, &mut written] {
                bytes[offset as usize..(offset + len) as usize].fill(0);
            }
        }
        assert!(made.file == written, "{options:?}");
    }
}
