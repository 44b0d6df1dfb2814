//! Reading metadata: where the samples of a file lie.

use std::any::Any;

use hdf5::dataset::Layout as Storage;
use hdf5_metno as hdf5;

use super::filters::Undo;
use super::layout::{Layout, coordinates, grid};
use super::library::{Stored, chunk_at, failed};
use super::skeleton::packed;
use crate::format::{Access, Chunks, FileSpec, FormatError, Index, Out, Source};
use crate::storage::Extent;

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Chunks of one file that are listed: 384 MiB of metadata.
const MAX_CHUNKS: u64 = 1 << 24;

/// Where the samples of one dataset lie.
enum Place {
    Contiguous {
        first: u64,
    },
    Chunked {
        /// Samples in a chunk.
        along: u64,
        /// Chunks that one such row of samples has.
        per_row: u64,
        /// By number in C order of the grid.
        table: Vec<Stored>,
        /// Bytes of an unpacked chunk.
        chunk_len: u64,
        /// In the order in which they were applied; the error where one is not known here.
        filters: Result<Vec<Undo>, String>,
    },
}

/// One dataset.
struct Records {
    place: Place,
    part_len: u64,
    element_bytes: usize,
}

/// Metadata of one file.
pub(super) struct Hdf5Index {
    samples: u64,
    datasets: Vec<Records>,
    lines: Vec<String>,
}

/// How the chunks of a dataset are unpacked.
pub(super) struct Packing<'a> {
    pub(super) chunk_len: u64,
    pub(super) element_bytes: usize,
    pub(super) filters: &'a Result<Vec<Undo>, String>,
}

impl Hdf5Index {
    /// Errors: no HDF5 file, damaged metadata, no `records_0`, storage that no byte ranges describe.
    pub(super) fn read(source: &mut dyn Source) -> Result<Self, FormatError> {
        let file_len = source.file_len()?;
        let mut magic = [0; 8];
        source.read_at(0, &mut magic[..file_len.min(8) as usize])?;
        if magic != SIGNATURE {
            if SIGNATURE.starts_with(&magic[..file_len.min(8) as usize]) {
                return Err(FormatError::Truncated {
                    expected: 512,
                    got: file_len,
                });
            }
            return Err(FormatError::Magic {
                what: "an hdf5 file",
                found: magic.to_vec(),
            });
        }
        let path = source.local_path()?;
        let file = hdf5::File::open(path).map_err(failed("open"))?;
        let names = file.member_names().map_err(failed("list datasets"))?;
        let mut index = Hdf5Index {
            samples: 0,
            datasets: Vec::new(),
            lines: Vec::new(),
        };
        for number in 0.. {
            let name = format!("records_{number}");
            if !names.contains(&name) {
                break;
            }
            let dataset = file.dataset(&name).map_err(failed(&name))?;
            index.add(&name, &dataset, file_len)?;
        }
        if index.datasets.is_empty() {
            return Err(FormatError::Content(format!(
                "it has no dataset records_0; it has: {}",
                names.join(", ")
            )));
        }
        if let Ok(labels) = file.dataset("labels") {
            index
                .lines
                .push(format!("labels: shape {:?}", labels.shape()));
        }
        Ok(index)
    }

    fn add(
        &mut self,
        name: &str,
        dataset: &hdf5::Dataset,
        file_len: u64,
    ) -> Result<(), FormatError> {
        let bad = failed(name);
        let dims: Vec<u64> = dataset.shape().iter().map(|&d| d as u64).collect();
        let dtype = dataset.dtype().map_err(&bad)?;
        let element_bytes = dtype.size() as u64;
        let Some((&samples, rest)) = dims.split_first() else {
            return Err(FormatError::Content(format!(
                "{name} has no axes; samples are the first axis of records_i"
            )));
        };
        let too_large = || {
            FormatError::Content(format!(
                "{name} announces shape {dims:?} of {element_bytes} bytes each, more than any file holds"
            ))
        };
        let part_len = rest
            .iter()
            .try_fold(element_bytes, |len, &dim| len.checked_mul(dim))
            .ok_or_else(too_large)?;
        let len = part_len.checked_mul(samples).ok_or_else(too_large)?;
        if self.datasets.is_empty() {
            self.samples = samples;
        } else if self.samples != samples {
            return Err(FormatError::Content(format!(
                "{name} has {samples} samples, records_0 has {}",
                self.samples
            )));
        }
        let truncated = |expected: u64| FormatError::Truncated {
            expected,
            got: file_len,
        };
        let mut how = String::new();
        let place = match dataset.layout() {
            Storage::Contiguous => {
                let first = dataset.offset().ok_or_else(|| {
                    FormatError::Content(format!("{name} has no storage: nothing was written"))
                })?;
                let end = first.saturating_add(len);
                if end > file_len {
                    return Err(truncated(end));
                }
                Place::Contiguous { first }
            }
            Storage::Chunked => {
                let properties = dataset.dcpl().map_err(&bad)?;
                let chunk = properties.chunk().unwrap_or_default();
                let chunk: Vec<u64> = chunk.iter().map(|&c| c as u64).collect();
                if chunk.len() != dims.len() || chunk.contains(&0) {
                    return Err(FormatError::Content(format!(
                        "{name} has shape {dims:?} and chunks of {chunk:?}"
                    )));
                }
                let chunk_len = chunk
                    .iter()
                    .try_fold(element_bytes, |len, &axis| len.checked_mul(axis))
                    .ok_or_else(too_large)?;
                let cells = grid(&dims, &chunk);
                let count = cells
                    .iter()
                    .try_fold(1u64, |n, &axis| n.checked_mul(axis))
                    .filter(|&n| n <= MAX_CHUNKS && n <= file_len.max(1 << 16))
                    .ok_or_else(too_large)?;
                let mut table = Vec::with_capacity(count as usize);
                for cell in 0..count {
                    let at = coordinates(cell, &cells);
                    let first: Vec<u64> = at.iter().zip(&chunk).map(|(at, c)| at * c).collect();
                    let stored = chunk_at(dataset, &first)?;
                    let end = stored.address.map_or(0, |at| at.saturating_add(stored.len));
                    if end > file_len {
                        return Err(truncated(end));
                    }
                    table.push(stored);
                }
                let filters = properties.get_filters().map_err(&bad)?;
                let filters: Result<Vec<Undo>, String> = filters
                    .iter()
                    .map(|f| Undo::of(f).map_err(|e| e.to_string()))
                    .collect();
                how = format!(", chunks of {chunk:?}");
                if let Ok(filters) = &filters {
                    for filter in filters {
                        how.push_str(", ");
                        how.push_str(filter.name());
                    }
                }
                Place::Chunked {
                    along: chunk[0],
                    per_row: cells[1..].iter().product(),
                    table,
                    chunk_len,
                    filters,
                }
            }
            other => {
                return Err(FormatError::Content(format!(
                    "{name} is stored {other:?}; contiguous and chunked datasets are read"
                )));
            }
        };
        let dtype = dtype
            .to_descriptor()
            .map_or_else(|_| format!("{element_bytes} bytes"), |d| d.to_string());
        self.lines
            .push(format!("{name}: shape {dims:?}, type {dtype}{how}"));
        self.datasets.push(Records {
            place,
            part_len,
            element_bytes: element_bytes as usize,
        });
        Ok(())
    }

