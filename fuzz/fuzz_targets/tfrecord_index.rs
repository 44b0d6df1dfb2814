#![no_main]

use dlio_rs::internal::format_check as check;

// The first byte is the length of the index.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((&len, rest)) = input.split_first()
        && let Some((index, file)) = rest.split_at_checked(usize::from(len))
    {
        let _ = check("tfrecord", file, [index, &[]]);
    }
});
