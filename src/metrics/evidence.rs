//! Where the bytes of an epoch came from: what was delivered to readers beside what counters outside this program saw, per
//! epoch and host, with a verdict and the rule that gave it.

use serde::{Deserialize, Serialize};

use crate::host::witness::Medium;

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServedByStorage {
    /// The storage delivered the bytes.
    Pass,
    /// Part of them came from a cache of this host.
    Suspect,
    /// A cache of this host answered.
    Cached,
    /// Nobody counts, or the counters mean nothing here.
    Unknown,
}

/// Share of the bytes that the witness must have seen for PASS.
const MOST: f64 = 0.9;
/// Share below which a cache answered; also the most that may be resident before the epoch for PASS.
const LEAST: f64 = 0.1;

/// Verdict for `device` of `read` bytes; `device` is None when the counter is unreadable or meaningless.
pub fn served_by_storage(read: u64, device: Option<u64>) -> ServedByStorage {
    match device {
        Some(device) if read > 0 => match device as f64 / read as f64 {
            r if r >= MOST => ServedByStorage::Pass,
            r if r >= LEAST => ServedByStorage::Suspect,
            _ => ServedByStorage::Cached,
        },
        _ => ServedByStorage::Unknown,
    }
}

/// What was counted in one epoch, of one rank or of a host. Units: bytes and pages. None: not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Given to readers.
    pub delivered: u64,
    /// Fetched from devices for these processes (`read_bytes` of `/proc/self/io`).
    pub device: Option<u64>,
    /// Sent by the mount's servers.
    pub mount: Option<u64>,
    /// Received by the object client's own sockets as bodies.
    pub socket: Option<u64>,
    /// Received by this host's network cards, whatever for.
    pub nic: Option<u64>,
    /// Pages of the dataset that were looked up before the epoch.
    pub sampled_pages: u64,
    /// Those of them that were in memory.
    pub resident_pages: u64,
}

pub(super) const WORDS: usize = 11;

impl Counts {
    /// For a reduction by sum: each optional counter as its value and whether it is there.
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let pair = |x: Option<u64>| [x.unwrap_or(0), u64::from(x.is_some())];
        let ([a, b], [c, d]) = (pair(self.device), pair(self.mount));
        let ([e, f], [g, h]) = (pair(self.socket), pair(self.nic));
        let (sampled, resident) = (self.sampled_pages, self.resident_pages);
        [self.delivered, a, b, c, d, e, f, g, h, sampled, resident]
    }

    /// Of the sum over `ranks` ranks of `hosts` hosts. Counters of a process must be there on every rank, those of a host on
    /// one rank of each.
    pub(super) fn from_words(w: &[u64], ranks: u64, hosts: u64) -> Self {
        let counted = |at: usize, by: u64| (w[at + 1] >= by).then_some(w[at]);
        Counts {
            delivered: w[0],
            device: counted(1, ranks),
            mount: counted(3, hosts),
            socket: counted(5, ranks),
            nic: counted(7, hosts),
            sampled_pages: w[9],
            resident_pages: w[10],
        }
    }

    /// What was added since `before`, which holds the same counters; without the sampled pages, which are no counters.
    pub fn since(&self, before: &Counts) -> Counts {
        let delta = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Counts {
            delivered: self.delivered - before.delivered,
            device: delta(self.device, before.device),
            mount: delta(self.mount, before.mount),
            socket: delta(self.socket, before.socket),
            nic: delta(self.nic, before.nic),
            ..Counts::default()
        }
    }

    fn resident_share(&self) -> Option<f64> {
        (self.sampled_pages > 0).then(|| self.resident_pages as f64 / self.sampled_pages as f64)
    }
}

/// One line of the evidence table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// From 1.
    pub epoch: u64,
    /// Index into the host table; None: all hosts together, where a line per host would be too many.
    pub host: Option<usize>,
    pub counts: Counts,
    pub verdict: ServedByStorage,
    /// The rule that gave it.
    pub rule: String,
}

