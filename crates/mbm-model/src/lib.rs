//! The model: maps a batch of plain numbers to outputs and a loss. The only crate that refers to neural network layers.
//!
//! ```text
//! Batch --input--> tensors --encoder--> Sequence per input --combiner--> Fused --decoder--> logits, loss
//! ```
//!
//! The stages exchange two types, [`Sequence`] and [`Fused`]. Each component is one file in `encoder/`, `combiner/` or `decoder/`
//! with its settings, module and tests, plus one line in that folder's list (`parts.rs`).

#![recursion_limit = "512"] // `parts_of!` takes a step for each word of a list

#[macro_use]
mod parts;

mod block;
pub mod combiner;
pub mod decoder;
pub mod encoder;
mod fine_tuning;
mod frozen;
#[cfg(test)]
mod golden;
mod input;
mod layer;
mod model;
mod operation;
mod pretrained;
mod sequence;
#[cfg(test)]
mod testing;
mod weights;

pub use fine_tuning::{FineTuningSettings, LoraSettings};
pub use frozen::FrozenEncoder;
pub use input::{Target, TargetTokens, Tensors};
pub use layer::{Activation, seed_dropout};
pub use model::{
    Forward, InputSpec, InputSummary, Model, ModelSpec, OutputSpec, ProjectionSettings, autodiff_lock, on_worker_pool,
};
pub use pretrained::{
    FittingEncoder, Implied, Incompatibility, Origin, OriginError, Pretrained, PretrainedEncoder, PretrainedError,
    fitting_encoders, implied,
};
pub use sequence::{Fused, Sequence, Steps};
pub use weights::{WeightsError, load_weights, save_weights};

use burn::tensor::Device;

/// Returns the device that this build computes on: a GPU if a GPU feature is enabled, else the CPU.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    Device::flex()
}
