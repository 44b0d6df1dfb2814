//! Reading metadata: where the samples of a file lie.

use std::any::Any;

use hdf5::dataset::Layout as Storage;
use hdf5::plist::DatasetCreate;
use hdf5_metno as hdf5;

use super::filters::Undo;
use super::layout::{Layout, coordinates, grid};
use super::library::{Stored, chunk_at, failed};
use super::reader::Reader;
use super::skeleton::packed;
use crate::format::{Access, Chunks, FileSpec, FormatError, Index, Out, Result, Source};
use crate::storage::Extent;

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
    pub(super) fn read(source: &mut dyn Source) -> Result<Self> {
        Self::read_by(Reader::new(source)?)
    }

    /// The same, with metadata fetched as `reader` does.
    pub(super) fn read_by(mut reader: Reader) -> Result<Self> {
        let file = reader.open()?;
        let names = reader.libhdf5(|| file.member_names())?;
        let names = names.map_err(failed("list datasets"))?;
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
            let dataset = reader.libhdf5(|| file.dataset(&name))?;
            let dataset = dataset.map_err(failed(&name))?;
            index.add(&name, &dataset, &mut reader)?;
        }
        if index.datasets.is_empty() {
            return Err(FormatError::Content(format!(
                "it has no dataset records_0; it has: {}",
                names.join(", ")
            )));
        }
        if names.iter().any(|name| name == "labels")
            && let Ok(labels) = reader.libhdf5(|| file.dataset("labels"))?
        {
            let shape = labels.shape();
            index.lines.push(format!("labels: shape {shape:?}"));
        }
        Ok(index)
    }

    fn add(&mut self, name: &str, dataset: &hdf5::Dataset, reader: &mut Reader) -> Result<()> {
        let bad = failed(name);
        let dims: Vec<u64> = dataset.shape().iter().map(|&d| d as u64).collect();
        let dtype = reader.libhdf5(|| dataset.dtype())?.map_err(&bad)?;
        let element_bytes = dtype.size() as u64;
        let Some((&samples, rest)) = dims.split_first() else {
            return Err(FormatError::Content(format!(
                "{name} has no axes; samples are the first axis of records_i"
            )));
        };
        let part_len = rest
            .iter()
            .try_fold(element_bytes, |len, &dim| len.checked_mul(dim))
            .filter(|part| part.checked_mul(samples).is_some())
            .ok_or_else(|| too_large(name, &dims, element_bytes))?;
        if self.datasets.is_empty() {
            self.samples = samples;
        } else if self.samples != samples {
            return Err(FormatError::Content(format!(
                "{name} has {samples} samples, records_0 has {}",
                self.samples
            )));
        }
        let properties = reader.libhdf5(|| dataset.dcpl())?.map_err(&bad)?;
        let mut how = String::new();
        let place = match properties.layout() {
            Storage::Contiguous => {
                if let Some(external) = properties.external().first() {
                    return Err(FormatError::Content(format!(
                        "{name} is stored outside of the file, in {}; external storage is not supported, datasets within the file are",
                        external.name
                    )));
                }
                contiguous(name, dataset, part_len * samples, reader)?
            }
            Storage::Chunked => {
                let place = chunked(name, dataset, &properties, &dims, element_bytes, reader)?;
                if let Place::Chunked { filters, .. } = &place {
                    how = format!(", chunks of {:?}", properties.chunk().unwrap_or_default());
                    for filter in filters.iter().flatten() {
                        how.push_str(", ");
                        how.push_str(filter.name());
                    }
                }
                place
            }
            other => {
                return Err(FormatError::Content(format!(
                    "{name} is stored {other:?}, which is not supported; contiguous and chunked datasets are read"
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
    ) -> Result<()> {
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

fn too_large(name: &str, dims: &[u64], element_bytes: u64) -> FormatError {
    FormatError::Content(format!(
        "{name} announces shape {dims:?} of {element_bytes} bytes each, more than any file holds"
    ))
}

/// Where a contiguous dataset of `len` bytes lies.
fn contiguous(name: &str, dataset: &hdf5::Dataset, len: u64, reader: &mut Reader) -> Result<Place> {
    let first = reader.libhdf5(|| dataset.offset())?.ok_or_else(|| {
        FormatError::Content(format!("{name} has no storage: nothing was written"))
    })?;
    let first = first.saturating_add(reader.base());
    let (expected, got) = (first.saturating_add(len), reader.file_len());
    if expected > got {
        return Err(FormatError::Truncated { expected, got });
    }
    Ok(Place::Contiguous { first })
}

/// Where the chunks of a dataset lie.
fn chunked(
    name: &str,
    dataset: &hdf5::Dataset,
    properties: &DatasetCreate,
    dims: &[u64],
    element_bytes: u64,
    reader: &mut Reader,
) -> Result<Place> {
    let chunk = properties.chunk().unwrap_or_default();
    let chunk: Vec<u64> = chunk.iter().map(|&c| c as u64).collect();
    if chunk.len() != dims.len() || chunk.contains(&0) {
        return Err(FormatError::Content(format!(
            "{name} has shape {dims:?} and chunks of {chunk:?}"
        )));
    }
    let too_large = || too_large(name, dims, element_bytes);
    let chunk_len = chunk
        .iter()
        .try_fold(element_bytes, |len, &axis| len.checked_mul(axis))
        .ok_or_else(too_large)?;
    let cells = grid(dims, &chunk);
    let file_len = reader.file_len();
    let count = cells
        .iter()
        .try_fold(1u64, |n, &axis| n.checked_mul(axis))
        .filter(|&n| n <= MAX_CHUNKS && n <= file_len.max(1 << 16))
        .ok_or_else(too_large)?;
    let mut table = Vec::with_capacity(count as usize);
    for cell in 0..count {
        let at = coordinates(cell, &cells);
        let first: Vec<u64> = at.iter().zip(&chunk).map(|(at, c)| at * c).collect();
        let mut stored = reader.libhdf5(|| chunk_at(dataset, &first))??;
        stored.address = stored
            .address
            .map(|address| address.saturating_add(reader.base()));
        let end = stored.address.map_or(0, |at| at.saturating_add(stored.len));
        if end > file_len {
            return Err(FormatError::Truncated {
                expected: end,
                got: file_len,
            });
        }
        table.push(stored);
    }
    let filters = properties.get_filters().map_err(failed(name))?;
    let filters: Result<Vec<Undo>, String> = filters
        .iter()
        .map(|f| Undo::of(f).map_err(|e| e.to_string()))
        .collect();
    Ok(Place::Chunked {
        along: chunk[0],
        per_row: cells[1..].iter().product(),
        table,
        chunk_len,
        filters,
    })
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
