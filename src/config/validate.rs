//! Rules over a whole workload: what DLIO's `validate()` checks, and what it should have.

use super::checkpoint;
use super::error::ConfigError;
use super::{
    DataLoaderKind, DropCache, Element, FormatKind, Framework, OrderKind, Profiler, ReadEngine,
    Shuffle, VerifyContent, Workload,
};

/// Checks a workload for a job. Returns what may mislead.
///
/// Source: DLIO `utils/config.py::validate` of the fork; it runs there after generation, here before anything.
pub fn validate(w: &Workload, ranks: usize) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    super::limits::check(w)?;
    dataset(w, &mut warnings)?;
    if w.workflow.train {
        training(w, ranks as u64, &mut warnings)?;
    }
    if w.workflow.checkpoint {
        checkpoint::check(w, ranks as u64, &mut warnings)?;
    }
    if let Some(cpus) = &w.reader.cpus {
        crate::host::cpus::Choice::parse(cpus).map_err(|cause| {
            ConfigError::rule(
                "reader.cpus",
                format!("is '{cpus}': {cause}"),
                "write inherit, node or a list of CPUs such as 0-3,8",
            )
        })?;
    }
    if w.metric.au.is_nan() || w.metric.au < 0.0 || w.metric.au > 1.0 {
        return Err(ConfigError::rule(
            "metric.au",
            format!("{} is no fraction", w.metric.au),
            "write 0.9 for 90 %",
        ));
    }
    Ok(warnings)
}

/// What a listing of other names contradicts.
fn listing(w: &Workload) -> Result<(), ConfigError> {
    let d = &w.dataset;
    if d.listing && d.skip_listing {
        return Err(ConfigError::rule(
            "dataset.listing",
            "it contradicts dataset.skip_listing=true",
            "set one of them to false",
        ));
    }
    if d.listing && w.reader.verify_content != VerifyContent::Off {
        return Err(ConfigError::rule(
            "dataset.listing",
            "the contents of files of other names are not known, so reader.verify_content compares nothing",
            "set reader.verify_content=off; reader.decode=verify or full looks at the files themselves",
        ));
    }
    Ok(())
}

fn dataset(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    listing(w)?;
    samples(w, warnings)?;
    files(w, warnings)?;
    super::object::check(w, warnings)?;
    reading(w, warnings)
}

/// Length, type and shape of a sample.
fn samples(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let d = &w.dataset;
    ConfigError::positive("dataset.num_samples_per_file", d.num_samples_per_file)?;
    if !(d.record_length_bytes >= 1.0 && d.record_length_bytes.is_finite()) {
        return Err(ConfigError::rule(
            "dataset.record_length_bytes",
            format!("is {}", d.record_length_bytes),
            "a sample has at least one byte",
        ));
    }
    if !(d.record_length_bytes_stdev >= 0.0 && d.record_length_bytes_stdev.is_finite()) {
        let what = format!("is {}", d.record_length_bytes_stdev);
        return Err(ConfigError::rule(
            "dataset.record_length_bytes_stdev",
            what,
            "it is 0 or a number of bytes",
        ));
    }
    let Some(element) = Element::parse(&d.record_element_type) else {
        return Err(ConfigError::rule(
            "dataset.record_element_type",
            format!("{} is no numeric numpy dtype", d.record_element_type),
            format!("one of {}", Element::names()),
        ));
    };
    if !d.record_dims.is_empty() {
        shape(w, element, warnings)?;
    }
    if matches!(d.format, FormatKind::Jpeg | FormatKind::Png)
        && (d.record_element_type != "uint8"
            || !matches!(d.record_dims[..], [] | [_] | [_, _] | [_, _, 1 | 3]))
    {
        let what = format!(
            "{} files hold uint8 images of 2 dimensions, or of 3 where the last is 1 (grey) or 3 (RGB)",
            d.format
        );
        return Err(ConfigError::rule(
            "dataset.format",
            what,
            "set dataset.record_element_type=uint8 and record_dims of (rows, columns)",
        ));
    }
    Ok(())
}

