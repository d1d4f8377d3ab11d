//! Features: how a cell of each type is read, what is fitted on the training rows, and the shape that comes out.
//!
//! A feature type is one file here: its settings, a [`Fitter`] that sees every training cell once, and the fitted reader.

mod audio;
mod binary;
mod category;
mod date;
mod embedding;
mod foreign;
mod image;
mod media;
mod number;
mod set;
mod target_text;
mod text;
mod timeseries;
mod tokenizer;
mod vector;

use std::borrow::Cow;
use std::path::Path;

use mbm_config::choices;
use serde::{Deserialize, Serialize};

pub use audio::{AudioPreprocessing, FittedAudio};
pub use binary::{BinaryPreprocessing, FittedBinary, as_bool};
pub use category::{CategoryPreprocessing, FittedCategory};
pub use date::{DatePreprocessing, FittedDate, parse_date};
pub(crate) use embedding::items;
pub use embedding::{EmbeddingPreprocessing, FittedEmbedding};
pub use image::{FittedImage, ImagePreprocessing, Standardization};
pub(crate) use media::named;
pub use number::{FittedNumber, Normalization, NumberPreprocessing};
pub use set::{FittedSet, SetPreprocessing};
pub use target_text::{FittedTargetText, TargetTextPreprocessing};
pub use text::{FittedText, TextPreprocessing, TokenizerKind};
pub use timeseries::{FittedTimeseries, TimeseriesPreprocessing};
pub use vector::{FittedVector, VectorPreprocessing};

use crate::{Cell, Fault, Payload};

choices! {
    /// What becomes of a row whose cell is empty or cannot be read.
    pub enum MissingValueStrategy {
        /// The row stays; the feature is absent in it.
        Absent = "absent",
        /// The row takes no part in training and gets no prediction.
        DropRow = "drop_row",
        /// The run stops with the row's number.
        Error = "error",
    }
}

/// What a fitted feature gives an encoder.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A vector of a width.
    Vector {
        /// Values.
        width: usize,
    },
    /// One number, with the quantiles of the training rows (normalised, rising, without equals).
    Number {
        /// Edges of equally filled bins.
        quantiles: Vec<f32>,
    },
    /// Frames of a width, at most so many.
    Frames {
        /// Values of a step.
        width: usize,
        /// The longest sequence.
        max_steps: usize,
    },
    /// Images of one size.
    Image {
        /// 1 or 3.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Ids below a vocabulary's size; 0 is padding.
    Tokens {
        /// Ids there are.
        vocab_size: usize,
        /// The longest sequence.
        max_steps: usize,
    },
    /// Numbers of the inputs' cells.
    ContentIds,
    /// One of several classes.
    Class {
        /// How many.
        n_classes: usize,
    },
}

impl Shape {
    /// Numbers that a row brings along on its way through a model, to its power of ten.
    pub fn n_values(&self) -> usize {
        /// What a token becomes.
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

/// Sees every training cell of a feature once, in row order.
pub trait Fitter: Send {
    /// Whether there is a column to be read.
    fn has_column(&self) -> bool {
        true
    }

    /// Takes one cell into account.
    fn observe(&mut self, cell: &Cell, folder: &Path);

    /// Takes a cell of the input that shares a vocabulary with this feature into account.
    fn observe_beside(&mut self, _cell: &Cell, _folder: &Path) {}

    /// The fitted reader.
    ///
    /// # Errors
    /// What the training cells lack.
    fn finish(self: Box<Self>) -> Result<Preprocessor, String>;
}

/// Reads cells of one type after fitting.
pub trait Preprocess {
    /// The payload of a cell; relative paths start from `folder`.
    ///
    /// # Errors
    /// Why the cell has none.
    fn payload(&self, cell: &Cell, folder: &Path) -> Result<Payload, Fault>;

    /// The bytes that the payload is made from: those of the text, or of the file that the cell names.
    ///
    /// # Errors
    /// Why there are none.
    fn content(&self, cell: &Cell, _folder: &Path) -> Result<Vec<u8>, Fault> {
        text_of(cell).map(|text| text.into_owned().into_bytes())
    }

    /// What of the cell is not in its payload, if anything.
    fn shortened(&self, _cell: &Cell, _payload: &Payload) -> Option<Fault> {
        None
    }

    /// What the payloads look like.
    fn shape(&self) -> Shape;

    /// Whether the values are such as fitting gives: a bundle may come from anywhere.
    ///
    /// # Errors
    /// What is out of bounds.
    fn check(&self) -> Result<(), String>;
}

/// An error that says what should hold where it does not.
fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what} is out of bounds")) }
}

/// Whether mean and standard deviation of each of `width` columns can be used.
fn are_moments(mean: &[f32], std: &[f32], width: usize) -> bool {
    let usable = |(mean, std): (&f32, &f32)| mean.is_finite() && std.is_finite() && *std > 0.0;
    (mean.len(), std.len()) == (width, width) && mean.iter().zip(std).all(usable)
}

macro_rules! preprocessors {
    ($($variant:ident($fitted:ty) = $word:literal),+ $(,)?) => {
        /// A fitted feature: everything that prediction needs to read its cells. Saved in the bundle.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum Preprocessor { $( #[doc = concat!("`type: ", $word, "`")] $variant($fitted), )+ }

        impl Preprocessor {
            /// The reader behind it.
            pub fn get(&self) -> &dyn Preprocess {
                match self { $( Self::$variant(it) => it, )+ }
            }

            /// The feature's type as the config names it.
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

/// Mean and standard deviation in one pass (Welford 1962).
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

    /// The standard deviation; 1 where nothing varies, so that dividing by it is safe.
    pub fn std(&self) -> f32 {
        let std = (self.squares / self.n.max(1.0)).sqrt() as f32;
        if std > 1e-8 { std } else { 1.0 }
    }

    /// Mean and standard deviation in double precision; a standard deviation within the rounding of the mean counts as none, and is 1.
    pub fn exact(&self) -> (f64, f64) {
        let std = (self.squares / self.n.max(1.0)).sqrt();
        (self.mean, if std > f64::EPSILON * self.mean.abs() { std } else { 1.0 })
    }
}

/// The beginning of a text, for a message about it.
fn shown(text: &str) -> String {
    const N_SHOWN: usize = 60;
    match text.char_indices().nth(N_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text of a cell that should be text.
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

/// The largest value either way that a model is given: its square lies within single precision.
const LARGEST: f32 = 1e19;

/// The largest number either way that is read: the squares of any number of such cells have a sum in double precision.
const LARGEST_NUMBER: f64 = 1e140;

/// The finite number of a cell that should be one.
pub(crate) fn number_of(cell: &Cell) -> Result<f64, Fault> {
    use crate::Cause;
    let value = match cell {
        Cell::Number(value) => Some(*value),
        Cell::Bool(value) => Some(f64::from(u8::from(*value))),
        other => text_of(other)?.trim().parse().ok(),
    };
    let malformed = || Fault::new(Cause::Malformed, format!("'{}' is not a number", shown(&cell.to_text())));
    let value = value.filter(|value: &f64| value.is_finite()).ok_or_else(malformed)?;
    if value.abs() <= LARGEST_NUMBER {
        Ok(value)
    } else {
        Err(Fault::new(Cause::TooLarge, format!("{value:e}, numbers up to {LARGEST_NUMBER:e} are read")))
    }
}
