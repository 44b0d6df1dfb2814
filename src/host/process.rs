//! What the kernel says of this process, and of others of the host.

/// Bytes that the kernel fetched from devices for this process; None where it does not say.
pub fn device_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("read_bytes: ")?.trim().parse().ok())
}

/// The largest resident set that this process has had. Source: getrusage(2), `ru_maxrss` in KiB.
pub fn peak_rss_bytes() -> u64 {
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .map_or(0, |usage| usage.max_rss().max(0) as u64 * 1024)
}

/// When a process of this host began, in clock ticks since the host's boot; None where it does not run.
/// Source: proc_pid_stat(5), field 22.
pub fn start_tick(id: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat_of(&text)?.1)
}

/// State and start of a process in the text of its `stat`: fields 3 and 22 of proc_pid_stat(5).
fn stat_of(text: &str) -> Option<(char, u64)> {
    // The second field is a name that may hold anything; the third one follows its closing parenthesis.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// A process in words that other processes of the host can compare. The default one is of no process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Its number in `namespace`.
    pub id: u32,
    /// Clock ticks since the host's boot when it began.
    pub start: u64,
    /// Inode of the namespace in which `id` counts.
    pub namespace: u64,
}

/// What the kernel says of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, or sleeps until something wakes it.
    Runs,
    /// A signal or a debugger has stopped it.
    Stopped,
    /// It has ended.
    Gone,
}

impl Identity {
    /// This process.
    pub fn own() -> Identity {
        let id = std::process::id();
        Identity {
            id,
            start: start_tick(id).unwrap_or(0),
            namespace: pid_namespace(),
        }
    }

    /// What became of it; None where it cannot be known from here: another PID namespace, no `/proc`.
    pub fn state(self) -> Option<State> {
        if self.id == 0 || self.start == 0 || self.namespace != pid_namespace() {
            return None;
        }
        let text = match std::fs::read_to_string(format!("/proc/{}/stat", self.id)) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some(State::Gone),
            Err(_) => return None,
        };
        let (state, start) = stat_of(&text)?;
        Some(match state {
            _ if start != self.start => State::Gone,
            'T' | 't' => State::Stopped,
            'Z' | 'X' | 'x' => State::Gone,
            _ => State::Runs,
        })
    }
}

/// The inode of the namespace in which this process has its number; 0 where it cannot be read.
fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino())
}

/// The resident set of this process now, bytes; 0 where it cannot be read. Source: proc(5), `statm`.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    pages.unwrap_or(0) * page.ok().flatten().map_or(4096, |n| n as u64)
}

/// Memory of this node, bytes; 0 where it cannot be read.
pub fn node_memory_bytes() -> u64 {
    let number = |variable| nix::unistd::sysconf(variable).ok().flatten();
    let pages = number(nix::unistd::SysconfVar::_PHYS_PAGES);
    let page = number(nix::unistd::SysconfVar::PAGE_SIZE);
    pages.zip(page).map_or(0, |(n, size)| (n * size) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that sleeps, or that is stopped, or that has ended, as its parent sees it.
    #[test]
    fn a_process_is_seen_to_run_to_stop_and_to_end() {
        let own = Identity::own();
        assert_eq!(own.state(), Some(State::Runs));
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let seen = Identity {
            id: child.id(),
            start: start_tick(child.id()).unwrap(),
            ..own
        };
        assert_eq!(seen.state(), Some(State::Runs));
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        // It is stopped when the parent is told so.
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(seen.state(), Some(State::Stopped));
        // Another process that got its number, one of another namespace, and none at all.
        let later = Identity {
            start: seen.start + 1,
            ..seen
        };
        assert_eq!(later.state(), Some(State::Gone));
        let elsewhere = Identity {
            namespace: own.namespace + 1,
            ..seen
        };
        assert_eq!(elsewhere.state(), None);
        assert_eq!(Identity::default().state(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.state(), Some(State::Gone));
    }
}
