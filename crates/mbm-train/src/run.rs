//! The training loop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use mbm_data::random::{Rng, rng, seed};
use mbm_data::{Augmentation, Batch, Dataset, LoadOptions, TrainTimeNoise, load};
use mbm_model::{Fused, Model, ModelSpec, Target, autodiff_lock, on_worker_pool, seed_dropout};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::average::Recent;
use crate::checkpoint::{Checkpoints, EpochRecord, Progress, RunExtent, State};
use crate::gradient_cache::{GradientCache, accumulate};
use crate::gradients::clip_global_norm;
use crate::learning_rates::LearningRates;
use crate::numbering::numbered;
use crate::{Event, TrainError, TrainerSettings};

/// Everything that defines a training run.
pub struct Training<'a> {
    /// The model to train.
    pub spec: &'a ModelSpec,
    /// The prepared data.
    pub dataset: &'a Dataset,
    /// Rows to train on.
    pub rows: &'a [usize],
    /// The `trainer` section.
    pub settings: &'a TrainerSettings,
    /// Augmentations of each input.
    pub augmentations: &'a [Augmentation],
    /// The run's seed.
    pub run_seed: u64,
    /// The compute device, without autodiff.
    pub device: &'a Device,
    /// The checkpoints of the run.
    pub checkpoints: &'a Checkpoints,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
    /// Number of steps after which training stops as if it were stopped from outside.
    pub max_steps: Option<usize>,
}

/// The result of validating a model.
pub struct Validation {
    /// The score that selects the best epoch; larger is better.
    pub score: f64,
    /// Metrics by name.
    pub values: BTreeMap<String, f64>,
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All epochs ran, or training stopped early.
    Finished,
    /// Stopped from outside; a checkpoint to resume from has been saved.
    Stopped,
}

/// Trains from the last checkpoint if there is one, else from fresh parameters. Returns the best model by validation, or the last
/// model if there is no validation.
///
/// # Errors
/// If data cannot be read, checkpoints cannot be written, or the loss becomes NaN or infinite.
pub fn train(
    training: &Training,
    validate: &mut dyn FnMut(&Model) -> Result<Option<Validation>, TrainError>,
    observe: &mut dyn FnMut(Event),
) -> Result<(Model, Progress, Ending), TrainError> {
    let mut run = Run::start(training)?;
    observe(Event::Started {
        n_params: run.model.num_params(),
        epochs: training.settings.epochs,
        steps_per_epoch: run.steps_per_epoch(),
        epoch: run.progress.epoch,
    });
    let mut ending = Ending::Finished;
    while !run.progress.is_finished && run.progress.epoch < training.settings.epochs {
        if run.is_stopped() {
            ending = Ending::Stopped;
            run.checkpoint()?;
            break;
        }
        ending = run.epoch(observe)?;
        if ending == Ending::Stopped {
            run.checkpoint()?;
            break;
        }
        let model = run.recent.mean_with(run.model.valid().materialize(), training.settings.average_epochs);
        let validation = validate(&model)?;
        run.finish_epoch(model, validation, observe);
        if run.progress.is_finished || run.saved.elapsed() > CHECKPOINT_EVERY {
            run.checkpoint()?;
        }
    }
    // A run of no epochs has no checkpoint.
    let has_checkpoint = training.checkpoints.exist();
    let best = if has_checkpoint { training.checkpoints.load_best(|| training.fresh_model(training.device))? } else { None };
    let model = if let Some(best) = best {
        best
    } else {
        // When averaging, return the last mean; `recent` already contains the newest model.
        let newest = run.recent.models.pop_back().unwrap_or_else(|| run.model.valid().materialize());
        run.recent.mean_with(newest, training.settings.average_epochs)
    };
    Ok((model, run.progress, ending))
}

