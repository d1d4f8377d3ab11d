//! Product of experts (Hinton 2002; Wu and Goodman 2018): each input gives a Gaussian, and the product of those that are present
//! and of a standard normal prior is Gaussian again.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::{Combine, Inputs, project};
use crate::{Fused, Sequence};

settings! {
    /// A product of Gaussians.
    pub struct ProductOfExpertsSettings {
        /// The width of what comes out.
        output_size: usize = 256 => 1..=8192;
    }
}

/// A product of Gaussians; its mean is the fused vector, an absent input is no factor of it.
#[derive(Module, Debug)]
pub struct ProductOfExperts {
    means: Vec<Linear>,
    precisions: Vec<Linear>,
    #[module(skip)]
    width: usize,
}

impl ProductOfExpertsSettings {
    pub(super) fn init(&self, inputs: &Inputs) -> ProductOfExperts {
        let layers = || inputs.projections(self.output_size);
        ProductOfExperts { means: layers(), precisions: layers(), width: self.output_size }
    }
}

impl Combine for ProductOfExperts {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let means = project(&self.means, &inputs);
        let precisions = project(&self.precisions, &inputs);
        let [batch, _] = inputs[0].present.dims();
        let device = inputs[0].present.device();
        let mut weighed = Tensor::<2>::zeros([batch, self.width], &device);
        let mut total = Tensor::<2>::ones([batch, self.width], &device); // the prior
        for ((mean, precision), input) in means.into_iter().zip(precisions).zip(&inputs) {
            let precision = activation::softplus(precision, 1.0) * input.present.clone();
            weighed = weighed + mean * precision.clone();
            total = total + precision;
        }
        Fused::pooled(weighed / total)
    }
}
