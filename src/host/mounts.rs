//! Where a folder lies.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// True when the folder lies on a block device of this host, whose reads `/proc/self/io` counts.
pub fn has_block_device(folder: &Path) -> bool {
    // Memory and network file systems have anonymous devices: major number 0.
    std::fs::metadata(folder).is_ok_and(|meta| nix::sys::stat::major(meta.dev()) != 0)
}
