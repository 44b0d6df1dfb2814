//! How large a dataset the rules demand. Exact arithmetic: a `ceil` decides, so no rounding may precede it.
//!
//! Source: the size calculation of `mlpstorage`: a dataset of five times the memory of all hosts, and 500 steps per epoch.

use super::foreign::{Column, Loose, Parameters};
pub use super::ratio::Ratio;

/// Steps that an epoch has at least.
pub const STEPS_PER_EPOCH: u64 = 500;

/// How many times the memory of all hosts a dataset holds at least.
pub const MEMORY_MULTIPLIER: u64 = 5;

/// More files than this and subfolders are advised, one per this many files.
pub const FILES_PER_SUBFOLDER: u128 = 10_000;

pub(crate) use crate::util::units::GIB;

/// Why no size can be computed. Messages fit after a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A key is absent, or is no positive number.
    #[error("{key} is {found}; the formula needs a number above 0\n  remedy: set {key}")]
    NotANumber { key: &'static str, found: String },
    /// Beyond every disk.
    #[error(
        "the numbers are too large: {what} overflows\n  remedy: check accelerators, memory and dataset.record_length_bytes"
    )]
    TooLarge { what: &'static str },
}

/// Bytes of one sample, as the harness counts them and as DLIO does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLength {
    /// mlpstorage's: what the formula takes.
    pub harness: Ratio,
    /// DLIO's: what throughput is computed from.
    pub dlio: Ratio,
    /// True where it is the sum over `dataset.parquet.columns`.
    pub from_columns: bool,
}

impl RecordLength {
    /// Of a workload's parameters.
    ///
    /// `dataset.record_length_bytes`, else for parquet the sum over its columns of size times element bytes. There
    /// the harness counts 8 for float64 and int64, 1 for uint8 and bool and 4 for everything else, and DLIO the true bytes.
    ///
    /// Errors: neither is given, or it is no positive number.
    pub(crate) fn of(parameters: &Parameters) -> Result<Self, SizeError> {
        let dataset = &parameters.dataset;
        let said = &dataset.record_length_bytes;
        let is_parquet = dataset.format.text() == Some("parquet");
        let columns = Some(&dataset.parquet.columns).filter(|list| is_parquet && !list.is_empty());
        let dlio = columns.and_then(|list| sum(list, dlio_element_bytes));
        if let Some(harness) = said.ratio().filter(|n| !n.is_zero()) {
            return Ok(RecordLength {
                harness,
                dlio: dlio.unwrap_or(harness),
                from_columns: false,
            });
        }
        let harness = columns.and_then(|list| sum(list, harness_element_bytes));
        match (said.is_set(), harness.filter(|n| !n.is_zero()), dlio) {
            (false, Some(harness), Some(dlio)) => Ok(RecordLength {
                harness,
                dlio,
                from_columns: true,
            }),
            _ => Err(SizeError::NotANumber {
                key: "dataset.record_length_bytes",
                found: said.to_string(),
            }),
        }
    }
}

/// Bytes of a sample of these columns; None where a size is no whole number, or beyond 2^128.
fn sum(columns: &[Column], element_bytes: fn(&str) -> u128) -> Option<Ratio> {
    let mut all = 0u128;
    for column in columns {
        let dtype = column.dtype.text().unwrap_or("float32");
        let size = match column.size.is_set() {
            true => column.size.whole()?,
            false => 1,
        };
        all = all.checked_add(u128::from(size).checked_mul(element_bytes(dtype))?)?;
    }
    Some(Ratio::whole(all))
}

/// Source: mlpstorage's table of element sizes.
fn harness_element_bytes(dtype: &str) -> u128 {
    match dtype {
        "float64" | "int64" => 8,
        "uint8" | "bool" => 1,
        _ => 4,
    }
}

/// Source: DLIO's table of element sizes.
fn dlio_element_bytes(dtype: &str) -> u128 {
    match dtype {
        "float64" | "int64" | "uint64" => 8,
        "float16" | "int16" | "uint16" => 2,
        "uint8" | "int8" | "bool" => 1,
        _ => 4,
    }
}

/// What the formula takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Memory of all hosts, bytes.
    pub memory_bytes: Ratio,
    /// Ranks = simulated accelerators.
    pub accelerators: u64,
    pub samples_per_file: u64,
    pub batch_size: u64,
    pub record: RecordLength,
}

impl Need {
    /// From a workload's parameters. Memory: bytes of all hosts together.
    ///
    /// Errors: a number that is missing or 0.
    pub(crate) fn of(
        parameters: &Parameters,
        accelerators: u64,
        memory_bytes: Ratio,
    ) -> Result<Self, SizeError> {
        let positive = |key: &'static str, value: &Loose| {
            let (number, found) = (value.whole(), value.to_string());
            let number = number.filter(|n| *n > 0);
            number.ok_or(SizeError::NotANumber { key, found })
        };
        let samples = &parameters.dataset.num_samples_per_file;
        Ok(Need {
            memory_bytes,
            accelerators,
            // DLIO's default; of the batch size the harness knows none.
            samples_per_file: match samples.is_set() {
                true => positive("dataset.num_samples_per_file", samples)?,
                false => 1,
            },
            batch_size: positive("reader.batch_size", &parameters.reader.batch_size)?,
            record: RecordLength::of(parameters)?,
        })
    }
}

