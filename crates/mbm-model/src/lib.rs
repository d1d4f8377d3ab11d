//! A batch of plain numbers to outputs and a loss: the only crate that names layers.
//!
//! ```text
//! Batch --input--> tensors --encoder--> Sequence per input --combiner--> Fused --decoder--> logits, loss
//! ```
//!
//! The parts meet in two shapes, [`Sequence`] and [`Fused`]. A part is one file in `encoder/`, `combiner/` or `decoder/` with
//! its settings, its module and its tests, and one line in that folder's list.

/// Declares a closed family of trainable parts: an enum of modules, dispatched once to the role that they share.
macro_rules! components {
    ($(#[$meta:meta])* $module:ident: $role:ident { $($variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(burn::module::Module, Debug)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum $module { $($variant($variant)),+ }

        impl $module {
            /// The part behind the enum.
            pub fn get(&self) -> &dyn $role {
                match self { $(Self::$variant(it) => it),+ }
            }
        }
    };
}

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
pub use model::{Forward, InputSpec, Model, ModelSpec, OutputSpec, ProjectionSettings, autodiff_lock, on_worker_pool};
pub use pretrained::{Implied, Modality, Origin, PretrainedError, fitting_encoders, implied};
pub use sequence::{Fused, Sequence, Steps};
pub use weights::{WeightsError, load_weights, save_weights};

use burn::tensor::Device;

/// The device that this build computes on: a GPU where a feature for one is on, else the CPU.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    Device::flex()
}
