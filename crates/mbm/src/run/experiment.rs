//! The main pipeline: from a plan and a dataset to a run folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use mbm_data::source::TableOptions;
use mbm_data::split::split;
use mbm_data::{
    Augmentation, DataError, Dataset, FaultReport, FeatureCache, Featurize, Field, MediaFiles, Payload, Precomputed,
    Preprocessor, RowStatus, Shape, Split, Table, WeightColumn, fit, remove, sync_and_rename, write_file,
};
use mbm_model::decoder::Decoding;
use mbm_model::{FrozenEncoder, Model, ModelSpec};
use mbm_train::{Checkpoints, Ending, Event, Progress, TrainError, Training, Validation, train};

use crate::bundle::Bundle;
use crate::config::features::OutputFeature;
use crate::config::plan::Plan;
use crate::error::Error;
use crate::learn::settings::{Learners, Preset};
use crate::learn::task::Task;
use crate::predict::ablation::{Ablation, input_groups};
use crate::predict::pass::{Sink, evaluate};
use crate::predict::postprocessor::{FittedOn, Postprocessor, sampled};
use crate::predict::predictor::{Predictor, decodings};
use crate::predict::sinks::{FittingExamples, Loss, Rows, Scores};
use crate::predict::writer::{OutputColumn, OutputFormat, TableWriter, with_status};
use crate::report::{Measured, WorstRows, write_report};
use crate::run::clock::Clock;
use crate::run::combined::{Combined, SHARE_OF_LEARNERS};
use crate::run::divergence::explained;
use crate::run::event::RunEvent;
use crate::run::folder::{
    CONFIG, LEADERBOARD, MODEL, OUT_OF_FOLD, PREDICTIONS, REPORT, RunFolder, Start, TEST_STATISTICS, TRAINING_STATISTICS,
    checkpoints,
};
use crate::run::learners::{FoldedRows, LearnerRun, Ranked, leaderboard};
use crate::run::manifest::{RunManifest, Sources, media_of, peak_memory, replaced};
use crate::run::out_of_fold;

/// A plan, a dataset and the location of the run.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=2")?;
/// let experiment = mbm::Experiment::new(plan, "../../examples/penguins/penguins.csv", folder.path().join("run"));
/// let (model, outcome) = experiment.train()?;
/// println!("{:?}", outcome.test_statistics["species"]["accuracy"]);
/// assert!(outcome.folder.join("report.html").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Experiment {
    /// The validated config.
    pub plan: Plan,
    /// The dataset: a file or folder in a supported format.
    pub dataset: PathBuf,
    /// How the dataset is read, if its name and content do not say.
    pub table_options: TableOptions,
    /// The run folder, or the base name of numbered ones.
    pub folder: PathBuf,
    /// How an existing run is handled.
    pub start: Start,
    /// The cache for features of encoders that are not trained, shared between runs.
    pub cache: Option<FeatureCache>,
    /// How long learners may be fitted; measuring and the report take a little longer. The config of the run folder then holds what was
    /// done, so that it can be repeated. By default 10 minutes for `ensemble.preset: best`, otherwise no limit.
    pub time_limit: Option<Duration>,
}

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The run folder.
    pub folder: PathBuf,
    /// Whether training finished or was stopped.
    pub ending: Ending,
    /// `{"label": {"accuracy": ..}, ..}`; empty if training was stopped.
    pub test_statistics: BTreeMap<String, BTreeMap<String, f64>>,
    /// Each learner and the ensemble, on held-out rows and on test rows; empty for the network alone.
    pub leaderboard: Vec<Ranked>,
    /// Cells that could not be read.
    pub faults: FaultReport,
    /// Number of model parameters.
    pub n_params: usize,
    /// Wall-clock time of the run.
    pub seconds: f64,
    /// Peak memory of the process in bytes, if the system reports it.
    pub peak_memory: Option<u64>,
}

/// Everything that is prepared before training.
struct Ready {
    dataset: Dataset,
    rows: RowsBySplit,
    faults: FaultReport,
    media: MediaFiles,
    /// For each input that is encoded ahead, a hash of what its features depend on.
    encoders: BTreeMap<String, String>,
}

/// What a network is trained on.
#[derive(Clone, Copy)]
struct TrainingRows<'a> {
    spec: &'a ModelSpec,
    dataset: &'a Dataset,
    train: &'a [usize],
    validation: &'a [usize],
}