/// `record_dims`, where they are given.
fn shape(w: &Workload, element: Element, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let d = &w.dataset;
    if d.record_dims.contains(&0) {
        return Err(ConfigError::rule(
            "dataset.record_dims",
            format!("{:?} has a 0", d.record_dims),
            "every axis is 1 or more",
        ));
    }
    if d.record_length_bytes_stdev > 0.0 {
        return Err(ConfigError::rule(
            "dataset.record_dims",
            "is given together with dataset.record_length_bytes_stdev > 0",
            "fixed dimensions have no deviation: drop one of the two",
        ));
    }
    if !d.record_dims[0].is_multiple_of(d.hdf5.num_dset_per_record.max(1)) {
        return Err(ConfigError::rule(
            "dataset.hdf5.num_dset_per_record",
            format!(
                "{} does not divide dataset.record_dims[0]={}",
                d.hdf5.num_dset_per_record, d.record_dims[0]
            ),
            "choose a divisor",
        ));
    }
    // Below 2^60: refused above.
    let bytes = d.record_dims.iter().product::<u64>() * element.bytes;
    if d.record_length_bytes != super::Dataset::default().record_length_bytes
        && d.record_length_bytes != bytes as f64
    {
        warnings.push(format!(
            "dataset.record_dims={:?} makes samples of {bytes} bytes; dataset.record_length_bytes={} is not used for files",
            d.record_dims, d.record_length_bytes
        ));
    }
    Ok(())
}

/// Numbers and contents of files.
fn files(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let d = &w.dataset;
    if let Some(generated) = d.num_files_generated
        && generated < d.num_files_train
    {
        return Err(ConfigError::rule(
            "dataset.num_files_generated",
            format!(
                "{generated} is less than dataset.num_files_train={}",
                d.num_files_train
            ),
            "it is the number of files that exist",
        ));
    }
    for (key, ratio) in [
        ("dataset.compress_ratio", d.compress_ratio),
        ("dataset.dedup_ratio", d.dedup_ratio),
    ] {
        if ratio < 1.0 || !ratio.is_finite() {
            return Err(ConfigError::rule(
                key,
                format!("{ratio} is no number from 1 on"),
                "1 is data that cannot be shrunk, 2 is data of which half is left",
            ));
        }
    }
    if d.num_subfolders_train == 1 || d.num_subfolders_eval == 1 {
        warnings.push("one subfolder is taken for none: the layout is flat".into());
    }
    if d.compression_level > 9 {
        return Err(ConfigError::rule(
            "dataset.compression_level",
            format!("is {}", d.compression_level),
            "0 to 9",
        ));
    }
    Ok(())
}

/// What the storage system and the format let readers do.
fn reading(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let d = &w.dataset;
    if let Some(0) = w.reader.transfer_size {
        return Err(ConfigError::rule(
            "reader.transfer_size",
            "is 0",
            "leave it out, or give bytes of one read call",
        ));
    }
    let system = w.storage_system();
    if w.reader.drop_cache == DropCache::DontCache && system.page_cache && !system.uncached_reads {
        return Err(ConfigError::rule(
            "reader.drop_cache",
            format!("storage.storage_type={system} cannot read past the page cache"),
            "set reader.drop_cache=fadvise, or storage.storage_type=local_fs",
        ));
    }
    let client = w.storage.storage_options.client;
    if w.reader.engine == ReadEngine::Uring && !system.has_rings(client) {
        let (what, instead) = match system.rings {
            true => (
                "the SDK of storage.storage_options.client=sdk has threads of its own".into(),
                "storage.storage_options.client=native",
            ),
            false => (
                format!("storage.storage_type={system} cannot be read through io_uring"),
                "storage.storage_type=local_fs or direct_fs",
            ),
        };
        return Err(ConfigError::rule(
            "reader.engine",
            what,
            format!("set reader.engine=threads, or {instead}"),
        ));
    }
    if w.reader.odirect && !matches!(d.format, FormatKind::Npz | FormatKind::Npy) {
        warnings.push(format!(
            "reader.odirect with {}: DLIO has O_DIRECT for npz and npy only",
            d.format
        ));
    }
    Ok(())
}

