//! Features: how cells of each type are read, what is fitted on the training rows, and the shape of the result.
//!
//! Each feature type is one file: its settings, a [`Fitter`] that sees every training cell once, and the fitted preprocessor.

mod audio;
mod binary;
mod category;
mod date;
mod embedding;
mod error;
mod foreign;
mod image;
mod media;
mod number;
mod set;
mod target_text;
mod text;
mod timeseries;
mod tokenizer;
mod tokenizer_error;
mod vector;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::path::Path;

use mbm_config::{choices, settings};
use serde::{Deserialize, Serialize};

pub use audio::{AudioPreprocessing, FittedAudio};
pub use binary::{BinaryPreprocessing, FittedBinary, as_bool};
pub(crate) use category::null_words;
pub use category::{CategoryPreprocessing, FittedCategory};
pub(crate) use date::DateReader;
pub use date::{DatePreprocessing, FittedDate, parse_date};
pub(crate) use embedding::items;
pub use embedding::{EmbeddingPreprocessing, FittedEmbedding};
pub use error::{FitError, FramesTooLarge, InvalidFit};
pub use image::{FittedImage, ImagePreprocessing, Standardization};
pub(crate) use media::named;
pub use number::{FittedNumber, Normalization, NumberPreprocessing};
pub use set::{FittedSet, SetPreprocessing};
pub use target_text::{FittedTargetText, TargetTextPreprocessing};
pub use text::{FittedText, TextPreprocessing, TokenizerKind};
pub use timeseries::{FittedTimeseries, TimeseriesPreprocessing};
pub use tokenizer_error::{Quantity, TokenizerFileError};
pub use vector::{FittedVector, VectorPreprocessing};

use self::error::ensure;
pub use crate::notation::date::{DateOrder, EpochUnit};
pub use crate::notation::labels::Delimiter;
pub use crate::notation::null_values::{NullValues, is_null_word};
pub use crate::notation::number::{Decimal, parse_number};
use crate::{Cell, Fault, Payload};

choices! {
    /// What happens to a row whose cell is empty or cannot be read.
    pub enum MissingValueStrategy {
        /// The row is kept; the feature is absent in it.
        Absent = "absent",
        /// The row is excluded from training and gets no prediction.
        DropRow = "drop_row",
        /// The run fails with the row's number.
        Error = "error",
    }
}

settings! {
    /// The preprocessing of a feature: the settings of its type, and those of every type.
    pub struct Preprocessing<T> {
        ..settings: T;
        /// What happens to rows whose cell is empty or cannot be read.
        missing_value_strategy: MissingValueStrategy = MissingValueStrategy::Absent;
    }
}

impl<T> Deref for Preprocessing<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.settings
    }
}

/// Shape of the payloads that a fitted feature passes to an encoder.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A vector of fixed width.
    Vector {
        /// Number of values.
        width: usize,
    },
    /// One number, with the quantiles of the training rows (normalized, strictly increasing).
    Number {
        /// Edges of equally filled bins.
        quantiles: Vec<f32>,
    },
    /// A sequence of at most `max_steps` frames.
    Frames {
        /// Values per step.
        width: usize,
        /// Maximum sequence length.
        max_steps: usize,
    },
    /// Images of a fixed size.
    Image {
        /// Number of channels, 1 or 3.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// Token ids below `vocab_size`; 0 is padding.
    Tokens {
        /// Number of ids.
        vocab_size: usize,
        /// Maximum sequence length.
        max_steps: usize,
    },
    /// A content id for the cell of each input.
    ContentIds,
    /// One of several classes.
    Class {
        /// Number of classes.
        n_classes: usize,
    },
}

impl Shape {
    /// Returns the order of magnitude of the number of values that a row contributes on its way through a model.
    pub fn n_values(&self) -> usize {
        /// Assumed width of a token's embedding.
        const VECTOR: usize = 512;
        match self {
            Self::Vector { width } => *width,
            Self::Number { .. } | Self::Class { .. } | Self::ContentIds => 1,
            Self::Frames { width, max_steps } => width * max_steps,
            Self::Image { channels, height, width } => channels * height * width,
            Self::Tokens { max_steps, .. } => max_steps * VECTOR,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vector { width } => write!(out, "vector of width {width}"),
            Self::Number { .. } => out.write_str("number"),
            Self::Frames { width, max_steps } => write!(out, "sequence of up to {max_steps} vectors of width {width}"),
            Self::Image { channels: 1, height, width } => write!(out, "image of {width} x {height} pixels with 1 channel"),
            Self::Image { channels, height, width } => write!(out, "image of {width} x {height} pixels with {channels} channels"),
            Self::Tokens { vocab_size, max_steps } => write!(out, "up to {max_steps} tokens of a vocabulary of {vocab_size}"),
            Self::ContentIds => out.write_str("content ids"),
            Self::Class { n_classes: 1 } => out.write_str("1 class"),
            Self::Class { n_classes } => write!(out, "one of {n_classes} classes"),
        }
    }
}

/// Fits a feature on its training cells, each observed once, in row order.
pub trait Fitter: Send {
    /// Whether the feature reads a column of the table.
    fn has_column(&self) -> bool {
        true
    }

    /// Updates the fit with one cell.
    fn observe(&mut self, cell: &Cell, folder: &Path);

    /// Updates the fit with a cell of the input that shares a vocabulary with this feature.
    fn observe_shared(&mut self, _cell: &Cell, _folder: &Path) {}

    /// Returns the fitted preprocessor.
    ///
    /// # Errors
    /// Names what the training cells lack.
    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError>;
}

