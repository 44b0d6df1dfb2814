//! What every format has to do: its own files pass at every level, damaged ones do not.

use super::test_support::*;
use super::*;

const LEVELS: [Decode; 3] = [Decode::None, Decode::Verify, Decode::Full];
const DIMS: [u64; 2] = [40, 41];
const SAMPLES: u64 = 3;

fn readable() -> impl Iterator<Item = &'static dyn Format> {
    FORMATS.iter().copied().filter(|format| format.has_reads())
}

#[test]
fn own_files_pass_at_every_level_and_hold_the_fill() {
    let options = FormatOptions::default();
    let spec = spec(&DIMS, SAMPLES, &options);
    for format in readable() {
        let mut file = Memory::made(format, &spec);
        if let Some(len) = format.encoded_len(&spec) {
            assert_eq!(file.file.len() as u64, len, "{}", format.kind());
        }
        assert!(format.stamp(&spec, &file.file[..file.file.len().min(4096)]));
        for decode in LEVELS {
            for expect in [all(SAMPLES), some(SAMPLES, 1, 1), some(SAMPLES, 1, 2)] {
                let outcome = file.read(format, decode, &options, expect, Some(&spec));
                let bytes = outcome
                    .unwrap_or_else(|e| panic!("{} {decode:?} {expect:?}: {e}", format.kind()));
                assert!(bytes > 0, "{} {expect:?}", format.kind());
                if format.needs_index(&expect, &options) && expect.count < SAMPLES {
                    assert!(
                        bytes < file.file.len() as u64,
                        "{} {expect:?}",
                        format.kind()
                    );
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_seen() {
    let options = FormatOptions::default();
    let spec = spec(&DIMS, SAMPLES, &options);
    for format in readable() {
        let whole = Memory::made(format, &spec);
        let len = whole.file.len();
        for cut in [0, 1, 7, 10, 30, len / 2, len - 1] {
            for decode in [Decode::Verify, Decode::Full] {
                let mut file = Memory::made(format, &spec);
                file.file.truncate(cut);
                let last = some(SAMPLES, SAMPLES - 1, 1);
                for expect in [all(SAMPLES), last] {
                    let outcome = file.read(format, decode, &options, expect, None);
                    assert!(
                        outcome.is_err(),
                        "{} cut at {cut} of {len} passes {decode:?} of {expect:?}",
                        format.kind()
                    );
                }
            }
        }
    }
}

#[test]
fn a_wrong_start_is_seen() {
    let options = FormatOptions::default();
    let spec = spec(&DIMS, SAMPLES, &options);
    for format in readable() {
        // These have no start to be wrong: any byte is a sample's.
        let is_bare = matches!(
            format.kind(),
            FormatKind::IndexedBinary | FormatKind::MmapIndexedBinary
        );
        let mut file = Memory::made(format, &spec);
        file.file[..8].copy_from_slice(&[0x91, 0xfe, 3, 0x99, 0x80, 1, 2, 0xee]);
        for decode in [Decode::Verify, Decode::Full] {
            let outcome = file.read(format, decode, &options, all(SAMPLES), None);
            assert_eq!(outcome.is_ok(), is_bare, "{} {decode:?}", format.kind());
        }
    }
}

#[test]
fn a_flipped_bit_is_seen_by_content_and_by_checksums() {
    let options = FormatOptions::default();
    let spec = spec(&DIMS, SAMPLES, &options);
    for format in readable() {
        let has_checksum = matches!(
            format.kind(),
            FormatKind::Npz | FormatKind::TfRecord | FormatKind::Png | FormatKind::Parquet
        );
        let mut file = Memory::made(format, &spec);
        for at in [file.file.len() / 2, file.file.len() * 2 / 5] {
            file.file[at] ^= 4;
            let verify = file.read(format, Decode::Verify, &options, all(SAMPLES), None);
            assert!(verify.is_err() || !has_checksum, "{}", format.kind());
            let content = file.read(format, Decode::None, &options, all(SAMPLES), Some(&spec));
            let error = content.expect_err(format.kind().word()).to_string();
            assert!(error.contains("differ from what was generated"), "{error}");
            file.file[at] ^= 4;
        }
    }
}

/// What fuzzing found, and metadata that announces more than any file holds: errors, and quickly.
#[test]
fn inputs_that_once_broke_a_decoder_are_errors() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/regressions");
    let mut count = 0;
    for folder in std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()) {
        let target = folder.file_name().unwrap().to_string_lossy().into_owned();
        let word = target.trim_end_matches("_index");
        let Some(format) = FORMATS.iter().find(|f| f.kind().word() == word) else {
            let is_left_out = (word == "hdf5" && !cfg!(feature = "hdf5"))
                || (word == "parquet" && !cfg!(feature = "parquet"));
            assert!(is_left_out, "{target} names no format");
            continue;
        };
        for path in std::fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().path())
        {
            let bytes = std::fs::read(&path).unwrap();
            let outcome = memory::check(format.kind(), &bytes, [&[], &[]]);
            assert!(outcome.is_err(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn a_missing_or_disagreeing_index_is_named() {
    let options = FormatOptions::default();
    let spec = spec(&DIMS, SAMPLES, &options);
    for format in readable().filter(|format| !format.companions().is_empty()) {
        let read = |file: &mut Memory| {
            file.read(format, Decode::Verify, &options, some(SAMPLES, 1, 1), None)
        };
        for which in 0..format.companions().len() {
            let mut file = Memory::made(format, &spec);
            let companion = file.companions[which].take().unwrap();
            // Without its index a tfrecord file is scanned.
            let is_needed = format.kind() != FormatKind::TfRecord;
            assert_eq!(read(&mut file).is_err(), is_needed, "{}", format.kind());
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
                        assert_eq!(damage.len() + 1, companion.len(), "{}", format.kind());
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
