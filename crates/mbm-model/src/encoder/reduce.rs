//! Steps to one vector a row.

use burn::tensor::Tensor;
use mbm_config::choices;

use super::EncoderOutput;
use crate::Steps;

choices! {
    /// How an encoder's steps become one vector.
    pub enum Reduce {
        /// The state after the last step.
        Last = "last",
        /// The first step, which gathers the others where the encoder has such a one (`[CLS]`).
        First = "cls",
        /// The mean of the steps.
        Mean = "mean",
        /// The largest value of each column.
        Max = "max",
        /// The sum of the steps.
        Sum = "sum",
        /// Not at all: the combiner gets every step.
        None = "none",
    }
}

impl Reduce {
    /// What the settings say, or else the encoder's habit where the combiner reads one vector, and every step where it attends.
    pub(super) fn choose(written: Option<Reduce>, habit: Reduce, encoder_output: EncoderOutput) -> Self {
        written.unwrap_or(match encoder_output {
            EncoderOutput::Summary => habit,
            EncoderOutput::Steps => Reduce::None,
        })
    }

    /// Applies it; `last` is the recurrent state where there is one.
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

/// The values of each row's last step that holds something: `[batch, width]`.
fn last_valid(steps: &Steps) -> Tensor<2> {
    let [batch, _, width] = steps.values.dims();
    let lengths = steps.mask.clone().int().sum_dim(1); // [batch, 1]
    let at = lengths.sub_scalar(1).reshape([batch, 1, 1]).expand([batch, 1, width]);
    steps.values.clone().gather(1, at).squeeze_dim(1)
}
