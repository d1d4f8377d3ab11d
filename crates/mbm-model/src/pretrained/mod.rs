//! Loading of pretrained weights into encoders and decoders.
//!
//! A family maps the paths of our parameters to the tensor names in its files; each family is one file in this folder.
//! Missing tensors, tensors of the wrong shape and unexpected tensors are errors that list the names.

mod bert;
mod classifier;
mod clip;
mod family;
mod fit;
mod grid;
mod implied;
mod mobilenet;
mod resnet;
mod transformer;
mod vit;
mod wav2vec2;

use std::path::{Path, PathBuf};

use family::{Family, Source, fill};
pub use fit::fitting_encoders;
pub use implied::{Implied, Modality, implied};

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

    pub(crate) fn new(use_pretrained: bool, weights: &'a Option<String>, trainable: bool) -> Self {
        Self { use_pretrained, weights: weights.as_deref(), trainable, fine_tuning: None }
    }

    pub(crate) fn tuned(self, fine_tuning: &'a Option<FineTuningSettings>) -> Self {
        Self { fine_tuning: fine_tuning.as_ref(), ..self }
    }

    /// Checks that the keys are consistent.
    ///
    /// # Errors
    /// If they contradict each other.
    pub fn check(self) -> Result<(), String> {
        if let Some(fine_tuning) = self.fine_tuning {
            fine_tuning.check()?;
            if !self.trainable {
                return Err("fine_tuning has no effect while trainable is false; remove one of them".to_owned());
            }
        }
        match (self.use_pretrained, self.weights) {
            (true, None) => Err("use_pretrained: true needs weights, the path to a file or folder".to_owned()),
            (false, Some(_)) => {
                Err("weights is set but use_pretrained is false; set use_pretrained: true to load them".to_owned())
            }
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// Returns the weight file or folder, if it is to be loaded.
    pub(crate) fn file(self) -> Option<&'a Path> {
        self.weights.filter(|_| self.use_pretrained).map(Path::new)
    }
}

/// An error of loading pretrained weights.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] mbm_weights::Error),
    /// A file next to the weights is missing or incompatible.
    #[error("{}: {message}", path.display())]
    Incompatible {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        message: String,
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

/// Loads the weights of a file into an encoder; `vocabulary` has the tokens of a text input, by id.
///
/// # Errors
/// If the file cannot be read, or is of another family, depth or number of channels.
///
/// # Panics
/// If the encoder has no weight family; the settings of such encoders have no key for weights.
pub(crate) fn fill_encoder(encoder: Encoder, path: &Path, vocabulary: &[String]) -> Result<Encoder, PretrainedError> {
    let families = families(&encoder);
    Ok(match encoder {
        Encoder::ResNet(it) => Encoder::ResNet(fill(it, path, families, None)?),
        Encoder::MobileNet(it) => Encoder::MobileNet(fill(it, path, families, None)?),
        Encoder::Vit(it) => {
            let grid = Some(it.grid);
            Encoder::Vit(fill(it, path, families, grid)?)
        }
        Encoder::TextTransformer(it) => Encoder::TextTransformer(fill(it, path, families, None)?),
        Encoder::Wav2Vec2(it) => Encoder::Wav2Vec2(fill(it, path, families, None)?),
        Encoder::SequenceEncoder(it) => Encoder::SequenceEncoder(it.with_vectors(&word_vectors(path, vocabulary)?)),
        other => panic!("no weight family for {other:?}"),
    })
}

/// Reads the vectors of those tokens that a file has.
fn word_vectors(path: &Path, vocabulary: &[String]) -> Result<Vec<Option<Vec<f32>>>, PretrainedError> {
    let vectors = mbm_weights::read_word_vectors(path, vocabulary)?;
    if vectors.iter().all(Option::is_none) {
        let some = vocabulary.iter().skip(2).take(5).cloned().collect::<Vec<_>>().join(", ");
        let message = format!("no word in this file is a token of the training texts; examples of tokens: {some}");
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), message });
    }
    Ok(vectors)
}

/// Returns the weight families that an encoder supports.
fn families(encoder: &Encoder) -> &'static [&'static Family] {
    match encoder {
        Encoder::ResNet(_) => &[&resnet::TORCHVISION, &resnet::KERAS],
        Encoder::MobileNet(_) => &[&mobilenet::FAMILY],
        Encoder::Vit(it) if it.is_clip() => &[&clip::VISION],
        Encoder::Vit(_) => &[&vit::TORCHVISION, &vit::HUGGING_FACE],
        Encoder::TextTransformer(it) if it.is_clip() => &[&clip::TEXT],
        Encoder::TextTransformer(_) => &[&bert::BERT, &bert::DISTILBERT],
        Encoder::Wav2Vec2(_) => &[&wav2vec2::OLDER, &wav2vec2::NEWER],
        _ => &[],
    }
}

/// Loads the last layer of a weight file into a classifier.
///
/// # Errors
/// If the file cannot be read or its last layer has the wrong shape.
///
/// # Panics
/// If the decoder is not a classifier; the settings of other decoders have no key for weights.
pub(crate) fn fill_decoder(decoder: Decoder, path: &Path) -> Result<Decoder, PretrainedError> {
    match decoder {
        Decoder::Classifier(it) => Ok(Decoder::Classifier(fill(it, path, &[&classifier::PYTORCH, &classifier::KERAS], None)?)),
        other => panic!("no weight family for {other:?}"),
    }
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
