//! Names of other tools and of older versions of DLIO: taken as what they mean, or refused with what to write.

use serde_yaml::Value;

use super::error::{ConfigError, Wrong};
use super::origin::{Origins, move_origins, place_of};
use super::tree::{lookup, set, take};

/// Keys of dl-driver, and the keys that they mean.
const RENAMED: [(&str, &[&str]); 7] = [
    ("reader.prefetch", &["reader.prefetch_size"]),
    (
        "reader.shuffle",
        &["reader.file_shuffle", "reader.sample_shuffle"],
    ),
    ("reader.compute_threads", &["reader.computation_threads"]),
    ("reader.file_access_type", &["reader.file_access"]),
    ("reader.seed", &["train.seed"]),
    ("model.framework", &["framework"]),
    ("checkpointing", &["checkpoint"]),
];

/// Keys that are refused, with what to write. A key stands for what is below it too.
const REFUSED: [(&str, &str); 19] = [
    ("pytorch_config", LOADER),
    ("tensorflow_config", LOADER),
    ("jax_config", LOADER),
    ("jax", LOADER),
    ("pytorch", LOADER),
    ("tensorflow", LOADER),
    ("framework_profiles", LOADER),
    (
        "dataset.endpoint_uris",
        "a key of dl-driver; write the servers as storage.storage_options.endpoint_url=[URL, URL]",
    ),
    (
        "dataset.directory_tree",
        "a key of dl-driver; dataset.num_subfolders_train divides the files",
    ),
    (
        "resume",
        "a section of dl-driver; checkpoint.num_checkpoints_read loads checkpoints",
    ),
    (
        "checkpoint.checkpoint_mechanism",
        "the mechanism follows from framework and storage.storage_type",
    ),
    (
        "defaults",
        "a defaults list stands at the top of a file, not within the workload",
    ),
    ("storage.storage_options.anon", SIGNED),
    ("storage.storage_options.anonymous", SIGNED),
    ("storage.storage_options.no_sign_request", SIGNED),
    ("storage.storage_options.request_payer", PAYER),
    ("storage.storage_options.requester_pays", PAYER),
    ("storage.storage_options.server_side_encryption", ENCRYPTED),
    ("storage.storage_options.sse_kms_key_id", ENCRYPTED),
];

const SIGNED: &str = "requests without a signature are not supported; give the key of any account: a public bucket takes it";
const PAYER: &str =
    "buckets whose requester pays are not supported; copy the dataset into a bucket of your own";
const ENCRYPTED: &str =
    "headers of server-side encryption are not sent; the default encryption of the bucket applies";

const LOADER: &str = "a section of dl-driver; write reader.batch_size, reader.read_threads, reader.prefetch_size, reader.file_shuffle and train.seed";

/// Keys that DLIO has and ignores: accepted, with what to write instead.
const IGNORED: [(&str, &str); 5] = [
    (
        "dataset.record_length",
        "DLIO ignores this old name; write dataset.record_length_bytes",
    ),
    (
        "dataset.record_length_stdev",
        "DLIO ignores this old name; write dataset.record_length_bytes_stdev",
    ),
    (
        "dataset.record_length_resize",
        "DLIO ignores this old name; write dataset.record_length_bytes_resize",
    ),
    (
        "checkpoint.model_size",
        "DLIO ignores this old name; write model.model_size_bytes",
    ),
    ("logging", "DLIO ignores this section"),
];

/// Words that a key does not take: which, where, and what to write.
const WORDS: [(&str, &str, &str); 7] = [
    (
        "storage.storage_type",
        "msc",
        "profiles of the Multi-Storage Client are not read; write the address of the store itself: dataset.data_folder=s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix",
    ),
    ("storage.storage_type", "gs", GOOGLE),
    (
        "storage.storage_type",
        "file",
        "write storage.storage_type=local_fs",
    ),
    (
        "storage.storage_type",
        "az",
        "write storage.storage_type=azure",
    ),
    (
        "storage.storage_type",
        "abfs",
        "write storage.storage_type=azure",
    ),
    (
        "framework",
        "jax",
        "write framework=pytorch or framework=tensorflow; they differ in the order of access and in the loader",
    ),
    ("dataset.format", "hdf5_vlen", "write dataset.format=hdf5"),
];

const GOOGLE: &str = "write storage.storage_type=gcs, or dataset.data_folder=gs://bucket/prefix, with an HMAC key as storage.storage_options.access_key_id and secret_access_key";

/// What to write instead of a word that `key` does not take.
pub(super) fn word_advice(key: &str, word: &str) -> Option<&'static str> {
    WORDS
        .iter()
        .find(|(k, w, _)| *k == key && *w == word)
        .map(|(.., advice)| *advice)
}

/// What to write instead of an unknown key.
pub(super) fn advice(key: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(k, _)| *k == key).map(|(_, a)| *a)
}

/// Moves values of keys of other tools to the keys that they mean.
///
/// Errors: both are set.
pub(super) fn translate(
    tree: &mut Value,
    origins: &mut Origins,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for (key, targets) in RENAMED {
        // Empty in older YAMLs of DLIO itself: `model: NAME`.
        let Some(value) = lookup(tree, key).cloned() else {
            continue;
        };
        let place = place_of(origins, key);
        if let Some(target) = targets.iter().find(|t| lookup(tree, t).is_some()) {
            return Err(ConfigError::Type {
                place,
                key: key.into(),
                wrong: Wrong::new(
                    format!("it means {target}, which is set too"),
                    format!("remove {key}"),
                ),
            });
        }
        take(tree, key);
        for target in targets {
            set(tree, target, value.clone());
            move_origins(origins, key, target);
        }
        warnings.push(format!(
            "{place}{key} is a name of dl-driver, taken as {}; DLIO ignores it",
            targets.join(" and ")
        ));
    }
    Ok(())
}

/// Removes keys that DLIO ignores, each with a warning.
pub(super) fn take_ignored(tree: &mut Value, origins: &Origins, warnings: &mut Vec<String>) {
    // The columns of a parquet dataset have sizes of their own, whatever the old name says.
    let has_columns = lookup(tree, "dataset.parquet.columns").is_some();
    for (key, advice) in IGNORED {
        if take(tree, key).is_some() && !(has_columns && key == "dataset.record_length") {
            let place = place_of(origins, key);
            warnings.push(format!("{place}{key} has no effect: {advice}"));
        }
    }
}
