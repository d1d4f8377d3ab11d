//! The keys of parts that can start from pretrained weights.

use mbm_config::settings;

use super::Origin;
use crate::FineTuningSettings;

settings! {
    /// Where the parameters of a part come from, and whether they are trained.
    pub struct Pretrained {
        /// Whether to initialize the parameters from `weights`.
        use_pretrained: bool = false;
        /// File or folder of weights, relative to the working directory. A Hugging Face folder holds `config.json` and, for texts,
        /// `tokenizer.json` as well.
        weights: Option<String> = None;
        /// Whether training updates the parameters; if not, batch-norm statistics stay fixed as well.
        trainable: bool = true;
    }

    /// The same for an encoder that can be fine-tuned in parts.
    pub struct PretrainedEncoder {
        ..pretrained: Pretrained;
        /// Which parts to fine-tune and how fast; if not set, all parts are trained alike.
        fine_tuning: Option<FineTuningSettings> = None;
    }
}

impl Pretrained {
    /// Returns where the parameters come from.
    pub(crate) fn origin(&self) -> Origin<'_> {
        let Self { use_pretrained, weights, trainable } = self;
        Origin { use_pretrained: *use_pretrained, weights: weights.as_deref(), trainable: *trainable, fine_tuning: None }
    }
}

impl PretrainedEncoder {
    /// Returns where the parameters come from.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin { fine_tuning: self.fine_tuning.as_ref(), ..self.pretrained.origin() }
    }
}
