//! The config file as typed settings, with the key names of Ludwig's ECD configs.

use mbm_algo::metric::WordCut;
use mbm_config::{choices, defaults, settings, tagged};
use mbm_data::feature::{
    AudioPreprocessing, BinaryPreprocessing, CategoryPreprocessing, DatePreprocessing, EmbeddingPreprocessing,
    ImagePreprocessing, NumberPreprocessing, Preprocessing, SetPreprocessing, TargetTextPreprocessing, TextPreprocessing,
    TimeseriesPreprocessing, VectorPreprocessing,
};
use mbm_data::split::SplitSettings;
use mbm_data::{AudioAugmentation, Augmentation, ImageAugmentation, Unfitted};
use mbm_model::combiner::CombinerSettings;
use mbm_model::decoder::Loss;
use mbm_model::decoder::{
    BinaryDecoder, BinaryLoss, CategoryDecoder, CategoryLoss, DecoderSettings, EmbeddingDecoder, EmbeddingLoss, EmbeddingSpec,
    NumberDecoder, NumberLoss, SetDecoder, SetLoss, TextContext, TextDecoder, TextLoss, TextSpec, VectorDecoder,
};
use mbm_model::encoder::{
    AudioEncoder, BinaryEncoder, CategoryEncoder, DateEncoder, EncoderSettings, ImageEncoder, NumberEncoder, TextEncoder,
    TimeseriesEncoder, UnsuitedShape, VectorEncoder,
};
use mbm_model::{InputSummary, ProjectionSettings};
use mbm_train::TrainerSettings;
use mbm_tune::Hyperopt;

use crate::learn::settings::{EnsembleSettings, Learners};

settings! {
    /// The whole config file.
    pub struct Config {
        /// The inputs of the model.
        input_features: Vec<InputFeature>;
        /// How the encoded inputs are fused.
        combiner: CombinerSettings = defaults();
        /// The outputs of the model.
        output_features: Vec<OutputFeature>;
        /// How rows are split, weighted and cached.
        preprocessing: PreprocessingSettings = defaults();
        /// How the model is trained.
        trainer: TrainerSettings = defaults();
        /// What is fitted: the network, other learners, or an ensemble of both.
        learners: Learners = Learners::Network;
        /// How several learners are combined.
        ensemble: EnsembleSettings = defaults();
        /// The search of `mbm tune` for better settings.
        hyperopt: Option<Hyperopt> = None;
        /// The random seed.
        random_seed: u64 = 42;
    }

    /// How rows are split, weighted and cached.
    pub struct PreprocessingSettings {
        /// How rows are assigned to training, validation and test.
        split: SplitSettings = defaults();
        /// A column with the weight of each row, a number of at least 0, by which it counts in training and in metrics, such as 2 for a
        /// row that stands for two. It is not an input. Weights are divided by their mean over the training rows. If unset, all rows
        /// count the same.
        sample_weight: Option<String> = None;
        /// Maximum size of the features cached on disk during training, in megabytes, so that media are decoded once; rows beyond
        /// it are read every epoch. Outputs of encoders that are not trained are cached regardless of their size.
        cache_size_in_mb: usize = 4096 => 0..=10_000_000;
    }
}

choices! {
    /// The tokenizer of BLEU, in sacrebleu's names.
    pub enum BleuTokenizer {
        /// For languages with spaces between words.
        Mteval13a = "13a",
        /// For Chinese.
        Zh = "zh",
        /// Every character is a token.
        Char = "char",
    }
}

impl From<BleuTokenizer> for WordCut {
    fn from(tokenizer: BleuTokenizer) -> Self {
        match tokenizer {
            BleuTokenizer::Mteval13a => Self::Mteval13a,
            BleuTokenizer::Zh => Self::Zh,
            BleuTokenizer::Char => Self::Char,
        }
    }
}

