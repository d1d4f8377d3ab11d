//! The maximum-margin hyperplane of each class, trained with the network by the hinge loss, or exactly after it.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::{choices, settings};

use super::Decode;
use crate::{Fused, Target};

choices! {
    /// How the hyperplanes are found.
    pub enum SvmTraining {
        /// With the network, by the gradient of the hinge loss.
        EndToEnd = "end_to_end",
        /// On the frozen fused vectors, after the network was trained with the hinge loss.
        Exact = "exact",
    }
}

choices! {
    /// The kernel of an exactly trained machine.
    pub enum SvmKernel {
        /// `x . y`
        Linear = "linear",
        /// `exp(-gamma |x - y|^2)`, gamma by the variance.
        Rbf = "rbf",
    }
}

settings! {
    /// A support vector machine, one class against the rest.
    pub struct SvmSettings {
        /// The price of slack.
        c: f64 = 1.0 => 1e-6..=1e6;
        /// How it is trained.
        training: SvmTraining = SvmTraining::Exact;
        /// The kernel where it is trained exactly.
        kernel: SvmKernel = SvmKernel::Linear;
    }
}

/// Linear decision values of the classes.
#[derive(Module, Debug)]
pub struct Svm {
    linear: Linear,
    #[module(skip)]
    c: f64,
}

/// Rows that the penalty of the weights is shared out over, since the loss is a mean over rows and not their sum.
const N_ROWS: f64 = 1000.0;

impl SvmSettings {
    pub(super) fn init(&self, input: usize, output: usize, device: &Device) -> Svm {
        Svm { linear: LinearConfig::new(input, output).init(device), c: self.c }
    }
}

impl Decode for Svm {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        self.linear.forward(fused.pooled.clone())
    }

    /// `1/2 |w|^2 / (C n)`, so that with the mean hinge loss the sum is the primal objective over `C n`.
    fn penalty(&self) -> Option<Tensor<1>> {
        let weights = self.linear.weight.val();
        Some((weights.clone() * weights).sum() * (0.5 / (self.c * N_ROWS)))
    }
}
