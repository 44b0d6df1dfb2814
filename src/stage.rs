//! Stages of time: one row each. Histograms, console, `report.json` and `docs/metrics.md` read this table.
//!
//! A [`Stage`] is a duration that is measured again and again and has a histogram. A [`Part`] is what a wait for a batch
//! was spent on: readers add their stages up by part, and the wait is divided by these sums.

use serde::{Deserialize, Serialize};

/// Who has to act when a duration is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The storage system and the way to it.
    Storage,
    /// This client: its CPUs, its memory, the settings of its loader.
    Client,
    /// Configured, so nobody.
    Workload,
    /// Other ranks.
    Peers,
    /// Whoever has the largest of the [`Part`]s that it is divided into.
    Parts,
}

impl Blame {
    /// Its word in the docs and in `report.json`.
    pub fn word(self) -> &'static str {
        match self {
            Blame::Storage => "storage",
            Blame::Client => "client",
            Blame::Workload => "workload",
            Blame::Peers => "other ranks",
            Blame::Parts => "by part",
        }
    }
}

/// Unit of all stages.
pub const UNIT: &str = "ns";

macro_rules! stages {
    ($(#[doc = $doc:literal] $variant:ident $name:literal in $place:literal, $blame:ident;)*) => {
        /// What a duration was spent on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Stage {
            $(#[doc = $doc] $variant,)*
        }

        impl Stage {
            /// All stages, in the order of the report.
            pub const ALL: &[Stage] = &[$(Stage::$variant),*];

            /// Key in `report.json` and `histograms.hgrm`.
            pub fn name(self) -> &'static str {
                match self { $(Stage::$variant => $name,)* }
            }

            /// One sentence for the reader of a report.
            pub fn doc(self) -> &'static str {
                match self { $(Stage::$variant => $doc.trim_ascii(),)* }
            }

            /// Where it exists.
            pub fn place(self) -> &'static str {
                match self { $(Stage::$variant => $place,)* }
            }

            /// Who has to act when it is too long.
            pub fn blame(self) -> Blame {
                match self { $(Stage::$variant => Blame::$blame,)* }
            }
        }
    };
}

stages! {
    /// opening one file and learning its length
    Open "open" in "files", Storage;
    /// read calls for one file's index or header, before its samples can be located; not parsing it
    Metadata "metadata" in "formats with an index", Storage;
    /// from a request to the first byte of its answer
    FirstByte "first_byte" in "object stores, model", Storage;
    /// one read call; for object stores one GET, from the wait for its answer to its last byte
    Read "read" in "all readers", Storage;
    /// all of one sample, from its being taken by a reader to its being ready; the mean where one request brings several
    Sample "sample" in "all readers", Client;
    /// checking or decoding one sample, and parsing metadata for it
    Decode "decode" in "readers with reader.decode or reader.verify_content", Client;
    /// emulated preprocessing of one sample
    Preprocess "preprocess" in "readers with reader.preprocess_time", Workload;
    /// the train loop's wait for one batch
    BatchWait "batch_wait" in "training and evaluation", Parts;
    /// emulated computation of one step
    Compute "compute" in "training and evaluation", Workload;
    /// waiting for the other ranks after one step
    Barrier "barrier" in "training", Peers;
    /// one write call of dataset generation
    Write "write" in "generation", Storage;
    /// one write call of a checkpoint
    CheckpointWrite "checkpoint_write" in "checkpoints", Storage;
    /// making one checkpoint file or folder durable
    CheckpointFsync "checkpoint_fsync" in "checkpoints", Storage;
    /// one read call of a checkpoint
    CheckpointRead "checkpoint_read" in "checkpoints", Storage;
}

impl Stage {
    /// Stages of which the report also gives each rank's own percentiles.
    pub const OF_RANKS: [Stage; 3] = [
        Stage::CheckpointWrite,
        Stage::CheckpointFsync,
        Stage::CheckpointRead,
    ];
}

macro_rules! parts {
    ($(#[doc = $doc:literal] $variant:ident $name:literal $label:literal, $blame:ident, $advice:literal;)*) => {
        /// What readers did while the train loop waited for a batch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Part {
            $(#[doc = $doc] $variant,)*
        }

        impl Part {
            /// All parts, in the order of the report.
            pub const ALL: &[Part] = &[$(Part::$variant),*];

            /// Key in `report.json`.
            pub fn name(self) -> &'static str {
                match self { $(Part::$variant => $name,)* }
            }

            /// Its name for people.
            pub fn label(self) -> &'static str {
                match self { $(Part::$variant => $label,)* }
            }

            /// Who has to act.
            pub fn blame(self) -> Blame {
                match self { $(Part::$variant => Blame::$blame,)* }
            }

            /// What can be done about it.
            pub fn advice(self) -> &'static str {
                match self { $(Part::$variant => $advice,)* }
            }
        }
    };
}

