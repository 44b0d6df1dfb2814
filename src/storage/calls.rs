//! How a lane asks the kernel: by system calls, or through the ring of the task that reads.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use io_uring::opcode;
use io_uring::types::Fd;

use super::{advice, ring};
use crate::clock::look_ns;

/// The most bytes of one read(2); source: its manual page.
const MOST: usize = 0x7fff_f000;

/// The calls of one lane.
///
/// Only those that wait for the storage system go through a ring. The length of a file that was just opened is known to the
/// kernel: fstat(2) takes it without a wait, while a ring hands IORING_OP_STATX to a thread of the kernel every time. Who asks has
/// just looked at the clock ([`look_ns`]), and when a call has returned it has been looked at again.
#[derive(Default)]
pub(super) struct Calls {
    /// The number of the lane's buffer in the ring, where it is registered.
    buffer: Option<u16>,
    /// The path of a file that is being opened. Its memory serves again.
    name: Vec<u8>,
}

impl Calls {
    pub(super) fn use_registered(&mut self, buffer: Option<u16>) {
        self.buffer = buffer;
    }

    /// open(2) for reading.
    pub(super) fn open(&mut self, path: &Path, flags: libc::c_int) -> io::Result<File> {
        if !ring::is_task() {
            let opened = File::options().read(true).custom_flags(flags).open(path);
            look_ns();
            return opened;
        }
        self.name.clear();
        self.name.extend_from_slice(path.as_os_str().as_bytes());
        self.name.push(0);
        let name = CStr::from_bytes_with_nul(&self.name)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), name.as_ptr())
            .flags(libc::O_RDONLY | libc::O_CLOEXEC | flags)
            .build();
        // SAFETY: the name lives through the call.
        let fd = unsafe { ring::call_timed(entry) }?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { File::from_raw_fd(fd) })
    }

    /// pread(2), with flags of preadv2(2).
    pub(super) fn read(
        &mut self,
        file: &File,
        into: &mut [u8],
        at: u64,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        if !ring::is_task() {
            let got = match flags {
                0 => file.read_at(into, at),
                flags => advice::read_with(file, into, at, flags),
            };
            look_ns();
            return got;
        }
        let (fd, start, len) = (
            Fd(file.as_raw_fd()),
            into.as_mut_ptr(),
            into.len().min(MOST) as u32,
        );
        let entry = match self.buffer {
            Some(buffer) => opcode::ReadFixed::new(fd, start, len, buffer)
                .offset(at)
                .rw_flags(flags)
                .build(),
            None => opcode::Read::new(fd, start, len)
                .offset(at)
                .rw_flags(flags)
                .build(),
        };
        // SAFETY: the bytes are borrowed until the call has ended, and so is the file.
        let got = unsafe { ring::call_timed(entry) }?;
        Ok(got as usize)
    }
}
