//! Checkpoints: folders that are complete or absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use mbm_model::{Model, load_weights, save_weights};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::average::Recent;

/// Where training stands; with model and optimizer it is everything that going on needs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Batches of it that are done.
    pub batch: usize,
    /// Optimizer steps since the start.
    pub step: usize,
    /// Sum of the losses of the epoch's rows so far.
    pub loss_sum: f64,
    /// Rows of the epoch so far.
    pub n_rows: usize,
    /// The best validation score so far, larger is better.
    pub best_score: Option<f64>,
    /// Epochs since then.
    pub epochs_since_best: usize,
    /// Every epoch that is done.
    pub history: Vec<EpochRecord>,
    /// Whether training has ended.
    pub is_finished: bool,
}

/// One epoch in `training_statistics.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Mean training loss.
    pub loss: f64,
    /// The learning rate of its last step.
    pub learning_rate: f64,
    /// Values of validation, by name.
    pub validation: BTreeMap<String, f64>,
}

/// The checkpoints of a run: `last/` to go on from, `best.safetensors` to keep.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// Their folder.
    pub folder: PathBuf,
}

impl Checkpoints {
    fn last(&self) -> PathBuf {
        self.folder.join("last")
    }

    /// The weights of the best epoch, if one was validated.
    pub fn best(&self) -> PathBuf {
        self.folder.join("best.safetensors")
    }

    /// Whether there is something to go on from.
    pub fn exist(&self) -> bool {
        self.last().is_dir() || self.previous().is_dir()
    }

    fn previous(&self) -> PathBuf {
        self.folder.join("last.old")
    }

    /// Writes model, optimizer, progress and the models of the last epochs, where these are averaged, as one.
    ///
    /// # Errors
    /// A disk that is full or cannot be written; the checkpoint before stays.
    pub(crate) fn save(
        &self,
        model: &Model,
        optimizer: &ModuleOptimizer,
        progress: &Progress,
        recent: &Recent,
    ) -> Result<(), TrainError> {
        write_folder(&self.last(), |folder| {
            let failed = |what: &str, error: &dyn std::fmt::Display| TrainError::Checkpoint {
                path: folder.join(what),
                message: error.to_string(),
            };
            // A record of the training model would miss the last batch: `valid` is what brings running statistics up to date.
            let record = model.valid().into_record();
            record.save(folder.join("model.bpk")).map_err(|error| failed("model.bpk", &error))?;
            for (at, model) in recent.models.iter().enumerate() {
                save_weights(model, &folder.join(recent_name(at)))?;
            }
            optimizer.save(folder.join("optimizer.bpk")).map_err(|error| failed("optimizer.bpk", &error))?;
            let state = serde_json::to_vec(progress).map_err(|error| failed("progress.json", &error))?;
            fs::write(folder.join("progress.json"), state).map_err(|error| failed("progress.json", &error))
        })
    }

    /// Keeps the model as the best.
    ///
    /// # Errors
    /// A disk that is full or cannot be written; the best before stays.
    pub fn save_best(&self, model: &Model) -> Result<(), TrainError> {
        let failed = |error: std::io::Error| TrainError::Checkpoint { path: self.best(), message: error.to_string() };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let aside = self.folder.join("best.tmp.safetensors");
        save_weights(model, &aside)?;
        sync(&aside).and_then(|()| fs::rename(&aside, self.best())).map_err(failed)
    }

    /// The models of the last epochs; `fresh` makes one of their kind.
    ///
    /// # Errors
    /// A checkpoint that is damaged or of another model.
    pub(crate) fn load_recent(&self, fresh: impl Fn() -> Model) -> Result<Recent, TrainError> {
        let paths = (0..).map(|at| self.readable().join(recent_name(at))).take_while(|path| path.is_file());
        let models = paths.map(|path| load_weights(fresh(), &path)).collect::<Result<_, _>>()?;
        Ok(Recent { models })
    }

    fn readable(&self) -> PathBuf {
        if self.last().is_dir() { self.last() } else { self.previous() }
    }

    /// Reads the last checkpoint into a model and an optimizer of the same kind.
    ///
    /// # Errors
    /// A checkpoint that is damaged or of another model.
    pub fn load(&self, model: Model, optimizer: ModuleOptimizer) -> Result<(Model, ModuleOptimizer, Progress), TrainError> {
        let folder = self.readable();
        let failed = |what: &str, error: &dyn std::fmt::Display| TrainError::Checkpoint {
            path: folder.join(what),
            message: error.to_string(),
        };
        let record = ModuleRecord::load(folder.join("model.bpk")).map_err(|error| failed("model.bpk", &error))?;
        let _alone = mbm_model::alone();
        let model = model.try_load_record(record).map_err(|error| failed("model.bpk", &error))?;
        let optimizer = optimizer.load(folder.join("optimizer.bpk")).map_err(|error| failed("optimizer.bpk", &error))?;
        let state = fs::read(folder.join("progress.json")).map_err(|error| failed("progress.json", &error))?;
        let progress = serde_json::from_slice(&state).map_err(|error| failed("progress.json", &error))?;
        Ok((model, optimizer, progress))
    }
}

fn recent_name(at: usize) -> String {
    format!("recent-{at}.safetensors")
}

/// Makes a folder that is complete or absent: written aside, synced, renamed over the one before.
///
/// # Errors
/// What `fill` answers, or the file system; the folder before stays.
pub fn write_folder(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), TrainError>) -> Result<(), TrainError> {
    let failed = |error: std::io::Error| TrainError::Checkpoint { path: folder.to_path_buf(), message: error.to_string() };
    let (aside, old) = (with_ending(folder, ".tmp"), with_ending(folder, ".old"));
    remove(&aside).map_err(failed)?;
    fs::create_dir_all(&aside).map_err(failed)?;
    fill(&aside)?;
    let replace = || {
        for entry in fs::read_dir(&aside)? {
            sync(&entry?.path())?;
        }
        if folder.exists() {
            remove(&old)?;
            fs::rename(folder, &old)?;
        }
        fs::rename(&aside, folder)?;
        folder.parent().map_or(Ok(()), sync)?;
        remove(&old)
    };
    replace().map_err(failed)
}

fn with_ending(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}

fn sync(path: &Path) -> std::io::Result<()> {
    fs::File::open(path)?.sync_all()
}
