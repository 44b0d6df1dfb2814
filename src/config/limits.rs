//! Numbers that no machine has: refused before arithmetic with them overflows or memory is asked for them.

use serde_json::Value as Json;

use super::error::ConfigError;
use super::schema;
use super::{Distribution, Element, TimeSpec, Workload};

/// 1 EiB: more than any storage system gives to one file or blob.
const EIB: f64 = (1u64 << 60) as f64;
/// About 30 years, in seconds.
const SECONDS: f64 = 1e9;

/// Refuses values and products of values that no machine has.
pub(super) fn check(w: &Workload) -> Result<(), ConfigError> {
    let tree = serde_json::to_value(w).expect("a workload becomes JSON");
    for key in schema::keys() {
        let value = (key.path.split('.')).try_fold(&tree, |node, part| node.get(part));
        // A value that is not finite is null in JSON; so is one that is not set.
        if let Some((value, most)) = value.and_then(Json::as_f64).zip(key.largest())
            && value.abs() > most
        {
            return Err(ConfigError::rule(
                &key.path,
                format!("{value} is more than {most}, the largest value that makes sense"),
                "lower it",
            ));
        }
    }
    for (key, time) in [
        ("train.computation_time", &w.train.computation_time),
        ("evaluation.eval_time", &w.evaluation.eval_time),
        ("reader.preprocess_time", &w.reader.preprocess_time),
    ] {
        check_time(key, time)?;
    }
    let o = &w.storage.storage_options;
    for (key, value) in [
        ("storage.storage_options.latency", o.latency),
        ("storage.storage_options.jitter", o.jitter),
        ("storage.storage_options.bandwidth", o.bandwidth),
        ("storage.storage_options.slow_latency", o.slow_latency),
        ("storage.storage_options.pause_after", o.pause_after),
        ("storage.storage_options.pause", o.pause),
        (
            "storage.post_generation_settle_seconds",
            w.storage.post_generation_settle_seconds,
        ),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(ConfigError::rule(
                key,
                format!("is {value}"),
                "it is 0 or a positive number",
            ));
        }
    }
    totals(w)?;
    model(w)
}

fn check_time(key: &str, time: &TimeSpec) -> Result<(), ConfigError> {
    let parameters = match time.0 {
        Distribution::Constant { mean } => vec![mean],
        Distribution::Normal { mean, stdev } => vec![mean, stdev],
        Distribution::Uniform { min, max } => vec![min, max],
        Distribution::Gamma { shape, scale } => vec![shape, scale],
        Distribution::Exponential { scale } => vec![scale],
        Distribution::Poisson { lam } => vec![lam],
    };
    for value in parameters {
        if !value.is_finite() || value.abs() > SECONDS {
            return Err(ConfigError::rule(
                key,
                format!("{value} s is no time that a step takes"),
                "write seconds, such as 0.3",
            ));
        }
    }
    Ok(())
}

/// The bytes of a dataset stay below 2^63, and so do those of one of its files.
fn totals(w: &Workload) -> Result<(), ConfigError> {
    let d = &w.dataset;
    let product = |key: &str, dims: &[u64]| {
        let bytes = Element::parse(&d.record_element_type).map_or(1, |e| u128::from(e.bytes));
        let bytes = dims
            .iter()
            .try_fold(bytes, |product, &n| product.checked_mul(n.into()));
        bytes.filter(|&bytes| bytes <= EIB as u128).ok_or_else(|| {
            ConfigError::rule(
                key,
                format!("{dims:?} makes more than 2^60 bytes"),
                "lower its axes",
            )
        })
    };
    product("dataset.hdf5.chunk_dims", &d.hdf5.chunk_dims)?;
    product("dataset.hdf5.max_shape", &d.hdf5.max_shape)?;
    product(
        "reader.transformed_record_dims",
        &w.reader.transformed_record_dims,
    )?;
    let sample = match d.record_dims.as_slice() {
        [] => d.record_length_bytes as u128,
        dims => product("dataset.record_dims", dims)?,
    };
    let columns = d.parquet.columns.iter().try_fold(0u128, |sum, column| {
        // The widest element has 16 bytes.
        sum.checked_add(u128::from(column.size).checked_mul(16)?)
    });
    let sample = sample.max(columns.unwrap_or(u128::MAX));
    // Drawn sizes are far above the mean only within some standard deviations.
    let sample = sample.saturating_add(10 * d.record_length_bytes_stdev as u128);
    let files = [
        ("dataset.num_files_train", d.num_files_train),
        ("dataset.num_files_eval", d.num_files_eval),
        (
            "dataset.num_files_generated",
            d.num_files_generated.unwrap_or(0),
        ),
    ];
    for (key, files) in files {
        let samples = u128::from(files) * u128::from(d.num_samples_per_file);
        if samples
            .checked_mul(sample)
            .is_none_or(|bytes| bytes >= 1 << 63)
        {
            return Err(ConfigError::rule(
                key,
                format!(
                    "{files} files x {} samples x {sample} bytes are more than 2^63 bytes",
                    d.num_samples_per_file
                ),
                "lower it, dataset.num_samples_per_file or dataset.record_length_bytes",
            ));
        }
    }
    Ok(())
}

/// The parameters of a model, 16 bytes each, stay below 2^63 bytes.
fn model(w: &Workload) -> Result<(), ConfigError> {
    let (m, t) = (&w.model, &w.model.transformer);
    let [v, h, f] = [t.vocab_size, t.hidden_size, t.ffn_hidden_size].map(u128::from);
    let layers = m.num_layers.max(0) as u128;
    // Bounds from above: attention has at most four square matrices, the feed-forward network three.
    let layer = 4 * h * h + 3 * h * f + 4 * h;
    let bytes = layers
        .checked_mul(layer)
        .and_then(|all| all.checked_add(2 * v * h))
        .and_then(|all| all.checked_mul(16));
    if layers > 0 && bytes.is_none_or(|bytes| bytes >= 1 << 63) {
        return Err(ConfigError::rule(
            "model.transformer",
            format!("{layers} layers of width {h} are more than 2^63 bytes"),
            "lower model.num_layers or the widths",
        ));
    }
    for (key, sizes) in [
        ("model.layer_parameters", &m.layer_parameters),
        ("model.optimization_groups", &m.optimization_groups),
    ] {
        let sum = sizes.iter().map(|&n| u128::from(n)).sum::<u128>();
        if sum * layers.max(1) > EIB as u128 {
            return Err(ConfigError::rule(
                key,
                format!("the sum of {sizes:?} is more than 2^60 bytes"),
                "lower them",
            ));
        }
    }
    Ok(())
}
