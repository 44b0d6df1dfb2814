//! DLIO's two files of each rank, `<r>_output.json` and `<r>_per_epoch_stats.json`: rank 0 writes them as the texts come in,
//! a few ranks at a time.

use std::path::Path;

use super::{ReportError, dlio, write_file};
use crate::cluster::Cluster;
use crate::config::PerRankFiles;
use crate::host::facts::HostFacts;
use crate::metrics::record::RankRecord;
use crate::metrics::spec::MetricSpec;

/// Bytes of texts that rank 0 takes at once; one rank's may be more.
pub const AT_ONCE: u64 = 4 << 20;

/// The contents of one rank's two files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RankFiles {
    /// `<r>_output.json`
    pub output_json: String,
    /// `<r>_per_epoch_stats.json`
    pub per_epoch_stats_json: String,
}

impl RankFiles {
    /// Those of this rank, where `which` wants them. A collective.
    pub fn of_rank(
        cluster: &dyn Cluster,
        record: &RankRecord,
        spec: &MetricSpec,
        host: &HostFacts,
        which: PerRankFiles,
    ) -> Option<RankFiles> {
        // Rank 0 knows the size of the whole job's checkpoint.
        let mut size = record.checkpoints.size_bytes.to_le_bytes().to_vec();
        cluster.broadcast(&mut size);
        let checkpoint_bytes = u64::from_le_bytes(size.try_into().unwrap_or_default());
        let is_wanted = match which {
            PerRankFiles::All => true,
            PerRankFiles::First => cluster.rank() == 0,
            PerRankFiles::None => false,
        };
        is_wanted.then(|| RankFiles {
            output_json: dlio::output_json(
                record,
                spec,
                host,
                cluster.size(),
                cluster.local_size(),
            ),
            per_epoch_stats_json: dlio::per_epoch_stats_json(record, checkpoint_bytes),
        })
    }

    /// The length of the first text, then both.
    fn to_bytes(&self) -> Vec<u8> {
        let len = (self.output_json.len() as u64).to_le_bytes();
        [
            &len,
            self.output_json.as_bytes(),
            self.per_epoch_stats_json.as_bytes(),
        ]
        .concat()
    }

    fn len(&self) -> u64 {
        (size_of::<u64>() + self.output_json.len() + self.per_epoch_stats_json.len()) as u64
    }
}

/// Writes the files of all ranks that have some into `folder`, which rank 0 alone knows. A collective: the texts travel to
/// rank 0, which holds [`AT_ONCE`] bytes of them or those of one rank.
///
/// Errors: on rank 0 the first file that cannot be written.
pub fn save(
    cluster: &dyn Cluster,
    own: Option<&RankFiles>,
    folder: Option<&Path>,
) -> Result<(), ReportError> {
    let mine = own.map_or(0, RankFiles::len);
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
        let bytes = (own.filter(|_| group.contains(&cluster.rank())))
            .map_or(Vec::new(), RankFiles::to_bytes);
        let (Some(all), Some(folder)) = (cluster.gather(&bytes), folder) else {
            continue;
        };
        drop(bytes);
        // The others go on sending, also where nothing can be written any more.
        for (rank, bytes) in all
            .iter()
            .enumerate()
            .filter(|(_, bytes)| !bytes.is_empty())
        {
            outcome = outcome.and_then(|()| write_rank(folder, rank, bytes));
        }
    }
    outcome
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn write_rank(folder: &Path, rank: usize, bytes: &[u8]) -> Result<(), ReportError> {
    let (len, texts) = bytes.split_at(size_of::<u64>().min(bytes.len()));
    let (output, stats) = texts.split_at((word(len) as usize).min(texts.len()));
    write_bytes(&folder.join(format!("{rank}_output.json")), output)?;
    write_bytes(&folder.join(format!("{rank}_per_epoch_stats.json")), stats)
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    // They left their rank as text.
    write_file(path, &String::from_utf8_lossy(bytes))
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

    #[test]
    fn groups_hold_all_ranks_and_no_more_than_they_may() {
        const M: u64 = 1 << 20;
        assert_eq!(groups(&[]), [] as [usize; 0]);
        assert_eq!(groups(&[0, 0]), [] as [usize; 0]);
        assert_eq!(groups(&[2 * M, 2 * M, 1, 10 * M, 0, 2]), [2, 3, 4, 6]);
        assert_eq!(groups(&[1, 2, 3]), [3]);
    }

    /// What rank 0 receives at once does not grow with the number of ranks, and the files are those of their ranks.
    #[test]
    fn texts_of_many_ranks_come_a_few_at_a_time() {
        const RANKS: usize = 24;
        let text = |rank: usize, kind: &str| format!("{kind} of {rank} ").repeat(50_000);
        let dir = tempfile::tempdir().unwrap();
        let largest = threads::run(&[0; RANKS], |cluster| {
            let rank = cluster.rank();
            let own = RankFiles {
                output_json: text(rank, "output"),
                per_epoch_stats_json: text(rank, "stats"),
            };
            save(cluster, Some(&own), (rank == 0).then(|| dir.path())).unwrap();
            cluster.largest_gather()
        });
        let all: u64 = (0..RANKS)
            .map(|rank| (text(rank, "output").len() + text(rank, "stats").len()) as u64)
            .sum();
        assert!(all > 4 * AT_ONCE);
        assert!(largest[0] <= AT_ONCE, "{} bytes at once", largest[0]);
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

    #[test]
    fn ranks_without_files_leave_none_and_an_error_ends_on_rank_0() {
        let dir = tempfile::tempdir().unwrap();
        let made = threads::run(&[0, 0, 1], |cluster| {
            let own = RankFiles {
                output_json: "{}".into(),
                per_epoch_stats_json: "[]".into(),
            };
            let rank = cluster.rank();
            let own = (rank == 0).then_some(&own);
            save(cluster, own, (rank == 0).then(|| dir.path())).unwrap();
            let nowhere = dir.path().join("not there");
            save(cluster, own, (rank == 0).then_some(&*nowhere)).map_err(|e| e.to_string())
        });
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["0_output.json", "0_per_epoch_stats.json"]);
        assert!(made[0].as_ref().unwrap_err().contains("0_output.json"));
        assert_eq!(made[1..], [Ok(()), Ok(())]);
    }
}
