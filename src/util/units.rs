//! Powers of two. A GiB is 2^30 bytes; a GB, which is 10^9, needs no name.

/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;
/// Bytes of a GiB.
pub(crate) const GIB: f64 = 1_073_741_824.0;

/// Bytes as GiB. Exact: the divisor is a power of two.
pub(crate) fn gib(bytes: f64) -> f64 {
    bytes / GIB
}
