//! `dlio-rs inspect FILE`: what a data file holds, where its first sample lies, and whether it is sound; of a prefix of an
//! object store, what lies below.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::args::InspectArgs;
use super::output;
use super::{Result, Stop, resolve};
use crate::config::Decode;
use crate::format::{self as formats, Access, Checker, Expect, FormatError, FormatOptions, Opened};
use crate::run::source::StorageSource;
use crate::run::wire;
use crate::storage::{self, Extent, Lane, Request, Sink, Storage, StorageError};

const TRANSFER: usize = 1 << 20;

/// What is printed. A field is absent where the file could not be read so far.
#[derive(Serialize)]
struct Inspected<'a> {
    schema: &'static str,
    file: &'a str,
    format: &'static str,
    bytes: u64,
    #[serde(flatten)]
    index: Option<Indexed>,
    checks: Vec<Check>,
}

/// What is printed of a prefix.
#[derive(Serialize)]
struct Below<'a> {
    schema: &'static str,
    prefix: &'a str,
    objects: u64,
    bytes: u64,
    /// By what follows the last dot of a name; objects without one under the empty text.
    extensions: BTreeMap<String, Objects>,
}

/// Some of the objects below a prefix.
#[derive(Serialize, Default)]
struct Objects {
    objects: u64,
    bytes: u64,
}

/// What the file says of itself.
#[derive(Serialize)]
struct Indexed {
    samples: u64,
    description: Vec<String>,
    /// Where sample 0 lies; a range without an end is the whole file.
    first_sample: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u64>,
}

/// A decode level.
#[derive(Serialize)]
struct Check {
    level: &'static str,
    passed: bool,
    /// Of the file, where it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// Prints what is found.
///
/// Errors: the file cannot be read (status 1), or its format is not known (status 2).
pub(super) fn print(args: &InspectArgs) -> Result<()> {
    let failed = |error: String| Stop::failed(format!("failed to inspect {}: {error}", args.file));
    let (workload, address) = resolve(&args.words, "FILE", &args.file)?;
    // It would be waited for; an address of an object store is no local path.
    if std::fs::metadata(&address.path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return Err(failed(
            "a pipe, a socket or a device is where a file is expected\n  remedy: name a file"
                .into(),
        ));
    }
    let storage: Arc<dyn Storage> = storage::open(&wire::store_at(&workload, &address), &[])
        .map_err(|e| failed(e.to_string()))?
        .into();
    let len = storage
        .len(&address.path)
        .map_err(|e| failed(e.to_string()))?;
    // A bucket has a length as well: none.
    if matches!(len, None | Some(0)) && address.system.objects {
        let below = below(&*storage, &address.path, &args.file);
        let below = below.map_err(|e| failed(e.to_string()))?;
        if below.objects > 0 {
            return output::print(args.format, &below, Below::text);
        }
    }
    let (word, format) = format_of(args)?;
    let bytes =
        len.ok_or_else(|| failed("it does not exist\n  remedy: correct the path".into()))?;
    let mut found = Inspected {
        schema: "dlio-rs/inspect/1",
        file: &args.file,
        format: word,
        bytes,
        index: None,
        checks: Vec::new(),
    };
    // What was found before an error is printed, too.
    let outcome = look(&*storage, &address.path, format, &mut found);
    output::print(args.format, &found, text)?;
    outcome.map_err(failed)
}

/// What lies below a prefix, however deep.
fn below<'a>(
    storage: &dyn Storage,
    path: &Path,
    prefix: &'a str,
) -> Result<Below<'a>, StorageError> {
    let mut extensions = BTreeMap::<String, Objects>::new();
    storage.list(path, &mut |name, len| {
        let file = name.rsplit('/').next().unwrap_or(name);
        // As of files, a dot in front begins no extension.
        let extension = Path::new(file).extension().unwrap_or_default();
        let kind = extensions
            .entry(extension.to_string_lossy().into_owned())
            .or_default();
        kind.objects += 1;
        kind.bytes += len;
    })?;
    Ok(Below {
        schema: "dlio-rs/inspect-prefix/1",
        prefix,
        objects: extensions.values().map(|kind| kind.objects).sum(),
        bytes: extensions.values().map(|kind| kind.bytes).sum(),
        extensions,
    })
}

