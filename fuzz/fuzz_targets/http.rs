#![no_main]

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    let whole = dlio_rs::internal::http_answer(answer, 1 << 20);
    // The length of the pieces changes nothing.
    assert_eq!(dlio_rs::internal::http_answer(answer, 3), whole);
});
