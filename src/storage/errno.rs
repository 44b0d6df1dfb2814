//! What the kernel's error numbers mean for a benchmark of storage, and what to do about them.

use std::io;

/// Number, name, meaning, remedy.
type Row = (i32, &'static str, &'static str, &'static str);

/// Reading follows links.
const LOOP_OF_LINKS: Row = (
    libc::ELOOP,
    "ELOOP",
    "symbolic links lead to each other in a circle",
    "remove the links, or name the real file",
);

/// Operations that follow links.
const READS: [&str; 4] = ["open", "read", "stat", "list"];

const KNOWN: [Row; 22] = [
    (
        libc::ENOENT,
        "ENOENT",
        "the file, or a folder on the way to it, does not exist",
        "let nothing delete or rename folders during a run, and check the path",
    ),
    (
        libc::EIO,
        "EIO",
        "the device or the server failed",
        "look into the kernel's log (dmesg) and the storage system's; the data may be lost",
    ),
    (
        libc::ESTALE,
        "ESTALE",
        "the file was replaced or removed on its server while it was in use",
        "let nothing change the folder during a run; if it goes on, mount the file system again",
    ),
    (
        libc::ENOSPC,
        "ENOSPC",
        "no space left on the file system",
        "free space, or choose another folder",
    ),
    (
        libc::EDQUOT,
        "EDQUOT",
        "the disk quota is used up",
        "ask for more quota (quota -s shows it), or delete files",
    ),
    (
        libc::EACCES,
        "EACCES",
        "permission denied",
        "give this user the right to it, or choose another folder",
    ),
    (
        libc::EPERM,
        "EPERM",
        "it is not permitted",
        "give this user the right to it, or choose another folder",
    ),
    (
        libc::EROFS,
        "EROFS",
        "the file system is mounted read-only",
        "mount it for writing, or choose another folder",
    ),
    (
        libc::EEXIST,
        "EEXIST",
        "something else of this name is there",
        "remove it, or choose another folder",
    ),
    (
        libc::EISDIR,
        "EISDIR",
        "a folder is where a file is expected",
        "remove it, or choose another folder",
    ),
    (
        libc::ENXIO,
        "ENXIO",
        "a socket or a device is where a file is expected",
        "remove it, or choose another folder",
    ),
    (
        libc::ESPIPE,
        "ESPIPE",
        "a pipe or a device is where a file is expected",
        "remove it, or choose another folder",
    ),
    (
        libc::ENOTDIR,
        "ENOTDIR",
        "a file is where a folder is expected",
        "remove it, or choose another folder",
    ),
    (
        libc::ELOOP,
        "ELOOP",
        "a symbolic link is there, and nothing is written or deleted through links",
        "name the real folder, or remove the link",
    ),
    (
        libc::EMFILE,
        "EMFILE",
        "this process has too many open files",
        "raise the limit (ulimit -n), or lower reader.read_threads and reader.io_depth",
    ),
    (
        libc::ENFILE,
        "ENFILE",
        "this host has too many open files",
        "raise fs.file-max, or run fewer ranks on the host",
    ),
    (
        libc::ENAMETOOLONG,
        "ENAMETOOLONG",
        "the name is too long for the file system",
        "shorten dataset.file_prefix or the folder",
    ),
    (
        libc::ENOTCONN,
        "ENOTCONN",
        "the file system's server has gone",
        "mount the file system again",
    ),
    (
        libc::ENODEV,
        "ENODEV",
        "the file system cannot do this",
        "choose another storage.storage_type",
    ),
    (
        libc::ETIMEDOUT,
        "ETIMEDOUT",
        "the server did not answer in time",
        "look at the storage system and the network",
    ),
    (
        libc::EFBIG,
        "EFBIG",
        "the file would be larger than a file may be here",
        "raise the limit (ulimit -f), or choose another file system",
    ),
    (
        libc::EBUSY,
        "EBUSY",
        "something else uses it",
        "find out what does (fuser, lsof)",
    ),
];

/// The place of an error within its file.
pub(super) fn at(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at byte {offset}"))
}

fn row(error: &io::Error) -> Option<&'static Row> {
    let code = error.raw_os_error()?;
    KNOWN.iter().find(|row| row.0 == code)
}

/// The error in words, with its name.
pub(crate) fn words(error: &io::Error) -> String {
    match row(error) {
        Some((_, name, meaning, _)) => format!("{meaning} ({name})"),
        None => error.to_string(),
    }
}

/// The error of an operation in words, with a remedy, where one is known.
pub(super) fn explained(operation: &str, error: &io::Error) -> String {
    let found = match row(error) {
        Some((libc::ELOOP, ..)) if READS.contains(&operation) => Some(&LOOP_OF_LINKS),
        found => found,
    };
    match found {
        Some((_, name, meaning, remedy)) => format!("{meaning} ({name})\n  remedy: {remedy}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_gone_and_links_in_a_circle_have_remedies_that_fit() {
        let error = |code| io::Error::from_raw_os_error(code);
        let gone = explained("write", &error(libc::ENOENT));
        assert!(gone.contains("(ENOENT)\n  remedy: "), "{gone}");
        let reading = explained("open", &error(libc::ELOOP));
        assert!(reading.contains("in a circle (ELOOP)"), "{reading}");
        assert!(!reading.contains("written"), "{reading}");
        let writing = explained("write", &error(libc::ELOOP));
        assert!(writing.contains("nothing is written"), "{writing}");
    }
}
