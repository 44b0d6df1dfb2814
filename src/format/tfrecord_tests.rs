use super::super::test_support::{encoded, spec};
use super::*;

/// Sizes on disk of records around images of m bytes.
///
/// Source: records written by TensorFlow 2.
#[test]
fn record_sizes_are_those_of_tensorflow() {
    for (m, payload, record) in [
        (4900, 4938, 4954),
        (114_244, 114_288, 114_304),
        (2_825_761, 2_825_811, 2_825_827),
    ] {
        let frame = Frame::new(m);
        assert_eq!((frame.payload, frame.record_len()), (payload, record));
        let framed = frame.start.len() as u64 + m + frame.end.len() as u64;
        assert_eq!(framed, HEADER + payload);
    }
}

#[test]
fn the_features_are_image_and_size() {
    let options = FormatOptions::default();
    let spec = spec(&[70, 70], 3, &options);
    let file = encoded(&Tfrecord, &spec);
    assert_eq!(Some(file.len() as u64), Tfrecord.encoded_len(&spec));
    let features = super::super::tfrecord_check::example(&file[12..12 + 4938]).unwrap();
    assert_eq!(
        features,
        [("image".to_string(), 1), ("size".to_string(), 1)]
    );
}

#[test]
fn an_index_that_disagrees_is_refused() {
    let good = parse_index(b"0 20\n20 30\n", 50, "a.idx").unwrap();
    assert_eq!(good, [[0, 20], [20, 30]]);
    for (text, word) in [
        (&b"0 20\n21 29\n"[..], "line 2"),
        (b"0 20\n", "end at 20"),
        (b"0 x\n", "not 'offset size'"),
        (b"0 20\n20 18446744073709551615\n", "end at"),
        (b"", "end at 0"),
    ] {
        let error = parse_index(text, 50, "a.idx").unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("a.idx"), "{error}");
    }
}

/// A scan reads a file of short records once, in windows, and of long records only the headers.
#[test]
fn a_scan_reads_windows_and_finds_what_the_index_says() {
    struct Counted<'a> {
        inner: super::super::memory::InMemory<'a>,
        reads: Vec<(u64, u64)>,
    }
    impl Source for Counted<'_> {
        fn file_len(&mut self) -> Result<u64> {
            self.inner.file_len()
        }
        fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
            self.reads.push((offset, buf.len() as u64));
            self.inner.read_at(offset, buf)
        }
        fn companion(&mut self, _: &Companion, _: u64) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }
    }
    let options = FormatOptions::default();
    for (dims, samples, reads) in [(vec![20, 20], 1251, 3), (vec![600, 600], 4, 4)] {
        let spec = spec(&dims, samples, &options);
        let file = encoded(&Tfrecord, &spec);
        let mut source = Counted {
            inner: super::super::memory::InMemory::new(&file, [None, None]),
            reads: Vec::new(),
        };
        let found = scan(&mut source, file.len() as u64).unwrap();
        let len = Frame::new(spec.sample_len()).record_len();
        let expected: Vec<_> = (0..samples).map(|k| [k * len, len]).collect();
        assert_eq!(found, expected);
        assert_eq!(source.reads.len(), reads, "{:?}", source.reads);
        let bytes: u64 = source.reads.iter().map(|(_, len)| len).sum();
        assert!(bytes <= file.len() as u64, "{bytes}");
    }
}
