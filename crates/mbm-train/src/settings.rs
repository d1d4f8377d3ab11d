//! The `trainer` section of the config.

use mbm_config::{defaults, settings};

use crate::{OptimizerSettings, ScheduleSettings};

settings! {
    /// How the model is trained.
    pub struct TrainerSettings {
        /// Maximum number of passes over the training rows; 0 leaves pretrained weights unchanged.
        epochs: usize = 100 => 0..=1_000_000;
        /// Maximum number of optimizer steps: training ends after them, even within an epoch. The learning rate schedule still refers to
        /// `epochs`.
        train_steps: Option<usize> = None => 1..=1_000_000_000;
        /// Rows per batch.
        batch_size: usize = 128 => 1..=65_536;
        /// Maximum steps per batch, including padding, instead of `batch_size`; batches consist of rows of similar length.
        batch_tokens: Option<usize> = None => 1..=10_000_000;
        /// The peak learning rate.
        learning_rate: f64 = 0.001 => 0.0..=100.0;
        /// The optimizer.
        optimizer: OptimizerSettings = defaults();
        /// The learning rate schedule.
        learning_rate_scheduler: ScheduleSettings = defaults();
        /// Gradient clipping.
        gradient_clipping: GradientClippingSettings = defaults();
        /// Number of batches whose gradients are accumulated before an optimizer step.
        gradient_accumulation_steps: usize = 1 => 1..=65_536;
        /// Rows per chunk. A batch is processed in chunks, in two passes with the gradients of its scores cached in between, so
        /// that a contrastive loss sees the whole batch in the memory of one chunk (Gao et al. 2021).
        gradient_cache_chunk_size: Option<usize> = None => 1..=65_536;
        /// Number of last epochs whose parameters are averaged; the average is what is validated and saved.
        average_epochs: usize = 1 => 1..=100;
        /// Epochs without improvement in validation after which training stops; 0 or -1 disables early stopping.
        early_stop: EarlyStop = EarlyStop(5);
        /// The output whose metric selects the best epoch; by default, the losses of all outputs.
        validation_field: Option<String> = None;
        /// The metric that selects the best epoch, such as `accuracy`; by default, the loss.
        validation_metric: Option<String> = None;
        /// Whether the weights of the best epoch are the result; otherwise, those of the last epoch are.
        restore_best_weights: bool = true;
        /// Probability of masking each input of a training row, so that the model learns to handle rows without it.
        modality_dropout: f64 = 0.1 => 0.0..=0.9;
        /// If above 0, mixes fused vectors and losses of pairs of rows with weights sampled from Beta(a, a) (Verma et al. 2019).
        mixup: f64 = 0.0 => 0.0..=10.0;
        /// Steps between checkpoints within an epoch; 0 saves only at the end of epochs, and at most every 15 seconds.
        steps_per_checkpoint: usize = 0 => 0..=1_000_000_000;
    }

    /// Gradient clipping.
    pub struct GradientClippingSettings {
        /// Maximum Euclidean norm of all gradients together.
        clipglobalnorm: Option<f64> = Some(1.0) => 1e-9..=1e9;
    }
}

/// The patience of early stopping in epochs; 0 or -1 disables it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct EarlyStop(pub i64);

impl mbm_config::Setting for EarlyStop {
    fn read(node: &mbm_config::Node, path: &str, diagnostics: &mut mbm_config::Diagnostics) -> Option<Self> {
        match node.value {
            mbm_config::Value::Int(epochs) if epochs >= -1 => Some(Self(epochs)),
            _ => {
                diagnostics.add(node.line, path, format!("expected a whole number, -1 or above, found {}", node.value.name()));
                None
            }
        }
    }

    fn schema() -> mbm_config::schema::Schema {
        mbm_config::schema::Schema::Integer { least: -1 }
    }
}

impl EarlyStop {
    /// Returns the patience in epochs, or `None` if early stopping is disabled.
    pub fn patience(self) -> Option<usize> {
        usize::try_from(self.0).ok().filter(|epochs| *epochs > 0)
    }
}
