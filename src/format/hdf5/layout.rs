//! The datasets of a file: shapes, chunks, and which bytes of the fill each holds.

use crate::config::{Compression, Element};
use crate::format::{FileSpec, FormatError, Result};
use crate::plan::fill::Fill;

/// What h5py's guess of chunks aims at, and its bounds: bytes.
const CHUNK_BASE: f64 = 16.0 * 1024.0;
const CHUNK_MIN: f64 = 8.0 * 1024.0;
const CHUNK_MAX: f64 = 1024.0 * 1024.0;
/// HDF5 holds no larger chunk.
const CHUNK_LIMIT: u64 = u32::MAX as u64;

/// The datasets of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Datasets `records_i`.
    pub(super) datasets: u64,
    /// Shape of each: samples, then the sample's part.
    pub(super) dims: Vec<u64>,
    /// Longest axes, where they may grow.
    pub(super) max_dims: Option<Vec<u64>>,
    /// Shape of a chunk; contiguous without.
    pub(super) chunk: Option<Vec<u64>>,
    pub(super) element: Element,
    pub(super) compression: Compression,
    pub(super) level: u32,
}

fn refuse<T>(text: String) -> Result<T> {
    Err(FormatError::Content(text))
}

/// Shape of a sample's part in each of several datasets.
fn part_of(spec: &FileSpec, datasets: u64) -> Result<Vec<u64>> {
    let mut part = spec.sample_dims.to_vec();
    if let Some(first) = part.first_mut() {
        *first /= datasets;
        if *first == 0 {
            return refuse(format!(
                "dataset.hdf5.num_dset_per_record={datasets}: more than the {} rows of a sample",
                spec.sample_dims[0]
            ));
        }
        // DLIO leaves out a leading axis of one, but not the second of two.
        if *first == 1 && part.len() > 2 {
            part.remove(0);
        }
    }
    Ok(part)
}

impl Layout {
    /// Errors: keys of `dataset.hdf5` that contradict the sample's shape; a compression that HDF5 does not have.
    pub(super) fn of(spec: &FileSpec) -> Result<Layout> {
        let options = spec.options;
        let section = &options.hdf5;
        if !matches!(
            options.compression,
            Compression::None | Compression::Gzip | Compression::Lzf
        ) {
            return refuse(format!(
                "dataset.compression={}: hdf5 takes none, gzip and lzf",
                options.compression
            ));
        }
        let datasets = section.num_dset_per_record.max(1);
        let mut dims = vec![spec.samples];
        dims.extend(part_of(spec, datasets)?);
        let rank = dims.len();
        let max_dims = (!section.max_shape.is_empty()).then(|| {
            let mut all = vec![spec.samples];
            all.extend(&section.max_shape);
            all
        });
        if let Some(max) = &max_dims
            && (max.len() != rank || max.iter().zip(&dims).any(|(max, dim)| max < dim))
        {
            return refuse(format!(
                "dataset.hdf5.max_shape={:?} does not hold a sample of shape {:?}",
                section.max_shape,
                &dims[1..]
            ));
        }
        let element = spec.element;
        let compression = options.compression;
        let chunk = if !section.chunk_dims.is_empty() {
            Some(section.chunk_dims.clone())
        } else if let Some(bytes) = options.chunk_bytes() {
            Some(within(&dims, element.bytes, bytes.max(1) as f64))
        } else if compression != Compression::None || max_dims.is_some() {
            Some(guessed(&dims, element.bytes))
        } else {
            None
        };
        if let Some(chunk) = &chunk {
            let most = max_dims.as_ref().unwrap_or(&dims);
            let fits = chunk.len() == rank
                && chunk
                    .iter()
                    .zip(most)
                    .all(|(&c, &most)| (1..=most).contains(&c));
            if !fits {
                return refuse(format!(
                    "dataset.hdf5.chunk_dims={chunk:?} does not fit a dataset of shape {dims:?} (samples first)"
                ));
            }
            if chunk.iter().product::<u64>() * element.bytes > CHUNK_LIMIT {
                return refuse(format!(
                    "dataset.hdf5.chunk_dims={chunk:?} makes chunks of 4 GiB and more, which HDF5 does not hold"
                ));
            }
        }
        Ok(Layout {
            datasets,
            dims,
            max_dims,
            chunk,
            element,
            compression,
            level: options.compression_level.min(9),
        })
    }

    /// Bytes of a sample in one dataset.
    pub(super) fn part_len(&self) -> u64 {
        self.dims[1..].iter().product::<u64>() * self.element.bytes
    }

