//! From a workload to the small specs that the rooms below take. They know no workload.

use std::sync::Arc;

use crate::config::{
    Address, ConfigError, DataLoaderKind, Decode, DropCache, OrderKind, Shuffle, Workload,
};
use crate::format::{self, Access, FormatOptions, Row, Walked};
use crate::plan::Split;
use crate::plan::dataset::{DatasetPlan, DatasetSpec};
use crate::plan::fill::Shrink;
use crate::plan::order::{OrderSpec, Walk, sample_shuffle_warning};
use crate::plan::steps::StepsSpec;
use crate::storage::{Pages, StoreSpec, System, TimeModel};

/// Words that DLIO has and no version of dlio-rs: `config` refuses them wherever bytes are read or written.
static UNKNOWN: Row = Row {
    word: "",
    extensions: &[],
    walked: Walked::Samples,
    verifies: format::Verifies::Nothing,
    format: None,
};

pub fn format_row(workload: &Workload) -> &'static Row {
    format::row(workload.dataset.format.word()).unwrap_or(&UNKNOWN)
}

/// What the workload's format is asked for.
pub fn format_options(workload: &Workload) -> FormatOptions {
    let d = &workload.dataset;
    let columns = &workload.storage.storage_options.columns;
    FormatOptions {
        compression: d.compression,
        compression_level: d.compression_level,
        hdf5: d.hdf5.clone(),
        enable_chunking: d.enable_chunking,
        chunk_size: d.chunk_size,
        image_encoding: d.image_encoding,
        parquet: d.parquet.clone(),
        read_columns: columns.clone().unwrap_or_default(),
    }
}

/// How the workload's loader walks a rank's samples.
fn walk(workload: &Workload) -> Walk {
    match (format_row(workload).walked, workload.data_loader()) {
        (Walked::Groups, _) | (Walked::Records, DataLoaderKind::TensorFlow) => Walk::Stream,
        (_, DataLoaderKind::TensorFlow) => Walk::Iterative,
        _ => Walk::Index,
    }
}

/// How samples are asked for: streams ask for all of a file in order, unless single samples are drawn.
pub fn access(workload: &Workload) -> Access {
    match (walk(workload), workload.reader.order) {
        (Walk::Stream, OrderKind::Dlio) => Access::Stream,
        _ => Access::Random,
    }
}

/// Names and shapes of the workload's files.
pub fn dataset_spec(workload: &Workload) -> DatasetSpec {
    let d = &workload.dataset;
    DatasetSpec {
        prefix: d.file_prefix.clone(),
        extension: d.format.word().into(),
        subfolders_train: d.num_subfolders_train,
        subfolders_valid: d.num_subfolders_eval,
        samples_per_file: d.num_samples_per_file,
        record_dims: d.record_dims.clone(),
        record_len: d.record_length_bytes,
        record_len_stdev: d.record_length_bytes_stdev,
        element_bytes: crate::config::element_bytes(&d.record_element_type).unwrap_or(1),
        size_law: d.size_law,
        names_in_order: d.skip_listing || d.listing,
    }
}

/// The order of a split of which `found` files exist.
///
/// Source: the fork takes `min(configured, found)`, and nothing of `valid` when evaluation is off.
pub fn order(workload: &Workload, split: Split, found: u64) -> OrderSpec {
    let (reader, d) = (&workload.reader, &workload.dataset);
    let (files, batch_size) = match split {
        Split::Train => (d.num_files_train.min(found), reader.batch_size),
        Split::Valid if workload.workflow.evaluation => {
            (d.num_files_eval.min(found), reader.batch_size_eval)
        }
        Split::Valid => (0, reader.batch_size_eval),
    };
    OrderSpec {
        dataset: Arc::new(DatasetPlan::new(&dataset_spec(workload), split, found)),
        files,
        kind: reader.order,
        walk: walk(workload),
        threads: reader.threads().max(1),
        batch_size,
        seed: workload.train.seed,
        seed_change_epoch: workload.train.seed_change_epoch,
        file_shuffle: reader.file_shuffle != Shuffle::Off,
        sample_shuffle: reader.sample_shuffle != Shuffle::Off,
    }
}