/// Converts cells of one type to payloads after fitting.
pub trait Preprocess {
    /// Returns the payload of a cell; relative paths are resolved against `folder`.
    ///
    /// # Errors
    /// The reason why the cell has no payload.
    fn payload(&self, cell: &Cell, folder: &Path) -> Result<Payload, Fault>;

    /// Returns the bytes that the payload is made from: those of the text, or of the file that the cell names.
    ///
    /// # Errors
    /// The reason why the cell has no content.
    fn content(&self, cell: &Cell, _folder: &Path) -> Result<Vec<u8>, Fault> {
        text_of(cell).map(|text| text.into_owned().into_bytes())
    }

    /// Reports the part of the cell that its payload leaves out, if any.
    fn shortened(&self, _cell: &Cell, _payload: &Payload) -> Option<Fault> {
        None
    }

    /// Returns the shape of the payloads.
    fn shape(&self) -> Shape;

    /// Checks that the fitted values are ones that fitting can produce: a bundle may be untrusted.
    ///
    /// # Errors
    /// Names the value that is out of bounds.
    fn check(&self) -> Result<(), InvalidFit>;
}

/// Whether mean and standard deviation of each of `width` columns are finite, and the standard deviations positive.
fn are_moments(mean: &[f32], std: &[f32], width: usize) -> bool {
    (mean.len(), std.len()) == (width, width)
        && mean.iter().zip(std).all(|(mean, std)| mean.is_finite() && std.is_finite() && *std > 0.0)
}

macro_rules! preprocessors {
    ($($variant:ident($fitted:ty) = $word:literal),+ $(,)?) => {
        /// A fitted feature: everything that prediction needs to read its cells. Saved in the bundle.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum Preprocessor { $( #[doc = concat!("`type: ", $word, "`")] $variant($fitted), )+ }

        impl Preprocessor {
            /// Returns the preprocessor of the feature's type.
            pub fn get(&self) -> &dyn Preprocess {
                match self { $( Self::$variant(it) => it, )+ }
            }

            /// Returns the feature type as named in the config.
            pub fn type_name(&self) -> &'static str {
                match self { $( Self::$variant(_) => $word, )+ }
            }
        }
    };
}

preprocessors! {
    Image(FittedImage) = "image",
    Text(FittedText) = "text",
    Audio(FittedAudio) = "audio",
    Timeseries(FittedTimeseries) = "timeseries",
    Number(FittedNumber) = "number",
    Category(FittedCategory) = "category",
    Binary(FittedBinary) = "binary",
    Set(FittedSet) = "set",
    Vector(FittedVector) = "vector",
    Date(FittedDate) = "date",
    Embedding(FittedEmbedding) = "embedding",
    TargetText(FittedTargetText) = "text",
}

/// Mean and standard deviation, computed in one pass (Welford 1962).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub fn add(&mut self, value: f64) {
        self.n += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.n;
        self.squares += delta * (value - self.mean);
    }

    pub fn mean(&self) -> f32 {
        self.mean as f32
    }

    /// Returns the standard deviation, or 1 for a constant column, so that dividing by it is safe.
    pub fn std(&self) -> f32 {
        let std = (self.squares / self.n.max(1.0)).sqrt() as f32;
        if std > 1e-8 { std } else { 1.0 }
    }

    /// Returns mean and standard deviation in double precision. A standard deviation within the rounding error of the mean
    /// counts as zero and is replaced by 1.
    pub fn exact(&self) -> (f64, f64) {
        let std = (self.squares / self.n.max(1.0)).sqrt();
        (self.mean, if std > f64::EPSILON * self.mean.abs() { std } else { 1.0 })
    }
}

/// Returns the beginning of a text, to quote in a message.
fn shown(text: &str) -> String {
    const N_SHOWN: usize = 60;
    match text.char_indices().nth(N_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the text of a cell that should hold text.
pub(crate) fn text_of(cell: &Cell) -> Result<Cow<'_, str>, Fault> {
    use crate::Cause;
    match cell {
        Cell::Empty => Err(Fault::new(Cause::Empty, "")),
        Cell::Text(text) | Cell::Json(text) => Ok(Cow::Borrowed(text)),
        Cell::NotUtf8(bytes) => {
            let beginning = &bytes[..bytes.len().min(160)];
            Err(Fault::new(Cause::NotUtf8, String::from_utf8_lossy(beginning).chars().take(40).collect::<String>()))
        }
        Cell::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(Fault::new(Cause::NotUtf8, format!("{} bytes", bytes.len()))),
        },
        Cell::Number(_) | Cell::Bool(_) | Cell::Numbers(_) | Cell::Words(_) => Ok(Cow::Owned(cell.to_text())),
    }
}

/// Largest magnitude of a value passed to a model: its square fits in single precision.
const LARGEST: f32 = 1e19;

/// Largest magnitude of a number that is read: the sum of squares over any number of such cells fits in double precision.
const LARGEST_NUMBER: f64 = 1e140;

/// Returns the finite number of a cell that should hold one.
pub(crate) fn number_of(cell: &Cell, decimal: Decimal) -> Result<f64, Fault> {
    use crate::Cause;
    let value = match cell {
        Cell::Number(value) => Some(*value),
        Cell::Bool(value) => Some(f64::from(u8::from(*value))),
        Cell::Numbers(values) => <[f64; 1]>::try_from(values.as_slice()).ok().map(|[value]| value),
        Cell::Words(words) if words.len() != 1 => None,
        other => parse_number(&text_of(other)?, decimal),
    };
    let value = value
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| Fault::new(Cause::Malformed, format!("'{}' is not a number", shown(&cell.to_text()))))?;
    if value.abs() <= LARGEST_NUMBER {
        Ok(value)
    } else {
        Err(Fault::new(Cause::TooLarge, format!("{value:e} exceeds the limit of {LARGEST_NUMBER:e}")))
    }
}
