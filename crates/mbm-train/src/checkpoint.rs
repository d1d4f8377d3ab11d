//! Checkpoints: folders that are written atomically and verified by hashes.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use mbm_data::{DataError, MANIFEST, Manifest, catch_panic, latest_complete, recover, write_folder};
use mbm_model::{Model, load_weights, save_weights};
use serde::{Deserialize, Serialize};

use crate::average::Recent;
use crate::{ProgressError, TrainError, exact};

/// Training progress; together with model and optimizer, everything needed to resume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Completed batches of the epoch.
    pub batch: usize,
    /// Optimizer steps since the start of training.
    pub step: usize,
    /// Sum of the losses of the rows of this epoch so far.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// Rows of this epoch so far.
    pub n_rows: usize,
    /// The best validation score so far; larger is better.
    #[serde(with = "exact::option")]
    pub best_score: Option<f64>,
    /// Epochs since the best score.
    pub epochs_since_best: usize,
    /// All completed epochs.
    #[serde(with = "exact::history")]
    pub history: Vec<EpochRecord>,
    /// Whether training has ended.
    pub is_finished: bool,
}

/// One epoch in `training_statistics.json`, where NaN and infinity are `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochRecord {
    /// Mean training loss.
    pub loss: f64,
    /// The learning rate of its last step.
    pub learning_rate: f64,
    /// Validation metrics by name.
    pub validation: BTreeMap<String, f64>,
}

/// The extent of a training run, against which progress is checked.
pub(crate) struct RunExtent {
    pub epochs: usize,
    /// Batches per epoch.
    pub n_batches: usize,
    /// Batches per optimizer step.
    pub batches_per_step: usize,
    pub n_rows: usize,
}

impl Progress {
    /// Checks that the progress is possible in a training run of the given extent.
    fn check(&self, extent: &RunExtent) -> Result<(), ProgressError> {
        let RunExtent { epochs, n_batches, batches_per_step, n_rows } = *extent;
        let step = |epoch: usize, batch: usize| epoch * n_batches.div_ceil(batches_per_step) + batch.div_ceil(batches_per_step);
        match () {
            () if self.epoch > epochs || self.history.len() != self.epoch => {
                Err(ProgressError::Epochs { found: self.epoch, in_history: self.history.len(), epochs })
            }
            () if self.batch > n_batches => Err(ProgressError::Batch { found: self.batch, n_batches }),
            () if self.n_rows > n_rows => Err(ProgressError::Rows { found: self.n_rows, n_rows }),
            () if self.step != step(self.epoch, self.batch) => {
                Err(ProgressError::Step { found: self.step, expected: step(self.epoch, self.batch) })
            }
            () => Ok(()),
        }
    }
}

/// The checkpoints of a run: `last/` has everything needed to resume, including the best model.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// Their folder.
    pub folder: PathBuf,
}

/// Writes the state of an optimizer, which is unordered: reading it back sorts it by name, so that equal states produce
/// equal bytes.
fn save_optimizer(optimizer: &ModuleOptimizer, folder: &Path) -> Result<(), TrainError> {
    let unsorted = folder.join("unsorted.bpk");
    optimizer.save(&unsorted).map_err(failed(folder, OPTIMIZER))?;
    let sorted = OptimizerRecord::load(&unsorted).map_err(failed(folder, OPTIMIZER))?;
    sorted.save(folder.join(OPTIMIZER)).map_err(failed(folder, OPTIMIZER))?;
    fs::remove_file(&unsorted).map_err(failed(folder, OPTIMIZER))
}

// Files of a checkpoint.
const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const PROGRESS: &str = "progress.json";
const BEST: &str = "best.safetensors";

/// A checkpoint without the hashes of its files.
#[derive(Debug, thiserror::Error)]
#[error("there are no hashes of its files: damaged, or from an earlier version; restart the run with --overwrite")]
struct NoHashes;

/// The contents of a checkpoint.
pub(crate) struct State<'a> {
    pub model: &'a Model,
    pub optimizer: &'a ModuleOptimizer,
    pub progress: &'a Progress,
    /// The models of the last epochs, if they are averaged.
    pub recent: &'a Recent,
    /// The best model, if it has changed since the previous checkpoint.
    pub best: Option<&'a Model>,
}

