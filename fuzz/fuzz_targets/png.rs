#![no_main]

use dlio_rs::internal::format_check as check;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = check("png", file, [&[], &[]]);
});