    pub(super) fn dataset_len(&self) -> u64 {
        self.part_len() * self.dims[0]
    }

    /// Where a dataset's bytes begin in the fill.
    pub(super) fn fill_from(&self, dataset: u64) -> u64 {
        dataset * self.dataset_len()
    }

    /// Chunks along each axis.
    pub(super) fn grid(&self, chunk: &[u64]) -> Vec<u64> {
        grid(&self.dims, chunk)
    }

    /// The elements of chunk `number` (in C order of the grid); beyond the edge they are zero.
    pub(super) fn chunk_bytes(
        &self,
        chunk: &[u64],
        dataset: u64,
        number: u64,
        fill: &Fill,
        out: &mut Vec<u8>,
    ) {
        let size = self.element.bytes;
        let len = chunk.iter().product::<u64>() * size;
        out.clear();
        out.resize(len as usize, 0);
        let at = coordinates(number, &self.grid(chunk));
        let first: Vec<u64> = at.iter().zip(chunk).map(|(at, c)| at * c).collect();
        let rank = chunk.len();
        let inside: Vec<u64> = (0..rank)
            .map(|axis| chunk[axis].min(self.dims[axis] - first[axis]))
            .collect();
        // Axes from `run` on are whole, so one run of the fill covers them and part of the axis before.
        let mut run = rank - 1;
        while run > 0 && inside[run] == self.dims[run] && chunk[run] == self.dims[run] {
            run -= 1;
        }
        let run_len: u64 = inside[run..].iter().product::<u64>() * size;
        let rows: u64 = inside[..run].iter().product();
        for row in 0..rows {
            let mut rest = row;
            let (mut from, mut to) = (0, 0);
            let mut within = vec![0; rank];
            for axis in (0..run).rev() {
                within[axis] = rest % inside[axis];
                rest /= inside[axis];
            }
            for axis in 0..rank {
                from = from * self.dims[axis] + first[axis] + within[axis];
                to = to * chunk[axis] + within[axis];
            }
            let to = (to * size) as usize;
            fill.fill(
                self.fill_from(dataset) + from * size,
                &mut out[to..to + run_len as usize],
            );
        }
    }
}

/// Chunks along each axis.
pub(super) fn grid(dims: &[u64], chunk: &[u64]) -> Vec<u64> {
    dims.iter()
        .zip(chunk)
        .map(|(d, c)| d.div_ceil(*c))
        .collect()
}

/// Position in a grid of cell `number` in C order.
pub(super) fn coordinates(mut number: u64, grid: &[u64]) -> Vec<u64> {
    let mut at = vec![0; grid.len()];
    for axis in (0..grid.len()).rev() {
        at[axis] = number % grid[axis];
        number /= grid[axis];
    }
    at
}

/// The chunk shape that h5py chooses, so that files compressed without `chunk_dims` have DLIO's chunks.
///
/// Source: h5py `_hl/filters.py::guess_chunk`: halve the axes in turn until a chunk is near a target that grows with the
/// dataset from 8 KiB to 1 MiB.
pub(super) fn guessed(dims: &[u64], element_bytes: u64) -> Vec<u64> {
    let total = dims.iter().product::<u64>() as f64 * element_bytes as f64;
    let target = CHUNK_BASE * 2f64.powf((total / (1024.0 * 1024.0)).log10());
    halved(
        dims,
        element_bytes,
        target.clamp(CHUNK_MIN, CHUNK_MAX),
        true,
    )
}

/// The largest chunk of at most `bytes` that halving the axes in turn makes.
fn within(dims: &[u64], element_bytes: u64, bytes: f64) -> Vec<u64> {
    halved(dims, element_bytes, bytes, false)
}

fn halved(dims: &[u64], element_bytes: u64, target: f64, is_near_enough: bool) -> Vec<u64> {
    let mut chunk: Vec<f64> = dims.iter().map(|&d| d as f64).collect();
    for turn in 0.. {
        let elements = chunk.iter().product::<f64>();
        let bytes = elements * element_bytes as f64;
        let is_small = bytes <= target && !is_near_enough;
        let is_near = is_near_enough
            && (bytes < target || (bytes - target).abs() / target < 0.5)
            && bytes < CHUNK_MAX;
        if is_small || is_near || elements <= 1.0 {
            break;
        }
        let axis = turn % chunk.len();
        chunk[axis] = (chunk[axis] / 2.0).ceil();
    }
    chunk.into_iter().map(|c| c as u64).collect()
}