fn training(w: &Workload, ranks: u64, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    counts(w, ranks)?;
    enough_files(w, ranks)?;
    evaluation(w, ranks, warnings)?;
    steps(w, ranks, warnings)
}

/// Loader and batches, and numbers that no sum may exceed.
fn counts(w: &Workload, ranks: u64) -> Result<(), ConfigError> {
    let (d, r) = (&w.dataset, &w.reader);
    ConfigError::positive("train.epochs", w.train.epochs)?;
    ConfigError::positive("reader.batch_size", r.batch_size)?;
    ConfigError::positive("reader.batch_size_eval", r.batch_size_eval)?;
    match (w.framework, r.data_loader) {
        (Framework::TensorFlow, Some(DataLoaderKind::PyTorch))
        | (Framework::PyTorch, Some(DataLoaderKind::TensorFlow)) => {
            return Err(ConfigError::rule(
                "reader.data_loader",
                format!(
                    "framework {} has no loader of the other framework",
                    w.framework
                ),
                format!("set reader.data_loader={} or leave it out", w.framework),
            ));
        }
        _ => {}
    }
    for (key, files) in [
        ("dataset.num_files_train", d.num_files_train),
        ("dataset.num_files_eval", d.num_files_eval),
    ] {
        // Below 2^62, so that sums and products of a few ranks fit too.
        let samples = files.checked_mul(d.num_samples_per_file);
        if samples.is_none_or(|n| n > 1 << 62) {
            return Err(ConfigError::rule(
                key,
                format!(
                    "{files} files x {} samples are more than any storage system holds",
                    d.num_samples_per_file
                ),
                "lower it, or dataset.num_samples_per_file",
            ));
        }
    }
    for (key, batch) in [
        ("reader.batch_size", r.batch_size),
        ("reader.batch_size_eval", r.batch_size_eval),
    ] {
        if batch.checked_mul(ranks).is_none_or(|n| n > 1 << 62) {
            return Err(ConfigError::rule(
                key,
                format!(
                    "{batch} samples on each of {ranks} rank(s) are more than any dataset holds"
                ),
                "lower it",
            ));
        }
    }
    Ok(())
}

/// Each rank has at least one step, by DLIO's order too.
fn enough_files(w: &Workload, ranks: u64) -> Result<(), ConfigError> {
    let (d, r) = (&w.dataset, &w.reader);
    let samples = d.num_files_train * d.num_samples_per_file;
    if samples < ranks * r.batch_size {
        return Err(ConfigError::rule(
            "dataset.num_files_train",
            format!(
                "{} files x {} samples = {samples} samples, fewer than {ranks} rank(s) x batch size {} = {}: no rank could do a step",
                d.num_files_train,
                d.num_samples_per_file,
                r.batch_size,
                ranks * r.batch_size
            ),
            "raise dataset.num_files_train, or lower reader.batch_size or the number of ranks",
        ));
    }
    // Each rank gets whole files in DLIO's order.
    if r.order == OrderKind::Dlio
        && d.num_files_train / ranks * d.num_samples_per_file < r.batch_size
    {
        return Err(ConfigError::rule(
            "dataset.num_files_train",
            format!(
                "{} files give {ranks} ranks too few whole files for one batch of {}",
                d.num_files_train, r.batch_size
            ),
            "raise dataset.num_files_train, or set reader.order=permutation, which deals samples",
        ));
    }
    if r.file_shuffle != Shuffle::Off
        && r.order == OrderKind::Dlio
        && d.num_files_train > u64::from(u32::MAX)
    {
        return Err(ConfigError::rule(
            "reader.file_shuffle",
            format!(
                "DLIO's shuffle of {} files needs a list of more than 2^32 entries",
                d.num_files_train
            ),
            "set reader.order=permutation, which needs no list",
        ));
    }
    Ok(())
}

