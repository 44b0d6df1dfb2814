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