/// Declares the input or output features: a struct per type, with the keys of every feature and its own, and the enum of all
/// types.
///
/// Every input has an encoder and an optional projection, every output a decoder and a loss; their names stand after the type.
macro_rules! features {
    ($(#[doc = $all_doc:literal])* $all:ident {
        $(
            $(#[doc = $doc:literal])* $word:literal = $variant:ident($name:ident, $preprocessing:ident
            $(, encoder $encoder:ident)? $(, decoder $decoder:ident, loss $loss:ident)?) { $($own:tt)* }
        )+
    }) => {
        settings! { $(
            $(#[doc = $doc])*
            pub struct $name {
                /// The feature's name.
                name: String;
                /// The column; defaults to the name.
                column: Option<String> = None;
                /// How cells are read.
                preprocessing: Preprocessing<$preprocessing> = defaults();
                $(
                    /// The encoder.
                    encoder: $encoder = defaults();
                    /// A layer between the encoder and the combiner.
                    projection: Option<ProjectionSettings> = None;
                )?
                $(
                    /// The decoder.
                    decoder: $decoder = defaults();
                    /// The training loss.
                    loss: $loss = defaults();
                )?
                $($own)*
            }
        )+ }

        tagged! {
            $(#[doc = $all_doc])*
            pub enum $all { $( $variant($name) = $word ),+ }
        }

        impl $all {
            /// Returns the feature's name.
            pub fn name(&self) -> &str {
                match self { $( Self::$variant(it) => &it.name, )+ }
            }

            /// Returns the column that the feature is read from.
            pub fn column(&self) -> &str {
                match self { $( Self::$variant(it) => it.column.as_deref().unwrap_or(&it.name), )+ }
            }

            /// Returns the feature before fitting.
            pub fn unfitted(&self) -> Unfitted {
                let (fitter, missing_value_strategy) = match self { $(
                    Self::$variant(it) => (it.preprocessing.fitter(), it.preprocessing.missing_value_strategy),
                )+ };
                let (name, column) = (self.name().to_owned(), self.column().to_owned());
                Unfitted { name, column, fitter, missing_value_strategy, shares_with: None }
            }
        }

        features! { @inputs $all $( $($variant $encoder)? )+ }
    };
    (@inputs $all:ident) => {};
    (@inputs $all:ident $($variant:ident $encoder:ident)+) => {
        impl $all {
            /// Returns the encoder's settings.
            pub fn encoder(&self) -> EncoderSettings {
                match self { $( Self::$variant(it) => it.encoder.clone().into(), )+ }
            }

            /// Returns the layer between the encoder and the combiner, if there is one.
            pub fn projection(&self) -> Option<&ProjectionSettings> {
                match self { $( Self::$variant(it) => it.projection.as_ref(), )+ }
            }
        }
    };
}

features! {
    /// An input feature.
    InputFeature {
        /// An image.
        "image" = Image(ImageInput, ImagePreprocessing, encoder ImageEncoder) {
            /// Random augmentation during training.
            augmentation: Vec<ImageAugmentation> = Vec::new();
        }
        /// A text.
        "text" = Text(TextInput, TextPreprocessing, encoder TextEncoder) {}
        /// An audio clip.
        "audio" = Audio(AudioInput, AudioPreprocessing, encoder AudioEncoder) {
            /// Random augmentation during training.
            augmentation: Vec<AudioAugmentation> = Vec::new();
        }
        /// A time series.
        "timeseries" = Timeseries(TimeseriesInput, TimeseriesPreprocessing, encoder TimeseriesEncoder) {}
        /// A number.
        "number" = Number(NumberInput, NumberPreprocessing, encoder NumberEncoder) {}
        /// One of several classes.
        "category" = Category(CategoryInput, CategoryPreprocessing, encoder CategoryEncoder) {}
        /// Yes or no.
        "binary" = Binary(BinaryInput, BinaryPreprocessing, encoder BinaryEncoder) {}
        /// A set of labels.
        "set" = Set(SetInput, SetPreprocessing, encoder VectorEncoder) {}
        /// A vector.
        "vector" = Vector(VectorInput, VectorPreprocessing, encoder VectorEncoder) {}
        /// A date or time.
        "date" = Date(DateInput, DatePreprocessing, encoder DateEncoder) {}
    }
}

features! {
    /// An output feature.
    OutputFeature {
        /// One of several classes.
        "category" = Category(CategoryOutput, CategoryPreprocessing, decoder CategoryDecoder, loss CategoryLoss) {
            /// Whether probabilities are calibrated on the validation rows after training.
            calibration: bool = true;
        }
        /// Yes or no.
        "binary" = Binary(BinaryOutput, BinaryPreprocessing, decoder BinaryDecoder, loss BinaryLoss) {
            /// Whether probabilities are calibrated on the validation rows after training.
            calibration: bool = true;
        }
        /// A number.
        "number" = Number(NumberOutput, NumberPreprocessing, decoder NumberDecoder, loss NumberLoss) {}
        /// A set of labels.
        "set" = Set(SetOutput, SetPreprocessing, decoder SetDecoder, loss SetLoss) {}
        /// A vector.
        "vector" = Vector(VectorOutput, VectorPreprocessing, decoder VectorDecoder, loss NumberLoss) {}
        /// A generated text.
        "text" = Text(TextOutput, TargetTextPreprocessing, decoder TextDecoder, loss TextLoss) {
            /// Additional columns with reference texts, for the metrics. Rows with the same inputs share references anyway.
            reference_columns: Vec<String> = Vec::new();
            /// How BLEU tokenizes texts.
            bleu_tokenizer: BleuTokenizer = BleuTokenizer::Mteval13a;
        }
        /// A shared embedding space for several inputs, in which matching items are close.
        "embedding" = Embedding(EmbeddingOutput, EmbeddingPreprocessing, decoder EmbeddingDecoder, loss EmbeddingLoss) {
            /// The inputs that share the space.
            align: Vec<String>;
            /// Dimension of the vectors.
            embedding_size: usize = 256 => 1..=65_536;
        }
    }
}

impl Config {
    /// Returns how rows are split. A split by date reads its column as a date input with the same column does, unless it says otherwise.
    pub fn split(&self) -> SplitSettings {
        let split = self.preprocessing.split.clone();
        let SplitSettings::Datetime(by) = split else { return split };
        let date = self.input_features.iter().find(|input| matches!(input, InputFeature::Date(_)) && input.column() == by.column);
        SplitSettings::Datetime(match date {
            Some(InputFeature::Date(date)) => by.read_as(&date.preprocessing),
            _ => by,
        })
    }
}

/// Settings of a feature that do not fit its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// An encoder that cannot read the input.
    #[error("input '{input}': {source}")]
    Encoder {
        /// The input.
        input: String,
        /// What does not fit.
        source: UnsuitedShape,
    },
    /// An output with a single class in the training rows.
    #[error("output '{output}': the training rows have only one class ({found}); two are needed")]
    OneClass {
        /// The output.
        output: String,
        /// The class.
        found: String,
    },
    /// An output whose values no decoder predicts.
    #[error("output '{output}': no decoder predicts {shape}")]
    NoDecoder {
        /// The output.
        output: String,
        /// The shape of its values.
        shape: String,
    },
    /// Class weights for another number of classes.
    #[error("output '{output}': class_weights has {n_weights} values for {n_classes} classes")]
    ClassWeights {
        /// The output.
        output: String,
        /// Number of weights.
        n_weights: usize,
        /// Number of classes.
        n_classes: usize,
    },
}

impl Config {
    /// Whether learners, or the networks of several folds, are combined.
    pub(crate) fn is_combined(&self) -> bool {
        let has_mean = |output: &OutputFeature| !matches!(output, OutputFeature::Text(_) | OutputFeature::Embedding(_));
        let has_folds = self.ensemble.k_fold.is_some_and(|k_fold| k_fold > 1);
        self.learners != Learners::Network || has_folds && self.output_features.iter().any(has_mean)
    }
}

impl InputFeature {
    /// Whether this is an image, a sound, a series or a text.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Audio(_) | Self::Timeseries(_) | Self::Text(_))
    }

    /// Returns what the check of a combiner or decoder may know about this input.
    pub(crate) fn summary(&self) -> InputSummary<'_> {
        let is_sequence = match self {
            Self::Audio(_) | Self::Timeseries(_) | Self::Text(_) => true,
            Self::Image(_) | Self::Number(_) | Self::Category(_) | Self::Binary(_) => false,
            Self::Set(_) | Self::Vector(_) | Self::Date(_) => false,
        };
        InputSummary { name: self.name(), is_sequence }
    }

    /// Returns the augmentation of training rows.
    pub fn augmentation(&self) -> Augmentation {
        match self {
            Self::Image(it) if !it.augmentation.is_empty() => Augmentation::Image(it.augmentation.clone()),
            Self::Audio(it) if !it.augmentation.is_empty() => Augmentation::Audio(it.augmentation.clone()),
            Self::Image(_) | Self::Audio(_) | Self::Text(_) | Self::Timeseries(_) | Self::Number(_) => Augmentation::None,
            Self::Category(_) | Self::Binary(_) | Self::Set(_) | Self::Vector(_) | Self::Date(_) => Augmentation::None,
        }
    }
}

