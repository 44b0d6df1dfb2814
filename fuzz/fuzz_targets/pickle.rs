#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dlio_rs::internal::pickle_read(bytes);
});