impl Below<'_> {
    fn text(&self) -> String {
        let mut text = format!(
            "prefix: {}\nobjects: {}\nbytes: {}\n",
            self.prefix, self.objects, self.bytes
        );
        for (extension, kind) in &self.extensions {
            let name = match extension.as_str() {
                "" => "without an extension",
                extension => &format!(".{extension}"),
            };
            text += &format!("  {name}: objects {}, bytes {}\n", kind.objects, kind.bytes);
        }
        text
    }
}

/// Reads the file's own index, then the whole file once for each level.
fn look(
    storage: &dyn Storage,
    path: &Path,
    format: &dyn formats::Format,
    found: &mut Inspected,
) -> Result<(), String> {
    let options = FormatOptions::default();
    let mut lane = Lane::keeping(TRANSFER);
    let mut source = StorageSource::new(storage, path, &mut lane);
    let index = format
        .index(&mut source, &options)
        .map_err(|e| match (&e, found.format) {
            (FormatError::Magic { .. }, "jpeg" | "png") => format!(
                "{e}; MLCommons' DLIO writes bare bytes of a sample's size under this name, without an image in them: if this is such a file, there is nothing to inspect, and `run` reads it as it is"
            ),
            _ => e.to_string(),
        })?;
    let samples = index.samples();
    let mut extents = Vec::new();
    index.extents(0, samples.min(1), Access::Random, &mut extents);
    found.index = Some(Indexed {
        samples,
        description: index.describe(),
        first_sample: extents.iter().map(Range::of).collect(),
    });
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
    for (level, decode) in [("verify", Decode::Verify), ("full", Decode::Full)] {
        let mut checker = format.checker(decode, &options);
        checker.begin(&Opened {
            file_len: found.bytes,
            expect,
            extents: &extents,
            index: Some(&index),
            spec: None,
        });
        let verdict = read(storage, path, &extents, &mut *checker)
            .map_err(|e| e.to_string())?
            .and_then(|bytes| checker.finish().map(|()| bytes));
        found.checks.push(Check {
            level,
            passed: verdict.is_ok(),
            bytes: verdict.as_ref().ok().copied(),
        });
        verdict.map_err(|error| format!("decode level {level}: {error}"))?;
    }
    Ok(())
}

fn text(found: &Inspected) -> String {
    let mut text = format!(
        "file: {}\nformat: {}\nbytes: {}\n",
        found.file, found.format, found.bytes
    );
    if let Some(index) = &found.index {
        text += &format!("samples: {}\n", index.samples);
        for line in &index.description {
            text += &format!("  {line}\n");
        }
        text += &format!("sample 0: {}\n", list(&index.first_sample));
    }
    for check in &found.checks {
        text += &match check.bytes {
            Some(bytes) => format!("{}: passed, {bytes} bytes\n", check.level),
            None => format!("{}: FAILED\n", check.level),
        };
    }
    text
}

impl Range {
    fn of(extent: &Extent) -> Self {
        let (offset, len) = match *extent {
            Extent::Whole => (0, None),
            Extent::Range { offset, len } => (offset, Some(len)),
        };
        Range { offset, len }
    }
}

fn format_of(args: &InspectArgs) -> Result<(&'static str, &'static dyn formats::Format)> {
    let usage = |what: &str| {
        let (file, known) = (&args.file, formats::built().join(", "));
        Stop::usage(format!(
            "inspect {file}: {what}\n  remedy: add --file-format, one of {known}"
        ))
    };
    let extension = || {
        let extension = Path::new(&args.file).extension()?;
        Some(extension.to_string_lossy().into_owned())
    };
    let word = args.file_format.clone().or_else(extension);
    let word = word.ok_or_else(|| usage("its name has no extension that says its format"))?;
    formats::row(&word)
        .and_then(|row| Some((row.word, row.format?)))
        .ok_or_else(|| usage(&format!("{word} is no format of this build")))
}

fn list(extents: &[Range]) -> String {
    const SHOWN: usize = 8;
    let mut parts: Vec<String> = extents
        .iter()
        .take(SHOWN)
        .map(|range| match range.len {
            None => "the whole file".into(),
            Some(len) => format!("{len} bytes at {}", range.offset),
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
            exact_len: None,
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