/// The verdict for what was counted over a medium, and the rule that gave it.
pub fn judge(medium: &Medium, counts: &Counts) -> (ServedByStorage, String) {
    use ServedByStorage::{Cached, Pass, Suspect, Unknown};
    let unknown = |rule: &str| (Unknown, rule.to_string());
    if counts.delivered == 0 {
        return unknown("nothing was read");
    }
    let (name, witness) = match medium {
        Medium::Simulated => return unknown("simulated storage has no bytes"),
        Medium::Memory => return unknown("memory: the file system keeps its files there"),
        Medium::Device | Medium::Other(_) => ("devices", counts.device),
        Medium::Nfs => ("the NFS server", counts.mount),
        Medium::Lustre => ("the Lustre servers", counts.mount),
        Medium::Object => ("the object store", counts.socket),
    };
    let Some(seen) = witness else {
        return unknown("no counter of this host can be read");
    };
    let share = seen as f64 / counts.delivered as f64;
    if let Medium::Other(kind) = medium
        && share < MOST
    {
        let rule = format!("reads of a {kind} file system need not be counted on this host");
        return (Unknown, rule);
    }
    let percent = 100.0 * share;
    let came = |percent: f64| format!("{percent:.0} % came from {name}");
    let before = |r: f64| {
        format!(
            "{:.0} % of the sampled pages were in memory before",
            100.0 * r
        )
    };
    let resident = counts.resident_share();
    match (share, resident) {
        (s, _) if s < LEAST => (Cached, came(percent)),
        // What was resident was not fetched: the bytes that were counted are others, read ahead.
        (_, Some(r)) if r >= MOST => (Cached, before(r)),
        (s, _) if s < MOST => (Suspect, came(percent)),
        (_, Some(r)) if r > LEAST => (Suspect, before(r)),
        _ => (Pass, came(percent.min(100.0))),
    }
}

/// One verdict of several: theirs where they agree, else the doubt.
pub fn combined(verdicts: impl IntoIterator<Item = ServedByStorage>) -> ServedByStorage {
    use ServedByStorage::{Cached, Suspect, Unknown};
    let mut all = verdicts.into_iter();
    let Some(first) = all.next() else {
        return Unknown;
    };
    all.fold(first, |sum, next| match (sum, next) {
        (a, b) if a == b => a,
        (Cached | Suspect, _) | (_, Cached | Suspect) => Suspect,
        _ => Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::ServedByStorage::*;
    use super::*;

    fn counts(delivered: u64, device: u64) -> Counts {
        Counts {
            delivered,
            device: Some(device),
            ..Counts::default()
        }
    }

    #[test]
    fn each_medium_has_its_witness() {
        let of = |change: fn(&mut Counts)| {
            let mut counts = counts(100, 0);
            change(&mut counts);
            counts
        };
        let other = Medium::Other("overlay".into());
        for (medium, counts, expected) in [
            (&Medium::Device, counts(100, 90), Pass),
            (&Medium::Device, counts(100, 89), Suspect),
            (&Medium::Device, counts(100, 9), Cached),
            (&Medium::Device, of(|c| c.device = None), Unknown),
            (&Medium::Device, counts(0, 0), Unknown),
            // Whatever the disk did meanwhile, tmpfs did not read from it.
            (&Medium::Memory, counts(100, 100), Unknown),
            (&Medium::Nfs, of(|c| c.mount = Some(95)), Pass),
            (&Medium::Lustre, of(|c| c.mount = Some(5)), Cached),
            (&Medium::Object, of(|c| c.socket = Some(100)), Pass),
            (&other, counts(100, 0), Unknown),
            (&other, counts(100, 100), Pass),
            (&Medium::Simulated, counts(100, 100), Unknown),
        ] {
            let (verdict, rule) = judge(medium, &counts);
            assert_eq!(verdict, expected, "{medium:?} {counts:?}");
            assert!(*medium != Medium::Memory || rule.starts_with("memory"));
        }
    }

    // Half of the dataset is in memory; readahead of other files makes the devices deliver as much as was read.
    #[test]
    fn readahead_of_other_bytes_does_not_lift_a_half_cached_run() {
        let of = |resident| Counts {
            sampled_pages: 100,
            resident_pages: resident,
            ..counts(100, 100)
        };
        assert_eq!(judge(&Medium::Device, &of(10)).0, Pass);
        assert_eq!(judge(&Medium::Device, &of(50)).0, Suspect);
        assert_eq!(judge(&Medium::Device, &of(95)).0, Cached);
    }

    #[test]
    fn hosts_that_disagree_are_a_doubt() {
        assert_eq!(combined([Pass, Pass]), Pass);
        assert_eq!(combined([Pass, Cached]), Suspect);
        assert_eq!(combined([Pass, Unknown, Pass]), Unknown);
        assert_eq!(combined([]), Unknown);
    }

    #[test]
    fn a_counter_that_one_rank_lacks_is_none() {
        let (mut a, mut b) = (counts(10, 4), counts(20, 0));
        (a.nic, b.device) = (Some(7), None);
        let words = a.to_words().into_iter().zip(b.to_words());
        let sum: Vec<u64> = words.map(|(x, y)| x + y).collect();
        let got = Counts::from_words(&sum, 2, 1);
        assert_eq!((got.delivered, got.device, got.nic), (30, None, Some(7)));
    }
}
