//! Files in memory, put through everything that reads files: what the fuzz targets and the tests of damage call.

use super::{Access, Companion, Expect, FormatError, FormatOptions, Opened, Result, Source, row};
use crate::config::Decode;
use crate::storage::Extent;

/// Samples that are read at most; damaged metadata may announce any number.
const MAX_SAMPLES: u64 = 64;

/// A file and its companions, in the order of [`Format::companions`](super::Format::companions).
pub(crate) struct InMemory<'a> {
    file: &'a [u8],
    companions: [Option<&'a [u8]>; 2],
}

impl<'a> InMemory<'a> {
    pub(crate) fn new(file: &'a [u8], companions: [Option<&'a [u8]>; 2]) -> Self {
        InMemory { file, companions }
    }
}

impl Source for InMemory<'_> {
    fn file_len(&mut self) -> Result<u64> {
        Ok(self.file.len() as u64)
    }
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset.saturating_add(buf.len() as u64);
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|from| self.file.get(from..from.checked_add(buf.len())?));
        buf.copy_from_slice(bytes.ok_or(FormatError::Truncated {
            expected: end,
            got: self.file.len() as u64,
        })?);
        Ok(())
    }
    fn companion(&mut self, companion: &Companion, limit: u64) -> Result<Option<Vec<u8>>> {
        let second = companion.suffix() == ".sz.idx";
        let Some(bytes) = self.companions[usize::from(second)] else {
            return Ok(None);
        };
        if bytes.len() as u64 > limit {
            return Err(FormatError::content(
                "its index is longer than its samples need",
            ));
        }
        Ok(Some(bytes.to_vec()))
    }
}

/// Reads the metadata of a file and its samples at both levels that look at contents.
///
/// `word`: its format; `companions`: its index files, empty where there are none. Returns what would be said of it.
///
/// Errors: whatever is wrong with it. It never panics, and allocates in proportion to the file.
pub fn check(word: &str, file: &[u8], companions: [&[u8]; 2]) -> Result<Vec<String>> {
    let options = FormatOptions::default();
    let format = row(word)
        .and_then(|row| row.format)
        .ok_or_else(|| FormatError::content(format!("{word} is no format of this build")))?;
    let companions = companions.map(|bytes| (!bytes.is_empty()).then_some(bytes));
    let mut source = InMemory::new(file, companions);
    let index = format.index(&mut source, &options);
    let samples = index.as_ref().map_or(1, |index| index.samples());
    let count = samples.min(MAX_SAMPLES);
    let expect = Expect {
        samples,
        sample: 0,
        count,
        min_len: 0,
    };
    let mut extents = vec![Extent::Whole];
    if format.needs_index(&expect, &options) {
        extents.clear();
        index
            .as_ref()
            .map(|index| index.extents(0, count, Access::Random, &mut extents))
            .ok();
    }
    let mut verdict = Ok(());
    for decode in [Decode::Verify, Decode::Full] {
        let mut checker = format.checker(decode, &options);
        checker.begin(&Opened {
            file_len: file.len() as u64,
            expect,
            extents: &extents,
            index: index.as_ref().ok(),
            spec: None,
        });
        let pushed = extents.iter().try_for_each(|extent| {
            let bytes = match *extent {
                Extent::Whole => file,
                Extent::Range { offset, len } => {
                    let end = offset.saturating_add(len).min(file.len() as u64);
                    &file[offset.min(end) as usize..end as usize]
                }
            };
            bytes.chunks(4093).try_for_each(|chunk| checker.push(chunk))
        });
        verdict = verdict.and(pushed.and_then(|()| checker.finish()));
    }
    let index = index?;
    verdict?;
    Ok(index.describe())
}
