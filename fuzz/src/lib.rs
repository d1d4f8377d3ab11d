//! Readers of foreign bytes, each behind a function that takes any bytes: it must end soon, in little memory, and never panic.
//!
//! A module is a target. `cargo fuzz` mutates inputs to find one that breaks it (`.ci/fuzz` runs all targets for a while); what it found
//! interesting lies in `corpus/TARGET/`, and `cargo test` replays that. Where a checksum would stop every mutation, the target
//! recomputes it.

pub mod body;
pub mod bundle;
pub mod checkpoint;
pub mod config;
pub mod filter;
pub mod form;
pub mod implied;
pub mod index;
pub mod media;
pub mod sound;
pub mod source;
pub mod tokenizer;
pub mod weights;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets by name; each has a folder of inputs in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body::run),
    ("bundle", bundle::run),
    ("checkpoint", checkpoint::run),
    ("config", config::run),
    ("filter", filter::run),
    ("form", form::run),
    ("implied", implied::run),
    ("index", index::run),
    ("media", media::run),
    ("sound", sound::run),
    ("source", source::run),
    ("tokenizer", tokenizer::run),
    ("weights", weights::run),
];

/// Lets panics unwind, as they do outside of a fuzzer: decoders of others stand behind `catch_unwind`, and what comes out of a target still
/// ends the process.
pub fn begin() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}
