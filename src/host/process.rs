//! Counters that the kernel keeps of this process.

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
    // The second field is a name that may hold anything; the third one follows its closing parenthesis.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
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
