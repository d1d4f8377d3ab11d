//! libFuzzer binary for [`mbm_fuzz::learners`].

#![no_main]
libfuzzer_sys::fuzz_target!(init: mbm_fuzz::begin(), |bytes: &[u8]| mbm_fuzz::learners::run(bytes));