    /// Datasets, which are read one after the other.
    pub(super) fn datasets(&self) -> usize {
        self.datasets.len()
    }

    /// Bytes of these samples where the dataset is contiguous.
    pub(super) fn contiguous(&self, dataset: usize, count: u64) -> Option<u64> {
        let records = &self.datasets[dataset];
        matches!(records.place, Place::Contiguous { .. }).then(|| records.part_len * count)
    }

    /// The stored chunks of these samples of a chunked dataset, with their cells, in the order in which they are read.
    pub(super) fn chunks(
        &self,
        dataset: usize,
        first: u64,
        count: u64,
    ) -> impl Iterator<Item = (u64, Stored)> + '_ {
        let (cells, table): (_, &[Stored]) = match &self.datasets[dataset].place {
            Place::Chunked {
                along,
                per_row,
                table,
                ..
            } if count > 0 => {
                let rows = first / along..(first + count - 1) / along + 1;
                (rows.start * per_row..rows.end * per_row, table)
            }
            _ => (0..0, &[]),
        };
        cells
            .map(|cell| (cell, table[cell as usize]))
            .filter(|(_, stored)| stored.address.is_some())
    }

    /// None where the dataset is contiguous.
    pub(super) fn packing(&self, dataset: usize) -> Option<Packing<'_>> {
        let records = &self.datasets[dataset];
        match &records.place {
            Place::Contiguous { .. } => None,
            Place::Chunked {
                chunk_len, filters, ..
            } => Some(Packing {
                chunk_len: *chunk_len,
                element_bytes: records.element_bytes,
                filters,
            }),
        }
    }

    /// What the extents of these samples hold in a file made here.
    pub(super) fn expected(
        &self,
        layout: &Layout,
        spec: &FileSpec,
        first: u64,
        count: u64,
        out: Out,
    ) -> Result<(), FormatError> {
        let mut buffer = vec![0; 1 << 18];
        let mut chunks = Chunks::new(&mut buffer, out);
        let Some(chunk) = &layout.chunk else {
            let part = layout.part_len();
            for dataset in 0..layout.datasets {
                let from = layout.fill_from(dataset) + first * part;
                chunks.fill(&spec.fill, from, count * part)?;
            }
            return Ok(chunks.end()?);
        };
        let mut bytes = Vec::new();
        for dataset in 0..self.datasets() {
            for (cell, _) in self.chunks(dataset, first, count) {
                layout.chunk_bytes(chunk, dataset as u64, cell, &spec.fill, &mut bytes);
                if layout.compression == crate::config::Compression::None {
                    chunks.bytes(&bytes)?;
                } else {
                    chunks.bytes(&packed(layout, &bytes)?.0)?;
                }
            }
        }
        Ok(chunks.end()?)
    }
}

impl Index for Hdf5Index {
    fn samples(&self) -> u64 {
        self.samples
    }

    fn extents(&self, first: u64, count: u64, _: Access, out: &mut Vec<Extent>) {
        for (number, records) in self.datasets.iter().enumerate() {
            if let Place::Contiguous { first: at } = records.place {
                out.push(Extent::Range {
                    offset: at + first * records.part_len,
                    len: count * records.part_len,
                });
                continue;
            }
            // Chunks that follow each other in the file are one read.
            let mut open: Option<(u64, u64)> = None;
            for (_, stored) in self.chunks(number, first, count) {
                let Some(at) = stored.address else {
                    continue;
                };
                open = match open {
                    Some((offset, len)) if offset + len == at => Some((offset, len + stored.len)),
                    before => {
                        if let Some((offset, len)) = before {
                            out.push(Extent::Range { offset, len });
                        }
                        Some((at, stored.len))
                    }
                };
            }
            if let Some((offset, len)) = open {
                out.push(Extent::Range { offset, len });
            }
        }
    }

    fn memory(&self) -> usize {
        let of = |r: &Records| match &r.place {
            Place::Contiguous { .. } => 64,
            Place::Chunked { table, .. } => table.len() * size_of::<Stored>() + 128,
        };
        self.datasets.iter().map(of).sum::<usize>() + 256
    }

    fn describe(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
