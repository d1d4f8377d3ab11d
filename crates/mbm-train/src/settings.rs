//! The `trainer` section.

use mbm_config::{defaults, settings};

use crate::{OptimizerSettings, ScheduleSettings};

settings! {
    /// How the model is trained.
    pub struct TrainerSettings {
        /// Times that every training row is seen, at most; 0 keeps pretrained weights as they are.
        epochs: usize = 100 => 0..=1_000_000;
        /// Rows a batch.
        batch_size: usize = 128 => 1..=65_536;
        /// In place of `batch_size`, steps a batch: rows alike in length, as many as fit when each counts as long as the longest of them.
        batch_tokens: Option<usize> = None => 1..=10_000_000;
        /// The peak learning rate.
        learning_rate: f64 = 0.001 => 0.0..=100.0;
        /// The optimizer.
        optimizer: OptimizerSettings = OptimizerSettings::Adam(defaults());
        /// How the learning rate changes.
        learning_rate_scheduler: ScheduleSettings = defaults();
        /// Bounds on gradients.
        gradient_clipping: GradientClippingSettings = defaults();
        /// Batches whose gradients are summed before a step.
        gradient_accumulation_steps: usize = 1 => 1..=65_536;
        /// Rows that pass through the network at once; the batch is put together from such chunks, in two passes, with the gradients of its
        /// scores kept between them, so that a contrastive loss sees the whole batch in the memory of a chunk (Gao et al. 2021).
        gradient_cache_chunk_size: Option<usize> = None => 1..=65_536;
        /// Epochs whose parameters are averaged, the last ones; the average is what is validated and kept.
        average_epochs: usize = 1 => 1..=100;
        /// Epochs without a better validation before training ends; 0 or -1 is never.
        early_stop: EarlyStop = EarlyStop(5);
        /// The output whose metric decides; all outputs' losses where not given.
        validation_field: Option<String> = None;
        /// The metric that decides, such as `accuracy`; the loss where not given.
        validation_metric: Option<String> = None;
        /// The probability with which each input of a training row is made absent, so that the model copes with rows that lack it.
        modality_dropout: f64 = 0.1 => 0.0..=0.9;
        /// Above 0, fused vectors and losses of pairs of rows are mixed with shares from Beta(a, a) (Verma et al. 2019).
        mixup: f64 = 0.0 => 0.0..=10.0;
        /// Steps between checkpoints within an epoch; 0 for none, only at epochs' ends, and there every 15 seconds at most.
        steps_per_checkpoint: usize = 0 => 0..=1_000_000_000;
    }

    /// Bounds on gradients.
    pub struct GradientClippingSettings {
        /// The largest Euclidean norm of all gradients together.
        clipglobalnorm: Option<f64> = Some(1.0) => 1e-9..=1e9;
    }
}

/// Epochs of patience; none for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct EarlyStop(pub i64);

impl mbm_config::Setting for EarlyStop {
    fn read(node: &mbm_config::Node, path: &str, diagnostics: &mut mbm_config::Diagnostics) -> Option<Self> {
        match node.value {
            mbm_config::Value::Int(epochs) if epochs >= -1 => Some(Self(epochs)),
            _ => {
                diagnostics.add(node.line, path, format!("expected a whole number from -1, found {}", node.value.name()));
                None
            }
        }
    }
}

impl EarlyStop {
    /// The epochs, if training may end early.
    pub fn patience(self) -> Option<usize> {
        usize::try_from(self.0).ok().filter(|epochs| *epochs > 0)
    }
}
