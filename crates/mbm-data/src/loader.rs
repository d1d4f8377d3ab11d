//! Loads batches ahead of time on worker threads and yields them in order: their content never depends on thread timing.

use std::sync::mpsc::{SyncSender, sync_channel};

use rand::RngExt;

use crate::random::{Rng, rng, seed};
use crate::{AudioAugmentation, Batch, DataError, Dataset, ImageAugmentation, Payload, Sample};

/// The batches to load, and how.
pub struct LoadOptions<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The rows of each batch, in order.
    pub batches: Vec<&'a [usize]>,
    /// The index of the first batch to load.
    pub start: usize,
    /// Random changes to the rows; none if `None`.
    pub noise: Option<TrainTimeNoise<'a>>,
}

/// Random changes to training rows.
#[derive(Clone, Copy)]
pub struct TrainTimeNoise<'a> {
    /// The run's seed.
    pub run_seed: u64,
    /// The epoch.
    pub epoch: usize,
    /// The probability with which each input of a row is masked; at least one input is always kept.
    pub modality_dropout: f64,
    /// The augmentation of each input feature.
    pub augmentations: &'a [Augmentation],
}

/// The random augmentation of one input feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Augmentation {
    /// No augmentation.
    None,
    /// Image augmentations, in order.
    Image(Vec<ImageAugmentation>),
    /// Audio augmentations, in order.
    Audio(Vec<AudioAugmentation>),
}

/// Number of batches that each worker keeps ready.
const AHEAD: usize = 2;

/// Calls `consume` with each batch and its index, in order, until it fails or no batches remain.
///
/// # Errors
/// Fails with the error of reading a row or of `consume`.
pub fn load<E: From<DataError>>(loading: &LoadOptions, mut consume: impl FnMut(usize, Batch) -> Result<(), E>) -> Result<(), E> {
    let n_batches = loading.batches.len();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let n_workers = (cores / 2).clamp(1, 4);
    std::thread::scope(|scope| {
        let workers = (0..n_workers).map(|worker| {
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || send_batches(loading, (loading.start + worker..n_batches).step_by(n_workers), &sender));
            receiver
        });
        let workers: Vec<_> = workers.collect();
        for batch_idx in loading.start..n_batches {
            // A worker ends without sending only if it panics, and the scope propagates the panic.
            let Ok(batch) = workers[(batch_idx - loading.start) % n_workers].recv() else { break };
            consume(batch_idx, batch?)?;
        }
        Ok(())
    })
}

fn send_batches(loading: &LoadOptions, batches: impl Iterator<Item = usize>, sender: &SyncSender<Result<Batch, DataError>>) {
    for batch_idx in batches {
        // A closed channel means that no more batches are wanted.
        if sender.send(loading.batch(batch_idx)).is_err() {
            break;
        }
    }
}

impl<'a> LoadOptions<'a> {
    /// Creates batches of `batch_size` rows without random changes; the last batch may be smaller.
    pub fn plain(dataset: &'a Dataset, rows: &'a [usize], batch_size: usize) -> Self {
        Self { dataset, batches: rows.chunks(batch_size).collect(), start: 0, noise: None }
    }

    /// Loads one batch on the calling thread.
    ///
    /// # Errors
    /// Fails if a row cannot be read.
    pub fn batch(&self, batch_idx: usize) -> Result<Batch, DataError> {
        let samples = self.batches[batch_idx].iter().map(|row_idx| self.sample(*row_idx)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.dataset.collate(&samples))
    }

    fn sample(&self, row_idx: usize) -> Result<Sample, DataError> {
        let mut sample = self.dataset.sample(row_idx)?;
        if let Some(noise) = &self.noise {
            let mut rng = rng(seed(noise.run_seed, "augment", noise.epoch as u64, row_idx as u64));
            let inputs = &mut sample.payloads[..self.dataset.n_inputs];
            drop_modalities(inputs, noise.modality_dropout, &mut rng);
            inputs.iter_mut().zip(noise.augmentations).for_each(|(payload, augmentation)| augmentation.apply(payload, &mut rng));
        }
        Ok(sample)
    }
}

/// Masks each present input with the given probability, but always keeps at least one.
fn drop_modalities(inputs: &mut [Payload], probability: f64, rng: &mut Rng) {
    let present: Vec<usize> = (0..inputs.len()).filter(|at| inputs[*at] != Payload::Missing).collect();
    if present.len() < 2 || probability <= 0.0 {
        return;
    }
    let kept = present[rng.random_range(0..present.len())];
    for at in present {
        if rng.random_bool(probability) && at != kept {
            inputs[at] = Payload::Missing;
        }
    }
}

impl Augmentation {
    fn apply(&self, payload: &mut Payload, rng: &mut Rng) {
        match (self, payload) {
            (Self::Image(changes), Payload::Image(image)) => changes.iter().for_each(|change| change.apply(image, rng)),
            (Self::Audio(changes), Payload::Frames(frames)) => changes.iter().for_each(|change| change.apply(frames, rng)),
            (Self::None | Self::Image(_) | Self::Audio(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_modality_is_kept() {
        for seed in 0..100 {
            let mut inputs = [Payload::Class(1), Payload::Missing, Payload::Class(2)];
            drop_modalities(&mut inputs, 1.0, &mut rng(seed));
            assert_eq!(inputs.iter().filter(|it| **it != Payload::Missing).count(), 1);
        }
    }
}