impl OutputFeature {
    /// Returns the decoder's settings.
    pub fn decoder(&self) -> DecoderSettings {
        match self {
            Self::Category(it) => DecoderSettings::Category(it.decoder.clone()),
            Self::Binary(it) => DecoderSettings::Binary(it.decoder.clone()),
            Self::Number(it) => DecoderSettings::Number(it.decoder.clone()),
            Self::Set(it) => DecoderSettings::Set(it.decoder.clone()),
            Self::Vector(it) => DecoderSettings::Vector(it.decoder.clone()),
            Self::Text(it) => {
                let TextLoss::TokenCrossEntropy(loss) = &it.loss;
                let (max_steps, label_smoothing) = (it.preprocessing.max_sequence_length, loss.label_smoothing);
                let text = TextContext { max_steps, label_smoothing };
                DecoderSettings::Text(TextSpec { decoder: it.decoder.clone(), text })
            }
            Self::Embedding(it) => DecoderSettings::Embedding(EmbeddingSpec {
                decoder: it.decoder.clone(),
                align: it.align.clone(),
                loss: it.loss.clone(),
            }),
        }
    }

    /// Returns the feature before fitting, with the text input whose vocabulary it shares.
    pub fn unfitted_target(&self) -> Unfitted {
        let shares_with = if let Self::Text(it) = self { it.preprocessing.share_vocabulary_with.clone() } else { None };
        Unfitted { shares_with, ..self.unfitted() }
    }

