//! Whether the hosts of a job see the same folders, found out before work begins, and whether their clocks agree.
//!
//! Rank 0 puts a marker into a folder and one rank of each host looks for it: it is the same file, there or nowhere. Where
//! nothing can be written, the manifest of the dataset takes its place. Object stores are the same for everyone.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::context::JobContext;
use super::events::Events;
use super::failure::{RankError, Result, agree};
use super::manifest::MANIFEST;
use super::open::open_storage;
use crate::config::{SharedFolder, SizeLaw, Workload};
use crate::host::mounts::{Mount, mount_of};
use crate::interrupt::{self, Unfinished};
use crate::report::Event;
use crate::report::provenance::HostFolder;
use crate::util::hash::fnv1a;

/// Clocks that differ by more than this are warned of, seconds.
const CLOCK_TOLERANCE_S: f64 = 60.0;

/// A file that tells folders apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct FileToken {
    inode: u64,
    len: u64,
    mtime_ns: i128,
}

impl FileToken {
    fn of(path: &Path) -> Option<FileToken> {
        let meta = std::fs::metadata(path).ok()?;
        Some(FileToken {
            inode: meta.ino(),
            len: meta.len(),
            mtime_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        })
    }
}

/// A folder as one host sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sight {
    host: String,
    exists: bool,
    mount: Mount,
    /// The marker, where it is visible.
    marker: Option<FileToken>,
    manifest: Option<FileToken>,
    /// Hash of the manifest's bytes.
    content: Option<u64>,
    /// Seconds since 1970.
    clock_s: f64,
}

impl Sight {
    fn of(job: &JobContext, folder: &Path, marker: Option<&str>) -> Sight {
        let cluster = job.cluster;
        let manifest = folder.join(MANIFEST);
        let mut content = None;
        if cluster.host_names().len() > 1 {
            let _task = job.doing("read", &manifest);
            content = std::fs::read(&manifest).ok();
        }
        let _task = job.doing("compare between hosts", folder);
        Sight {
            host: cluster.host_names()[cluster.node_of_rank()[cluster.rank()]].clone(),
            exists: folder.is_dir(),
            mount: mount_of(folder).unwrap_or_default(),
            marker: marker.and_then(|name| FileToken::of(&folder.join(name))),
            content: content.map(|bytes| fnv1a(&bytes)),
            manifest: FileToken::of(&manifest),
            clock_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |d| d.as_secs_f64()),
        }
    }
}

/// A folder that the job uses.
struct Folder {
    /// `data` or `checkpoint`.
    role: &'static str,
    path: PathBuf,
    /// Rank 0 makes it where it is not there.
    is_made: bool,
}

/// What the hosts found out of each other.
#[derive(Debug, Default)]
pub struct Hosts {
    /// On rank 0: each folder on each host.
    pub folders: Vec<HostFolder>,
    /// Each host has a data folder of its own.
    pub has_own_data: bool,
}

/// Looks at the folders of a workload from all hosts. A collective.
///
/// Errors: a folder that has to be shared is not.
pub fn compare(job: &JobContext, events: &mut Events) -> Result<Hosts> {
    let (cluster, w) = (job.cluster, job.workload);
    let mut hosts = Hosts::default();
    // Object stores are the same for everyone, and what has no bytes has no folders.
    let has_paths = agree(cluster, open_storage(job))?.system().opens_by_path;
    for folder in folders_of(w, has_paths) {
        let sights = look(job, &folder);
        if let Some(warning) = clock_warning(&sights) {
            events.emit(Event::Warning(warning));
        }
        let differs = sights.iter().any(|sight| !is_same(&sights[0], sight));
        // Rank 0 alone knows more than its own host; the others get its judgement.
        if let Some(warning) = agree(cluster, judge(w, &folder, &sights))? {
            events.emit(Event::Warning(warning));
        }
        hosts.has_own_data |= cluster.any(differs) && folder.role == DATA;
        hosts
            .folders
            .extend(sights.into_iter().map(|sight| HostFolder {
                host: sight.host,
                folder: folder.role.into(),
                path: folder.path.display().to_string(),
                source: sight.mount.source,
                fs_type: sight.mount.fs_type,
                shared: !differs,
            }));
    }
    Ok(hosts)
}

const DATA: &str = "data";