/// GiB per host times hosts, in bytes.
pub fn memory_of_hosts(gib_per_host: Ratio, hosts: u64) -> Option<Ratio> {
    gib_per_host
        .times(Ratio::whole(1 << 30))?
        .times(Ratio::whole(u128::from(hosts)))
}

/// Which of the two terms decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    Memory,
    Steps,
}

/// The least dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetSize {
    pub need: Need,
    /// 5 x memory / bytes of a file.
    pub by_memory: Ratio,
    /// 500 x accelerators x batch size / samples of a file.
    pub by_steps: Ratio,
}

impl DatasetSize {
    /// Errors: a term beyond 2^128.
    pub fn new(need: Need) -> Result<Self, SizeError> {
        let whole = |n: u64| Ratio::whole(u128::from(n));
        let samples = whole(need.samples_per_file);
        let file = samples.times(need.record.harness);
        let wanted = need.memory_bytes.times(whole(MEMORY_MULTIPLIER));
        let by_memory = wanted.and_then(|bytes| bytes.over(file?));
        let steps = whole(STEPS_PER_EPOCH).times(whole(need.accelerators));
        let wanted = steps.and_then(|n| n.times(whole(need.batch_size)));
        let by_steps = wanted.and_then(|n| n.over(samples));
        let too_large = |what| SizeError::TooLarge { what };
        Ok(DatasetSize {
            need,
            by_memory: by_memory.ok_or(too_large("5 x memory / file bytes"))?,
            by_steps: by_steps.ok_or(too_large("500 x accelerators x batch size"))?,
        })
    }

    /// Files, by `ceil`: since release 3.0.43, and right for every edition.
    pub fn files(&self) -> u128 {
        self.by_memory.ceil().max(self.by_steps.ceil())
    }

    /// Files, by `floor`: v2.0 to release 3.0.42.
    pub fn files_floor(&self) -> u128 {
        self.by_memory.floor().max(self.by_steps.floor())
    }

    /// The larger term; a draw is decided by the steps, as in the harness.
    pub fn decided_by(&self) -> Term {
        if self.by_memory.ceil() > self.by_steps.ceil() {
            Term::Memory
        } else {
            Term::Steps
        }
    }

    /// Nominal bytes of `files` files, rounded down.
    pub fn bytes(&self, files: u128) -> Option<u128> {
        let samples = files.checked_mul(u128::from(self.need.samples_per_file))?;
        let bytes = Ratio::whole(samples).times(self.need.record.harness)?;
        Some(bytes.floor())
    }

    /// Steps of an epoch that `files` files give each accelerator.
    pub fn steps(&self, files: u128) -> Option<u128> {
        let samples = files.checked_mul(u128::from(self.need.samples_per_file))?;
        let step = u128::from(self.need.accelerators) * u128::from(self.need.batch_size);
        samples.checked_div(step)
    }

    /// The first term, with its numbers.
    pub fn by_memory_text(&self) -> String {
        let (memory, samples) = (self.need.memory_bytes, self.need.samples_per_file);
        let (record, files) = (self.need.record.harness, rounded(self.by_memory));
        format!("5 x {memory} B memory / ({samples} samples x {record} B) = {files}")
    }

    /// The second term, with its numbers.
    pub fn by_steps_text(&self) -> String {
        let (ranks, batch) = (self.need.accelerators, self.need.batch_size);
        let (samples, files) = (self.need.samples_per_file, rounded(self.by_steps));
        format!("500 steps x {ranks} accelerators x {batch} batch / {samples} samples = {files}")
    }
}

/// With six decimals where it is no whole number, and rounded up.
fn rounded(files: Ratio) -> String {
    match files.is_whole() {
        true => format!("{files} -> {}", files.ceil()),
        false => format!("{:.6} -> {}", files.to_f64(), files.ceil()),
    }
}

/// `dataset.num_subfolders_train` that is advised; 0: none.
pub fn subfolders(files: u128) -> u128 {
    match files {
        0..=FILES_PER_SUBFOLDER => 0,
        _ => files / FILES_PER_SUBFOLDER,
    }
}

/// Ranks of every host: whole shares, and one more for the first hosts.
pub fn ranks_of_hosts(ranks: u64, hosts: u64) -> Vec<u64> {
    (0..hosts)
        .map(|host| ranks / hosts + u64::from(host < ranks % hosts))
        .collect()
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;