impl Checkpoints {
    fn last(&self) -> PathBuf {
        self.folder.join("last")
    }

    /// Whether there is a checkpoint to resume from.
    pub fn exist(&self) -> bool {
        latest_complete(&self.last()).is_dir()
    }

    /// Cleans up after a process that was killed while writing. Must only be called by the process that writes to this folder.
    ///
    /// # Errors
    /// If the file system reports an error.
    pub fn recover(&self) -> Result<(), TrainError> {
        Ok(recover(&self.last())?)
    }

    /// Writes model, optimizer, progress, the best model and the models of the last epochs atomically.
    ///
    /// # Errors
    /// If the disk is full or not writable; the previous checkpoint stays intact.
    pub(crate) fn save(&self, state: &State) -> Result<(), TrainError> {
        write_folder(&self.last(), |folder| {
            // The training model itself would miss the last batch: `valid` brings running statistics up to date.
            save_weights(&state.model.valid(), &folder.join(MODEL))?;
            for (at, model) in state.recent.models.iter().enumerate() {
                save_weights(model, &folder.join(recent_name(at)))?;
            }
            match state.best {
                Some(model) => save_weights(model, &folder.join(BEST))?,
                None => self.keep_best(folder)?,
            }
            save_optimizer(state.optimizer, folder)?;
            let progress = serde_json::to_vec(state.progress).map_err(failed(folder, PROGRESS))?;
            fs::write(folder.join(PROGRESS), progress).map_err(failed(folder, PROGRESS))
        })
    }

    /// Carries the best model of the previous checkpoint, if any, over to the next one unchanged.
    fn keep_best(&self, folder: &Path) -> Result<(), TrainError> {
        let last = latest_complete(&self.last());
        let Some(manifest) = Manifest::read(&last)?.filter(|manifest| manifest.names(BEST)) else { return Ok(()) };
        manifest.verify_file(&last, BEST)?;
        let (from, to) = (last.join(BEST), folder.join(BEST));
        // A hard link costs nothing where the file system supports it, and is safe because the file is never modified.
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).map_err(failed(folder, BEST))
    }

    /// Verifies the hashes of the last checkpoint and returns its folder.
    fn verified(&self) -> Result<PathBuf, TrainError> {
        let folder = latest_complete(&self.last());
        let Some(manifest) = Manifest::read(&folder)? else {
            return Err(DataError::damaged(folder.join(MANIFEST), NoHashes).into());
        };
        manifest.verify(&folder, &[MODEL, OPTIMIZER, PROGRESS])?;
        Ok(folder)
    }

    /// Loads the model of the best epoch, if there was a validation; `fresh` creates a model of the same architecture.
    ///
    /// # Errors
    /// If the checkpoint is damaged or of another model.
    pub fn load_best(&self, fresh: impl FnOnce() -> Model) -> Result<Option<Model>, TrainError> {
        let path = self.verified()?.join(BEST);
        Ok(if path.is_file() { Some(load_weights(fresh(), &path)?) } else { None })
    }

    /// Loads the models of the last epochs; `fresh` creates a model of the same architecture.
    ///
    /// # Errors
    /// If the checkpoint is damaged or of another model.
    pub fn load_recent(&self, fresh: impl Fn() -> Model) -> Result<VecDeque<Model>, TrainError> {
        let folder = latest_complete(&self.last());
        let paths = (0..).map(|at| folder.join(recent_name(at))).take_while(|path| path.is_file());
        Ok(paths.map(|path| load_weights(fresh(), &path)).collect::<Result<_, _>>()?)
    }

    /// Loads the last checkpoint into a model and an optimizer of the same kind.
    ///
    /// # Errors
    /// If the checkpoint is damaged or of another model.
    pub fn load(&self, model: Model, optimizer: ModuleOptimizer) -> Result<(Model, ModuleOptimizer, Progress), TrainError> {
        let folder = self.verified()?;
        let _alone = mbm_model::autodiff_lock();
        let model = load_weights(model, &folder.join(MODEL))?;
        // Burn panics if the state is not that of an optimizer.
        let optimizer = catch_panic(|| optimizer.load(folder.join(OPTIMIZER)))
            .ok_or_else(|| failed(&folder, OPTIMIZER)("not the state of an optimizer"))?
            .map_err(failed(&folder, OPTIMIZER))?;
        let state = fs::read(folder.join(PROGRESS)).map_err(failed(&folder, PROGRESS))?;
        let progress = serde_json::from_slice(&state).map_err(failed(&folder, PROGRESS))?;
        Ok((model, optimizer, progress))
    }
}

