//! Replays the inputs that fuzzing found interesting: none may panic or take long.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue must fail")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mbm_fuzz::{TARGETS, Target};

/// Time limit for one input, in a debug build on a busy machine; a hang takes longer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = corpus().join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn replay(name: &str, target: Target) {
    let paths = inputs(name);
    assert!(!paths.is_empty(), "{name} has no inputs");
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let started = Instant::now();
        target(&bytes);
        assert!(started.elapsed() < TIME_LIMIT, "{} took {:?}", path.display(), started.elapsed());
    }
}

#[test]
fn corpus_inputs_neither_panic_nor_take_long() {
    TARGETS.iter().for_each(|(name, target)| replay(name, *target));
}

#[test]
fn every_target_has_a_binary_and_the_corpora_are_small() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut found: Vec<String> = std::fs::read_dir(programs)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let size = |name: &str| inputs(name).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
    let bytes: u64 = TARGETS.iter().map(|(name, _)| size(name)).sum();
    assert!(bytes < 2_000_000, "the corpora hold {bytes} bytes");
}
