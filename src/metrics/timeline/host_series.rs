//! The series of each host on their way to rank 0: folded until those of all hosts fit into [`HOST_BYTES`].

use std::sync::atomic::Ordering::Relaxed;

use super::recorder::Recorded;
use super::series::Series;
use super::shape::{COLUMNS, Shape, columns};
use crate::cluster::Cluster;
use crate::util::varint;

/// Bins of a host's series, at most.
const HOST_BINS: usize = 256;
/// Bytes that the series of all hosts may take on their way to rank 0; there are fewer bins where they would be more.
pub(super) const HOST_BYTES: u64 = 1 << 20;
/// Folds after [`HostSeries::level`] that the budget may ask for.
pub(super) const MORE_LEVELS: u32 = 8;

/// The series of the ranks of one host, added up: `COLUMNS` columns of bins.
pub(super) struct HostSeries {
    bins: usize,
    words: Vec<u64>,
}

impl HostSeries {
    /// How often bins are folded before there are few enough, and their number then.
    pub(super) fn level(shape: &Shape) -> (u32, usize) {
        let mut level = 0;
        let mut bins = shape.bin[1] as usize;
        while bins > HOST_BINS {
            bins = bins.div_ceil(2);
            level += 1;
        }
        (level, bins)
    }

    /// One rank's words, folded `level` times.
    pub(super) fn of_rank(recorded: &Recorded, shape: &Shape, level: u32) -> Vec<u64> {
        let bins = shape.bin[1] as usize;
        let words = recorded.series(shape);
        (words.chunks(bins.max(1)))
            .flat_map(|column| fold(column, level))
            .collect()
    }

    pub(super) fn new(bins: usize, words: Vec<u64>) -> Self {
        HostSeries { bins, words }
    }

    /// Folded `more` times, column by column, each number as a varint.
    pub(super) fn encode(&self, more: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for column in self.words.chunks(self.bins.max(1)) {
            let column = fold(column, more);
            let used = column.iter().rposition(|v| *v > 0).map_or(0, |at| at + 1);
            varint::put(&mut out, used as u64);
            column[..used]
                .iter()
                .for_each(|v| varint::put(&mut out, *v));
        }
        out
    }
}

fn fold(column: &[u64], level: u32) -> Vec<u64> {
    column.chunks(1 << level).map(|c| c.iter().sum()).collect()
}

/// The inverse of [`HostSeries::encode`] for `bins` bins; what cannot be read is missing.
pub(super) fn decode(
    mut bytes: &[u8],
    bins: usize,
    width: u64,
    missing: &[u64; COLUMNS],
) -> Series {
    let mut series = Series {
        bin_ns: width,
        bins,
        ..Series::default()
    };
    for (column, missing) in columns().zip(missing) {
        let Ok(used) = varint::take(&mut bytes) else {
            break;
        };
        let mut values = Vec::with_capacity(bins);
        for _ in 0..used.min(bins as u64) {
            values.push(varint::take(&mut bytes).unwrap_or(0));
        }
        values.resize(bins, 0);
        if *missing == 0 {
            series.columns.insert(column, values);
        }
    }
    series
}

/// The first level at which all hosts fit into the budget, of the largest host's sizes by level.
pub(super) fn fitting(sizes: &[u64], hosts: u64) -> u32 {
    (sizes.iter())
        .position(|size| size * hosts <= HOST_BYTES)
        .unwrap_or(sizes.len() - 1) as u32
}

/// Adds the series of a host's ranks in memory that they share; on the first rank of each.
pub(super) fn host_series(
    cluster: &dyn Cluster,
    own: &Recorded,
    shape: &Shape,
    level: u32,
    bins: usize,
) -> Option<HostSeries> {
    let shared = cluster.node_shared(COLUMNS * bins.max(1));
    let words = HostSeries::of_rank(own, shape, level);
    for (sum, word) in shared.iter().zip(&words) {
        if *word > 0 {
            sum.fetch_add(*word, Relaxed);
        }
    }
    cluster.barrier();
    let is_first = cluster.local_rank() == 0;
    is_first.then(|| {
        let words = shared.iter().map(|word| word.load(Relaxed)).collect();
        HostSeries::new(bins, words)
    })
}
