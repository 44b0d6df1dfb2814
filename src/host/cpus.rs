//! The CPUs of this host, and those that a thread may run on.

/// Widens the calling thread's affinity to all CPUs that the kernel lets it use.
pub fn use_all_cpus() {
    // SAFETY: an all-ones CPU set is valid; the kernel intersects it with what the process may use. A refusal
    // leaves the thread where it was, which costs speed and nothing else.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (0..libc::CPU_SETSIZE as usize).for_each(|cpu| libc::CPU_SET(cpu, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// CPUs that the calling thread may run on.
pub fn affinity_count() -> usize {
    // SAFETY: `set` is an out-parameter of the size given.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        libc::CPU_COUNT(&set).max(1) as usize
    }
}

/// CPUs online on this node.
pub fn node_cpus() -> usize {
    // SAFETY: takes and returns plain numbers.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    n.max(1) as usize
}
