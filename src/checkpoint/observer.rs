//! Who hears of the I/O calls of checkpoints.

/// A kind of I/O call whose duration is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// One write of one buffer.
    Write,
    /// Making one file, or the folder, durable.
    Fsync,
    /// One read of one transfer.
    Read,
}

/// Who hears of I/O calls; called from several threads, each with its own number.
pub trait Observer: Sync {
    /// A call on file number `file` begins at this offset.
    fn begins(&self, thread: usize, file: usize, offset: u64);
    /// An fsync, which shows no progress while it lasts and may last this many nanoseconds, is about to begin.
    fn may_last(&self, ns: u64);
    /// So many bytes of tensors and files went through.
    fn moved(&self, _bytes: u64) {}
    /// A call that is no read, write or fsync has ended.
    fn done(&self, thread: usize);
    /// It has ended after this many nanoseconds.
    fn ended(&self, thread: usize, call: Call, ns: u64);
}

/// Nanoseconds that a byte may take until it is durable before something must be wrong: 10 MB/s.
pub const PATIENCE_NS_PER_BYTE: u64 = 100;
