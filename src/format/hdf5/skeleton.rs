//! Making files: metadata by libhdf5, samples by the fill.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use hdf5::plist::dataset_create::{AllocTime, FillTime};
use hdf5::types::{IntSize, TypeDescriptor};
use hdf5_metno as hdf5;
use parking_lot::Mutex;

use super::driver;
use super::image::Image;
use super::layout::{Layout, coordinates};
use super::library::{chunk_at, create_file, descriptor, failed, write_chunk};
use crate::config::Compression;
use crate::format::{Chunks, FileSpec, FormatError, Result};
use crate::plan::fill::Fill;

/// What lies at one place of a file.
enum Part {
    Metadata(Vec<u8>),
    /// All bytes of a contiguous dataset.
    Dataset(u64),
    /// A chunk of a dataset.
    Chunk(u64, u64),
    /// Labels.
    Zeros(u64),
}

/// A file without its samples: the same for all files of a shape.
pub(super) struct Skeleton {
    parts: Vec<Part>,
    pub(super) len: u64,
}

/// Skeletons that are kept; a dataset whose files have different shapes needs a new one for each.
const KEPT: usize = 8;

static MADE: Mutex<VecDeque<(Layout, Arc<Skeleton>)>> = Mutex::new(VecDeque::new());

fn io(e: std::io::Error) -> FormatError {
    FormatError::Content(format!(
        "hdf5: temporary image: {e}\n  remedy: set TMPDIR to a folder that can be written"
    ))
}

fn temporary() -> Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".dlio-rs-")
        .suffix(".hdf5")
        .tempfile()
        .map_err(io)
}

/// Creates all datasets in a new, empty file; sample storage is allocated at once unless it is to be compressed.
pub(super) fn create(file: &hdf5::File, layout: &Layout) -> Result<Vec<hdf5::Dataset>> {
    let bad = failed("make a file");
    let is_compressed = layout.compression != Compression::None;
    let longest = layout.max_dims.as_ref().unwrap_or(&layout.dims);
    let extents = layout
        .dims
        .iter()
        .zip(longest)
        .map(|(&dim, &max)| hdf5::Extent::new(dim as usize, Some(max as usize)));
    let extents = hdf5::SimpleExtents::from_vec(extents.collect());
    let mut datasets = Vec::new();
    for number in 0..layout.datasets {
        let mut builder = file
            .new_dataset_builder()
            .obj_track_times(false)
            .fill_time(FillTime::Never);
        builder = match &layout.chunk {
            Some(chunk) => {
                let chunk: Vec<usize> = chunk.iter().map(|&c| c as usize).collect();
                builder.chunk(chunk)
            }
            None => builder.no_chunk(),
        };
        builder = match layout.compression {
            Compression::Gzip => builder.deflate(layout.level as u8),
            Compression::Lzf => builder.lzf(),
            _ => builder,
        };
        if !is_compressed {
            builder = builder.alloc_time(Some(AllocTime::Early));
        }
        let dataset = builder
            .empty_as(descriptor(layout.element))
            .shape(extents.clone())
            .create(format!("records_{number}").as_str())
            .map_err(&bad)?;
        datasets.push(dataset);
    }
    file.new_dataset_builder()
        .obj_track_times(false)
        .fill_time(FillTime::Never)
        .alloc_time(Some(AllocTime::Early))
        .no_chunk()
        .empty_as(TypeDescriptor::Integer(IntSize::U8))
        .shape(layout.dims[0] as usize)
        .create("labels")
        .map_err(&bad)?;
    Ok(datasets)
}

impl Skeleton {
    /// The skeleton of files of this layout, which must not be compressed.
    pub(super) fn of(layout: &Layout) -> Result<Arc<Skeleton>> {
        let found = |made: &VecDeque<(Layout, Arc<Skeleton>)>| {
            made.iter()
                .find(|(l, _)| l == layout)
                .map(|(_, skeleton)| skeleton.clone())
        };
        if let Some(skeleton) = found(&MADE.lock()) {
            return Ok(skeleton);
        }
        let skeleton = Arc::new(Skeleton::make(layout)?);
        let mut made = MADE.lock();
        if made.len() == KEPT {
            made.pop_front();
        }
        made.push_back((layout.clone(), skeleton.clone()));
        Ok(skeleton)
    }