/// A run in progress.
struct Run<'a> {
    training: &'a Training<'a>,
    device: Device,
    model: Model,
    optimizer: ModuleOptimizer,
    rates: LearningRates,
    progress: Progress,
    started: Instant,
    /// Rows trained on since `started`.
    n_rows: usize,
    /// When the last checkpoint was written.
    saved: Instant,
    /// The best model, if it has changed since then.
    best: Option<Model>,
    /// The models of the last epochs, if they are averaged.
    recent: Recent,
    /// Chunks per epoch.
    n_chunks: usize,
}

/// Minimum time between checkpoints at the end of epochs: for short epochs, writing a checkpoint can take longer than the epoch.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(15);

/// Batches per pool, within which rows are sorted by length.
const POOL: usize = 16;

impl Training<'_> {
    /// Rows per forward pass: those of a batch, or of a chunk of a batch.
    fn chunk_size(&self) -> usize {
        if self.settings.batch_tokens.is_some() {
            return usize::MAX;
        }
        self.settings.gradient_cache_chunk_size.unwrap_or(self.settings.batch_size)
    }

    fn chunks_per_batch(&self) -> usize {
        (self.settings.batch_size / self.chunk_size()).max(1)
    }

    fn chunks_per_step(&self) -> usize {
        self.chunks_per_batch() * self.settings.gradient_accumulation_steps
    }

    /// Describes the loading of an epoch's remaining batches.
    fn loading<'a>(&'a self, batches: &'a [Vec<usize>], progress: &Progress) -> LoadOptions<'a> {
        let noise = TrainTimeNoise {
            run_seed: self.run_seed,
            epoch: progress.epoch,
            modality_dropout: self.settings.modality_dropout,
            augmentations: self.augmentations,
        };
        let chunks = batches.iter().flat_map(|batch| batch.chunks(self.chunk_size())).collect();
        LoadOptions { dataset: self.dataset, batches: chunks, start: progress.batch, noise: Some(noise) }
    }

    fn fresh_model(&self, device: &Device) -> Model {
        self.spec.init(device, seed(self.run_seed, "init", 0, 0))
    }

    /// Returns the batches of an epoch in order: rows are shuffled and grouped by similar length to reduce padding, then the
    /// batches are shuffled.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut rng = rng(seed(self.run_seed, "shuffle", epoch as u64, 0));
        let mut rows = self.rows.to_vec();
        rows.shuffle(&mut rng);
        match self.settings.batch_tokens {
            Some(max_tokens) => {
                rows.sort_by_key(|row_idx| self.dataset.length(*row_idx));
                let mut batches = by_tokens(&rows, max_tokens, |row_idx| self.dataset.length(row_idx) as usize);
                batches.shuffle(&mut rng);
                batches
            }
            None => self.by_rows(rows, &mut rng),
        }
    }

    /// Groups rows into batches, sorted by length within pools of batches; an incomplete batch stays last.
    fn by_rows(&self, mut rows: Vec<usize>, rng: &mut Rng) -> Vec<Vec<usize>> {
        for pool in rows.chunks_mut(self.settings.batch_size * POOL) {
            pool.sort_by_key(|row_idx| self.dataset.length(*row_idx));
        }
        let full = rows.chunks_exact(self.settings.batch_size);
        let short = full.remainder().to_vec();
        let mut batches: Vec<Vec<usize>> = full.map(<[usize]>::to_vec).collect();
        batches.shuffle(rng);
        batches.extend(Some(short).filter(|short| !short.is_empty()));
        batches
    }
}

/// Groups rows of ascending length into batches of at most `max_tokens` steps, including padding; a longer row is its own batch.
fn by_tokens(rows: &[usize], max_tokens: usize, length: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for row_idx in rows {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * length(*row_idx).max(1) <= max_tokens => batch.push(*row_idx),
            _ => batches.push(vec![*row_idx]),
        }
    }
    batches
}

