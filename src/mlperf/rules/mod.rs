//! The rules of MLPerf Storage as far as a run's own folder, a group of runs or a workload can be judged by them.
//!
//! [`table`] is the one table: each rule's number and name are upstream's (Rules.md of mlcommons/storage); checks of dlio-rs's
//! own have a word in place of the number. [`engine`] goes through it. Trees of submissions are judged by
//! `mlpstorage validate`.

pub(crate) mod checkpointing;
pub(crate) mod dataset;
mod editions;
pub(crate) mod engine;
mod files;
mod groups;
mod hosts;
pub(crate) mod parameters;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod training;
