//! Where the samples of a file lie: the indexes of formats whose samples are byte ranges.

use std::any::Any;
use std::sync::Arc;

use super::{Access, FormatError, Index, Result};
use crate::storage::Extent;

/// Placement of the samples of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spans {
    /// Every sample needs the whole file.
    Whole,
    /// Sample k lies at `start + k * len`.
    Stride {
        /// Offset of sample 0.
        start: u64,
        len: u64,
    },
    /// Offset and length of each sample, ascending, without overlap.
    Listed(Vec<[u64; 2]>),
}

impl Spans {
    /// From each sample's offset and length; regular ones are kept as a stride.
    ///
    /// Errors: a sample is empty, overlaps the one before, or ends beyond `file_len`.
    pub(crate) fn listed(list: Vec<[u64; 2]>, file_len: u64) -> Result<Spans> {
        let mut end = 0;
        for (k, &[offset, len]) in list.iter().enumerate() {
            let stop = offset.checked_add(len).filter(|&stop| stop <= file_len);
            let Some(stop) = stop.filter(|_| len > 0) else {
                return Err(FormatError::content(format!(
                    "its index places sample {k} at bytes {offset} to {offset}+{len}; the file has {file_len} bytes"
                )));
            };
            if offset < end {
                return Err(FormatError::content(format!(
                    "its index places sample {k} at byte {offset}, within the sample before, which ends at {end} (DLIO writes such an index for files larger than its generation_buffer_size; generate the file again)"
                )));
            }
            end = stop;
        }
        let Some(&[start, len]) = list.first() else {
            return Ok(Spans::Listed(list));
        };
        let is_regular = list
            .iter()
            .zip(0..)
            .all(|(&span, k)| span == [start + k * len, len]);
        Ok(if is_regular {
            Spans::Stride { start, len }
        } else {
            Spans::Listed(list)
        })
    }

    /// First and end byte of sample `k`; None when every sample needs the whole file.
    fn of(&self, k: u64) -> Option<(u64, u64)> {
        match self {
            Spans::Whole => None,
            Spans::Stride { start, len } => Some((start + k * len, start + (k + 1) * len)),
            Spans::Listed(list) => {
                let [offset, len] = list[k as usize];
                Some((offset, offset + len))
            }
        }
    }
}

/// An index of spans, with what is to be said of the file.
pub(crate) struct SpanIndex {
    pub(crate) samples: u64,
    pub(crate) spans: Spans,
    pub(crate) lines: Vec<String>,
}

impl SpanIndex {
    /// Of a file that is read whole.
    pub(crate) fn whole(samples: u64, lines: Vec<String>) -> Arc<dyn Index> {
        Arc::new(SpanIndex {
            samples,
            spans: Spans::Whole,
            lines,
        })
    }
}

impl Index for SpanIndex {
    fn samples(&self) -> u64 {
        self.samples
    }

    fn extents(&self, first: u64, count: u64, _: Access, out: &mut Vec<Extent>) {
        // Neighbours without a gap are one read.
        let mut open: Option<(u64, u64)> = None;
        for k in first..first + count {
            let Some((from, to)) = self.spans.of(k) else {
                out.push(Extent::Whole);
                return;
            };
            open = match open {
                Some((start, end)) if end == from => Some((start, to)),
                Some((start, end)) => {
                    let len = end - start;
                    out.push(Extent::Range { offset: start, len });
                    Some((from, to))
                }
                None => Some((from, to)),
            };
        }
        if let Some((start, end)) = open {
            let len = end - start;
            out.push(Extent::Range { offset: start, len });
        }
    }

    fn memory(&self) -> usize {
        let list = match &self.spans {
            Spans::Listed(list) => list.len() * 16,
            _ => 0,
        };
        list + 128 + self.lines.iter().map(String::len).sum::<usize>()
    }

    fn describe(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(spans: Spans, first: u64, count: u64) -> Vec<Extent> {
        let index = SpanIndex {
            samples: 4,
            spans,
            lines: Vec::new(),
        };
        let mut out = Vec::new();
        index.extents(first, count, Access::Random, &mut out);
        out
    }

    fn range(offset: u64, len: u64) -> Extent {
        Extent::Range { offset, len }
    }

    #[test]
    fn neighbours_are_read_at_once_and_gaps_are_left_out() {
        let regular = Spans::listed(vec![[8, 5], [13, 5], [18, 5]], 23).unwrap();
        assert_eq!(regular, Spans::Stride { start: 8, len: 5 });
        assert_eq!(extents(regular, 1, 2), [range(13, 10)]);
        let gaps = Spans::listed(vec![[0, 4], [4, 6], [16, 2], [18, 9]], 27).unwrap();
        assert_eq!(extents(gaps.clone(), 0, 4), [range(0, 10), range(16, 11)]);
        assert_eq!(extents(gaps, 2, 1), [range(16, 2)]);
        assert_eq!(extents(Spans::Whole, 0, 3), [Extent::Whole]);
    }

    #[test]
    fn spans_that_no_file_can_have_are_refused() {
        for (list, word) in [
            (vec![[0, 4], [2, 4]], "within the sample before"),
            (vec![[0, 11]], "the file has 10 bytes"),
            (vec![[u64::MAX, 4]], "the file has 10 bytes"),
            (vec![[3, 0]], "the file has 10 bytes"),
        ] {
            let error = Spans::listed(list, 10).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
