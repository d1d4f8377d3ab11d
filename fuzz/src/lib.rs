//! Fuzz targets for the readers of untrusted input. Each is a function of any bytes that must return soon, use little memory and
//! never panic.
//!
//! Each module is a target. `cargo fuzz` mutates inputs to find one that breaks it (`.ci/fuzz` runs all targets for a limited
//! time). Interesting inputs are stored in `corpus/TARGET/` and replayed by `cargo test`. Where a checksum would reject every
//! mutation, the target recomputes it.

pub mod body;
pub mod bundle;
pub mod cell;
pub mod checkpoint;
pub mod config;
pub mod filter;
pub mod form;
pub mod implied;
pub mod index;
pub mod journal;
pub mod learners;
pub mod media;
pub mod sound;
pub mod source;
pub mod tokenizer;
pub mod weights;
mod zip;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// All targets by name; the inputs of each are in a folder of `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body::run),
    ("bundle", bundle::run),
    ("cell", cell::run),
    ("checkpoint", checkpoint::run),
    ("config", config::run),
    ("filter", filter::run),
    ("form", form::run),
    ("implied", implied::run),
    ("index", index::run),
    ("journal", journal::run),
    ("learners", learners::run),
    ("media", media::run),
    ("sound", sound::run),
    ("source", source::run),
    ("tokenizer", tokenizer::run),
    ("weights", weights::run),
];

/// Lets panics unwind, as they do outside a fuzzer: third-party decoders run behind `catch_unwind`, and a panic that escapes a
/// target still ends the process.
pub fn begin() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}
