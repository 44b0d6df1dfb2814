//! What every format has to do, over every row of the table and every set of keys that it takes.

use super::table::FORMATS;
use super::test_support::*;
use super::*;
use crate::config::{Compression, ImageEncoding, ParquetCompression};
use crate::plan::allocated;
use crate::plan::fill::{FillSource, Shrink};

const LEVELS: [Decode; 3] = [Decode::None, Decode::Verify, Decode::Full];
const CHECKED: [Decode; 2] = [Decode::Verify, Decode::Full];
const DIMS: [u64; 2] = [40, 41];
const SAMPLES: u64 = 3;

/// One format with one set of keys that it takes.
struct Case {
    row: &'static Row,
    format: &'static dyn Format,
    options: FormatOptions,
    name: String,
}

impl Case {
    /// Bare bytes under an image's name.
    fn is_raw(&self) -> bool {
        self.options.image_encoding == ImageEncoding::Raw
    }
}

/// Sets of keys: the default, and each key that changes files on its own. A format refuses those that it has not.
fn key_sets() -> Vec<(String, FormatOptions)> {
    let mut sets = vec![(String::new(), FormatOptions::default())];
    let mut with = |name: &str, change: &dyn Fn(&mut FormatOptions)| {
        let mut options = FormatOptions::default();
        change(&mut options);
        sets.push((name.into(), options));
    };
    for compression in [
        Compression::Gzip,
        Compression::Lzf,
        Compression::Bz2,
        Compression::Zip,
        Compression::Xz,
    ] {
        with(compression.word(), &|o| {
            o.compression = compression;
            o.compression_level = 1;
        });
    }
    with("image_encoding=raw", &|o| {
        o.image_encoding = ImageEncoding::Raw;
    });
    with("two datasets", &|o| o.hdf5.num_dset_per_record = 2);
    with("chunks", &|o| o.hdf5.chunk_dims = vec![1, 16, 41]);
    with("max_shape", &|o| o.hdf5.max_shape = vec![90, 90]);
    with("chunk_size", &|o| {
        o.enable_chunking = true;
        o.chunk_size = 500;
    });
    with("chunks of two datasets that do not fill their last", &|o| {
        o.hdf5.num_dset_per_record = 2;
        o.hdf5.chunk_dims = vec![2, 7, 9];
        o.hdf5.max_shape = vec![90, 90];
    });
    with("row groups of 2", &|o| o.parquet.row_group_size = 2);
    for codec in [
        ParquetCompression::Snappy,
        ParquetCompression::Zstd,
        ParquetCompression::Lz4,
    ] {
        with(&codec.to_string(), &|o| o.parquet.compression = codec);
    }
    sets
}

/// Every row with every set of keys that changes its files; rows that no loader reads as well.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in FORMATS {
        let Some(format) = row.format else { continue };
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for (name, options) in key_sets() {
            let spec = spec(&DIMS, SAMPLES, &options);
            if format.supports(&spec).is_err() {
                continue;
            }
            // Keys of another format leave the file as it is.
            let file = encoded(format, &spec);
            if seen.contains(&file) {
                continue;
            }
            seen.push(file);
            cases.push(Case {
                row,
                format,
                options,
                name: format!("{} {name}", row.word),
            });
        }
    }
    cases
}

fn readable() -> Vec<Case> {
    let mut cases = cases();
    cases.retain(|case| case.format.has_reads());
    cases
}

#[test]
fn every_word_of_the_table_is_one_of_dlios_and_stands_there_once() {
    let mut words: Vec<&str> = Vec::new();
    for row in FORMATS {
        words.push(row.word);
        words.extend(row.extensions);
        let kind = serde_json::from_value::<crate::config::FormatKind>(row.word.into());
        assert!(kind.is_ok(), "{}", row.word);
        assert!(std::ptr::eq(super::row(row.word).unwrap(), row));
    }
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count, "{words:?}");
    assert!(super::row("hdf5_opt").is_none());
}

