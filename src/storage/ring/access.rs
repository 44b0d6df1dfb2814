//! Whether this process may have rings of io_uring, and what the kernel's refusal means.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use nix::sys::resource::{Resource, getrlimit};

use crate::storage::StorageError;

/// The ring of one thread, for the kernels that know the flags (Linux 6.1), and for those that do not.
pub(super) fn build(entries: u32) -> io::Result<IoUring> {
    let entries = entries.next_power_of_two();
    IoUring::builder()
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(entries)
        .or_else(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => IoUring::builder().dontfork().build(entries),
            _ => Err(e),
        })
}

/// Whether this kernel, and whoever filters its system calls, lets this process read through a ring.
///
/// Errors: the cause, with its error number.
pub(crate) fn probe() -> Result<(), String> {
    let uring = build(2).map_err(|e| explained(&e))?;
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|e| explained(&e))?;
    let needed = [
        opcode::OpenAt::CODE,
        opcode::Read::CODE,
        opcode::PollAdd::CODE,
        opcode::Connect::CODE,
        opcode::AsyncCancel::CODE,
    ];
    match uring.params().is_feature_ext_arg() && needed.iter().all(|&op| probe.is_supported(op)) {
        true => Ok(()),
        false => {
            Err("the io_uring of this kernel is too old (Linux 5.11 has what is needed)".into())
        }
    }
}

/// CAP_IPC_LOCK, by which a process may lock memory without limit. Source: linux/capability.h.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Whether this process may have the kernel pin this many bytes of buffers.
pub(crate) fn may_pin(bytes: u64) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| {
        let hex = line.strip_prefix("CapEff:")?;
        u64::from_str_radix(hex.trim(), 16).ok()
    });
    capabilities.is_some_and(|all| all & CAP_IPC_LOCK != 0)
        || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(limit, _)| limit >= bytes)
}

/// What the error of a ring means.
pub(crate) fn explained(error: &io::Error) -> String {
    let cause = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring, or a filter of system calls (seccomp) hides it (ENOSYS)"
        }
        Some(libc::EPERM | libc::EACCES) => {
            "this process may not use io_uring (EPERM): a filter of system calls (seccomp), or kernel.io_uring_disabled"
        }
        Some(libc::ENOMEM) => "the limit of locked memory is too low (ENOMEM, ulimit -l)",
        Some(libc::EMFILE) => "the limit of open files is reached (EMFILE, ulimit -n)",
        _ => return format!("io_uring: {error}"),
    };
    cause.into()
}

/// The error of a job that asked for a ring and cannot have it.
pub(crate) fn refused(cause: &str) -> StorageError {
    StorageError::Setup(format!(
        "read with reader.engine=uring: {cause}\n  remedy: set reader.engine=threads, or allow io_uring to this process"
    ))
}
