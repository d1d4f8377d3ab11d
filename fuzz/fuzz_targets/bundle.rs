#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mbm_fuzz::bundle::run(bytes));