impl<'a> Run<'a> {
    fn start(training: &'a Training<'a>) -> Result<Self, TrainError> {
        let device = training.device.clone().autodiff();
        let model = training.fresh_model(&device);
        let resumes = training.checkpoints.exist();
        let model = if resumes { model } else { training.spec.pretrained(model)? };
        // Adapters are part of the checkpoint, so they must exist before it is loaded.
        let model = training.spec.freeze(model, &device, seed(training.run_seed, "adapters", 0, 0))?;
        // The optimizer identifies parameters by id.
        let model = numbered(model);
        let optimizer = training.settings.optimizer.init(&model);
        let (model, optimizer, progress) =
            if resumes { training.checkpoints.load(model, optimizer)? } else { (model, optimizer, Progress::default()) };
        let rates = LearningRates::new(&training.spec.learning_rate_factors(&model));
        let recent = match resumes {
            true => Recent { models: training.checkpoints.load_recent(|| training.fresh_model(training.device))? },
            false => Recent::default(),
        };
        let n_chunks = training.loading(&training.batches(0), &Progress::default()).batches.len();
        let batches_per_step = training.chunks_per_step();
        let extent =
            RunExtent { epochs: training.settings.epochs, n_batches: n_chunks, batches_per_step, n_rows: training.rows.len() };
        training.checkpoints.check(&progress, &extent)?;
        Ok(Self {
            training,
            device,
            model,
            optimizer,
            rates,
            progress,
            started: Instant::now(),
            n_rows: 0,
            saved: Instant::now(),
            best: None,
            recent,
            n_chunks,
        })
    }

    fn steps_per_epoch(&self) -> usize {
        self.n_chunks.div_ceil(self.training.chunks_per_step())
    }

    /// Whether training stops before its end: stopped from outside, or after its steps. At least one step is taken.
    fn is_stopped(&self) -> bool {
        let has_steps_left = self.training.max_steps.is_none_or(|max_steps| self.progress.step < max_steps);
        self.progress.step > 0 && (self.training.stop.load(Ordering::Relaxed) || !has_steps_left)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        let (settings, n_steps) = (&self.training.settings, self.training.settings.epochs * self.steps_per_epoch());
        settings.learning_rate * settings.learning_rate_scheduler.factor(step, n_steps)
    }

    /// Trains on the rest of the current epoch.
    fn epoch(&mut self, observe: &mut dyn FnMut(Event)) -> Result<Ending, TrainError> {
        let training = self.training;
        let batches = training.batches(self.progress.epoch);
        let loading = training.loading(&batches, &self.progress);
        let mut accumulator = GradientsAccumulator::new();
        let mut cache = GradientCache::default();
        let mut ending = Ending::Finished;
        load(&loading, |batch_idx, batch| {
            if ending == Ending::Stopped {
                return Ok(());
            }
            if training.chunks_per_batch() > 1 {
                self.first_pass(&batch, &mut cache);
            } else {
                let gradients = self.backward(&batch)?;
                accumulator.accumulate(&self.model, gradients);
            }
            self.progress.batch = batch_idx + 1;
            let is_last = self.progress.batch == self.n_chunks;
            if !is_last && !self.progress.batch.is_multiple_of(training.chunks_per_step()) {
                return Ok(());
            }
            if training.chunks_per_batch() > 1 {
                self.second_pass(&loading, &mut cache, &mut accumulator)?;
            }
            self.step(accumulator.grads());
            observe(self.event());
            let every = training.settings.steps_per_checkpoint;
            if every > 0 && self.progress.step.is_multiple_of(every) {
                self.checkpoint()?;
            }
            if self.is_stopped() && !is_last {
                ending = Ending::Stopped;
            }
            Ok::<(), TrainError>(())
        })?;
        Ok(ending)
    }