parts! {
    /// opening files and read calls, retries and their pauses included
    Io "io" "device or network I/O", Storage,
        "storage did not deliver in time; look at the percentiles of open and read, at reader.read_threads and reader.prefetch_size";
    /// read calls for files' indexes or headers
    Metadata "metadata" "metadata", Storage,
        "reading indexes and headers took longer than the samples; look at the percentiles of metadata, and use larger files or a format without an index";
    /// checking or decoding; parsing indexes or headers, and waiting for the library that does
    Decode "decode" "decode", Client,
        "the client's CPUs did not decode in time; use more reader.read_threads where there are CPUs, or reader.decode=none to measure storage alone";
    /// emulated preprocessing
    Preprocess "preprocess" "preprocess", Client,
        "the configured reader.preprocess_time does not fit behind the computation; use more reader.read_threads or less of it";
    /// readers were ready to run and had no CPU: run queue, throttling by a cgroup
    Cpu "cpu" "waiting for CPU", Client,
        "readers waited for a CPU; give the job more CPUs, fewer ranks per host, or a higher CPU limit";
    /// no reader worked on the batch: it was not begun yet, or it was ready and the train loop had not woken up
    Idle "idle" "nothing to do", Client,
        "no reader was at work on the batch; raise reader.prefetch_size and reader.read_threads";
}

/// Nanoseconds per [`Part`], indexed by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(pub [u64; Parts::LEN]);

impl Parts {
    /// Number of parts.
    pub const LEN: usize = Part::ALL.len();

    /// Sum of all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Parts) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// What a wait of `wait_ns` went to, of which readers worked on the batch for `busy_ns`: that time in the proportion of
    /// these parts, the rest to [`Part::Idle`]. The sum is `wait_ns`.
    pub fn of_wait(&self, wait_ns: u64, busy_ns: u64) -> Parts {
        let total = u128::from(self.total());
        let busy = u128::from(busy_ns.min(wait_ns));
        let mut out = Parts::default();
        for (share, part) in out.0.iter_mut().zip(&self.0) {
            let whole = busy * u128::from(*part);
            *share = whole.checked_div(total).unwrap_or(0) as u64;
        }
        // What the divisions round off is below a nanosecond per part.
        out[Part::Idle] += wait_ns - out.total();
        out
    }

    /// Moves `delay_ns` of waiting for a CPU out of the other parts in proportion to their time, as far as that goes.
    /// `asleep_ns` of [`Part::Preprocess`] were slept and cannot hold such a wait. Returns what was moved.
    pub fn take_delay(&mut self, delay_ns: u64, asleep_ns: u64) -> u64 {
        let mut from = *self;
        from[Part::Preprocess] = from[Part::Preprocess].saturating_sub(asleep_ns);
        from[Part::Cpu] = 0;
        from[Part::Idle] = 0;
        let total = u128::from(from.total());
        if total == 0 {
            return 0;
        }
        let delay = u128::from(delay_ns).min(total);
        let mut moved = 0;
        for (part, could) in self.0.iter_mut().zip(&from.0) {
            let share = (delay * u128::from(*could) / total) as u64;
            *part -= share;
            moved += share;
        }
        self[Part::Cpu] += moved;
        moved
    }
}

impl std::ops::Index<Part> for Parts {
    type Output = u64;
    fn index(&self, part: Part) -> &u64 {
        &self.0[part as usize]
    }
}

impl std::ops::IndexMut<Part> for Parts {
    fn index_mut(&mut self, part: Part) -> &mut u64 {
        &mut self.0[part as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for &stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
        for &part in Part::ALL {
            assert_eq!(serde_json::to_value(part).unwrap(), part.name());
        }
    }

    #[test]
    fn the_docs_have_every_row() {
        let docs = include_str!("../docs/metrics.md");
        for &s in Stage::ALL {
            let row = format!(
                "| `{}` | {} | {} | {} |",
                s.name(),
                s.doc(),
                s.place(),
                s.blame().word()
            );
            assert!(docs.contains(&row), "docs/metrics.md lacks the row\n{row}");
        }
        for &p in Part::ALL {
            let row = format!("| `{}` | {} | {} |", p.name(), p.label(), p.blame().word());
            assert!(docs.contains(&row), "docs/metrics.md lacks the row\n{row}");
        }
    }

    #[test]
    fn a_wait_is_divided_without_a_rest() {
        let work = Parts([30, 0, 50, 0, 10, 0]);
        let wait = work.of_wait(1_000, 900);
        assert_eq!(wait.0, [300, 0, 500, 0, 100, 100]);
        assert_eq!(Parts::default().of_wait(7, 7).0, [0, 0, 0, 0, 0, 7]);
        for (wait, busy) in [(1, 1), (999, 5_000), (u64::MAX / 2, 12_345)] {
            assert_eq!(Parts([3, 3, 3, 1, 0, 0]).of_wait(wait, busy).total(), wait);
        }
    }

    #[test]
    fn a_delay_comes_out_of_what_was_not_slept() {
        let mut parts = Parts([100, 0, 100, 1_000, 0, 0]);
        assert_eq!(parts.take_delay(50, 1_000), 50);
        assert_eq!(parts.0, [75, 0, 75, 1_000, 50, 0]);
        // More delay than there was time: all of it, and no more.
        let mut parts = Parts([10, 0, 0, 0, 0, 0]);
        assert_eq!(parts.take_delay(50, 0), 10);
        assert_eq!(parts.0, [0, 0, 0, 0, 10, 0]);
    }
}