    /// Whether probabilities are calibrated after training.
    pub fn calibration(&self) -> bool {
        match self {
            Self::Category(it) => it.calibration,
            Self::Binary(it) => it.calibration,
            Self::Number(_) | Self::Set(_) | Self::Vector(_) | Self::Text(_) | Self::Embedding(_) => false,
        }
    }

    /// Returns the total dimension of the vectors of all aligned inputs; 0 for outputs that are not embeddings.
    pub fn n_embedded(&self) -> usize {
        if let Self::Embedding(it) = self { it.embedding_size * it.align.len() } else { 0 }
    }

    /// Balances the classes in the loss, unless the config says whether and how they are weighted.
    pub fn balance_classes(&mut self) {
        let balance_classes = match self {
            Self::Category(CategoryOutput { loss: CategoryLoss::CrossEntropy(it), .. }) if it.class_weights.is_none() => {
                &mut it.balance_classes
            }
            Self::Category(CategoryOutput { loss: CategoryLoss::Focal(it), .. })
            | Self::Binary(BinaryOutput { loss: BinaryLoss::Focal(it), .. }) => &mut it.balance_classes,
            Self::Binary(BinaryOutput { loss: BinaryLoss::WeightedCrossEntropy(it), .. }) => &mut it.balance_classes,
            _ => return,
        };
        balance_classes.get_or_insert(true);
    }

