//! Numbers of seven bits per byte, the lowest first, as Protocol Buffers, Thrift and Parquet store them.

/// Why a number cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end within it.
    Short,
    /// It has more than 64 bits.
    Long,
}

impl From<VarintError> for &'static str {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Short => "a number is cut off",
            VarintError::Long => "a number has more than 64 bits",
        }
    }
}

/// Bytes of `value`: 1 to 10.
pub(crate) fn len(value: u64) -> u64 {
    u64::from(64 - (value | 1).leading_zeros()).div_ceil(7)
}

/// Appends `value`.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number whose bytes come from `next`.
///
/// Errors: those of `next`, and [`VarintError::Long`].
pub(crate) fn read<E: From<VarintError>>(
    mut next: impl FnMut() -> Result<u8, E>,
) -> Result<u64, E> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(VarintError::Long.into())
}

/// Takes a number off the front of `bytes`.
pub(crate) fn take(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    read(|| {
        let (first, rest) = bytes.split_first().ok_or(VarintError::Short)?;
        *bytes = rest;
        Ok(*first)
    })
}

/// The signed number that zigzag coding stores as `value`: 0, -1, 1, -2 are 0, 1, 2, 3.
#[cfg(any(feature = "parquet", test))]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The inverse of [`unzigzag`].
#[cfg(any(feature = "parquet", test))]
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_bytes_of_the_protobuf_documentation() {
        for (value, bytes) in [
            (0u64, &[0][..]),
            (1, &[1]),
            (150, &[0x96, 1]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(len(value), bytes.len() as u64);
            let mut rest = &out[..];
            assert_eq!((take(&mut rest), rest), (Ok(value), &[][..]));
        }
        assert_eq!(take(&mut &[0x80][..]), Err(VarintError::Short));
        assert_eq!(take(&mut &[0x80; 11][..]), Err(VarintError::Long));
        for (value, stored) in [(0, 0), (-1, 1), (1, 2), (i64::MAX, u64::MAX - 1)] {
            assert_eq!((zigzag(value), unzigzag(stored)), (stored, value));
        }
    }
}