fn folders_of(w: &Workload, has_paths: bool) -> Vec<Folder> {
    let mut folders = Vec::new();
    if (w.workflow.train || w.workflow.generate_data) && has_paths {
        folders.push(Folder {
            role: DATA,
            path: w.data_root(),
            is_made: w.workflow.generate_data,
        });
    }
    let is_file = w.checkpoint_address().is_ok_and(|a| a.system.is_default());
    if w.workflow.checkpoint && has_paths && is_file {
        folders.push(Folder {
            role: "checkpoint",
            path: w.checkpoint_root(),
            is_made: true,
        });
    }
    folders
}

/// What each host sees of a folder, in their order; on rank 0 only. A collective.
fn look(job: &JobContext, folder: &Folder) -> Vec<Sight> {
    let cluster = job.cluster;
    let mut marker = None;
    let mut name = Vec::new();
    if cluster.rank() == 0 && cluster.host_names().len() > 1 {
        let _task = job.doing("mark", &folder.path);
        if folder.is_made {
            // An error shows again, with more to say, where the folder is used.
            let _ = std::fs::create_dir_all(&folder.path);
        }
        marker = Marker::put(&folder.path);
        name = (marker.as_ref()).map_or_else(Vec::new, |marker| marker.name.clone().into_bytes());
    }
    cluster.broadcast(&mut name);
    let mut mine = Vec::new();
    if cluster.local_rank() == 0 {
        let name = String::from_utf8_lossy(&name);
        let name = Some(&*name).filter(|name| !name.is_empty());
        let sight = Sight::of(job, &folder.path, name);
        mine = serde_json::to_vec(&sight).expect("plain data becomes JSON");
    }
    let all = cluster.gather(&mine).unwrap_or_default();
    drop(marker);
    all.iter()
        .filter_map(|bytes| serde_json::from_slice(bytes).ok())
        .collect()
}

/// A file that is there while the hosts compare a folder.
struct Marker {
    name: String,
    path: PathBuf,
    _unfinished: Unfinished,
}

