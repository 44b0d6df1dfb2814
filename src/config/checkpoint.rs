//! Rules over the `checkpoint` section and the parallelism of the model.

use super::error::ConfigError;
use super::{Address, CheckpointCompression, CheckpointMode, Framework, Workload};
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

/// Checks what a job of `ranks` ranks says of its checkpoints.
///
/// Errors: the first rule that is broken.
pub(super) fn check(
    w: &Workload,
    ranks: u64,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    stages(w)?;
    data_parallelism(w, ranks)?;
    numbers(w)?;
    files(w, warnings)
}

/// Checkpoints that are written and read.
fn numbers(w: &Workload) -> Result<(), ConfigError> {
    let c = &w.checkpoint;
    if c.num_checkpoints_write > 0 && c.num_checkpoints_read > c.num_checkpoints_write {
        let what = format!(
            "{} reads of {} checkpoints",
            c.num_checkpoints_read, c.num_checkpoints_write
        );
        return Err(ConfigError::rule(
            "checkpoint.num_checkpoints_read",
            what,
            "read no more than are written",
        ));
    }
    Ok(())
}

/// Tensor and pipeline parallelism, and the stage of ZeRO.
fn stages(w: &Workload) -> Result<(), ConfigError> {
    let p = &w.model.parallelism;
    ConfigError::positive("model.parallelism.tensor", p.tensor)?;
    ConfigError::positive("model.parallelism.pipeline", p.pipeline)?;
    if p.zero_stage > 3 {
        return Err(ConfigError::rule(
            "model.parallelism.zero_stage",
            format!("is {}", p.zero_stage),
            "0 to 3",
        ));
    }
    if w.model.num_layers > 0 && (w.model.num_layers as u64) < p.pipeline {
        let what = format!(
            "{} layers cannot fill {} pipeline stages",
            w.model.num_layers, p.pipeline
        );
        return Err(ConfigError::rule(
            "model.num_layers",
            what,
            "lower model.parallelism.pipeline",
        ));
    }
    if p.pipeline > 1 && p.zero_stage == 3 {
        let what = "pipeline parallelism and ZeRO stage 3 exclude each other";
        return Err(ConfigError::rule(
            "model.parallelism.zero_stage",
            what,
            "set pipeline to 1 or zero_stage below 3",
        ));
    }
    Ok(())
}

/// Data parallelism, and what it makes of the number of ranks.
fn data_parallelism(w: &Workload, ranks: u64) -> Result<(), ConfigError> {
    let p = &w.model.parallelism;
    match w.checkpoint.mode {
        CheckpointMode::Default if p.data > 0 => {
            let what = format!(
                "is {} in mode default, where it follows from the number of ranks",
                p.data
            );
            return Err(ConfigError::rule(
                "model.parallelism.data",
                what,
                "leave it out, or set checkpoint.mode=subset",
            ));
        }
        CheckpointMode::Default if !ranks.is_multiple_of(p.tensor * p.pipeline) => {
            return Err(ConfigError::rule(
                "model.parallelism",
                format!(
                    "{ranks} ranks are no multiple of tensor {} x pipeline {}",
                    p.tensor, p.pipeline
                ),
                "change the number of ranks",
            ));
        }
        CheckpointMode::Subset if p.data <= 0 => {
            let what = "is not set, and mode subset needs it";
            return Err(ConfigError::rule(
                "model.parallelism.data",
                what,
                "set the data parallelism of the whole job",
            ));
        }
        CheckpointMode::Subset if (p.data as u64) * p.tensor * p.pipeline < ranks => {
            let what = format!(
                "the whole job has {} ranks, fewer than {ranks}",
                p.data as u64 * p.tensor * p.pipeline
            );
            return Err(ConfigError::rule(
                "model.parallelism",
                what,
                "run fewer ranks",
            ));
        }
        _ => {}
    }
    Ok(())
}

/// The checkpoint files.
fn files(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let c = &w.checkpoint;
    for (key, number) in [
        ("checkpoint.read_threads", Some(c.read_threads)),
        ("checkpoint.write_files", c.write_files),
        ("checkpoint.parts_in_flight", Some(c.parts_in_flight)),
    ] {
        ConfigError::positive(key, number.unwrap_or(1))?;
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
