//! CRC-32C by crc-fast and by crc32c: GB/s over buffers of 64 B to 1 MiB that stay in the cache, best of 15.

use std::hint::black_box;
use std::time::Instant;

use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest};

fn rate(bytes: &[u8], crc: impl Fn(&[u8]) -> u32) -> f64 {
    let calls = 20_000_000 / bytes.len().max(64);
    let once = |_| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(crc(black_box(bytes)));
        }
        start.elapsed().as_secs_f64()
    };
    let best = (0..15).map(once).fold(f64::MAX, f64::min);
    (bytes.len() * calls) as f64 / best / 1e9
}

fn main() {
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|i| (i * 31 % 251) as u8).collect();
    let append = |bytes: &[u8]| {
        let mut digest = Digest::new_with_init_state(Crc32Iscsi, u64::from(!7_u32));
        digest.update(bytes);
        digest.finalize() as u32
    };
    println!(
        "{:>8} {:>12} {:>12}   whole, in GB/s",
        "bytes", "crc-fast", "crc32c"
    );
    println!("{:>8} {:>12} {:>12}   continued", "", "", "");
    for len in [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let bytes = &bytes[..len];
        assert_eq!(append(bytes), crc32c::crc32c_append(7, bytes));
        println!(
            "{len:>8} {:>12.2} {:>12.2}",
            rate(bytes, crc_fast::crc32_iscsi),
            rate(bytes, crc32c::crc32c)
        );
        println!(
            "{:>8} {:>12.2} {:>12.2}",
            "",
            rate(bytes, append),
            rate(bytes, |bytes| crc32c::crc32c_append(7, bytes))
        );
    }
}