/// What is trained on what.
#[derive(Clone, Copy)]
struct Work<'a> {
    dataset: &'a Dataset,
    rows: &'a RowsBySplit,
    /// The learners and their folds, where there are others than the network.
    combined: Option<(&'a Combined, &'a FoldedRows)>,
    clock: &'a Clock<'a>,
    device: &'a Device,
}

impl<'a> Work<'a> {
    /// Returns the folds if the network is trained once on each.
    fn bagged(&self) -> Option<&'a FoldedRows> {
        self.combined.filter(|(combined, _)| combined.is_bagged()).map(|(_, folded)| folded)
    }

    fn n_networks(&self) -> usize {
        self.bagged().map_or(1, |folded| folded.folds.n_folds)
    }

    /// Returns how long the network of a fold is trained.
    fn time(&self, fold: usize) -> TrainingTime<'a> {
        let combined = self.combined.map(|(combined, _)| combined);
        let share = combined.map_or(SHARE_OF_LEARNERS, Combined::share_of_networks);
        TrainingTime {
            clock: self.clock,
            share: share * (fold + 1) as f64 / self.n_networks() as f64,
            steps: combined.and_then(|combined| combined.steps(fold)),
        }
    }
}

/// A trained model, and how it was trained.
struct Trained {
    predictor: Predictor,
    progress: Progress,
    ending: Ending,
    /// Empty for the network alone.
    leaderboard: Vec<Ranked>,
    /// Seconds that the networks took.
    seconds: f64,
}

impl Trained {
    /// Returns the number of parameters of the network.
    fn n_params(&self) -> usize {
        burn::module::Module::num_params(&self.predictor.model)
    }
}

/// How long a network is trained.
#[derive(Clone, Copy)]
struct TrainingTime<'a> {
    clock: &'a Clock<'a>,
    /// The share of the time limit at which training ends.
    share: f64,
    /// The number of steps after which it ends, if the learner's settings say so.
    steps: Option<usize>,
}

/// The time limit of `ensemble.preset: best`, if none is given.
const TIME_OF_BEST: Duration = Duration::from_secs(600);

/// The folder of fitted learners among the checkpoints.
const LEARNERS: &str = "learners";

/// Row indices by split.
pub(crate) struct RowsBySplit {
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
}

impl Experiment {
    /// Creates a new run in a folder, without a cache.
    pub fn new(plan: Plan, dataset: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        let table_options = TableOptions::default();
        let (dataset, folder) = (dataset.into(), folder.into());
        Self { plan, dataset, table_options, folder, start: Start::New, cache: None, time_limit: None }
    }

    /// Sets how the dataset is read.
    pub fn table_options(self, table_options: TableOptions) -> Self {
        Self { table_options, ..self }
    }

