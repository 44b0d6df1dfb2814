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
// What only a feature uses is of no use without it; the default build has all of them.
#![cfg_attr(
    not(all(
        feature = "s3",
        feature = "azure",
        feature = "hdf5",
        feature = "parquet",
        feature = "sdk",
        feature = "mpi-linked"
    )),
    allow(dead_code, unused_imports)
)]

mod checkpoint;
mod cli;
mod clock;
mod cluster;
mod compare;
mod config;
mod format;
mod host;
mod interrupt;
mod loader;
mod metrics;
mod mlperf;
mod plan;
mod report;
mod run;
mod stage;
mod storage;
mod util;

pub use cli::main;
pub use interrupt::{remove_unfinished, say};

/// What fuzzing, benches and integration tests use, which are crates of their own. It changes without notice. Everything else is
/// of this crate alone, so that the compiler names what nobody uses.
#[doc(hidden)]
pub mod internal {
    pub use crate::checkpoint::check as checkpoint_check;
    pub use crate::checkpoint::pickle::read as pickle_read;
    pub use crate::config::{LoadRequest, Loaded, Source, load};
    pub use crate::format::memory::check as format_check;
    pub use crate::metrics::timeline::{Column, Timeline};
    pub use crate::plan::fill::{FillSource, Shrink};
    #[cfg(feature = "object")]
    pub use crate::storage::http_answer;
    pub use crate::storage::ring::run_tasks;
    pub use crate::storage::{
        Answer, Buffer, Client, Entry, Extent, Lane, Request, SYSTEMS, Secret, Sink, Storage,
        StorageError, StoreSpec, System, open,
    };
}
