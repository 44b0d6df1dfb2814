//! Rules over the `checkpoint` section that concern files; those of parallelism are DLIO's, in `validate`.

use super::error::ConfigError;
use super::{Address, CheckpointCompression, Framework, Workload};
use crate::storage::System;

const KEY: &str = "checkpoint.checkpoint_folder";

impl Workload {
    /// Where checkpoints lie. A local folder is not below `storage_root`.
    ///
    /// Errors: those of [`Address::resolve`].
    /// Source: DLIO `checkpointing/base_checkpointing.py`.
    pub fn checkpoint_address(&self) -> Result<Address, ConfigError> {
        let folder = &self.checkpoint.checkpoint_folder;
        let local = |system: &'static System, rest: &str| {
            system.path(rest, None).map(|path| Address { system, path })
        };
        let found = match folder.split_once("://") {
            None if !self.storage.storage_type.objects => local(<&System>::default(), folder),
            // Beside a dataset on any storage system.
            Some((scheme, rest)) => match System::of_scheme(scheme) {
                Some(system) if !system.objects => local(system, rest),
                _ => return Address::resolve(&self.storage, KEY, folder),
            },
            None => return Address::resolve(&self.storage, KEY, folder),
        };
        found.map_err(|what| ConfigError::rule(KEY, what, "name a folder"))
    }
}

/// zstd's levels.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;

/// Checks what a job says of its checkpoint files.
pub(super) fn files(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let c = &w.checkpoint;
    for (key, number) in [
        ("checkpoint.read_threads", Some(c.read_threads)),
        ("checkpoint.write_files", c.write_files),
        ("checkpoint.parts_in_flight", Some(c.parts_in_flight)),
    ] {
        if number == Some(0) {
            return Err(ConfigError::rule(key, "is 0", "set it to 1 or more"));
        }
    }
    if c.compression == CheckpointCompression::Zstd && !LEVELS.contains(&c.compression_level) {
        return Err(ConfigError::rule(
            "checkpoint.compression_level",
            format!("is {}", c.compression_level),
            "zstd has levels 1 to 22",
        ));
    }
    if !c.time_between_checkpoints.is_finite() {
        return Err(ConfigError::rule(
            "checkpoint.time_between_checkpoints",
            format!("is {}", c.time_between_checkpoints),
            "it is a number of seconds",
        ));
    }
    if let Some(keep) = c.keep {
        if keep == 0 {
            let remedy = "leave it out to keep all, or set it to 1 or more";
            return Err(ConfigError::rule("checkpoint.keep", "is 0", remedy));
        }
        if c.num_checkpoints_write > 0 && c.num_checkpoints_read > keep as i64 {
            return Err(ConfigError::rule(
                "checkpoint.keep",
                format!(
                    "{keep} is less than checkpoint.num_checkpoints_read={}: what is deleted cannot be loaded",
                    c.num_checkpoints_read
                ),
                "raise checkpoint.keep or lower num_checkpoints_read",
            ));
        }
    }
    w.checkpoint_address()?;
    if !w.workflow.train && c.num_checkpoints_write <= 0 && c.num_checkpoints_read <= 0 {
        return Err(ConfigError::rule(
            "checkpoint.num_checkpoints_write",
            "and num_checkpoints_read are both 0 or less: there is nothing to do",
            "set one of them",
        ));
    }
    if w.workflow.train && c.between_phases.is_some() {
        warnings.push(
            "checkpoint.between_phases has no effect: a job that trains loads no checkpoints"
                .into(),
        );
    }
    if !c.randomize_tensor {
        warnings.push(
            "checkpoint.randomize_tensor=false: tensors hold nothing but ones; storage that compresses or finds duplicates looks faster than it is".into(),
        );
    }
    if w.framework == Framework::TensorFlow {
        warnings.push(
            "checkpoints of framework tensorflow are numpy .npz files, one array per tensor: TensorFlow's own container needs its library".into(),
        );
    }
    if c.compression != CheckpointCompression::None {
        warnings.push(
            "checkpoint.compression=zstd: one thread per rank compresses or unpacks, and its time is in the figures; see the generator stall".into(),
        );
    }
    if c.verify_content && (w.workflow.train || c.num_checkpoints_read > 0) {
        warnings.push(
            "checkpoint.verify_content=true: comparing what is loaded takes CPU time, and its time is in the figures of loads".into(),
        );
    }
    Ok(())
}