/// Each rank has at least one batch of evaluation, where there is any.
fn evaluation(w: &Workload, ranks: u64, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let (d, r) = (&w.dataset, &w.reader);
    if w.workflow.evaluation && d.num_files_eval == 0 {
        warnings.push("workflow.evaluation=true has no effect: dataset.num_files_eval=0".into());
    }
    if w.workflow.evaluation
        && d.num_files_eval > 0
        && d.num_files_eval / ranks * d.num_samples_per_file < r.batch_size_eval
    {
        return Err(ConfigError::rule(
            "dataset.num_files_eval",
            format!(
                "{} files give {ranks} ranks too few samples for one evaluation batch of {}",
                d.num_files_eval, r.batch_size_eval
            ),
            "raise dataset.num_files_eval, or lower reader.batch_size_eval",
        ));
    }
    Ok(())
}

/// `total_training_steps`, where it is given.
fn steps(w: &Workload, ranks: u64, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let (d, r) = (&w.dataset, &w.reader);
    let samples = d.num_files_train * d.num_samples_per_file;
    let cap = w.train.total_training_steps;
    if cap > 0 {
        let steps = samples / r.batch_size / ranks;
        if cap as u64 > steps {
            return Err(ConfigError::rule(
                "train.total_training_steps",
                format!("the dataset has {steps} steps per epoch and {cap} are wanted"),
                "lower it or raise dataset.num_files_train",
            ));
        }
        if w.train.epochs > 1 {
            warnings.push(format!(
                "train.total_training_steps={cap} holds for every epoch, as in DLIO: the run takes {} steps",
                (cap as u64).saturating_mul(w.train.epochs)
            ));
        }
    }
    Ok(())
}

/// Refuses what this version cannot run, by the key that asks for it.
pub fn unsupported(w: &Workload, built: &[&str]) -> Result<(), ConfigError> {
    let no = |key: &str, value: &dyn std::fmt::Display, remedy: &str| {
        Err(ConfigError::rule(
            key,
            format!("{value} is known, but this version cannot do it"),
            remedy,
        ))
    };
    let system = w.storage_system();
    if let Some(remedy) = system.unbuilt() {
        return no("storage.storage_type", &system, remedy);
    }
    let profiler = w.profiling.profiler;
    if w.workflow.profiling && matches!(profiler, Profiler::Darshan | Profiler::Tensorboard) {
        return no(
            "profiling.profiler",
            &profiler,
            "use iostat or dftracer, or set workflow.profiling=False and watch the job from outside",
        );
    }
    let r = &w.reader;
    if let Some(loader) = r.data_loader
        && !matches!(
            loader,
            DataLoaderKind::PyTorch | DataLoaderKind::TensorFlow | DataLoaderKind::Native
        )
    {
        return no(
            "reader.data_loader",
            &loader,
            "use pytorch, tensorflow or native",
        );
    }
    for (key, class) in [
        ("reader.reader_classname", &r.reader_classname),
        ("reader.data_loader_classname", &r.data_loader_classname),
        (
            "checkpoint.checkpoint_mechanism_classname",
            &w.checkpoint.checkpoint_mechanism_classname,
        ),
    ] {
        if let Some(class) = class {
            return no(key, class, "it names a Python class; leave it out");
        }
    }
    let has_dataset = w.workflow.train || w.workflow.generate_data;
    if system.has_bytes && has_dataset && !built.contains(&w.dataset.format.word()) {
        return no(
            "dataset.format",
            &w.dataset.format,
            &format!("use {}, or storage.storage_type=null", built.join(" or ")),
        );
    }
    Ok(())
}