/// What refuses datasets that cannot fit is never too much, and near enough to be of use.
#[test]
fn no_file_is_shorter_than_its_least_length() {
    let shrink = |compress, dedup| Shrink { compress, dedup };
    for case in cases() {
        let (name, format) = (&case.name, case.format);
        for shrink in [Shrink::NOT, shrink(2.0, 1.0), shrink(1.5, 3.0)] {
            let mut spec = spec(&[64, 100], 3, &case.options);
            if format.supports(&spec).is_err() {
                continue;
            }
            spec.fill = FillSource::shrinking(1, shrink).repeating(0, spec.payload_len() as f64);
            for element in ["uint8", "int64", "float16", "float32", "float64"] {
                spec.element = Element::parse(element).unwrap();
                if format.supports(&spec).is_err() {
                    continue;
                }
                let (len, least) = (encoded(format, &spec).len() as u64, format.least_len(&spec));
                let what = format!("{name} {element} {shrink:?}: {least} of {len}");
                assert!(least <= len, "{what}");
                // Parquet's pages may be packed in many ways.
                let is_known = shrink == Shrink::NOT && case.row.word != "parquet";
                assert!(!is_known || 5 * least >= len, "{what}");
            }
        }
    }
}

#[test]
fn a_file_is_as_long_as_announced_and_the_same_every_time() {
    for case in cases() {
        let (name, format) = (&case.name, case.format);
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let file = encoded(format, &spec);
        if let Some(len) = format.encoded_len(&spec) {
            assert_eq!(file.len() as u64, len, "{name}");
        }
        assert!(file.len() as u64 >= format.min_len(&spec), "{name}");
        for size in [1, 4096, 1 << 20] {
            let mut again = Vec::new();
            let mut chunk = vec![0; size];
            let mut writes = Vec::new();
            format
                .encode(&spec, &mut chunk, &mut |bytes| {
                    writes.push(bytes.len());
                    again.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
            assert!(again == file, "{name} in chunks of {size}");
            // Every write but the last is full, so that it is aligned in the file.
            let last = writes.pop().unwrap_or(0);
            assert!(last <= size && writes.iter().all(|&n| n == size), "{name}");
        }
    }
}

/// `options` with the shapes of files whose samples have 256 bytes per row.
fn widened(options: &FormatOptions) -> FormatOptions {
    let mut options = options.clone();
    if !options.hdf5.chunk_dims.is_empty() {
        options.hdf5.chunk_dims = vec![1, 64, 256];
    }
    if !options.hdf5.max_shape.is_empty() {
        options.hdf5.max_shape = vec![1 << 11, 256];
    }
    if options.enable_chunking {
        options.chunk_size = 1 << 14;
    }
    options
}

#[test]
fn files_of_every_format_shrink_by_the_ratio_and_their_contents_are_still_compared() {
    let shrink = Shrink {
        compress: 2.0,
        dedup: 1.0,
    };
    for case in cases() {
        let options = widened(&case.options);
        let dims = [1024, 256];
        let plain = spec(&dims, 2, &options);
        let shrunk = FileSpec {
            fill: FillSource::shrinking(10, shrink).file_of(4, 524_288.0),
            ..plain.clone()
        };
        // What is compressed in the file already does not shrink again.
        let packed = |spec: &FileSpec| zstd::bulk::compress(&encoded(case.format, spec), 1);
        let (plain, less) = (packed(&plain).unwrap(), packed(&shrunk).unwrap());
        if case.row.word == "synthetic" {
            // It holds nothing of the fill.
            assert_eq!(plain, less);
            continue;
        }
        let ratio = plain.len() as f64 / less.len() as f64;
        assert!((1.9..2.1).contains(&ratio), "{}: {ratio}", case.name);
        if case.format.has_reads() {
            let mut file = Memory::made(case.format, &shrunk);
            file.step = 1 << 20;
            file.read(case.format, Decode::Verify, &options, all(2), Some(&shrunk))
                .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        }
    }
}

#[test]
fn a_longer_file_needs_no_more_memory() {
    for case in cases() {
        let peak = |rows: u64| {
            let options = widened(&case.options);
            let dims = [rows, 256];
            let spec = spec(&dims, 2, &options);
            case.format.supports(&spec).unwrap();
            let mut chunk = vec![0; 1 << 16];
            let mut encode = || {
                allocated::peak_of(|| {
                    case.format
                        .encode(&spec, &mut chunk, &mut |_| Ok(()))
                        .unwrap();
                })
            };
            // What a format keeps from file to file, such as a skeleton, is there the second time.
            encode();
            encode()
        };
        let (short, long) = (peak(256), peak(1536));
        assert!(
            long < short + (256 << 10),
            "{}: {short} bytes of memory for 128 KiB, {long} for 768 KiB",
            case.name
        );
    }
}

#[test]
fn a_stamp_knows_its_own_file() {
    for case in cases() {
        let own = spec(&DIMS, SAMPLES, &case.options);
        let file = encoded(case.format, &own);
        let head = &file[..file.len().min(4096)];
        assert!(case.format.stamp(&own, head), "{}", case.name);
        let other = FileSpec {
            fill: FillSource::new(11).file(5),
            file: 5,
            ..own.clone()
        };
        let file = encoded(case.format, &other);
        if file.len() > 4096 {
            continue;
        }
        assert!(!case.format.stamp(&own, &file), "{}", case.name);
        assert!(!case.format.stamp(&own, &[]), "{}", case.name);
    }
}

#[test]
fn own_files_pass_at_every_level_and_hold_the_fill() {
    for case in readable() {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let mut file = Memory::made(case.format, &spec);
        for decode in LEVELS {
            for expect in [all(SAMPLES), some(SAMPLES, 1, 1), some(SAMPLES, 1, 2)] {
                for step in [1, 777, 1 << 20] {
                    file.step = step;
                    let outcome =
                        file.read(case.format, decode, &case.options, expect, Some(&spec));
                    let bytes = outcome.unwrap_or_else(|e| {
                        panic!("{} {decode:?} {expect:?} by {step}: {e}", case.name)
                    });
                    assert!(bytes > 0, "{} {expect:?}", case.name);
                }
            }
        }
    }
}

/// The index names every sample's bytes, inside the file; a stream reads no byte twice.
#[test]
fn extents_cover_the_samples() {
    for case in readable() {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let file = Memory::made(case.format, &spec);
        if !case.format.needs_index(&some(SAMPLES, 0, 1), &case.options) {
            continue;
        }
        let index = case
            .format
            .index(&mut file.source(), &case.options)
            .unwrap();
        assert_eq!(index.samples(), SAMPLES, "{}", case.name);
        assert!(!index.describe().is_empty(), "{}", case.name);
        assert!(index.memory() > 0, "{}", case.name);
        let (held, planned) = (index.memory() as u64, case.format.index_memory(&spec));
        assert!(held <= planned, "{}: {held} of {planned}", case.name);
        let ranges = |first, count, access| {
            let mut extents = Vec::new();
            index.extents(first, count, access, &mut extents);
            let mut ranges: Vec<(u64, u64)> = extents
                .iter()
                .map(|extent| match *extent {
                    Extent::Range { offset, len } => (offset, offset + len),
                    Extent::Whole => (0, file.file.len() as u64),
                })
                .collect();
            ranges.sort_unstable();
            for pair in ranges.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "{}: {ranges:?}", case.name);
            }
            let end = ranges.last().map_or(0, |range| range.1);
            assert!(end <= file.file.len() as u64, "{}", case.name);
            ranges
        };
        let bytes = |ranges: &[(u64, u64)]| {
            let mut all = vec![false; file.file.len()];
            for &(from, to) in ranges {
                all[from as usize..to as usize].fill(true);
            }
            all
        };
        let whole = bytes(&ranges(0, SAMPLES, Access::Random));
        let mut singly = vec![false; file.file.len()];
        let mut streamed = Vec::new();
        for sample in 0..SAMPLES {
            let own = ranges(sample, 1, Access::Random);
            assert!(!own.is_empty(), "{} sample {sample}", case.name);
            for (to, from) in singly.iter_mut().zip(bytes(&own)) {
                *to |= from;
            }
            streamed.extend(ranges(sample, 1, Access::Stream));
        }
        assert!(whole == singly, "{}", case.name);
        assert!(whole == bytes(&streamed), "{}", case.name);
    }
}

