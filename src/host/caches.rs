//! The page cache of this host.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Why the page cache could not be emptied.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The kernel refused.
    #[error("{0}")]
    Refused(std::io::Error),
    /// It takes longer than it may.
    #[error("not done after {} s", .0.as_secs())]
    Late(Duration),
}

/// Writes back and empties the page cache, within `limit` where there is one.
pub fn drop_page_cache(limit: Option<Duration>) -> Result<(), DropError> {
    let (tell, told) = std::sync::mpsc::channel();
    // Writing back terabytes takes minutes and cannot be interrupted.
    std::thread::spawn(move || {
        // SAFETY: sync takes no argument and only writes back.
        unsafe { libc::sync() };
        let _ = tell.send(std::fs::write("/proc/sys/vm/drop_caches", "3"));
    });
    let written = match limit {
        None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(limit) => told.recv_timeout(limit),
    };
    match written {
        Ok(done) => done.map_err(DropError::Refused),
        Err(_) => Err(DropError::Late(limit.unwrap_or_default())),
    }
}
