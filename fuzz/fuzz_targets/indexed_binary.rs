#![no_main]

use dlio_rs::internal::format_check as check;

// The first 64 bytes are the two indexes.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((indexes, file)) = input.split_at_checked(64) {
        let _ = check("indexed_binary", file, [&indexes[..32], &indexes[32..]]);
    }
});
