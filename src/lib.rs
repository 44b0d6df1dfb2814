//! dlio-rs: what a storage system gives to AI training, measured under MPI.
//!
//! Every rank is one simulated accelerator. A rank takes its shard of the dataset by arithmetic,
//! reads it through a thread pool as a training framework would, waits for the computation time of
//! each step, and at the end per-rank histograms and step times are reduced to rank 0, which writes
//! the report. Configuration, access order, formulas and output files are those of the DLIO benchmark.
//!
//! A module uses only modules below it in this list:
//!
//! | Module | What it is |
//! |---|---|
//! | [`cli`] | verbs, DLIO's command-line words, exit statuses |
//! | [`compare`] | two runs side by side: differences, tolerances, significance |
//! | [`mlperf`] | MLPerf Storage's rules and sizes, and the figures of folders of results |
//! | [`run`] | the phases: generate, train, evaluate; clock; watchdog |
//! | [`report`] | what a run leaves behind: DLIO's files, our report, the console |
//! | [`metrics`] | per-step records, histograms, AU and throughput, reductions |
//! | [`loader`] | turns a plan into batches: reader threads, bounded in-order window |
//! | [`checkpoint`] | checkpoint files: their bytes, saving them, loading them |
//! | [`format`](mod@format) | one file per file format: encode, locate a sample, decode; containers |
//! | [`plan`] | pure arithmetic: dataset, shards, order, fill |
//! | [`config`] | the typed workload, its loading, overrides and validation |
//! | [`storage`] | one file and one row of a table per storage system |
//! | [`cluster`] | ranks: the only module that names MPI |
//! | [`host`] | what the kernel says of this machine: CPUs, memory, caches, mounts, counters |
//! | [`interrupt`] | an early end, by a signal or the watchdog: what is half written is removed |
//! | [`stage`] | the table of stages of time |
//! | [`clock`] | monotonic time and exact waiting |
//! | [`util`] | units, hashes, varints, little-endian numbers: each once |

// The table names modules that are not public.
#![allow(rustdoc::private_intra_doc_links)]

pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod cluster;
pub(crate) mod compare;
pub mod config;
pub mod format;
pub mod host;
pub mod interrupt;
pub mod loader;
pub mod metrics;
pub(crate) mod mlperf;
pub mod plan;
pub mod report;
pub mod run;
pub mod stage;
pub mod storage;
mod util;
