//! The fill alone: bytes per second that THREADS threads make in buffers of 1 MiB, where storage can shrink it by the ratios.
//!
//! Arguments: THREADS COMPRESS DEDUP [default: 2 1 1].

use std::time::Instant;

use dlio_rs::internal::{FillSource, Shrink};

const BUFFER: usize = 1 << 20;
const BYTES_PER_THREAD: u64 = 8 << 30;

fn main() {
    // cargo bench adds a word of its own.
    let numbers: Vec<f64> = (std::env::args().skip(1))
        .filter_map(|word| word.parse().ok())
        .collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let threads = number(0, 2.0) as u64;
    let (compress, dedup) = (number(1, 1.0), number(2, 1.0));
    let source = FillSource::shrinking(10, Shrink { compress, dedup });
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let fill = source.file_of(thread, BYTES_PER_THREAD as f64);
            scope.spawn(move || {
                let mut buffer = vec![0; BUFFER];
                for part in 0..BYTES_PER_THREAD / BUFFER as u64 {
                    fill.fill(part * BUFFER as u64, &mut buffer);
                    std::hint::black_box(&mut buffer);
                }
            });
        }
    });
    let bytes = threads * BYTES_PER_THREAD;
    println!("{}", bytes as f64 / start.elapsed().as_secs_f64());
}
