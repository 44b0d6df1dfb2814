//! Encoding and reading files in memory, for the tests of the formats.

use std::path::Path;
use std::sync::Arc;

use super::content::ContentChecker;
use super::*;
use crate::plan::fill::FillSource;

/// A file with the fill of file 4, seed 10, of bytes.
pub(crate) fn spec<'a>(dims: &'a [u64], samples: u64, options: &'a FormatOptions) -> FileSpec<'a> {
    FileSpec {
        sample_dims: dims,
        samples,
        element: Element::BYTE,
        fill: FillSource::new(10).file(4),
        file: 4,
        options,
    }
}

pub(crate) fn encoded(format: &dyn Format, spec: &FileSpec) -> Vec<u8> {
    let mut file = Vec::new();
    format
        .encode(spec, &mut [0; 1000], &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    file
}

/// A file and its companions in memory, and on disk where a library wants a path.
pub(crate) struct Memory {
    pub(crate) file: Vec<u8>,
    pub(crate) companions: Vec<Option<Vec<u8>>>,
    on_disk: Option<tempfile::NamedTempFile>,
}

impl Memory {
    pub(crate) fn new(file: Vec<u8>) -> Self {
        Memory {
            file,
            companions: Vec::new(),
            on_disk: None,
        }
    }

    pub(crate) fn made(format: &dyn Format, spec: &FileSpec) -> Self {
        let mut this = Memory::new(encoded(format, spec));
        for which in 0..format.companions().len() {
            let mut bytes = Vec::new();
            format
                .encode_companion(which, spec, &mut [0; 1000], &mut |chunk| {
                    bytes.extend_from_slice(chunk);
                    Ok(())
                })
                .unwrap();
            assert_eq!(bytes.len() as u64, format.companion_len(which, spec));
            this.companions.push(Some(bytes));
        }
        this
    }

    /// Reads `count` samples from `sample` as a loader does; `spec` has the contents compared.
    pub(crate) fn read(
        &mut self,
        format: &'static dyn Format,
        decode: Decode,
        options: &FormatOptions,
        expect: Expect,
        spec: Option<&FileSpec>,
    ) -> Result<u64, FormatError> {
        let mut extents = vec![Extent::Whole];
        let mut index = None;
        if format.needs_index(&expect, options) {
            let found = format.index(self, options)?;
            if found.samples() != expect.samples {
                return Err(FormatError::content(format!(
                    "{} samples, not {}",
                    found.samples(),
                    expect.samples
                )));
            }
            extents.clear();
            found.extents(expect.sample, expect.count, Access::Random, &mut extents);
            index = Some(found);
        }
        let mut checker = format.checker(decode, options);
        if spec.is_some() {
            checker = Box::new(ContentChecker::new(
                checker,
                format,
                Arc::new(options.clone()),
            ));
        }
        checker.begin(&Opened {
            file_len: self.file.len() as u64,
            expect,
            extents: &extents,
            index: index.as_ref(),
            spec,
        });
        let mut bytes = 0;
        for extent in extents {
            let (from, to) = match extent {
                Extent::Whole => (0, self.file.len()),
                Extent::Range { offset, len } => (offset as usize, (offset + len) as usize),
            };
            let got = self.file.get(from..to).ok_or(FormatError::Truncated {
                expected: to as u64,
                got: self.file.len() as u64,
            })?;
            bytes += got.len() as u64;
            for chunk in got.chunks(777) {
                checker.push(chunk)?;
            }
        }
        checker.finish()?;
        Ok(bytes)
    }
}

/// All samples of a file.
pub(crate) fn all(samples: u64) -> Expect {
    some(samples, 0, samples)
}

/// `count` of them from `sample`.
pub(crate) fn some(samples: u64, sample: u64, count: u64) -> Expect {
    Expect {
        samples,
        sample,
        count,
        min_len: 0,
    }
}

impl Source for Memory {
    fn file_len(&mut self) -> Result<u64, FormatError> {
        Ok(self.file.len() as u64)
    }
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        let end = offset.saturating_add(buf.len() as u64);
        let got = self.file.get(offset as usize..end as usize);
        buf.copy_from_slice(got.ok_or(FormatError::Truncated {
            expected: end,
            got: self.file.len() as u64,
        })?);
        Ok(())
    }
    fn companion(
        &mut self,
        companion: &Companion,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, FormatError> {
        let which = [".idx", ".off.idx"]
            .iter()
            .position(|s| *s == companion.suffix())
            .map_or(1, |_| 0);
        let bytes = self.companions.get(which).cloned().flatten();
        if bytes.as_ref().is_some_and(|b| b.len() as u64 > limit) {
            return Err(FormatError::content(
                "its index is longer than its samples need",
            ));
        }
        Ok(bytes)
    }
    fn local_path(&mut self) -> Result<&Path, FormatError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &self.file).unwrap();
        Ok(self.on_disk.insert(file).path())
    }
}
