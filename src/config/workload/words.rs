//! Values that are one word of a few.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! word_enum {
    ($(#[$m:meta])* $name:ident { $($(#[$vm:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        $(#[$m])*
        pub enum $name { $($(#[$vm])* #[serde(rename = $word)] $variant),+ }
        impl $name {
            /// The word used in the YAML.
            pub fn word(self) -> &'static str { match self { $($name::$variant => $word),+ } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.word()) }
        }
    };
}

word_enum! {
    /// The emulated training framework.
    Framework {
        /// TensorFlow.
        TensorFlow = "tensorflow",
        /// PyTorch.
        PyTorch = "pytorch",
    }
}
word_enum! {
    /// The file format of the dataset.
    FormatKind {
        /// TFRecord.
        TfRecord = "tfrecord",
        /// HDF5.
        Hdf5 = "hdf5",
        /// Comma-separated text.
        Csv = "csv",
        /// numpy zip.
        Npz = "npz",
        /// numpy array.
        Npy = "npy",
        /// HDF5 variant that DLIO names but cannot generate or read.
        Hdf5Opt = "hdf5_opt",
        /// JPEG images.
        Jpeg = "jpeg",
        /// PNG images.
        Png = "png",
        /// Samples back to back with offset and size indices.
        IndexedBinary = "indexed_binary",
        /// The same read through a memory map.
        MmapIndexedBinary = "mmap_indexed_binary",
        /// Files that hold only their index.
        Synthetic = "synthetic",
        /// Parquet.
        Parquet = "parquet",
    }
}
word_enum! {
    /// Shape of the loader: how many samples or batches are in flight and in which order.
    DataLoaderKind {
        /// TensorFlow generators.
        TensorFlow = "tensorflow",
        /// PyTorch worker per batch.
        PyTorch = "pytorch",
        /// DALI external source.
        Dali = "dali",
        /// DALI's own readers.
        NativeDali = "native_dali",
        /// No I/O.
        Synthetic = "synthetic",
        /// A Python class; not runnable here.
        Custom = "custom",
        /// None.
        None = "none",
        /// dlio-rs: samples in parallel, `io_depth` deep.
        Native = "native",
    }
}
word_enum! {
    /// Shuffle mode.
    #[schemars(extend("x-true" = "seed"))]
    Shuffle {
        /// No shuffle.
        Off = "off",
        /// Seeded shuffle.
        Seed = "seed",
        /// In DLIO the same as `seed` for the Python loaders.
        Random = "random",
    }
}
word_enum! {
    /// Which access order a run follows.
    OrderKind {
        /// Exactly DLIO's (the MLCommons fork).
        Dlio = "dlio",
        /// A true shuffle by a keyed bijection, in constant memory.
        Permutation = "permutation",
    }
}
word_enum! {
    /// How far a reader checks what it read.
    Decode {
        /// Bytes are read and counted.
        None = "none",
        /// Container structure and checksums.
        Verify = "verify",
        /// As the Python library would.
        Full = "full",
    }
}
word_enum! {
    /// What keeps the page cache from answering the next epoch.
    DropCache {
        /// Each reader has the kernel forget a file's pages once it has read its last byte.
        Fadvise = "fadvise",
        /// Reads that leave no pages behind (`RWF_DONTCACHE`, Linux 6.14); refused where kernel or file system has none.
        DontCache = "dontcache",
        /// Leave the cache alone.
        None = "none",
        /// Write to `/proc/sys/vm/drop_caches`, once per node.
        System = "system",
    }
}
word_enum! {
    /// How long the metadata of a file that was read is kept.
    IndexCacheLife {
        /// For the epoch: the next one reads it again, as a framework that opens its files again does.
        Epoch = "epoch",
        /// For the whole run.
        Run = "run",
        /// Not at all: every read of samples reads the metadata first.
        None = "none",
    }
}
word_enum! {
    /// Whether all hosts see the same data folder.
    SharedFolder {
        /// Found out before work begins.
        Auto = "auto",
        /// It must be.
        True = "true",
        /// Each host has its own.
        False = "false",
    }
}
word_enum! {
    /// Which DLIO generation's metric formulas are used.
    MetricFormula {
        /// The MLCommons fork's (v3).
        V3 = "v3",
        /// The upstream's, as published with v2.0 results.
        V2 = "v2",
    }
}
word_enum! {
    /// How the dimensions of files are drawn when a stdev is given.
    SizeLaw {
        /// Upstream's: seed 10 for every rank count.
        Upstream = "upstream",
        /// The fork's: seed 10 + rank, so sizes depend on the rank count.
        Fork = "fork",
    }
}
word_enum! {
    /// DLIO's `compression`.
    Compression {
        /// None.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// LZF.
        Lzf = "lzf",
        /// bzip2.
        Bz2 = "bz2",
        /// zip.
        Zip = "zip",
        /// xz.
        Xz = "xz",
    }
}
word_enum! {
    /// Compression of parquet pages.
    ParquetCompression {
        /// None, as DLIO writes.
        None = "none",
        /// Snappy.
        Snappy = "snappy",
        /// gzip.
        Gzip = "gzip",
        /// Zstandard.
        Zstd = "zstd",
        /// LZ4 (raw blocks).
        Lz4 = "lz4",
    }
}
word_enum! {
    /// What jpeg and png files hold.
    ImageEncoding {
        /// Images that decoders open, as upstream DLIO writes.
        Image = "image",
        /// The bare sample bytes under an image's name, as the MLCommons fork writes.
        Raw = "raw",
    }
}
word_enum! {
    /// Which reads are compared with what was generated.
    #[schemars(extend("x-true" = "full"))]
    VerifyContent {
        /// None.
        Off = "off",
        /// About one read in 64.
        Sampled = "sampled",
        /// Every read.
        Full = "full",
    }
}
word_enum! {
    /// Which ranks take part in a checkpoint job.
    CheckpointMode {
        /// All ranks of the job are the whole model.
        Default = "default",
        /// The job runs the first ranks of a larger one.
        Subset = "subset",
    }
}
word_enum! {
    /// How checkpoint files are compressed.
    CheckpointCompression {
        /// As they are.
        None = "none",
        /// One zstd frame per file.
        Zstd = "zstd",
    }
}
word_enum! {
    /// DLIO's `checkpoint.type`.
    CheckpointType {
        /// Rank zero.
        RankZero = "rank_zero",
        /// All ranks.
        AllRanks = "all_ranks",
    }
}
word_enum! {
    /// DLIO's `reader.read_type`.
    ReadType {
        /// Open, read and close for every sample.
        OnDemand = "on_demand",
        /// Files kept open or cached.
        Memory = "memory",
    }
}
word_enum! {
    /// DLIO's `reader.file_access`.
    FileAccess {
        /// One file per process.
        Multi = "multi",
        /// Shared.
        Shared = "shared",
        /// Collective.
        Collective = "collective",
        /// MPI-IO.
        Mpio = "mpio",
        /// POSIX.
        Posix = "posix",
    }
}
word_enum! {
    /// DLIO's `profiling.profiler`.
    Profiler {
        /// None.
        None = "none",
        /// iostat.
        Iostat = "iostat",
        /// Darshan.
        Darshan = "darshan",
        /// TensorBoard.
        Tensorboard = "tensorboard",
        /// DFTracer.
        Dftracer = "dftracer",
    }
}
word_enum! {
    /// Ranks that leave files of their own.
    PerRankFiles {
        /// All ranks, as in DLIO.
        All = "all",
        /// Rank 0 alone.
        First = "first",
        /// No rank.
        None = "none",
    }
}
word_enum! {
    /// DLIO's `reader.data_loader_sampler`.
    Sampler {
        /// Thread by thread.
        Iterative = "iterative",
        /// By index.
        Index = "index",
        /// None.
        None = "none",
    }
}
word_enum! {
    /// How a rank has many reads in flight.
    ReadEngine {
        /// As `threads`.
        Auto = "auto",
        /// A thread for each.
        Threads = "threads",
        /// A few threads with a ring of io_uring each.
        Uring = "uring",
    }
}
impl ReadEngine {
    /// What `auto` stands for, and why. Measured: docs/decisions.md.
    pub fn chosen(self) -> (ReadEngine, &'static str) {
        match self {
            ReadEngine::Auto => (
                ReadEngine::Threads,
                "auto: uring only where it is asked for",
            ),
            chosen => (chosen, "reader.engine"),
        }
    }
}
word_enum! {
    /// How ranks wait for each other after each step.
    StepBarrier {
        /// As `shared`.
        Auto = "auto",
        /// In a collective of MPI over all ranks, which spins.
        Mpi = "mpi",
        /// Asleep, in memory that the ranks of a node share; one rank of each node is in a collective of MPI.
        Shared = "shared",
    }
}
impl StepBarrier {
    /// What `auto` stands for.
    pub fn chosen(self) -> StepBarrier {
        match self {
            StepBarrier::Auto => StepBarrier::Shared,
            chosen => chosen,
        }
    }
}