    /// Returns the loss and its weight, given the number of training rows of each class.
    ///
    /// # Errors
    /// Fails if the number of `class_weights` is not the number of classes.
    pub fn loss(&self, class_counts: &[usize]) -> Result<(Loss, f64), FeatureError> {
        let is_svm = matches!(
            self.decoder(),
            DecoderSettings::Category(CategoryDecoder::Svm(_)) | DecoderSettings::Binary(BinaryDecoder::Svm(_))
        );
        Ok(match self {
            Self::Category(CategoryOutput { loss: CategoryLoss::CrossEntropy(it), .. }) if is_svm => (Loss::Hinge, it.weight),
            Self::Category(CategoryOutput { loss: CategoryLoss::CrossEntropy(it), .. }) => {
                let class_weights = match &it.class_weights {
                    Some(weights) if weights.len() == class_counts.len() => weights.iter().map(|weight| *weight as f32).collect(),
                    Some(weights) => {
                        let (output, n_weights, n_classes) = (self.name().to_owned(), weights.len(), class_counts.len());
                        return Err(FeatureError::ClassWeights { output, n_weights, n_classes });
                    }
                    None => balanced(class_counts, it.balance_classes.unwrap_or(false)),
                };
                (Loss::CrossEntropy { class_weights, smoothing: it.label_smoothing, gamma: 0.0 }, it.weight)
            }
            Self::Category(CategoryOutput { loss: CategoryLoss::Focal(it), .. })
            | Self::Binary(BinaryOutput { loss: BinaryLoss::Focal(it), .. }) => (
                Loss::CrossEntropy {
                    class_weights: balanced(class_counts, it.balance_classes.unwrap_or(false)),
                    smoothing: 0.0,
                    gamma: it.gamma,
                },
                it.weight,
            ),
            Self::Binary(BinaryOutput { loss: BinaryLoss::WeightedCrossEntropy(it), .. }) if is_svm => (Loss::Hinge, it.weight),
            Self::Binary(BinaryOutput { loss: BinaryLoss::WeightedCrossEntropy(it), .. }) => {
                let mut class_weights = balanced(class_counts, it.balance_classes.unwrap_or(false));
                class_weights[1] *= it.positive_class_weight as f32;
                (Loss::CrossEntropy { class_weights, smoothing: 0.0, gamma: 0.0 }, it.weight)
            }
            Self::Set(SetOutput { loss: SetLoss::SigmoidCrossEntropy(it), .. }) => (Loss::Sigmoid, it.weight),
            Self::Text(TextOutput { loss: TextLoss::TokenCrossEntropy(it), .. }) => (Loss::Tokens, it.weight),
            Self::Embedding(it) => Loss::of_embedding(&it.loss),
            Self::Number(NumberOutput { loss, .. }) | Self::Vector(VectorOutput { loss, .. }) => match loss {
                NumberLoss::MeanSquaredError(it) => (Loss::Huber { delta: f64::INFINITY }, it.weight),
                NumberLoss::MeanAbsoluteError(it) => (Loss::Huber { delta: 0.0 }, it.weight),
                NumberLoss::Huber(it) => (Loss::Huber { delta: it.delta }, it.weight),
            },
        })
    }
}

/// `rows / (classes * rows of the class)`, scikit-learn's `balanced`; ones if disabled.
fn balanced(class_counts: &[usize], is_enabled: bool) -> Vec<f32> {
    let (n_rows, n_classes) = (class_counts.iter().sum::<usize>() as f32, class_counts.len() as f32);
    class_counts.iter().map(|count| if is_enabled { n_rows / (n_classes * (*count).max(1) as f32) } else { 1.0 }).collect()
}

#[cfg(test)]
mod tests;
