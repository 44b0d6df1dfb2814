//! Terminals: how wide one is, and the launcher's, which a rank's standard error output does not lead to.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Programs between a shell and a rank.
const LAUNCHERS: [&str; 8] = [
    "mpirun", "mpiexec", "orterun", "orted", "prte", "prun", "hydra", "srun",
];

/// Columns of a terminal; None where it is none or does not say.
pub(crate) fn columns(of: BorrowedFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize, which lives here; the descriptor is open as long as it is borrowed.
    let failed = unsafe { libc::ioctl(of.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (failed == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}

/// The terminal to which the launcher that started this process prints its errors; None where it has none, where they go
/// elsewhere, or where writing would stop this process (`stty tostop`).
pub(crate) fn of_launcher() -> Option<File> {
    let mut pid = std::os::unix::process::parent_id();
    let mut launcher = None;
    while let Some((name, parent)) = process(pid) {
        if !LAUNCHERS.iter().any(|word| name.starts_with(word)) {
            break;
        }
        launcher = Some(pid);
        pid = parent;
    }
    let path = fs::read_link(format!("/proc/{}/fd/2", launcher?)).ok()?;
    open(&path).filter(|file| !stops_writers(file.as_fd()))
}

fn open(path: &Path) -> Option<File> {
    if !path.starts_with("/dev/pts") && !path.starts_with("/dev/tty") {
        return None;
    }
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NOCTTY);
    let file = options.open(path).ok()?;
    std::io::IsTerminal::is_terminal(&file).then_some(file)
}

fn stops_writers(terminal: BorrowedFd) -> bool {
    // SAFETY: zeros are a valid termios, which tcgetattr fills; the descriptor is open as long as it is borrowed.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let failed = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) };
    failed != 0 || settings.c_lflag & libc::TOSTOP != 0
}

/// A process's name and parent.
fn process(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some((name, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_name_and_a_parent() {
        let (name, parent) = process(std::process::id()).unwrap();
        assert_eq!(parent, std::os::unix::process::parent_id());
        assert!(!name.is_empty());
        assert_eq!(process(u32::MAX), None);
    }

    #[test]
    fn a_file_is_no_terminal() {
        assert!(open(Path::new("/etc/hostname")).is_none());
        let file = File::open("/dev/null").unwrap();
        assert_eq!(columns(file.as_fd()), None);
        assert!(stops_writers(file.as_fd()));
    }
}
