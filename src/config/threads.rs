//! Threads that nobody set, sized by the machine as MLCommons' DLIO sizes them.

use super::error::ConfigError;
use super::load::Loaded;
use super::origin::Origin;

/// Cap of automatic threads; this variable sets another one for both.
const CAP: &str = "DLIO_MAX_AUTO_THREADS";
const READ_CAP: u64 = 8;
const WRITE_CAP: u64 = 32;
/// Writer threads at least, where no page cache takes what is written.
const LEAST_UNCACHED: u64 = 8;

/// One host of a job.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Logical CPUs of the host, whatever the process is bound to, or those of the cgroup's quota.
    pub cpus: usize,
    pub ranks: usize,
}

impl Loaded {
    /// Sets `reader.read_threads` and `reader.write_threads` where nobody set them. Under the name `dlio_benchmark` a 1 is
    /// taken for not set, as there.
    ///
    /// Errors: `DLIO_MAX_AUTO_THREADS` is no number.
    /// Source: DLIO (MLCommons fork) `utils/config.py::derive_configurations`.
    pub fn size_threads(&mut self, machine: Machine, as_dlio: bool) -> Result<(), ConfigError> {
        let cap = match self.variables.get(CAP).map(|text| text.trim()) {
            None | Some("") => None,
            Some(text) => Some(text.parse::<i64>().map_err(|_| {
                ConfigError::rule(
                    &format!("environment variable {CAP}"),
                    format!("{text:?} is no whole number"),
                    "set it to one, such as 8, or unset it",
                )
            })?),
        };
        let cap = cap.map(|cap| cap.max(1) as u64);
        let per_rank = (machine.cpus / machine.ranks.max(1)).max(1) as u64;
        let is_open = |set: Option<u64>| set.is_none() || as_dlio && set == Some(1);
        let how = |n: u64, times: &str, limits: String| {
            Origin::Machine(format!(
                "sized by the machine: {times}{} CPUs / {} ranks of a host, {limits}, makes {n}",
                machine.cpus, machine.ranks
            ))
        };
        if is_open(self.workload.reader.read_threads) {
            let cap = cap.unwrap_or(READ_CAP);
            let n = per_rank.min(cap);
            self.workload.reader.read_threads = Some(n);
            self.origins.insert(
                "reader.read_threads".into(),
                how(n, "", format!("at most {cap}")),
            );
        }
        if is_open(self.workload.reader.write_threads) {
            let cap = cap.unwrap_or(WRITE_CAP);
            let system = self.workload.storage_system();
            // Object stores and direct I/O keep twice as many busy.
            let (n, times, limits) = match system.has_bytes && !system.page_cache {
                true => (
                    (2 * per_rank).min(cap).max(LEAST_UNCACHED),
                    "2 x ",
                    format!("at most {cap}, at least {LEAST_UNCACHED}"),
                ),
                false => (per_rank.min(cap), "", format!("at most {cap}")),
            };
            self.workload.reader.write_threads = Some(n);
            self.origins
                .insert("reader.write_threads".into(), how(n, times, limits));
        }
        Ok(())
    }

    /// How the threads of a phase came to be, where nobody set them.
    pub fn sized_threads(&self, key: &str) -> Option<&str> {
        match self.origins.get(key) {
            Some(Origin::Machine(how)) => Some(how),
            _ => None,
        }
    }
}
