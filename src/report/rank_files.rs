//! Files that each rank leaves of its own: DLIO's `<r>_output.json` and `<r>_per_epoch_stats.json`, and what a profiler
//! recorded. Where all ranks see the folder of results, each writes its own; else rank 0 writes them as they come in, a few
//! ranks at a time.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{ReportError, dlio, write_file};
use crate::clock::now_ns;
use crate::cluster::Cluster;
use crate::config::PerRankFiles;
use crate::host::facts::HostFacts;
use crate::metrics::record::RankRecord;
use crate::metrics::spec::MetricSpec;
use crate::util::hash::mix64;
use crate::util::varint;

/// Bytes of files that rank 0 takes at once; one rank's may be more.
pub const AT_ONCE: u64 = 4 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RankFiles(Vec<(String, Vec<u8>)>);

impl RankFiles {
    /// DLIO's two of this rank, where `which` wants them. A collective.
    pub fn of_rank(
        cluster: &dyn Cluster,
        record: &RankRecord,
        spec: &MetricSpec,
        host: &HostFacts,
        which: PerRankFiles,
    ) -> RankFiles {
        // Rank 0 knows the size of the whole job's checkpoint.
        let mut size = record.checkpoints.size_bytes.to_le_bytes().to_vec();
        cluster.broadcast(&mut size);
        let checkpoint_bytes = u64::from_le_bytes(size.try_into().unwrap_or_default());
        let rank = cluster.rank();
        let is_wanted = match which {
            PerRankFiles::All => true,
            PerRankFiles::First => rank == 0,
            PerRankFiles::None => false,
        };
        let mut files = RankFiles::default();
        if is_wanted {
            let (ranks, local) = (cluster.size(), cluster.local_size());
            let output = dlio::output_json(record, spec, host, ranks, local);
            files.add(format!("{rank}_output.json"), output.into_bytes());
            let stats = dlio::per_epoch_stats_json(record, checkpoint_bytes);
            files.add(format!("{rank}_per_epoch_stats.json"), stats.into_bytes());
        }
        files
    }

    /// One more. Names differ between ranks.
    pub fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.0.push((name, bytes));
    }

    /// Names and contents, each after its length.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() as usize);
        for (name, bytes) in &self.0 {
            for part in [name.as_bytes(), bytes] {
                varint::put(&mut out, part.len() as u64);
                out.extend_from_slice(part);
            }
        }
        out
    }

    fn len(&self) -> u64 {
        let part = |len: usize| varint::len(len as u64) + len as u64;
        (self.0.iter())
            .map(|(name, bytes)| part(name.len()) + part(bytes.len()))
            .sum()
    }

    fn write(&self, folder: &Path) -> Result<(), ReportError> {
        (self.0.iter()).try_for_each(|(name, bytes)| write_file(&folder.join(name), bytes))
    }
}

/// Writes the files of all ranks into `folder`, which rank 0 alone knows. A collective.
///
/// Errors: on rank 0 the first file that cannot be written.
pub fn save(
    cluster: &dyn Cluster,
    own: &RankFiles,
    folder: Option<&Path>,
) -> Result<(), ReportError> {
    match seen_by_all(cluster, folder) {
        Some(folder) => each_its_own(cluster, own, &folder),
        None => through_rank_0(cluster, own, folder),
    }
}

/// The folder, where every rank sees the one that rank 0 has: a file that rank 0 puts there is there for all. A collective.
fn seen_by_all(cluster: &dyn Cluster, folder: Option<&Path>) -> Option<PathBuf> {
    let marker = folder.and_then(mark);
    let mut message = Vec::new();
    if let Some(marker) = &marker {
        use std::os::unix::ffi::OsStrExt;
        message = [marker.1.as_slice(), marker.0.as_os_str().as_bytes()].concat();
    }
    cluster.broadcast(&mut message);
    let seen = place_of(&message);
    // No rank is left out, and the file stays until all have looked.
    let is_hidden = cluster.any(seen.is_none());
    if let Some((marker, _)) = marker {
        // Where it cannot be removed, a file with a hidden name stays among the results.
        let _ = std::fs::remove_file(marker);
    }
    seen.filter(|_| !is_hidden)
}

/// Bytes of a marker.
const MARK: usize = size_of::<u64>();