impl Marker {
    /// None where nothing can be written.
    fn put(folder: &Path) -> Option<Marker> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let name = format!(
            ".dlio-rs-marker-{}-{}",
            std::process::id(),
            now.map_or(0, |d| d.as_nanos())
        );
        let path = folder.join(&name);
        let unfinished = interrupt::unfinished(&path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .ok()?;
        Some(Marker {
            name,
            path,
            _unfinished: unfinished,
        })
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// True where two hosts see the same folder. What neither marker nor manifest tells is taken for the same.
fn is_same(first: &Sight, other: &Sight) -> bool {
    if first.exists != other.exists {
        return false;
    }
    match (&first.marker, first.manifest) {
        (Some(marker), _) => other.marker.as_ref() == Some(marker),
        (None, Some(manifest)) => other.manifest == Some(manifest),
        (None, None) => other.manifest.is_none() && first.mount.fs_type == other.mount.fs_type,
    }
}

/// What a folder that hosts see differently means: nothing, a warning, or an error.
fn judge(w: &Workload, folder: &Folder, sights: &[Sight]) -> Result<Option<String>, RankError> {
    let Some(other) = sights.iter().find(|sight| !is_same(&sights[0], sight)) else {
        return Ok(None);
    };
    let first = &sights[0];
    let what = format!(
        "{} is not the same folder on all hosts: {} has it on {}, {} {}",
        folder.path.display(),
        first.host,
        first.mount,
        other.host,
        match other.exists {
            true => format!("on {}", other.mount),
            false => format!("does not have it ({})", other.mount),
        }
    );
    if folder.role != DATA {
        if w.checkpoint.recovery_rank_shift {
            return Err(RankError::Dataset(format!(
                "use the checkpoint folder: {what}\n  remedy: checkpoint.recovery_rank_shift loads what other hosts saved; set checkpoint.checkpoint_folder to a folder that all hosts share"
            )));
        }
        return Ok(Some(format!(
            "checkpoint.checkpoint_folder {what}; each host keeps its own part"
        )));
    }
    let refused = |cause: &str, remedy: &str| {
        Err(RankError::Dataset(format!(
            "use dataset.data_folder: {what}{cause}\n  remedy: {remedy}"
        )))
    };
    match w.dataset.shared {
        SharedFolder::False if w.dataset.size_law == SizeLaw::Fork => refused(
            "; the sizes of dataset.size_law=fork depend on the ranks that generate",
            "set dataset.size_law=upstream",
        ),
        SharedFolder::False => Ok(None),
        SharedFolder::True => refused(
            "; dataset.shared=true",
            "mount the same folder on all hosts, or set dataset.shared=auto",
        ),
        SharedFolder::Auto if w.workflow.generate_data => refused(
            "; each host would get a part of the files",
            "set dataset.data_folder to a folder that all hosts share, or dataset.shared=false to generate a whole copy on each host",
        ),
        SharedFolder::Auto => {
            let is_copy = |sight: &Sight| {
                sight.exists && sight.content.is_some() && sight.content == first.content
            };
            if sights.iter().all(is_copy) {
                return Ok(Some(format!(
                    "dataset.data_folder {what}; each host reads a copy of its own"
                )));
            }
            refused(
                "; their datasets may differ",
                "set dataset.data_folder to a folder that all hosts share, or dataset.shared=false if each host has a copy of its own",
            )
        }
    }
}

/// Labels of time in the results are each host's own.
fn clock_warning(sights: &[Sight]) -> Option<String> {
    let first = sights.first()?;
    let off = |sight: &&Sight| (sight.clock_s - first.clock_s).abs() > CLOCK_TOLERANCE_S;
    let other = sights.iter().find(off)?;
    let ahead_s = other.clock_s - first.clock_s;
    Some(format!(
        "the clock of {} is {:.0} s {} that of {}: times of day in the results do not fit together (durations do: they are taken from other clocks); set the clocks, by NTP for example",
        other.host,
        ahead_s.abs(),
        if ahead_s > 0.0 { "ahead of" } else { "behind" },
        first.host
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(host: &str, inode: u64) -> Sight {
        Sight {
            host: host.into(),
            exists: true,
            mount: Mount {
                source: "/dev/sda1".into(),
                fs_type: "ext4".into(),
                point: "/".into(),
            },
            marker: Some(FileToken {
                inode,
                len: 0,
                mtime_ns: 0,
            }),
            manifest: None,
            content: None,
            clock_s: 1e9,
        }
    }

    fn folder() -> Folder {
        Folder {
            role: DATA,
            path: "/data".into(),
            is_made: false,
        }
    }

    #[test]
    fn copies_with_the_same_manifest_are_read_and_other_folders_are_refused() {
        let mut w = Workload::default();
        let mut sights = vec![sight("a", 1), sight("b", 1)];
        assert!(judge(&w, &folder(), &sights).unwrap().is_none());
        sights[1].marker = None;
        let refused = judge(&w, &folder(), &sights).unwrap_err().to_string();
        assert!(refused.contains("b on ext4 of /dev/sda1"), "{refused}");
        for sight in &mut sights {
            sight.content = Some(7);
        }
        assert!(judge(&w, &folder(), &sights).unwrap().is_some());
        w.dataset.shared = SharedFolder::True;
        assert!(judge(&w, &folder(), &sights).is_err());
        w.dataset.shared = SharedFolder::Auto;
        w.workflow.generate_data = true;
        assert!(judge(&w, &folder(), &sights).is_err());
        w.dataset.shared = SharedFolder::False;
        assert!(judge(&w, &folder(), &sights).unwrap().is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_marked_is_told_by_its_manifest() {
        let mut sights = [sight("a", 1), sight("b", 1)];
        for sight in &mut sights {
            sight.manifest = sight.marker.take();
        }
        assert!(is_same(&sights[0], &sights[1]));
        sights[1].manifest = None;
        assert!(!is_same(&sights[0], &sights[1]));
        sights[0].manifest = None;
        sights[1].mount.fs_type = "tmpfs".into();
        assert!(!is_same(&sights[0], &sights[1]));
    }

    #[test]
    fn clocks_two_days_apart_are_warned_of_and_those_of_a_minute_are_not() {
        let mut sights = [sight("a", 1), sight("b", 1)];
        sights[1].clock_s += 59.0;
        assert_eq!(clock_warning(&sights), None);
        sights[1].clock_s -= 2.0 * 86400.0;
        let warning = clock_warning(&sights).unwrap();
        assert!(
            warning.contains("clock of b is 172741 s behind that of a"),
            "{warning}"
        );
    }
}
