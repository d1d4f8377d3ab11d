//! Support vector machine: a hyperplane per class, trained jointly with the network by the hinge loss or exactly afterwards.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use mbm_config::{choices, settings};

use super::{Decode, Decoder, DecoderConfig, DecoderContext};
use crate::{Fused, Target};

choices! {
    /// How a support vector machine is trained.
    pub enum SvmTraining {
        /// Jointly with the network, by gradient descent on the hinge loss.
        EndToEnd = "end_to_end",
        /// Exactly, on the frozen fused vectors, after the network was trained with the hinge loss.
        Exact = "exact",
    }
}

choices! {
    /// Kernel of an exactly trained machine.
    pub enum SvmKernel {
        /// `x . y`
        Linear = "linear",
        /// `exp(-gamma |x - y|^2)`, with gamma set from the variance.
        Rbf = "rbf",
    }
}

settings! {
    /// Settings of a one-vs-rest support vector machine.
    pub struct SvmSettings {
        /// Regularization parameter C: the cost of margin violations.
        c: f64 = 1.0 => 1e-6..=1e6;
        /// How the machine is trained.
        training: SvmTraining = SvmTraining::Exact;
        /// Kernel; applies to exact training only.
        kernel: SvmKernel = SvmKernel::Linear;
    }
}

/// Linear decision function of each class.
#[derive(Module, Debug)]
pub struct Svm {
    linear: Linear,
    #[module(skip)]
    c: f64,
}

/// Number of rows that the weight penalty is divided by, since the loss is a mean over rows rather than a sum.
const N_ROWS: f64 = 1000.0;

impl DecoderConfig for SvmSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        Svm { linear: LinearConfig::new(context.fused, context.output).init(context.inputs.device), c: self.c }.into()
    }
}

impl Decode for Svm {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        self.linear.forward(fused.pooled.clone())
    }

    /// Returns `1/2 |w|^2 / (C n)`; added to the mean hinge loss, this gives the primal objective divided by `C n`.
    fn penalty(&self) -> Option<Tensor<1>> {
        let weights = self.linear.weight.val();
        Some((weights.clone() * weights).sum() * (0.5 / (self.c * N_ROWS)))
    }
}
