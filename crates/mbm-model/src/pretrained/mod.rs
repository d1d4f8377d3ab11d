//! Loading of pretrained weights into encoders and decoders.
//!
//! A family maps the paths of our parameters to the tensor names in its files; each family is one file in this folder.
//! Missing tensors, tensors of the wrong shape and unexpected tensors are errors that list the names.

pub(crate) mod bert;
pub(crate) mod classifier;
pub(crate) mod clip;
mod family;
mod fit;
mod grid;
mod implied;
pub(crate) mod mobilenet;
pub(crate) mod resnet;
mod settings;
mod transformer;
pub(crate) mod vit;
pub(crate) mod wav2vec2;
pub(crate) mod word_vectors;

use std::path::{Path, PathBuf};

pub use family::Family;
use family::{Source, fill};
pub use fit::{FittingEncoder, fitting_encoders};
pub use implied::{Implied, implied};
pub use settings::{Pretrained, PretrainedEncoder};

use crate::FineTuningSettings;
use crate::decoder::Decoder;
use crate::encoder::Encoder;

/// Where the parameters of an encoder or decoder come from, and whether they are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Origin<'a> {
    /// Whether the parameters are pretrained, as written in the config.
    pub use_pretrained: bool,
    /// The weight file or folder.
    pub weights: Option<&'a str>,
    /// Whether the parameters are trained.
    pub trainable: bool,
    /// Which of the parameters are trained.
    pub fine_tuning: Option<&'a FineTuningSettings>,
}

impl<'a> Origin<'a> {
    /// Randomly initialized and trained.
    pub const FRESH: Self = Self { use_pretrained: false, weights: None, trainable: true, fine_tuning: None };

    /// Checks that the keys are consistent.
    ///
    /// # Errors
    /// If they contradict each other.
    pub fn check(self) -> Result<(), OriginError> {
        if let Some(fine_tuning) = self.fine_tuning {
            fine_tuning.check()?;
            if !self.trainable {
                return Err(OriginError::UnusedFineTuning);
            }
        }
        match (self.use_pretrained, self.weights) {
            (true, None) => Err(OriginError::NoWeights),
            (false, Some(_)) => Err(OriginError::UnusedWeights),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// Returns the weight file or folder, if it is to be loaded.
    pub(crate) fn file(self) -> Option<&'a Path> {
        self.weights.filter(|_| self.use_pretrained).map(Path::new)
    }
}

/// Keys of an encoder or decoder that contradict each other or are not valid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Fine-tuning of parameters that are not trained.
    #[error("fine_tuning has no effect while trainable is false; remove one of them")]
    UnusedFineTuning,
    /// Pretrained parameters without a file.
    #[error("use_pretrained: true needs weights, the path to a file or folder")]
    NoWeights,
    /// A file that would not be loaded.
    #[error("weights is set but use_pretrained is false; set use_pretrained: true to load them")]
    UnusedWeights,
    /// A text that is not a regular expression.
    #[error("'{pattern}' is not a valid regular expression: {source}")]
    Pattern {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
}

/// An error of loading pretrained weights.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] mbm_weights::WeightFileError),
    /// A file next to the weights is missing or incompatible.
    #[error("{}: {source}", path.display())]
    Incompatible {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        source: Incompatibility,
    },
    /// A regular expression in `fine_tuning` matches no parameter.
    #[error("fine_tuning.{key}: no parameter path matches '{pattern}'; examples of paths: {}", paths.join(", "))]
    NoneFound {
        /// The key of the expression.
        key: &'static str,
        /// The expression.
        pattern: String,
        /// Examples of parameter paths.
        paths: Vec<String>,
    },
    /// The tensors of the file do not match the component.
    #[error("{}: not the weights of this {part}: {}", path.display(), diagnostics.join("; "))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The component that the weights were to be loaded into.
        part: &'static str,
        /// Which tensors are missing, unexpected, or of the wrong shape.
        diagnostics: Vec<String>,
    },
}

/// What is wrong with a file of pretrained weights, or with one next to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatibility {
    /// There is no such file.
    #[error("no such file or folder; relative paths start from the working directory")]
    NotFound,
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A description that is not a JSON object.
    #[error("not a JSON object: {0}")]
    NotAnObject(#[source] serde_json::Error),
    /// No `config.json`.
    #[error("this file is required next to the weights, to determine the sizes of the network")]
    NoConfig,
    /// No `tokenizer.json`.
    #[error("this file is required next to the weights, to tokenize texts as in training")]
    NoTokenizer,
    /// A key that a description lacks.
    #[error("{0} is missing")]
    MissingKey(&'static str),
    /// A value that the encoder does not support.
    #[error("{key} is '{found}'; this encoder supports {}", supported.join(" or "))]
    Value {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// The values that are supported.
        supported: Vec<String>,
    },
    /// A feature of the network that the encoder does not support.
    #[error("{0}: true is not supported yet")]
    UnsupportedFlag(String),
    /// A standardization of images that is not one of those known.
    #[error("unsupported image_mean {0}; allowed: those of imagenet1k, inception, clip")]
    ImageMean(serde_json::Value),
    /// Tensors of another network, which nothing describes.
    #[error("not torchvision's vit weights, and no config.json next to them; give a folder with both files")]
    NotTorchvision,
    /// Word vectors of other words.
    #[error("no word in this file is a token of the training texts; examples of tokens: {}", tokens.join(", "))]
    NoKnownWord {
        /// Examples of tokens.
        tokens: Vec<String>,
    },
}

/// Loads the weights of a file into an encoder; `vocabulary` has the tokens of a text input, by id.
///
/// # Errors
/// If the file cannot be read, or is of another family, depth or number of channels.
///
/// # Panics
/// If the encoder has no weight family; the settings of such encoders have no key for weights.
pub(crate) fn fill_encoder(encoder: Encoder, path: &Path, vocabulary: &[String]) -> Result<Encoder, PretrainedError> {
    if let Encoder::SequenceEncoder(it) = encoder {
        return Ok(Encoder::SequenceEncoder(it.with_vectors(&word_vectors::read(path, vocabulary)?)));
    }
    let (families, grid) = (encoder.get().families(), encoder.get().patch_grid());
    fill(encoder, path, families, grid)
}

/// Loads the last layer of a weight file into a decoder.
///
/// # Errors
/// If the file cannot be read or its last layer has the wrong shape.
///
/// # Panics
/// If the decoder has no weight family; the settings of such decoders have no key for weights.
pub(crate) fn fill_decoder(decoder: Decoder, path: &Path) -> Result<Decoder, PretrainedError> {
    let families = decoder.get().families();
    fill(decoder, path, families, None)
}

/// Returns the tensor of a parameter of a normalized convolution, given the names of the convolution and of the norm.
fn conv_norm(parts: &[&str], conv: String, norm: String) -> Option<Source> {
    let name = match parts {
        ["conv", "weight"] => format!("{conv}.weight"),
        ["norm", "gamma"] => format!("{norm}.weight"),
        ["norm", "beta"] => format!("{norm}.bias"),
        ["norm", running] => format!("{norm}.{running}"),
        _ => return None,
    };
    Some(Source::same(name))
}

#[cfg(test)]
mod tests;
