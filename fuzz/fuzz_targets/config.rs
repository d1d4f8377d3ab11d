//! The libFuzzer program of [`mbm_fuzz::config`].

#![no_main]
libfuzzer_sys::fuzz_target!(init: mbm_fuzz::begin(), |bytes: &[u8]| mbm_fuzz::config::run(bytes));
