//! Weights that others have trained, in place of fresh parameters.
//!
//! A family is a function from the paths of our parameters to the names in its files; a new family is one file here. A parameter whose
//! tensor is missing or of another shape, and a tensor that nothing asked for, are errors that list names.

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

/// Where a part's parameters come from, and whether training changes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Origin<'a> {
    /// The keys as written.
    pub use_pretrained: bool,
    /// The file or folder.
    pub weights: Option<&'a str>,
    /// Whether training changes them.
    pub trainable: bool,
    /// What of them it changes.
    pub fine_tuning: Option<&'a FineTuningSettings>,
}

impl<'a> Origin<'a> {
    /// Drawn by the seed and trained.
    pub const FRESH: Self = Self { use_pretrained: false, weights: None, trainable: true, fine_tuning: None };

    pub(crate) fn new(use_pretrained: bool, weights: &'a Option<String>, trainable: bool) -> Self {
        Self { use_pretrained, weights: weights.as_deref(), trainable, fine_tuning: None }
    }

    pub(crate) fn tuned(self, fine_tuning: &'a Option<FineTuningSettings>) -> Self {
        Self { fine_tuning: fine_tuning.as_ref(), ..self }
    }

    /// Whether the keys go together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(self) -> Result<(), String> {
        if let Some(fine_tuning) = self.fine_tuning {
            fine_tuning.check()?;
            if !self.trainable {
                return Err("fine_tuning changes nothing while trainable is false; remove one of them".to_owned());
            }
        }
        match (self.use_pretrained, self.weights) {
            (true, None) => Err("use_pretrained: true needs weights, the path of a file or folder".to_owned()),
            (false, Some(_)) => {
                Err("weights is given but use_pretrained is false; set use_pretrained: true to read it".to_owned())
            }
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// The file or folder, if it is to be read.
    pub(crate) fn file(self) -> Option<&'a Path> {
        self.weights.filter(|_| self.use_pretrained).map(Path::new)
    }
}

/// What can be wrong with weights from elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] mbm_weights::Error),
    /// What lies beside the weights does not fit.
    #[error("{}: {message}", path.display())]
    Incompatible {
        /// The file.
        path: PathBuf,
        /// What does not fit, and what would.
        message: String,
    },
    /// A regular expression of `fine_tuning` finds no parameter.
    #[error("fine_tuning.{key}: no parameter's path holds '{pattern}'; paths are such as {}", paths.join(", "))]
    NoneFound {
        /// Where the expression stands.
        key: &'static str,
        /// The expression.
        pattern: String,
        /// Some paths.
        paths: Vec<String>,
    },
    /// Its tensors are not those of the part.
    #[error("{}: not the weights of this {part}: {}", path.display(), diagnostics.join("; "))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What they were meant for.
        part: &'static str,
        /// What is missing, of another shape, or left over.
        diagnostics: Vec<String>,
    },
}

/// An encoder with the weights of a file; `vocabulary` has the tokens of a text input, by id.
///
/// # Errors
/// A file that cannot be read, or of another family, depth or number of channels.
///
/// # Panics
/// An encoder of no family: its settings have no key for weights.
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
        other => panic!("no family of weights fits {other:?}"),
    })
}

/// The vectors of the tokens that a file has.
fn word_vectors(path: &Path, vocabulary: &[String]) -> Result<Vec<Option<Vec<f32>>>, PretrainedError> {
    let vectors = mbm_weights::read_word_vectors(path, vocabulary)?;
    if vectors.iter().all(Option::is_none) {
        let some = vocabulary.iter().skip(2).take(5).cloned().collect::<Vec<_>>().join(", ");
        let message = format!("no word here is a token of the training texts; those are such as: {some}");
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), message });
    }
    Ok(vectors)
}

/// The families whose weights an encoder can have.
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

/// A classifier with the last layer of a file.
///
/// # Errors
/// A file that cannot be read or whose last layer has another shape.
///
/// # Panics
/// A decoder that is none: its settings have no key for weights.
pub(crate) fn fill_decoder(decoder: Decoder, path: &Path) -> Result<Decoder, PretrainedError> {
    match decoder {
        Decoder::Classifier(it) => Ok(Decoder::Classifier(fill(it, path, &[&classifier::PYTORCH, &classifier::KERAS], None)?)),
        other => panic!("no family of weights fits {other:?}"),
    }
}

/// The tensor of a normalised convolution's parameter, given the names of its convolution and of its norm.
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