impl Checkpoints {
    /// Checks that the progress in a checkpoint fits the training run that resumes from it.
    pub(crate) fn check(&self, progress: &Progress, extent: &RunExtent) -> Result<(), TrainError> {
        progress.check(extent).map_err(failed(&latest_complete(&self.last()), PROGRESS))
    }
}

fn failed<E: Into<Box<dyn Error + Send + Sync>>>(folder: &Path, what: &str) -> impl FnOnce(E) -> TrainError {
    let path = folder.join(what);
    move |error| TrainError::Checkpoint { path, source: error.into() }
}

fn recent_name(at: usize) -> String {
    format!("recent-{at}.safetensors")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn progress(values: &[f64]) -> Progress {
        let value = |at: usize| values[at % values.len()];
        let validation = BTreeMap::from([("loss".to_owned(), value(0)), ("kind.r2".to_owned(), value(1))]);
        let record = EpochRecord { loss: value(2), learning_rate: value(3), validation };
        Progress { loss_sum: value(4), best_score: Some(value(5)), history: vec![record], ..Progress::default() }
    }

    /// The bits of every float; all NaNs are equal.
    fn bits(progress: &Progress) -> Vec<u64> {
        let EpochRecord { loss, learning_rate, validation } = &progress.history[0];
        let floats = [progress.loss_sum, *loss, *learning_rate].into_iter().chain(progress.best_score);
        let each = floats.chain(validation.values().copied());
        each.map(|value| if value.is_nan() { u64::MAX } else { value.to_bits() }).collect()
    }

    fn read_back(progress: &Progress) -> Progress {
        serde_json::from_slice(&serde_json::to_vec(progress).unwrap()).unwrap()
    }

    #[test]
    fn score_round_trips_exactly() {
        // A parser that rounds twice returns 14/15 one unit in the last place too small.
        let score = 14.0 / 15.0;
        assert_eq!(read_back(&progress(&[score])).best_score.map(f64::to_bits), Some(f64::to_bits(score)));
        let none = Progress { best_score: None, ..Progress::default() };
        assert_eq!(read_back(&none), none);
    }

    #[test]
    fn impossible_progress_is_an_error() {
        let extent = RunExtent { epochs: 3, n_batches: 5, batches_per_step: 2, n_rows: 10 };
        let record = EpochRecord { loss: 0.0, learning_rate: 0.0, validation: BTreeMap::new() };
        let possible = Progress { epoch: 1, batch: 2, step: 4, n_rows: 4, history: vec![record], ..Progress::default() };
        assert_eq!(possible.check(&extent), Ok(()));
        assert_eq!(Progress { batch: 5, step: 6, ..possible.clone() }.check(&extent), Ok(()), "an epoch may end in a short step");
        let wrong = [
            Progress { epoch: usize::MAX, ..possible.clone() },
            Progress { epoch: 0, ..possible.clone() },
            Progress { batch: 6, ..possible.clone() },
            Progress { step: usize::MAX, ..possible.clone() },
            Progress { n_rows: 11, ..possible.clone() },
        ];
        assert!(wrong.iter().all(|progress| progress.check(&extent).is_err()));
    }

    proptest! {
        #[test]
        fn all_floats_round_trip_including_nan_and_infinity(values in prop::collection::vec(any::<u64>(), 1..7)) {
            let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
            let values: Vec<f64> = values.into_iter().map(f64::from_bits).chain(specials).collect();
            for rotation in 0..values.len() {
                let progress = progress(&[&values[rotation..], &values[..rotation]].concat());
                prop_assert_eq!(bits(&read_back(&progress)), bits(&progress));
            }
        }
    }
}
