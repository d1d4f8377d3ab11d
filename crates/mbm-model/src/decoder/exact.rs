//! Machines that are fitted exactly to the fused vectors after the network is trained. Until then a linear regressor stands in
//! for them.

use mbm_config::settings;

use super::{Decoder, DecoderConfig, DecoderContext, RegressorSettings, SvmKernel};

settings! {
    /// Settings of support vector regression on the fused vector, fitted after the network is trained.
    pub struct ExactSvrSettings {
        /// Regularization parameter C: the cost of errors beyond epsilon.
        c: f64 = 1.0 => 1e-6..=1e6;
        /// Largest error that costs nothing, in standard deviations of the target.
        epsilon: f64 = 0.1 => 0.0..=10.0;
        /// Kernel.
        kernel: SvmKernel = SvmKernel::Rbf;
    }

    /// Settings of ridge regression on the fused vector, fitted after the network is trained.
    pub struct ExactRidgeSettings {
        /// L2 penalty on the weights.
        alpha: f64 = 1.0 => 0.0..=1e9;
    }
}

impl DecoderConfig for ExactSvrSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        mbm_config::defaults::<RegressorSettings>().init(context)
    }
}

impl DecoderConfig for ExactRidgeSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        mbm_config::defaults::<RegressorSettings>().init(context)
    }
}
