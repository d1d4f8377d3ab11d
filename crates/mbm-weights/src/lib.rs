//! Reads pretrained weights as named tensors, without running any code.
//!
//! ```text
//! .safetensors | .pt, .pth, .bin | model.json (TensorFlow.js)
//!     | a Hugging Face folder | hf://owner/name --WeightFile--> names, shapes, values
//! ```
//!
//! Opening a file reads only names and shapes, and checks every length that the file declares against what it holds; values are
//! read one tensor at a time. A file whose tensors would take more than 16 times its own bytes is rejected. Mapping tensors to
//! layers is left to the caller.
//!
//! ```no_run
//! # fn main() -> Result<(), mbm_weights::WeightFileError> {
//! let file = mbm_weights::WeightFile::open("resnet50.pth".as_ref())?;
//! for (name, tensor) in file.tensors() {
//!     println!("{name} {} {:?}", tensor.element.name(), tensor.shape);
//! }
//! let kernel: Vec<f32> = file.read("conv1.weight")?;
//! # Ok(())
//! # }
//! ```

mod convert;
mod damage;
mod element;
mod error;
mod file;
mod folder;
mod hub;
mod pickle;
mod pytorch;
mod safetensors;
mod tfjs;
mod word_vectors;

pub use damage::Damage;
pub use element::Element;
pub use error::WeightFileError;
pub use file::{TensorInfo, WeightFile};
pub use hub::{HubError, NotCached, cached_models, locate};
pub use word_vectors::{read_word_vectors, word_vector_width};