    fn make(layout: &Layout) -> Result<Skeleton> {
        let image = Arc::new(Mutex::new(Image::default()));
        let file = driver::registered()?.create(image.clone());
        let file = file.map_err(failed("make a file"))?;
        let datasets = create(&file, layout)?;
        let missing = || FormatError::content("hdf5: storage was not allocated");
        // First byte, length, what.
        let mut storage: Vec<(u64, u64, Part)> = Vec::new();
        for (number, dataset) in (0..).zip(&datasets) {
            let Some(chunk) = &layout.chunk else {
                let at = dataset.offset().ok_or_else(missing)?;
                storage.push((at, layout.dataset_len(), Part::Dataset(number)));
                continue;
            };
            let grid = layout.grid(chunk);
            for cell in 0..grid.iter().product() {
                let at = coordinates(cell, &grid);
                let first: Vec<u64> = at.iter().zip(chunk).map(|(at, c)| at * c).collect();
                let stored = chunk_at(dataset, &first)?;
                let at = stored.address.ok_or_else(missing)?;
                storage.push((at, stored.len, Part::Chunk(number, cell)));
            }
        }
        let labels = file.dataset("labels").map_err(failed("find labels"))?;
        let labels_len = 8 * layout.dims[0];
        let at = labels.offset().ok_or_else(missing)?;
        storage.push((at, labels_len, Part::Zeros(labels_len)));
        drop((labels, datasets));
        file.close().map_err(failed("close a file"))?;

        storage.sort_by_key(|(at, ..)| *at);
        let mut parts = Vec::new();
        let mut done = 0;
        let image = image.lock();
        let len = image.file_len();
        let metadata = |parts: &mut Vec<Part>, from: u64, to: u64| {
            if to > from {
                let mut bytes = vec![0; (to - from) as usize];
                image.copy(from, &mut bytes);
                parts.push(Part::Metadata(bytes));
            }
        };
        for (at, part_len, part) in storage {
            metadata(&mut parts, done, at);
            parts.push(part);
            done = at + part_len;
        }
        metadata(&mut parts, done, len);
        Ok(Skeleton {
            parts,
            len: len.max(done),
        })
    }

    /// Streams a file.
    pub(super) fn stream(&self, layout: &Layout, fill: &Fill, chunks: &mut Chunks) -> Result<()> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Metadata(metadata) => chunks.bytes(metadata)?,
                Part::Zeros(len) => chunks.zeros(*len)?,
                Part::Dataset(number) => {
                    chunks.fill(fill, layout.fill_from(*number), layout.dataset_len())?;
                }
                Part::Chunk(number, cell) => {
                    let chunk = layout.chunk.as_deref().unwrap_or(&[]);
                    layout.chunk_bytes(chunk, *number, *cell, fill, &mut bytes);
                    chunks.bytes(&bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// A chunk as it is stored: its bytes, and which filters were left out.
///
/// The fill does not compress, and LZF leaves such chunks as they are.
pub(super) fn packed(layout: &Layout, chunk: &[u8]) -> Result<(Vec<u8>, u32)> {
    if layout.compression != Compression::Gzip {
        return Ok((chunk.to_vec(), 1));
    }
    let level = flate2::Compression::new(layout.level);
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), level);
    packer.write_all(chunk)?;
    Ok((packer.finish()?, 0))
}

/// Streams a compressed file through a temporary image.
pub(super) fn stream_compressed(
    layout: &Layout,
    spec: &FileSpec,
    chunks: &mut Chunks,
) -> Result<()> {
    let mut image = temporary()?;
    let file = create_file(image.path())?;
    let datasets = create(&file, layout)?;
    let chunk = layout.chunk.as_deref().unwrap_or(&[]);
    let grid = layout.grid(chunk);
    let mut bytes = Vec::new();
    for (number, dataset) in (0..).zip(&datasets) {
        for cell in 0..grid.iter().product() {
            layout.chunk_bytes(chunk, number, cell, &spec.fill, &mut bytes);
            let (stored, skipped) = packed(layout, &bytes)?;
            let at = coordinates(cell, &grid);
            let first: Vec<u64> = at.iter().zip(chunk).map(|(at, c)| at * c).collect();
            write_chunk(dataset, &first, skipped, &stored)?;
        }
    }
    drop(datasets);
    file.close().map_err(failed("close a file"))?;
    image.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut piece = vec![0; 1 << 18];
    loop {
        let n = image.read(&mut piece).map_err(io)?;
        if n == 0 {
            return Ok(());
        }
        chunks.bytes(&piece[..n])?;
    }
}