/// Puts a marker into a folder that nobody else has: its path and its bytes. None where it cannot be.
fn mark(folder: &Path) -> Option<(PathBuf, [u8; MARK])> {
    let folder = std::path::absolute(folder).ok()?;
    let word = mix64(now_ns() ^ u64::from(std::process::id()) << 40);
    let bytes = word.to_le_bytes();
    let path = folder.join(format!(".marker-{word:016x}"));
    let mut file = std::fs::File::create_new(&path).ok()?;
    file.write_all(&bytes).ok()?;
    Some((path, bytes))
}

/// The folder of the marker that a message names, where this rank finds the same bytes there.
fn place_of(message: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let (bytes, path) = message.split_at_checked(MARK)?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let found = std::fs::read(path).ok()?;
    (found == bytes).then_some(())?;
    path.parent().map(Path::to_owned)
}

/// Each rank writes its own. A collective.
fn each_its_own(cluster: &dyn Cluster, own: &RankFiles, folder: &Path) -> Result<(), ReportError> {
    let written = own.write(folder);
    let failure = match &written {
        Ok(()) => String::new(),
        Err(ReportError::Write { path, source }) => {
            let path = path.display();
            format!("{path}\0{}", crate::storage::errno_words(source))
        }
        Err(other) => format!("{}\0{other}", folder.display()),
    };
    // Also where a rank failed: afterwards every file is there.
    let failures = cluster.gather(failure.as_bytes());
    let Some(failures) = failures else {
        return Ok(());
    };
    written?;
    let first = failures.iter().enumerate().find(|(_, f)| !f.is_empty());
    match first {
        None => Ok(()),
        Some((rank, failure)) => {
            let text = String::from_utf8_lossy(failure);
            let (path, why) = text.split_once('\0').unwrap_or((&*text, ""));
            Err(ReportError::Write {
                path: path.into(),
                source: std::io::Error::other(format!("rank {rank}: {why}")),
            })
        }
    }
}

/// Rank 0 writes them into its folder, and holds [`AT_ONCE`] bytes of them or those of one rank. A collective.
fn through_rank_0(
    cluster: &dyn Cluster,
    own: &RankFiles,
    folder: Option<&Path>,
) -> Result<(), ReportError> {
    let mine = own.len();
    let lens = cluster.gather(&mine.to_le_bytes());
    let lens = lens.iter().flatten().map(|bytes| word(bytes));
    let mut ends: Vec<u8> = (groups(&lens.collect::<Vec<_>>()).iter())
        .flat_map(|end| (*end as u64).to_le_bytes())
        .collect();
    cluster.broadcast(&mut ends);
    let mut outcome = Ok(());
    let mut first = 0;
    for end in ends.chunks(size_of::<u64>()).map(word) {
        let group = first as usize..end as usize;
        first = end;
        let bytes = match group.contains(&cluster.rank()) {
            true => own.to_bytes(),
            false => Vec::new(),
        };
        let (Some(all), Some(folder)) = (cluster.gather(&bytes), folder) else {
            continue;
        };
        drop(bytes);
        // The others go on sending, also where nothing can be written any more.
        for bytes in &all {
            outcome = outcome.and_then(|()| write_received(folder, bytes));
        }
    }
    outcome
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Writes what [`RankFiles::to_bytes`] made of a rank's files.
fn write_received(folder: &Path, mut bytes: &[u8]) -> Result<(), ReportError> {
    while !bytes.is_empty() {
        let name = String::from_utf8_lossy(part(&mut bytes)).into_owned();
        write_file(&folder.join(name), part(&mut bytes))?;
    }
    Ok(())
}

/// Takes what stands behind its length off the front. It was put together by this program.
fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let len = varint::take(bytes).unwrap_or(0) as usize;
    let (front, rest) = bytes.split_at(len.min(bytes.len()));
    *bytes = rest;
    front
}