/// What the workload's step counts depend on.
pub fn steps(workload: &Workload) -> StepsSpec {
    let (d, cap) = (&workload.dataset, workload.train.total_training_steps);
    StepsSpec {
        train: order(workload, Split::Train, d.num_files_train),
        valid: workload
            .workflow
            .evaluation
            .then(|| order(workload, Split::Valid, d.num_files_eval)),
        cap: u64::try_from(cap).ok().filter(|&cap| cap > 0),
    }
}

/// What a user of `reader.sample_shuffle` should know, once.
pub fn order_warning(workload: &Workload) -> Option<String> {
    let reader = &workload.reader;
    let is_shuffled = reader.sample_shuffle != Shuffle::Off
        && reader.order == OrderKind::Dlio
        && workload.workflow.train;
    is_shuffled.then(|| {
        sample_shuffle_warning(
            walk(workload),
            reader.sample_shuffle,
            workload.data_loader(),
        )
    })
}

/// By how much storage can shrink the contents.
pub(crate) fn shrink(w: &Workload) -> Shrink {
    Shrink {
        compress: w.dataset.compress_ratio,
        dedup: w.dataset.dedup_ratio,
    }
}

/// The storage system of the dataset.
pub(crate) fn dataset_store(w: &Workload) -> StoreSpec {
    let system = w.storage_system();
    let pages = match w.reader.drop_cache {
        // A dataset that is only generated may stay in memory.
        _ if !system.page_cache || !w.workflow.train => Pages::Keep,
        DropCache::None | DropCache::System => Pages::Keep,
        DropCache::Fadvise => Pages::Forget,
        DropCache::DontCache => Pages::DontCache,
    };
    StoreSpec {
        pages,
        ..store(w, system, w.data_root())
    }
}

/// The storage system of the checkpoint folder: the dataset's where that is simulated, or where both are files of no
/// scheme of their own; else the one that the folder's address names.
///
/// Errors: an address that cannot be.
pub(crate) fn checkpoint_store(w: &Workload) -> Result<StoreSpec, ConfigError> {
    let Address { system, path } = w.checkpoint_address()?;
    let dataset = w.storage_system();
    let follows = dataset.simulated || dataset.opens_by_path && system.is_default();
    Ok(store(w, if follows { dataset } else { system }, path))
}

/// Files of a rank's checkpoint that are written to a storage system at the same time.
pub(crate) fn write_files(w: &Workload, system: &System) -> usize {
    let default = if system.objects { 2 } else { 1 };
    w.checkpoint.write_files.unwrap_or(default).max(1) as usize
}

/// The storage system of one address.
pub(crate) fn store_at(w: &Workload, address: &Address) -> StoreSpec {
    let dataset = w.storage_system();
    let system = if dataset.simulated {
        dataset
    } else {
        address.system
    };
    store(w, system, address.path.clone())
}

fn store(w: &Workload, system: &'static System, folder: std::path::PathBuf) -> StoreSpec {
    StoreSpec {
        system,
        folder,
        pages: Pages::Keep,
        time: time_model(w),
        options: w.storage.storage_options.clone(),
        range_size: w.reader.range_size,
        parts_in_flight: Some(w.checkpoint.parts_in_flight),
        verify_checksums: w.reader.decode != Decode::None,
    }
}

/// The times of `storage.storage_options.{latency, jitter, bandwidth, slow_rank, slow_latency, pause_after, pause}`.
pub(crate) fn time_model(w: &Workload) -> TimeModel {
    let o = &w.storage.storage_options;
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    TimeModel {
        latency_ns: ns(o.latency),
        jitter_ns: ns(o.jitter),
        bandwidth: o.bandwidth,
        slow: (o.slow_rank).map(|rank| (rank as usize, ns(o.slow_latency))),
        pause_ns: (o.pause > 0.0).then(|| (ns(o.pause_after), ns(o.pause_after + o.pause))),
    }
}
