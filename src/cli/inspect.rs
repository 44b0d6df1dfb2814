//! `dlio-rs inspect FILE`: what a data file holds, where its first sample lies, and whether it is sound.

use std::path::Path;
use std::sync::Arc;

use super::args::InspectArgs;
use super::words::WorkloadArgs;
use super::{Exit, Stop, load, out};
use crate::config::{Address, Decode};
use crate::format::{self, Access, Checker, Expect, Format, FormatError, FormatOptions, Opened};
use crate::run::source::StorageSource;
use crate::run::wire;
use crate::storage::{self, Extent, Lane, Request, Sink, Storage, StorageError};

const TRANSFER: usize = 1 << 20;

/// Prints what is found.
///
/// Errors: the file cannot be read (status 1), or its format is not known (status 2).
pub(super) fn print(args: &InspectArgs) -> Result<(), Stop> {
    let failed = |error: String| Stop {
        exit: Exit::Failed,
        message: format!("failed to inspect {}: {error}", args.file),
    };
    let (word, format) = format_of(args)?;
    let options = FormatOptions::default();
    let loaded = load(&WorkloadArgs::of_words(&args.words), false).map_err(Stop::usage)?;
    let address =
        Address::resolve(&loaded.workload.storage, "FILE", &args.file).map_err(Stop::usage)?;
    let storage: Arc<dyn Storage> = storage::open(&wire::store_at(&loaded.workload, &address), &[])
        .map_err(|e| failed(e.to_string()))?
        .into();
    let path = &address.path;
    let len = storage
        .len(path)
        .map_err(|e| failed(e.to_string()))?
        .ok_or_else(|| failed("it does not exist".into()))?;
    out(&format!("file: {}\n", args.file))?;
    out(&format!("format: {word}\n"))?;
    out(&format!("bytes: {len}\n"))?;
    let mut lane = Lane::keeping(TRANSFER);
    let mut source = StorageSource::new(&*storage, path, &mut lane);
    let index = format
        .index(&mut source, &options)
        .map_err(|e| failed(e.to_string()))?;
    let samples = index.samples();
    out(&format!("samples: {samples}\n"))?;
    for line in index.describe() {
        out(&format!("  {line}\n"))?;
    }
    let mut extents = Vec::new();
    index.extents(0, samples.min(1), Access::Random, &mut extents);
    out(&format!("sample 0: {}\n", list(&extents)))?;

    let expect = Expect {
        samples,
        sample: 0,
        count: samples,
        min_len: 0,
    };
    extents.clear();
    if format.needs_index(&expect, &options) {
        index.extents(0, samples, Access::Stream, &mut extents);
    } else {
        extents.push(Extent::Whole);
    }
    for (name, decode) in [("verify", Decode::Verify), ("full", Decode::Full)] {
        let mut checker = format.checker(decode, &options);
        let opened = Opened {
            file_len: len,
            expect,
            extents: &extents,
            index: Some(&index),
            spec: None,
        };
        checker.begin(&opened);
        let verdict = read(&*storage, path, &extents, &mut *checker)
            .map_err(|e| failed(e.to_string()))
            .map(|bytes| bytes.and_then(|bytes| checker.finish().map(|()| bytes)))?;
        match verdict {
            Ok(bytes) => out(&format!("{name}: passed, {bytes} bytes\n"))?,
            Err(error) => {
                out(&format!("{name}: FAILED\n"))?;
                return Err(failed(format!("decode level {name}: {error}")));
            }
        }
    }
    Ok(())
}

fn format_of(args: &InspectArgs) -> Result<(&'static str, &'static dyn Format), Stop> {
    let known = || format::built().join(", ");
    let word = match &args.format {
        Some(word) => word.clone(),
        None => Path::new(&args.file)
            .extension()
            .map(|e| e.to_string_lossy().into_owned())
            .ok_or_else(|| {
                Stop::usage(format!(
                    "inspect {}: its name has no extension that says its format\n  remedy: add --format, one of {}",
                    args.file,
                    known()
                ))
            })?,
    };
    format::row(&word)
        .and_then(|row| Some((row.word, row.format?)))
        .ok_or_else(|| {
            Stop::usage(format!(
                "inspect {}: {word} is no format of this build\n  remedy: add --format, one of {}",
                args.file,
                known()
            ))
        })
}

fn list(extents: &[Extent]) -> String {
    const SHOWN: usize = 8;
    let mut parts: Vec<String> = extents
        .iter()
        .take(SHOWN)
        .map(|extent| match extent {
            Extent::Whole => "the whole file".into(),
            Extent::Range { offset, len } => format!("{len} bytes at {offset}"),
        })
        .collect();
    if extents.len() > SHOWN {
        parts.push(format!("and {} more extents", extents.len() - SHOWN));
    }
    if parts.is_empty() {
        parts.push("no bytes".into());
    }
    parts.join(", ")
}

/// Shows all extents to a checker; returns the bytes.
fn read(
    storage: &dyn Storage,
    path: &Path,
    extents: &[Extent],
    checker: &mut dyn Checker,
) -> Result<Result<u64, FormatError>, StorageError> {
    let mut buffer = Lane::new(TRANSFER);
    let mut sight = Sight {
        checker,
        failure: None,
    };
    let mut bytes = 0;
    for (tag, &extent) in (0..).zip(extents) {
        let request = Request {
            path,
            extent,
            planned_len: 0,
            tag,
        };
        bytes += storage.read(&request, &mut buffer, &mut sight)?.bytes;
        if let Some(failure) = sight.failure.take() {
            return Ok(Err(failure));
        }
    }
    Ok(Ok(bytes))
}

struct Sight<'a> {
    checker: &'a mut dyn Checker,
    failure: Option<FormatError>,
}

impl Sink for Sight<'_> {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        self.failure = self.checker.push(bytes).err();
        self.failure.is_none()
    }
    fn position(&mut self, _: u64) {}
}
