#![no_main]

use dlio_rs::format::memory::check;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = check("npy", file, [&[], &[]]);
});