    /// Sets the run folder, or the base name of numbered ones.
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..self }
    }

    /// Sets how an existing run is handled.
    pub fn start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Sets the cache for features of encoders that are not trained.
    pub fn cache(self, cache: Option<FeatureCache>) -> Self {
        Self { cache, ..self }
    }

    /// Sets how long learners may be fitted.
    pub fn time_limit(self, time_limit: Option<Duration>) -> Self {
        Self { time_limit, ..self }
    }

    /// Trains, evaluates and explains a model. Setting `stop` ends training after the current step.
    ///
    /// # Errors
    /// Fails on unreadable data, settings that do not fit the data, an occupied run folder, or an I/O error such as a full disk.
    pub fn run(&self, stop: &AtomicBool, observe: &mut dyn FnMut(RunEvent)) -> Result<Outcome, Error> {
        self.run_with(|observe| self.read_table(observe), stop, observe)
    }

    fn read_table(&self, observe: &mut dyn FnMut(RunEvent)) -> Result<Table, Error> {
        let table = Table::read_with(&self.dataset, &self.table_options)?;
        table.notes.iter().for_each(|note| observe(RunEvent::Note(note.clone())));
        Ok(table)
    }

    /// As [`Experiment::run`], with a table that has been read from the dataset already, and whose notes were shown.
    ///
    /// # Errors
    /// Fails as [`Experiment::run`] does.
    pub fn run_on(&self, table: Table, stop: &AtomicBool, observe: &mut dyn FnMut(RunEvent)) -> Result<Outcome, Error> {
        self.run_with(|_| Ok(table), stop, observe)
    }

    fn run_with(
        &self,
        read: impl FnOnce(&mut dyn FnMut(RunEvent)) -> Result<Table, Error>,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<Outcome, Error> {
        let entered = RunFolder::enter(&self.folder, self.start)?;
        let here = Self { folder: entered.path.clone(), ..self.clone() };
        here.run_in(&entered, read, stop, observe)
    }

    fn run_in(
        &self,
        entered: &RunFolder,
        read: impl FnOnce(&mut dyn FnMut(RunEvent)) -> Result<Table, Error>,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<Outcome, Error> {
        let started = Instant::now();
        let device = mbm_model::device();
        let Ready { dataset, rows, faults, .. } = self.start_run(entered, read, &device, observe)?;
        if entered.resumes
            && let Some(outcome) = self.finished(&faults, &device, started)?
        {
            observe(RunEvent::Note("the run has finished already; its results stand".to_owned()));
            return Ok(outcome);
        }
        let combined = self.combined(&dataset, &rows, observe);
        let fold = |combined: &Combined| FoldedRows::new(&self.plan, &dataset, &rows, combined.n_folds());
        let folded = combined.as_ref().map(fold).transpose()?;
        let clock = Clock { stop, started, limit: self.limit() };
        let combined = combined.as_ref().zip(folded.as_ref());
        let work = Work { dataset: &dataset, rows: &rows, combined, clock: &clock, device: &device };
        let mut trained = self.train_network(&work, observe)?;
        match (work.combined, trained.ending) {
            (Some((combined, folded)), Ending::Finished) => {
                self.combine(&work, combined.clone(), folded, &mut trained, observe)?;
            }
            (None, Ending::Finished) => self.record_steps(&mut trained)?,
            (_, Ending::Stopped) => {}
        }
        Bundle::write(&trained.predictor, &self.folder.join(MODEL))?;
        self.write_json(TRAINING_STATISTICS, &serde_json::json!({ "epochs": trained.progress.history }))?;
        let mut test_statistics = BTreeMap::new();
        if trained.ending == Ending::Finished {
            let kept = self.kept_learners();
            remove(&kept).map_err(Error::io(&kept))?;
            test_statistics = self.measure(&work, &trained, &faults, observe)?;
        }
        Ok(Outcome {
            folder: self.folder.clone(),
            ending: trained.ending,
            test_statistics,
            faults,
            n_params: trained.n_params(),
            leaderboard: trained.leaderboard,
            seconds: started.elapsed().as_secs_f64(),
            peak_memory: peak_memory(),
        })
    }

    /// Returns the results of a run with several learners that has finished. They are not fitted again: the checkpoint holds the network alone.
    fn finished(&self, faults: &FaultReport, device: &Device, started: Instant) -> Result<Option<Outcome>, Error> {
        let results = [TRAINING_STATISTICS, TEST_STATISTICS, PREDICTIONS, REPORT, LEADERBOARD, CONFIG];
        if results.iter().any(|name| !self.folder.join(name).is_file()) {
            return Ok(None);
        }
        let path = self.folder.join(TEST_STATISTICS);
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        Ok(Some(Outcome {
            folder: self.folder.clone(),
            ending: Ending::Finished,
            test_statistics: serde_json::from_slice(&text).map_err(|error| Error::damaged(path, error))?,
            leaderboard: leaderboard(&self.folder)?,
            faults: faults.clone(),
            n_params: burn::module::Module::num_params(&Bundle::open(&self.folder, device)?.model),
            seconds: started.elapsed().as_secs_f64(),
            peak_memory: peak_memory(),
        }))
    }

    /// Returns the learners where there are others than the network, or several folds.
    fn combined(&self, dataset: &Dataset, rows: &RowsBySplit, observe: &mut dyn FnMut(RunEvent)) -> Option<Combined> {
        let combined = Combined::new(&self.plan, rows.train.len() + rows.validation.len(), n_trees_of_round(dataset));
        if combined.is_none() && self.plan.config.ensemble.k_fold.is_some_and(|k_fold| k_fold > 1) {
            let why = "ensemble.k_fold has no effect: texts and embeddings of several networks have no mean";
            observe(RunEvent::Note(why.to_owned()));
        }
        combined
    }

    /// Reads and prepares the dataset, and records the inputs of a new run or checks those of a resumed one.
    fn start_run(
        &self,
        entered: &RunFolder,
        read: impl FnOnce(&mut dyn FnMut(RunEvent)) -> Result<Table, Error>,
        device: &Device,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<Ready, Error> {
        if matches!(self.start, Start::Resume | Start::ResumeLatest) && !entered.resumes {
            observe(RunEvent::Note(format!("{} holds no checkpoint; starting from the first epoch", self.folder.display())));
        }
        observe(RunEvent::Stage("reading the dataset"));
        let table = read(observe)?;
        table.require_rows()?;
        let description = RunManifest::new(&self.plan, &self.dataset, &table);
        let before = if entered.resumes { Some(RunManifest::read(&self.folder)?) } else { None };
        before.as_ref().map_or(Ok(()), |before| description.check(before, &self.folder))?;
        let ready = self.prepare(table, device, entered.resumes, observe)?;
        self.begin(entered, description, before.as_ref(), &ready)?;
        let rows = &ready.rows;
        observe(RunEvent::Rows([rows.train.len(), rows.validation.len(), rows.test.len()]));
        if let Some(column) = &self.plan.config.preprocessing.sample_weight {
            observe(RunEvent::Note(format!("rows and metrics are weighted by the column '{column}'")));
        }
        Ok(ready)
    }

    /// Trains the network on the training rows, or on those of the first fold.
    fn train_network(&self, work: &Work, observe: &mut dyn FnMut(RunEvent)) -> Result<Trained, Error> {
        let started = Instant::now();
        let Work { dataset, rows, device, .. } = *work;
        let own = work.bagged().map(|folded| folded.of_fold(0));
        let (train, validation) = own.as_ref().map_or((&rows.train, &rows.validation), |(train, held_out)| (train, held_out));
        let spec = self.spec(dataset, train)?;
        let data = TrainingRows { spec: &spec, dataset, train, validation };
        if work.bagged().is_some() {
            observe(RunEvent::Fold { fold: 1, n_folds: work.n_networks() });
        }
        let (model, progress, ending) = self.fit(&data, &checkpoints(&self.folder), device, work.time(0), observe)?;
        observe_end(&progress, &self.plan, observe);
        if !progress.is_finished && work.clock.is_over(work.time(0).share) {
            let n_epochs = self.plan.config.trainer.epochs;
            let text = format!("the time limit ended the network in epoch {} of {n_epochs}", progress.epoch + 1);
            observe(RunEvent::Note(text));
        }
        let mut predictor = self.predictor(&spec, dataset, model, device.clone());
        observe(RunEvent::Stage("calibrating outputs"));
        predictor.postprocessors = fit_postprocessors(&predictor, &spec, dataset, train, validation)?;
        Ok(Trained { predictor, progress, ending, leaderboard: Vec::new(), seconds: started.elapsed().as_secs_f64() })
    }

    /// Trains the networks of further folds, fits the other learners, and combines them; the config of the run then holds what was done.
    /// A run that is stopped meanwhile keeps the network alone.
    fn combine(
        &self,
        work: &Work,
        mut combined: Combined,
        folded: &FoldedRows,
        trained: &mut Trained,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<(), Error> {
        let started = Instant::now();
        let (mut networks, mut steps) = (Vec::new(), vec![trained.progress.step]);
        for fold in 1..work.n_networks() {
            if work.clock.is_stopped() {
                break;
            }
            observe(RunEvent::Fold { fold: fold + 1, n_folds: work.n_networks() });
            let (model, n_steps) = self.fold_network(work, folded, fold, observe)?;
            networks.push(model);
            steps.push(n_steps);
        }
        trained.seconds += started.elapsed().as_secs_f64();
        if work.clock.is_stopped() {
            trained.ending = Ending::Stopped;
            return Ok(());
        }
        observe(RunEvent::Stage("fitting learners"));
        trained.predictor.plan = combined.plan(&self.plan);
        let run = LearnerRun {
            predictor: &trained.predictor,
            dataset: work.dataset,
            folded,
            validation: &work.rows.validation,
            learners: &combined.learners,
            kept: &self.kept_learners(),
            clock: work.clock,
            share: combined.share_of_learners(),
        };
        let fitted = run.fit(networks, observe)?;
        if work.clock.is_stopped() {
            trained.ending = Ending::Stopped;
            return Ok(());
        }
        trained.leaderboard = fitted.leaderboard(&trained.predictor, work.dataset, &work.rows.test, trained.seconds)?;
        self.write_json(LEADERBOARD, &serde_json::to_value(&trained.leaderboard).unwrap_or_default())?;
        if folded.folds.n_folds > 1 {
            out_of_fold::write(&self.folder.join(OUT_OF_FOLD), &trained.predictor, &fitted.selections)?;
        }
        combined.record(&fitted, folded.folds.n_folds, work.clock.limit.map(|_| steps));
        trained.predictor.plan = combined.plan(&self.plan);
        trained.predictor.ensemble = Some(fitted.ensemble);
        Ok(write_file(&self.folder.join(CONFIG), trained.predictor.plan.to_yaml().as_bytes())?)
    }

    /// Records the steps of a network that the time limit has ended, so that the config of the run repeats it.
    fn record_steps(&self, trained: &mut Trained) -> Result<(), Error> {
        let Trained { predictor, progress, .. } = trained;
        if progress.is_finished || progress.step == 0 {
            return Ok(());
        }
        predictor.plan.config.trainer.train_steps = Some(progress.step);
        Ok(write_file(&self.folder.join(CONFIG), predictor.plan.to_yaml().as_bytes())?)
    }

    /// Returns the folder of the learners that a run in progress has fitted.
    fn kept_learners(&self) -> PathBuf {
        checkpoints(&self.folder).folder.join(LEARNERS)
    }

    /// Returns the time limit of the run.
    fn limit(&self) -> Option<Duration> {
        let config = &self.plan.config;
        let is_best = config.learners == Learners::Auto && config.ensemble.preset == Preset::Best;
        self.time_limit.or_else(|| is_best.then_some(TIME_OF_BEST))
    }

    /// Trains the network of a fold, and returns it with the number of its steps.
    fn fold_network(
        &self,
        work: &Work,
        folded: &FoldedRows,
        fold: usize,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<(Model, usize), Error> {
        let (train, held_out) = folded.of_fold(fold);
        let spec = self.spec(work.dataset, &train)?;
        let data = TrainingRows { spec: &spec, dataset: work.dataset, train: &train, validation: &held_out };
        let checkpoints = Checkpoints { folder: checkpoints(&self.folder).folder.join("folds").join(fold.to_string()) };
        let mut steps_only = |event| {
            if matches!(event, RunEvent::Training(Event::Step { .. })) {
                observe(event);
            }
        };
        let (model, progress, _) = self.fit(&data, &checkpoints, work.device, work.time(fold), &mut steps_only)?;
        Ok((model, progress.step))
    }

    /// Records the inputs of a new run in its folder; for a resumed run, checks that they are unchanged.
    fn begin(
        &self,
        entered: &RunFolder,
        description: RunManifest,
        before: Option<&RunManifest>,
        ready: &Ready,
    ) -> Result<(), Error> {
        let sources = Sources::new(&ready.dataset, ready.encoders.clone(), &ready.media);
        if let Some(before) = before {
            if let Some(file) = ready.media.first_change(&media_of(&self.folder)?, &ready.dataset)? {
                return Err(replaced(&self.folder, &file));
            }
            return before.sources.as_ref().map_or(Ok(()), |before| sources.check(before, &self.folder));
        }
        entered.make_room()?;
        RunManifest { sources: Some(sources), ..description }.write(&self.folder, &ready.media)?;
        Ok(write_file(&self.folder.join(CONFIG), self.plan.to_yaml().as_bytes())?)
    }

    /// Splits, fits and reads every row once; inputs whose encoders are not trained are encoded along the way.
    fn prepare(&self, table: Table, device: &Device, resumes: bool, observe: &mut dyn FnMut(RunEvent)) -> Result<Ready, Error> {
        let (mut dataset, roles) = fitted(&self.plan, table)?;
        if resumes && let Some(file) = media_of(&self.folder)?.first_of_other_size(&dataset)? {
            return Err(replaced(&self.folder, &file));
        }
        let frozen = self.frozen_encoders(&dataset, device)?;
        let cache = self.cache.as_ref();
        let mut ahead = Precomputed::all(&frozen, cache);
        let all: Vec<usize> = (0..roles.len()).collect();
        let prepared = dataset.prepare(&all, self.plan.cache_bytes(), &mut ahead, &mut |n_done| {
            if !frozen.is_empty() {
                observe(RunEvent::Encoding(n_done, all.len()));
            }
        })?;
        if !frozen.is_empty() {
            observe(RunEvent::Encoded(prepared.n_encoded, prepared.n_cached));
        }
        if let Some(fault) = prepared.cache_fault {
            observe(RunEvent::Note(format!("features are not cached for later runs: {fault}")));
        }
        let kept = |role: Split| prepared.rows.iter().copied().filter(|row_idx| roles[*row_idx] == role).collect::<Vec<_>>();
        let rows = RowsBySplit { train: kept(Split::Train), validation: kept(Split::Validation), test: kept(Split::Test) };
        if rows.train.is_empty() {
            return Err(Error::NoTrainingRows);
        }
        let encoders = frozen.iter().map(|(input, encoder)| {
            let name = self.plan.config.input_features[*input].name();
            (name.to_owned(), hexadecimal(&encoder.key()))
        });
        Ok(Ready { dataset, rows, faults: prepared.faults, media: prepared.media, encoders: encoders.collect() })
    }

    /// Returns the encoders that training does not change, by input index.
    fn frozen_encoders(&self, dataset: &Dataset, device: &Device) -> Result<Vec<(usize, FrozenEncoder)>, Error> {
        let (inputs, outputs) = dataset.fields.split_at(dataset.n_inputs);
        let spec = self.plan.model_spec(inputs, outputs, &[])?;
        let frozen =
            |(at, field): (usize, &Field)| FrozenEncoder::of(&spec, at, &field.preprocessor, device).map(|it| Some((at, it?)));
        let found = inputs.iter().enumerate().map(frozen).collect::<Result<Vec<_>, _>>().map_err(TrainError::from)?;
        Ok(found.into_iter().flatten().collect())
    }

    fn spec(&self, dataset: &Dataset, train_rows: &[usize]) -> Result<ModelSpec, Error> {
        let (inputs, outputs) = dataset.fields.split_at(dataset.n_inputs);
        Ok(self.plan.model_spec(inputs, outputs, &class_counts(dataset, train_rows)?)?)
    }

    fn fit(
        &self,
        data: &TrainingRows,
        checkpoints: &Checkpoints,
        device: &Device,
        time: TrainingTime,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<(Model, Progress, Ending), Error> {
        let config = &self.plan.config;
        let augmentations: Vec<Augmentation> = config.input_features.iter().map(|input| input.augmentation()).collect();
        let TrainingRows { spec, dataset, train: rows, validation } = *data;
        let stop = AtomicBool::new(time.clock.is_stopped());
        let training = Training {
            spec,
            dataset,
            rows,
            settings: &config.trainer,
            augmentations: &augmentations,
            run_seed: config.random_seed,
            device,
            checkpoints,
            stop: &stop,
            max_steps: time.steps.or(config.trainer.train_steps),
        };
        // Built once: copying the fitted features of ten thousand columns takes longer than using them.
        let mut predictor: Option<Predictor> = None;
        let mut validate = |model: &Model| {
            if validation.is_empty() {
                return Ok(None);
            }
            let predictor = predictor.get_or_insert_with(|| {
                let mut predictor = self.predictor(spec, dataset, model.clone(), device.clone());
                predictor.set_decoding(&Decoding::make_greedy);
                predictor
            });
            predictor.model = model.clone();
            self.validate(predictor, spec, dataset, validation).map(Some).map_err(|error| TrainError::Validation(error.into()))
        };
        let mut observe = |event| {
            if !time.clock.proceeds(time.share) {
                stop.store(true, Ordering::Relaxed);
            }
            observe(RunEvent::Training(event));
        };
        let (model, progress, ending) =
            train(&training, &mut validate, &mut observe).map_err(|error| explained(error, dataset, rows))?;
        // A run at its time limit uses the model so far.
        let ending = if time.clock.is_stopped() { ending } else { Ending::Finished };
        Ok((model, progress, ending))
    }

    fn predictor(&self, spec: &ModelSpec, dataset: &Dataset, model: Model, device: Device) -> Predictor {
        let (inputs, outputs) = dataset.fields.split_at(dataset.n_inputs);
        Predictor {
            plan: self.plan.clone(),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            postprocessors: spec.outputs.iter().map(|output| Postprocessor::plain(&output.decoder, output.width)).collect(),
            decodings: decodings(&self.plan, outputs),
            ensemble: None,
            model,
            device,
        }
    }

    /// Computes the loss and metrics on the validation rows, and the score that selects the best model.
    fn validate(&self, predictor: &Predictor, spec: &ModelSpec, dataset: &Dataset, rows: &[usize]) -> Result<Validation, Error> {
        let (mut loss, mut scores) = (Loss::new(spec), Scores::new(predictor));
        evaluate(predictor, dataset, rows, &mut [&mut loss, &mut scores])?;
        let loss = loss.mean();
        let mut values = BTreeMap::from([("loss".to_owned(), loss)]);
        let mut score = -loss;
        for (at, (field, scored)) in predictor.outputs.iter().zip(&scores.0).enumerate() {
            let metrics = scored.metrics();
            if let Some(metric) = self.plan.metric_of(at, &field.name) {
                let value = metrics.get(metric).copied().unwrap_or(f64::NAN);
                score = if scored.is_higher_better(metric) { value } else { -value };
            }
            values.extend(metrics.into_iter().map(|(name, value)| (format!("{}.{name}", field.name), value)));
        }
        Ok(Validation { score, values })
    }

    /// Evaluates the model on the test rows (validation rows if there are none, else training rows), and writes all results.
    fn measure(
        &self,
        work: &Work,
        trained: &Trained,
        faults: &FaultReport,
        observe: &mut dyn FnMut(RunEvent),
    ) -> Result<BTreeMap<String, BTreeMap<String, f64>>, Error> {
        let (Work { dataset, rows, .. }, Trained { predictor, progress, leaderboard, .. }) = (*work, trained);
        let (name, measured_rows) = [("test", &rows.test), ("validation", &rows.validation), ("train", &rows.train)]
            .into_iter()
            .find(|(_, rows)| !rows.is_empty())
            .unwrap_or(("train", &rows.train));
        observe(RunEvent::Stage("measuring"));
        let groups = input_groups(predictor, measured_rows.len());
        let path = self.folder.join(PREDICTIONS);
        let aside = self.folder.join(format!("{PREDICTIONS}.tmp"));
        let columns = [OutputColumn::number("row")].into_iter().chain(predictor.columns()).collect();
        let mut writer = TableWriter::create_as(&aside, &path, OutputFormat::Parquet, columns)?;
        let (mut scores, mut worst) = (Scores::new(predictor), WorstRows::default());
        let mut write = |values, status: RowStatus| writer.write(with_status(values, &status));
        let (mut predictions, mut ablation) =
            (Rows::numbered(&mut write, measured_rows), Ablation::new(predictor, &groups, measured_rows.len()));
        let sinks: &mut [&mut dyn Sink] = &mut [&mut predictions, &mut scores, &mut worst, &mut ablation];
        evaluate(predictor, dataset, measured_rows, sinks)?;
        let mut statistics = scores.metrics(predictor);
        if rows.test.is_empty() && !leaderboard.is_empty() {
            observe(RunEvent::Note("there are no test rows: the metrics are those of held-out rows".to_owned()));
            let held_out =
                leaderboard.iter().filter(|line| line.is_model()).map(|line| (line.output.clone(), line.held_out.clone()));
            statistics.extend(held_out);
        }
        let ablation_sample = ablation.sample();
        let ablation = ablation.metrics(predictor, &scores);
        observe(RunEvent::Stage("writing predictions and report"));
        self.write_json(TEST_STATISTICS, &serde_json::to_value(&statistics).unwrap_or_default())?;
        writer.finish()?;
        sync_and_rename(&aside, &path)?;
        let measured = Measured {
            name: &self.dataset.file_name().unwrap_or_default().to_string_lossy(),
            n_params: trained.n_params(),
            faults,
            split: name,
            rows: measured_rows,
            scored: &scores.0,
            worst: &worst,
            statistics: &statistics,
            groups: &groups,
            ablation: &ablation,
            ablation_sample,
            history: &progress.history,
            leaderboard,
        };
        write_report(&self.folder.join(REPORT), predictor, dataset, &measured)?;
        Ok(statistics)
    }

    fn write_json(&self, name: &str, value: &serde_json::Value) -> Result<(), Error> {
        write_json(&self.folder.join(name), value)
    }
}

pub(crate) fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), Error> {
    Ok(write_file(path, &serde_json::to_vec_pretty(value).unwrap_or_default())?)
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says that training ended before its last epoch.
fn observe_end(progress: &Progress, plan: &Plan, observe: &mut dyn FnMut(RunEvent)) {
    let (n_epochs, since_best) = (progress.epoch, progress.epochs_since_best);
    if progress.is_finished && n_epochs < plan.config.trainer.epochs {
        let (best, restores) = (n_epochs - since_best, plan.config.trainer.restore_best_weights);
        let used = if restores { "whose model is used" } else { "the last model is used" };
        observe(RunEvent::Note(format!("the network stopped early: no improvement since epoch {best}, {used}")));
    }
}

/// Returns the dataset with its features fitted on the training rows, and the split of each row.
fn fitted(plan: &Plan, table: Table) -> Result<(Dataset, Vec<Split>), Error> {
    let config = &plan.config;
    let roles = split(&table, &config.split(), config.random_seed)?;
    // Other learners are fitted on the validation rows, too.
    let is_fitted = |role: Split| role == Split::Train || (role == Split::Validation && config.is_combined());
    let train: Vec<usize> = (0..roles.len()).filter(|row_idx| is_fitted(roles[*row_idx])).collect();
    let sample_weight = config.preprocessing.sample_weight.as_deref();
    let weights = sample_weight.map(|column| weights(&table, column, &roles, &train)).transpose()?;
    let inputs = config.input_features.iter().map(|input| input.unfitted());
    let unfitted = inputs.chain(config.output_features.iter().map(OutputFeature::unfitted_target)).collect();
    let mut inputs = fit(&table, &train, unfitted)?;
    let outputs = inputs.split_off(config.input_features.len());
    if config.is_combined() {
        let texts = inputs
            .iter_mut()
            .filter_map(|field| if let Preprocessor::Text(it) = &mut field.preprocessor { Some(it) } else { None });
        texts.for_each(|text| text.keeps_text = true);
    }
    let mut dataset = Dataset::new(table, inputs, outputs);
    dataset.weights = weights;
    Ok((dataset, roles))
}

/// Returns the weight of each row: those of a column, divided by their mean over the rows that are fitted on.
fn weights(table: &Table, column: &str, roles: &[Split], fitted_on: &[usize]) -> Result<Vec<f32>, DataError> {
    let weights = WeightColumn::read(table, column)?;
    for (role, of) in [(Split::Train, "training"), (Split::Validation, "validation"), (Split::Test, "test")] {
        weights.check_rows(&(0..roles.len()).filter(|row_idx| roles[*row_idx] == role).collect::<Vec<_>>(), of)?;
    }
    Ok(weights.scaled_by(fitted_on))
}

/// Returns the number of trees of a round of boosting, for the output that has most: one per class, label or value.
fn n_trees_of_round(dataset: &Dataset) -> usize {
    let tasks = dataset.fields[dataset.n_inputs..].iter().filter_map(|field| Task::of(&field.preprocessor));
    tasks.map(Task::n_fitted).max().unwrap_or(1)
}

/// Counts the training rows of each class, for each output; empty for outputs without classes.
fn class_counts(dataset: &Dataset, rows: &[usize]) -> Result<Vec<Vec<usize>>, Error> {
    (dataset.n_inputs..dataset.fields.len()).map(|field| counts_of_field(dataset, rows, field)).collect()
}

fn counts_of_field(dataset: &Dataset, rows: &[usize], field: usize) -> Result<Vec<usize>, Error> {
    let Shape::Class { n_classes } = dataset.fields[field].preprocessor.get().shape() else { return Ok(Vec::new()) };
    let mut counts = vec![0; n_classes];
    for row_idx in rows {
        if let Payload::Class(class) = dataset.payload_at(*row_idx, field)? {
            counts[class as usize] += 1;
        }
    }
    Ok(counts)
}

/// Fits the postprocessors after training, on the fused vectors of rows that have the target. Outputs that are fitted on the same
/// rows share a pass.
fn fit_postprocessors(
    predictor: &Predictor,
    spec: &ModelSpec,
    dataset: &Dataset,
    train: &[usize],
    validation: &[usize],
) -> Result<Vec<Postprocessor>, Error> {
    let mut postprocessors: Vec<Postprocessor> =
        spec.outputs.iter().map(|output| Postprocessor::plain(&output.decoder, output.width)).collect();
    let fitted_on: Vec<Option<Split>> = spec
        .outputs
        .iter()
        .zip(&predictor.plan.config.output_features)
        .map(|(output, feature)| match Postprocessor::fitted_on(&output.decoder, feature.calibration()) {
            FittedOn::Validation | FittedOn::ValidationOnly if !validation.is_empty() => Some(Split::Validation),
            FittedOn::Nothing | FittedOn::ValidationOnly => None,
            FittedOn::Train | FittedOn::Validation => Some(Split::Train),
        })
        .collect();
    for (split, rows) in [(Split::Train, train), (Split::Validation, validation)] {
        let outputs = (0..spec.outputs.len()).filter(|output| fitted_on[*output] == Some(split));
        let mut examples: Vec<FittingExamples> = outputs.map(FittingExamples::new).collect();
        if examples.is_empty() {
            continue;
        }
        let mut sinks: Vec<&mut dyn Sink> = examples.iter_mut().map(|it| it as &mut dyn Sink).collect();
        evaluate(predictor, dataset, &sampled(rows, predictor.plan.config.random_seed), &mut sinks)?;
        for FittingExamples { output, examples } in examples {
            let spec = &spec.outputs[output];
            let run_seed = predictor.plan.config.random_seed;
            postprocessors[output] = Postprocessor::fit(&spec.name, &spec.decoder, &examples, spec.width, run_seed)?;
        }
    }
    Ok(postprocessors)
}
