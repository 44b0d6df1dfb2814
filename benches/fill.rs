//! The fill alone: bytes per second that THREADS threads (first argument, default 2) make in buffers of 1 MiB.

use std::time::Instant;

use dlio_rs::plan::fill::FillSource;

const BUFFER: usize = 1 << 20;
const BYTES_PER_THREAD: u64 = 8 << 30;

fn main() {
    let threads = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(2);
    let source = FillSource::new(10);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let fill = source.file(thread);
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
