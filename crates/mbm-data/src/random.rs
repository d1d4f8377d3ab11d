//! The single source of randomness: seeds for each purpose, epoch and rank, all derived from the run's seed.

use rand::SeedableRng;
use sha2::{Digest, Sha256};

/// The generator of all random numbers: the same numbers on every machine.
pub type Rng = rand_chacha::ChaCha8Rng;

/// Derives the seed of one purpose (`"shuffle"`, `"init"`) at one epoch (or step) of one rank from the run's seed.
pub fn seed(run_seed: u64, purpose: &str, epoch: u64, rank: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(run_seed.to_le_bytes());
    hash.update(epoch.to_le_bytes());
    hash.update(rank.to_le_bytes());
    hash.update(purpose);
    let digest = hash.finalize();
    u64::from_le_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
}

/// Creates a generator from a seed.
pub fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}