/// Neighbouring ranks whose texts fit into [`AT_ONCE`] bytes together: the end of each group, up to the number of ranks.
fn groups(lens: &[u64]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut sum: u64 = 0;
    for (rank, len) in lens.iter().enumerate() {
        if sum > 0 && sum.saturating_add(*len) > AT_ONCE {
            ends.push(rank);
            sum = 0;
        }
        sum = sum.saturating_add(*len);
    }
    if sum > 0 {
        ends.push(lens.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::threads;
    use crate::util::names_in;

    #[test]
    fn groups_hold_all_ranks_and_no_more_than_they_may() {
        const M: u64 = 1 << 20;
        assert_eq!(groups(&[]), [] as [usize; 0]);
        assert_eq!(groups(&[0, 0]), [] as [usize; 0]);
        assert_eq!(groups(&[2 * M, 2 * M, 1, 10 * M, 0, 2]), [2, 3, 4, 6]);
        assert_eq!(groups(&[1, 2, 3]), [3]);
    }

    fn two_files(rank: usize, output: String, stats: String) -> RankFiles {
        let mut own = RankFiles::default();
        own.add(format!("{rank}_output.json"), output.into_bytes());
        own.add(format!("{rank}_per_epoch_stats.json"), stats.into_bytes());
        own
    }

    /// What rank 0 receives at once does not grow with the number of ranks, and is nothing where all see the folder; the
    /// files are those of their ranks.
    #[test]
    fn texts_of_many_ranks_come_a_few_at_a_time_or_not_at_all() {
        const RANKS: usize = 24;
        let text = |rank: usize, kind: &str| format!("{kind} of {rank} ").repeat(50_000);
        let all: u64 = (0..RANKS)
            .map(|rank| (text(rank, "output").len() + text(rank, "stats").len()) as u64)
            .sum();
        assert!(all > 4 * AT_ONCE);
        for is_seen in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let largest = threads::run(&[0; RANKS], |cluster| {
                let rank = cluster.rank();
                let own = two_files(rank, text(rank, "output"), text(rank, "stats"));
                let folder = (rank == 0).then(|| dir.path());
                match is_seen {
                    true => save(cluster, &own, folder).unwrap(),
                    false => through_rank_0(cluster, &own, folder).unwrap(),
                }
                cluster.largest_gather()
            });
            match is_seen {
                true => assert_eq!(largest[0], 0),
                false => assert!(largest[0] <= AT_ONCE, "{} bytes at once", largest[0]),
            }
            assert_eq!(names_in(dir.path()).len(), 2 * RANKS);
            for rank in 0..RANKS {
                let read = |name| {
                    let path = dir.path().join(format!("{rank}_{name}.json"));
                    std::fs::read_to_string(path).unwrap()
                };
                assert!(read("output") == text(rank, "output"), "rank {rank}");
                assert!(
                    read("per_epoch_stats") == text(rank, "stats"),
                    "rank {rank}"
                );
            }
        }
    }

    #[test]
    fn ranks_without_files_leave_none_and_an_error_ends_on_rank_0() {
        let dir = tempfile::tempdir().unwrap();
        let made = threads::run(&[0, 0, 1], |cluster| {
            let rank = cluster.rank();
            let own = match rank {
                0 => two_files(0, "{}".into(), "[]".into()),
                _ => RankFiles::default(),
            };
            save(cluster, &own, (rank == 0).then(|| dir.path())).unwrap();
            let nowhere = dir.path().join("not there");
            save(cluster, &own, (rank == 0).then_some(&*nowhere)).map_err(|e| e.to_string())
        });
        assert_eq!(
            names_in(dir.path()),
            ["0_output.json", "0_per_epoch_stats.json"]
        );
        assert!(made[0].as_ref().unwrap_err().contains("0_output.json"));
        assert_eq!(made[1..], [Ok(()), Ok(())]);
    }

    /// A rank that cannot write is named, and the others' files are there.
    #[test]
    fn an_error_of_another_rank_reaches_rank_0() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1_output.json")).unwrap();
        let made = threads::run(&[0, 0, 0], |cluster| {
            let rank = cluster.rank();
            let own = two_files(rank, "{}".into(), "[]".into());
            save(cluster, &own, (rank == 0).then(|| dir.path())).map_err(|e| e.to_string())
        });
        let error = made[0].as_ref().unwrap_err();
        assert!(
            error.contains("1_output.json") && error.contains("rank 1: "),
            "{error}"
        );
        assert_eq!(made[1..], [Ok(()), Ok(())]);
        assert!(dir.path().join("2_per_epoch_stats.json").is_file());
    }

    /// Another host's folder of the same name has no such marker, or another one's bytes.
    #[test]
    fn a_folder_is_the_same_where_its_marker_is() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = mark(dir.path()).unwrap();
        let message = |bytes: &[u8], path: &Path| [bytes, path.as_os_str().as_bytes()].concat();
        assert_eq!(
            place_of(&message(&bytes, &path)).as_deref(),
            Some(dir.path())
        );
        assert_eq!(place_of(&message(&[0; MARK], &path)), None);
        assert_eq!(place_of(&message(&bytes, &dir.path().join("other"))), None);
        assert_eq!(place_of(&[]), None);
    }
}
