#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = dlio_rs::internal::checkpoint_check(file);
});
