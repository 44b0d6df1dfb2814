//! Where a folder lies.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a folder is mounted from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Device or server, such as `/dev/sda1` or `server:/export`.
    pub source: String,
    /// Type of the file system, such as `ext4` or `nfs4`.
    pub fs_type: String,
    pub point: String,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.fs_type.is_empty() {
            true => f.write_str("an unknown mount"),
            false => write!(f, "{} of {}", self.fs_type, self.source),
        }
    }
}

/// The mount that holds a path, or that will hold it where it does not exist yet; None where the kernel does not say.
pub fn mount_of(path: &Path) -> Option<Mount> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find_map(|p| p.canonicalize().ok())?;
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_in(&text, &existing)
}

/// Source: proc_pid_mountinfo(5): after an optional list, ` - `, type, source. The last line for a point is the one on top.
fn mount_in(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in mountinfo.lines() {
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = front.split(' ').nth(4).map(unescape) else {
            continue;
        };
        let mut fields = back.split(' ');
        let (Some(fs_type), Some(source)) = (fields.next(), fields.next()) else {
            continue;
        };
        let point = PathBuf::from(point);
        let depth = point.components().count();
        if !path.starts_with(&point) || best.as_ref().is_some_and(|(best, _)| *best > depth) {
            continue;
        }
        best = Some((
            depth,
            Mount {
                source: unescape(source),
                fs_type: fs_type.into(),
                point: point.display().to_string(),
            },
        ));
    }
    best.map(|(_, mount)| mount)
}

/// Blanks and the like are octal there.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match value {
            Some(value) => {
                out.push(value);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// That this user may still write.
    pub available: u64,
}

/// The space of the file system of an existing folder; None where it does not say.
pub fn space_of(folder: &Path) -> Option<Space> {
    let stat = nix::sys::statvfs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    let space = Space {
        total: bytes(stat.blocks()),
        available: bytes(stat.blocks_available()),
    };
    // Some network file systems answer with zeros.
    (space.total > 0).then_some(space)
}

/// True when the folder lies on a block device of this host, whose reads `/proc/self/io` counts.
pub fn has_block_device(folder: &Path) -> bool {
    // Memory and network file systems have anonymous devices: major number 0.
    std::fs::metadata(folder).is_ok_and(|meta| nix::sys::stat::major(meta.dev()) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /data rw,relatime shared:20 master:3 - nfs4 server:/export rw,vers=4.2
41 22 0:36 / /data rw - tmpfs tmpfs rw
42 22 0:37 / /with\\040blank rw - fuse.sshfs me@host:/a\\040b rw
";

    #[test]
    fn the_mount_on_top_with_the_longest_point_counts() {
        let of = |path: &str| mount_in(TEXT, Path::new(path)).unwrap();
        assert_eq!(of("/data/train").fs_type, "tmpfs");
        assert_eq!(of("/database").source, "/dev/sda1");
        let blank = of("/with blank/x");
        assert_eq!(
            (blank.source.as_str(), blank.point.as_str()),
            ("me@host:/a b", "/with blank")
        );
        assert_eq!(mount_in("", Path::new("/")), None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_mount_of_its_parent() {
        let proc = mount_of(Path::new("/proc/self/not/there")).unwrap();
        assert_eq!(proc.fs_type, "proc");
    }
}