    /// Computes the gradients of a batch and adds its loss to the epoch's sum.
    fn backward(&mut self, batch: &Batch) -> Result<GradientsParams, TrainError> {
        let _alone = autodiff_lock();
        let (training, progress) = (self.training, &mut self.progress);
        // Seeding every batch makes random numbers independent of where a run was resumed.
        let seed = |of: &str| seed(training.run_seed, of, progress.epoch as u64, progress.batch as u64);
        let (dropout, mut rng) = (seed("dropout"), rng(seed("mixup")));
        let (value, gradients) = on_worker_pool(|| {
            seed_dropout(dropout);
            let loss = loss(training, &self.model, batch, &self.device, &mut rng);
            let value = f64::from(loss.clone().into_scalar::<f32>());
            let scaled = loss / training.settings.gradient_accumulation_steps as f32;
            (value, value.is_finite().then(|| GradientsParams::from_grads(scaled.backward(), &self.model)))
        });
        self.count(value, batch.len())?;
        Ok(gradients.expect("a finite loss has gradients"))
    }

    /// Adds a batch's loss and rows to the epoch's totals.
    fn count(&mut self, loss: f64, n_rows: usize) -> Result<(), TrainError> {
        let progress = &mut self.progress;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { loss, epoch: progress.epoch + 1, step: progress.batch + 1 });
        }
        progress.loss_sum += loss * n_rows as f64;
        progress.n_rows += n_rows;
        self.n_rows += n_rows;
        Ok(())
    }

    /// Computes the scores of a chunk; reproducible, so that the second pass gets the same scores as the first.
    fn scores(&self, chunk_idx: usize, chunk: &Batch) -> Vec<Tensor<2>> {
        seed_dropout(seed(self.training.run_seed, "dropout", self.progress.epoch as u64, chunk_idx as u64));
        self.model.forward(chunk, None, &self.device).logits
    }

    /// Caches the scores of a chunk until its batch is complete.
    fn first_pass(&self, chunk: &Batch, cache: &mut GradientCache) {
        let _alone = autodiff_lock();
        on_worker_pool(|| {
            cache.push(self.scores(self.progress.batch, chunk), Target::of_batch(chunk, &self.device));
        });
    }

    /// Accumulates the gradients of a batch whose chunks have all been through the first pass.
    fn second_pass(
        &mut self,
        loading: &LoadOptions,
        cache: &mut GradientCache,
        accumulator: &mut GradientsAccumulator<Model>,
    ) -> Result<(), TrainError> {
        let _alone = autodiff_lock();
        let gradients = on_worker_pool(|| cache.gradients(self.training.spec, &self.model));
        let n_rows = gradients.scores.iter().map(|chunk| chunk[0].dims()[0]).sum();
        self.count(gradients.loss, n_rows)?;
        accumulator.accumulate(&self.model, gradients.direct);
        let first = self.progress.batch - gradients.scores.len();
        for (at, of_scores) in gradients.scores.iter().enumerate() {
            let chunk = loading.batch(first + at)?;
            on_worker_pool(|| accumulate(accumulator, &self.model, self.scores(first + at, &chunk), of_scores));
        }
        Ok(())
    }

    fn step(&mut self, mut gradients: GradientsParams) {
        let _alone = autodiff_lock();
        if let Some(max_norm) = self.training.settings.gradient_clipping.clipglobalnorm {
            clip_global_norm(&self.model, &mut gradients, max_norm);
        }
        let learning_rate = self.learning_rate(self.progress.step);
        let (rates, model) = (self.rates.at(learning_rate), self.model.clone());
        self.model = on_worker_pool(|| self.optimizer.step(rates, model, gradients));
        self.progress.step += 1;
    }

    fn event(&self) -> Event {
        let seconds = self.started.elapsed().as_secs_f64();
        let samples_per_second = self.n_rows as f64 / seconds.max(1e-9);
        let rows_left = self.training.rows.len() * (self.training.settings.epochs - self.progress.epoch) - self.progress.n_rows;
        Event::Step {
            epoch: self.progress.epoch,
            step: self.progress.batch.div_ceil(self.training.chunks_per_step()),
            loss: self.progress.loss_sum / self.progress.n_rows as f64,
            learning_rate: self.learning_rate(self.progress.step - 1),
            samples_per_second,
            time_left: Duration::from_secs_f64(rows_left as f64 / samples_per_second.max(1e-9)),
        }
    }

    /// Completes the epoch: keeps the model if it is the best so far, or the last one is to be kept, and finishes training if the patience is exhausted.
    fn finish_epoch(&mut self, model: Model, validation: Option<Validation>, observe: &mut dyn FnMut(Event)) {
        let learning_rate = self.learning_rate(self.progress.step - 1);
        let progress = &mut self.progress;
        let loss = progress.loss_sum / progress.n_rows.max(1) as f64;
        let (score, values) =
            validation.map_or((None, BTreeMap::new()), |validation| (Some(validation.score), validation.values));
        // A NaN score is never the best.
        let is_best = score.is_some_and(|score| progress.best_score.map_or(!score.is_nan(), |best| score > best));
        progress.epochs_since_best = if is_best { 0 } else { progress.epochs_since_best + 1 };
        if is_best {
            progress.best_score = score;
        }
        observe(Event::Epoch { epoch: progress.epoch, loss, validation: values.clone(), is_best });
        progress.history.push(EpochRecord { loss, learning_rate, validation: values });
        let has_patience =
            self.training.settings.early_stop.patience().is_none_or(|patience| progress.epochs_since_best < patience);
        *progress = Progress { epoch: progress.epoch + 1, batch: 0, loss_sum: 0.0, n_rows: 0, ..std::mem::take(progress) };
        progress.is_finished = progress.epoch >= self.training.settings.epochs || (score.is_some() && !has_patience);
        if is_best || !self.training.settings.restore_best_weights {
            // `materialize` has merged adapters into their matrices.
            self.best = Some(model);
        }
    }

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        let best = self.best.take();
        self.saved = Instant::now();
        let Self { model, optimizer, progress, recent, .. } = self;
        self.training.checkpoints.save(&State { model, optimizer, progress, recent, best: best.as_ref() })
    }
}

