//! libFuzzer binary for [`mbm_fuzz::journal`].

#![no_main]
libfuzzer_sys::fuzz_target!(init: mbm_fuzz::begin(), |bytes: &[u8]| mbm_fuzz::journal::run(bytes));
