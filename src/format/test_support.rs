//! Encoding and reading files in memory, for the tests of the formats.

use std::sync::Arc;

use super::content::ContentChecker;
use super::memory::InMemory;
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

/// The extents of samples, and the index that named them.
pub(crate) type Located = (Vec<Extent>, Option<Arc<dyn Index>>);

/// A file and its companions.
pub(crate) struct Memory {
    pub(crate) file: Vec<u8>,
    pub(crate) companions: Vec<Option<Vec<u8>>>,
    /// Bytes that a checker is shown at once.
    pub(crate) step: usize,
}

impl Memory {
    pub(crate) fn new(file: Vec<u8>) -> Self {
        Memory {
            file,
            companions: Vec::new(),
            step: 777,
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

    pub(crate) fn source(&self) -> InMemory<'_> {
        let companion = |which: usize| self.companions.get(which)?.as_deref();
        InMemory::new(&self.file, [companion(0), companion(1)])
    }

    /// Where the bytes of samples lie, as a loader finds them.
    pub(crate) fn locate(
        &self,
        format: &dyn Format,
        options: &FormatOptions,
        expect: Expect,
    ) -> Result<Located> {
        if !format.needs_index(&expect, options) {
            return Ok((vec![Extent::Whole], None));
        }
        let index = format.index(&mut self.source(), options)?;
        if index.samples() != expect.samples {
            return Err(FormatError::content(format!(
                "{} samples, not {}",
                index.samples(),
                expect.samples
            )));
        }
        let mut extents = Vec::new();
        index.extents(expect.sample, expect.count, Access::Random, &mut extents);
        Ok((extents, Some(index)))
    }

    pub(crate) fn bytes(&self, extent: &Extent) -> Result<&[u8]> {
        let (from, to) = match *extent {
            Extent::Whole => (0, self.file.len()),
            Extent::Range { offset, len } => (offset as usize, (offset + len) as usize),
        };
        self.file.get(from..to).ok_or(FormatError::Truncated {
            expected: to as u64,
            got: self.file.len() as u64,
        })
    }

    /// Reads `count` samples from `sample` as a loader does; `spec` has the contents compared.
    pub(crate) fn read(
        &mut self,
        format: &'static dyn Format,
        decode: Decode,
        options: &FormatOptions,
        expect: Expect,
        spec: Option<&FileSpec>,
    ) -> Result<u64> {
        let (extents, index) = self.locate(format, options, expect)?;
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
        for extent in &extents {
            let got = self.bytes(extent)?;
            bytes += got.len() as u64;
            for chunk in got.chunks(self.step) {
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

pub(crate) fn some(samples: u64, sample: u64, count: u64) -> Expect {
    Expect {
        samples,
        sample,
        count,
        min_len: 0,
    }
}
