use super::layout::guessed;
use super::*;
use crate::config::{Element, Hdf5Section};
use crate::format::test_support::{Memory, all, some, spec};

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
fn every_layout_reads_back_what_was_made() {
    let base = FormatOptions::default();
    let mut cases = vec![base.clone()];
    let mut with = |change: &dyn Fn(&mut FormatOptions)| {
        let mut options = base.clone();
        change(&mut options);
        cases.push(options);
    };
    with(&|o| o.hdf5.num_dset_per_record = 3);
    with(&|o| o.hdf5.chunk_dims = vec![1, 16, 41]);
    with(&|o| o.hdf5.chunk_dims = vec![2, 7, 9]);
    with(&|o| o.chunk_bytes = Some(500));
    with(&|o| {
        o.hdf5 = Hdf5Section {
            num_dset_per_record: 2,
            chunk_dims: vec![3, 20, 10],
            max_shape: vec![90, 90],
        }
    });
    with(&|o| o.compression = Compression::Gzip);
    with(&|o| o.compression = Compression::Lzf);
    with(&|o| {
        o.compression = Compression::Gzip;
        o.hdf5.chunk_dims = vec![1, 40, 41];
        o.compression_level = 1;
    });
    for options in cases {
        let mut spec = spec(&[40, 41], 5, &options);
        spec.element = Element::parse("float32").unwrap();
        Hdf5.supports(&spec).unwrap();
        let mut file = Memory::made(&Hdf5, &spec);
        for decode in [Decode::None, Decode::Verify, Decode::Full] {
            for expect in [all(5), some(5, 3, 1), some(5, 1, 3)] {
                file.read(&Hdf5, decode, &options, expect, Some(&spec))
                    .unwrap_or_else(|e| panic!("{options:?} {expect:?}: {e}"));
            }
        }
        // Contiguous: exactly the samples' bytes.
        if options == base {
            let read = file.read(&Hdf5, Decode::None, &options, some(5, 2, 2), None);
            assert_eq!(read.unwrap(), 2 * 40 * 41 * 4);
        }
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
