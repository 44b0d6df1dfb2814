//! CRC-32C (Castagnoli), by SIMD.

use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest};

#[inline]
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Of what has this CRC, followed by these bytes; of nothing it is 0.
#[inline]
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rfc_3720_and_of_another_library_in_any_pieces() {
        // RFC 3720, section B.4.
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        for (bytes, crc) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&rising, 0x46dd_794e),
            (&falling, 0x113f_db5c),
            (b"", 0),
        ] {
            assert_eq!(of(bytes), crc, "{bytes:?}");
        }
        let bytes: Vec<u8> = (0..100_000_u32)
            .map(|i| (i.wrapping_mul(i) % 251) as u8)
            .collect();
        for len in (0..300).chain([1023, 4096, 65_537, 100_000]) {
            let bytes = &bytes[..len];
            let crc = crc32c::crc32c(bytes);
            assert_eq!(of(bytes), crc, "{len}");
            for cut in [0, 1, len / 3, len / 2, len] {
                let (head, tail) = bytes.split_at(cut.min(len));
                assert_eq!(append(of(head), tail), crc, "{len} cut at {cut}");
            }
        }
    }
}