/// Computes the loss of a batch, with mixup of fused vectors if enabled.
fn loss(training: &Training, model: &Model, batch: &Batch, device: &Device, rng: &mut Rng) -> Tensor<1> {
    let targets = Target::of_batch(batch, device);
    let forward = model.forward(batch, Some(&targets), device);
    if training.settings.mixup <= 0.0 || batch.len() < 2 {
        return training.spec.loss(model, &forward.logits, &targets);
    }
    let share = beta(training.settings.mixup, rng) as f32;
    let mut order: Vec<i64> = (0..batch.len() as i64).collect();
    order.shuffle(rng);
    let order = Tensor::<1, Int>::from_data(TensorData::new(order, [batch.len()]), device);
    let pooled = forward.fused.pooled;
    let mixed = pooled.clone() * share + pooled.select(0, order.clone()) * (1.0 - share);
    let logits = model.decode(&Fused::pooled(mixed), None);
    let others: Vec<Target> = targets.iter().map(|target| target.select(&order)).collect();
    training.spec.loss(model, &logits, &targets) * share + training.spec.loss(model, &logits, &others) * (1.0 - share)
}

/// Samples from Beta(a, a) by Jöhnk's method, in log space for small `a`.
fn beta(a: f64, rng: &mut Rng) -> f64 {
    loop {
        let (u, v): (f64, f64) = ((1.0 - rng.random::<f64>()).ln() / a, (1.0 - rng.random::<f64>()).ln() / a);
        let top = u.max(v);
        let sum = top + ((u - top).exp() + (v - top).exp()).ln();
        if sum <= 0.0 {
            return (u - sum).exp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_batches_are_as_large_as_their_longest_row_allows() {
        let lengths = [1, 2, 2, 3, 3, 9, 40];
        let rows: Vec<usize> = (0..lengths.len()).collect();
        let batches = by_tokens(&rows, 9, |row_idx| lengths[row_idx]);
        assert_eq!(batches, [vec![0, 1, 2], vec![3, 4], vec![5], vec![6]]);
    }
}
