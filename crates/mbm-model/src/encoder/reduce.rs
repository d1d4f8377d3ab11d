//! Reduction of an encoder's steps to one vector per row.

use burn::tensor::Tensor;
use mbm_config::choices;

use super::EncoderOutput;
use crate::Steps;

choices! {
    /// How to reduce an encoder's steps to one vector.
    pub enum Reduce {
        /// The recurrent state after the last step, or the last valid step.
        Last = "last",
        /// The first step, which is the class token (`[CLS]`) in encoders that have one.
        First = "cls",
        /// The mean of the steps.
        Mean = "mean",
        /// The maximum of each feature over the steps.
        Max = "max",
        /// The sum of the steps.
        Sum = "sum",
        /// No reduction: the combiner receives every step.
        None = "none",
    }
}

impl Reduce {
    /// Returns the configured reduction. Without one, returns the encoder's default if the combiner reads one vector per row, or
    /// [`Reduce::None`] if it attends to steps.
    pub(super) fn choose(configured: Option<Reduce>, default: Reduce, encoder_output: EncoderOutput) -> Self {
        configured.unwrap_or(match encoder_output {
            EncoderOutput::Summary => default,
            EncoderOutput::Steps => Reduce::None,
        })
    }

    /// Applies the reduction; `last` is the final state of a recurrent encoder.
    pub(super) fn apply(self, steps: Steps, last: Option<Tensor<2>>) -> Steps {
        match self {
            Self::None => steps,
            Self::First => Steps::single(steps.values.narrow(1, 0, 1).squeeze_dim(1)),
            Self::Mean => Steps::single(steps.mean()),
            Self::Max => Steps::single(steps.max()),
            Self::Sum => Steps::single((steps.values.clone() * steps.weights()).sum_dim(1).squeeze_dim(1)),
            Self::Last => Steps::single(last.unwrap_or_else(|| last_valid(&steps))),
        }
    }
}

/// Returns the last valid step of each row: `[batch, width]`.
fn last_valid(steps: &Steps) -> Tensor<2> {
    let [batch, _, width] = steps.values.dims();
    let lengths = steps.mask.clone().int().sum_dim(1); // [batch, 1]
    let at = lengths.sub_scalar(1).reshape([batch, 1, 1]).expand([batch, 1, width]);
    steps.values.clone().gather(1, at).squeeze_dim(1)
}