#[test]
fn what_is_expected_is_what_the_extents_hold() {
    for case in readable() {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let file = Memory::made(case.format, &spec);
        for expect in [all(SAMPLES), some(SAMPLES, 0, 1), some(SAMPLES, 2, 1)] {
            let (extents, index) = file.locate(case.format, &case.options, expect).unwrap();
            let mut read = Vec::new();
            for extent in &extents {
                read.extend_from_slice(file.bytes(extent).unwrap());
            }
            let opened = Opened {
                file_len: file.file.len() as u64,
                expect,
                extents: &extents,
                index: index.as_ref(),
                spec: Some(&spec),
            };
            let mut expected = Vec::new();
            case.format
                .expected(&opened, &spec, &mut |bytes| {
                    expected.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
            assert!(read == expected, "{} {expect:?}", case.name);
        }
    }
}

#[test]
fn every_truncation_is_seen() {
    for case in readable() {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let whole = Memory::made(case.format, &spec).file;
        let len = whole.len();
        let mut file = Memory::made(case.format, &spec);
        let cuts = [0, 1, 7, 10, 30]
            .into_iter()
            .chain((1..24).map(|i| len * i / 24));
        for cut in cuts.chain([len - 1]).filter(|&cut| cut < len) {
            file.file = whole[..cut].to_vec();
            for decode in CHECKED {
                for mut expect in [all(SAMPLES), some(SAMPLES, SAMPLES - 1, 1)] {
                    // Files made here: bare bytes have nothing but their length, and text may end anywhere.
                    expect.min_len = case.format.min_len(&spec);
                    let outcome = file.read(case.format, decode, &case.options, expect, None);
                    assert!(
                        outcome.is_err(),
                        "{} cut at {cut} of {len} passes {decode:?} of {expect:?}",
                        case.name
                    );
                }
            }
        }
    }
}

#[test]
fn a_wrong_start_is_seen_where_there_is_structure() {
    for case in readable() {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let is_bare = case.row.verifies == Verifies::Length || case.is_raw();
        let mut file = Memory::made(case.format, &spec);
        file.file[..8].copy_from_slice(&[0x91, 0xfe, 3, 0x99, 0x80, 1, 2, 0xee]);
        for decode in CHECKED {
            let outcome = file.read(case.format, decode, &case.options, all(SAMPLES), None);
            assert_eq!(outcome.is_ok(), is_bare, "{} {decode:?}", case.name);
        }
    }
}

#[test]
fn a_flipped_bit_is_seen_by_content_and_by_checksums() {
    for case in readable() {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let has_checksum = case.row.verifies == Verifies::Checksums && !case.is_raw();
        let mut file = Memory::made(case.format, &spec);
        let (extents, _) = file
            .locate(case.format, &case.options, all(SAMPLES))
            .unwrap();
        let len = file.file.len() as u64;
        // Bytes that are read, in the middle of each extent.
        let places = extents.iter().flat_map(|extent| match *extent {
            Extent::Whole => (0..40).map(|i| len * 2 / 5 + len / 4 * i / 40).collect(),
            Extent::Range { offset, len } => vec![offset + len * 2 / 5, offset + len / 2],
        });
        for at in places.map(|at| at as usize) {
            file.file[at] ^= 4;
            let verify = file.read(
                case.format,
                Decode::Verify,
                &case.options,
                all(SAMPLES),
                None,
            );
            assert!(verify.is_err() || !has_checksum, "{} byte {at}", case.name);
            let content = file.read(
                case.format,
                Decode::None,
                &case.options,
                all(SAMPLES),
                Some(&spec),
            );
            assert!(content.is_err(), "{} byte {at}", case.name);
            file.file[at] ^= 4;
        }
    }
}

/// What fuzzing found, and metadata that announces more than any file holds: errors, and quickly.
#[test]
fn inputs_that_once_broke_a_decoder_are_errors() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/regressions");
    let mut count = 0;
    let folders = FORMATS.iter().filter(|row| row.format.is_some());
    let folders = folders
        .flat_map(|row| ["", "_index"].map(|suffix| (row, format!("{root}/{}{suffix}", row.word))));
    for (row, folder) in folders.filter(|(_, folder)| std::path::Path::new(folder).exists()) {
        for path in std::fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().path())
        {
            let bytes = std::fs::read(&path).unwrap();
            let outcome = memory::check(row.word, &bytes, [&[], &[]]);
            assert!(outcome.is_err(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn a_missing_or_disagreeing_index_is_named() {
    let with_index = |case: &Case| !case.format.companions().is_empty();
    for case in readable().into_iter().filter(with_index) {
        let spec = spec(&DIMS, SAMPLES, &case.options);
        let read = |file: &mut Memory| {
            let expect = some(SAMPLES, 1, 1);
            file.read(case.format, Decode::Verify, &case.options, expect, None)
        };
        for which in 0..case.format.companions().len() {
            let mut file = Memory::made(case.format, &spec);
            let companion = file.companions[which].take().unwrap();
            // Files whose structure tells where records are can do without.
            let is_needed = case.row.verifies == Verifies::Length;
            assert_eq!(read(&mut file).is_err(), is_needed, "{}", case.name);
            let mut damages = vec![companion[..companion.len() - 1].to_vec(), Vec::new()];
            let mut other = companion.clone();
            other[2] = other[2].wrapping_add(9);
            damages.push(other);
            for damage in damages {
                file.companions[which] = Some(damage.clone());
                let error = match read(&mut file) {
                    Err(error) => error.to_string(),
                    // A text index may lack its last line end.
                    Ok(_) => {
                        assert_eq!(damage.len() + 1, companion.len(), "{}", case.name);
                        continue;
                    }
                };
                assert!(
                    error.contains("index") || error.contains("samples"),
                    "{error}"
                );
            }
        }
    }
}
