//! The file that a user writes, as typed: the names of Ludwig's ECD configs.

use mbm_config::{defaults, settings, tagged};
use mbm_data::feature::{
    AudioPreprocessing, BinaryPreprocessing, CategoryPreprocessing, DatePreprocessing, ImagePreprocessing, NumberPreprocessing,
    SetPreprocessing, TextPreprocessing, TimeseriesPreprocessing, VectorPreprocessing,
};
use mbm_data::split::SplitSettings;
use mbm_data::{AudioAugmentation, Augmentation, ImageAugmentation, MissingValueStrategy, Unfitted};
use mbm_model::combiner::CombinerSettings;
use mbm_model::decoder::Loss;
use mbm_model::decoder::{
    BinaryDecoder, BinaryLoss, CategoryDecoder, CategoryLoss, DecoderSettings, NumberDecoder, NumberLoss, SetDecoder, SetLoss,
    VectorDecoder,
};
use mbm_model::encoder::{
    AudioEncoder, CategoryEncoder, DateEncoder, EncoderSettings, ImageEncoder, NumberEncoder, TextEncoder, TimeseriesEncoder,
    VectorEncoder,
};
use mbm_train::TrainerSettings;

use crate::error::Error;

settings! {
    /// The whole file.
    pub struct Config {
        /// What the model reads.
        input_features: Vec<InputFeature>;
        /// How inputs are joined.
        combiner: CombinerSettings = CombinerSettings::Concat(defaults());
        /// What the model predicts.
        output_features: Vec<OutputFeature>;
        /// How rows are split and kept.
        preprocessing: PreprocessingSettings = defaults();
        /// How the model is trained.
        trainer: TrainerSettings = defaults();
        /// The seed of everything random.
        random_seed: u64 = 42;
    }

    /// How rows are split and kept.
    pub struct PreprocessingSettings {
        /// Which rows train, validate and test.
        split: SplitSettings = SplitSettings::Random(defaults());
        /// Megabytes of features kept on disk while training, so that media are decoded once; rows beyond are read every epoch.
        cache_size_in_mb: usize = 4096 => 0..=10_000_000;
    }
}

macro_rules! inputs {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $name:ident($preprocessing:ty, $encoder:ty = $default:expr, $kind:ident) $(augment $augmentation:ty)?;)+) => {
        settings! { $(
            $(#[$meta])*
            pub struct $name {
                /// The feature's name.
                name: String;
                /// The column; the name where not given.
                column: Option<String> = None;
                /// How cells are read.
                preprocessing: $preprocessing = defaults();
                /// How they become vectors.
                encoder: $encoder = $default;
                $(
                    /// Random changes in training.
                    augmentation: Vec<$augmentation> = Vec::new();
                )?
            }
        )+ }

        tagged! {
            /// One input.
            pub enum InputFeature { $( $variant($name) = $word ),+ }
        }

        impl InputFeature {
            /// The feature's name.
            pub fn name(&self) -> &str {
                match self { $( Self::$variant(it) => &it.name, )+ }
            }

            /// The column that it reads.
            pub fn column(&self) -> &str {
                match self { $( Self::$variant(it) => it.column.as_deref().unwrap_or(&it.name), )+ }
            }

            /// The feature before fitting.
            pub fn unfitted(&self) -> Unfitted {
                match self { $(
                    Self::$variant(it) => unfitted(self.name(), self.column(), it.preprocessing.fitter(), it.preprocessing.missing_value_strategy),
                )+ }
            }

            /// The encoder's settings.
            pub fn encoder(&self) -> EncoderSettings {
                match self { $( Self::$variant(it) => EncoderSettings::$kind(it.encoder.clone()), )+ }
            }
        }
    };
}

inputs! {
    /// A picture.
    Image = "image", ImageInput(ImagePreprocessing, ImageEncoder = ImageEncoder::StackedCnn(defaults()), Image) augment ImageAugmentation;
    /// A text.
    Text = "text", TextInput(TextPreprocessing, TextEncoder = TextEncoder::ParallelCnn(defaults()), Text);
    /// A sound.
    Audio = "audio", AudioInput(AudioPreprocessing, AudioEncoder = AudioEncoder::ParallelCnn(defaults()), Audio) augment AudioAugmentation;
    /// A series of numbers.
    Timeseries = "timeseries", TimeseriesInput(TimeseriesPreprocessing, TimeseriesEncoder = TimeseriesEncoder::ParallelCnn(defaults()), Timeseries);
    /// A number.
    Number = "number", NumberInput(NumberPreprocessing, NumberEncoder = NumberEncoder::Passthrough(defaults()), Number);
    /// One of several classes.
    Category = "category", CategoryInput(CategoryPreprocessing, CategoryEncoder = CategoryEncoder::Dense(defaults()), Category);
    /// Yes or no.
    Binary = "binary", BinaryInput(BinaryPreprocessing, CategoryEncoder = CategoryEncoder::OneHot(defaults()), Category);
    /// Several labels at once.
    Set = "set", SetInput(SetPreprocessing, VectorEncoder = VectorEncoder::Dense(defaults()), Vector);
    /// A vector.
    Vector = "vector", VectorInput(VectorPreprocessing, VectorEncoder = VectorEncoder::Dense(defaults()), Vector);
    /// A date or a time.
    Date = "date", DateInput(DatePreprocessing, DateEncoder = DateEncoder::Cyclic(defaults()), Date);
}

fn unfitted(
    name: &str,
    column: &str,
    fitter: Box<dyn mbm_data::feature::Fitter>,
    missing_value_strategy: MissingValueStrategy,
) -> Unfitted {
    Unfitted { name: name.to_owned(), column: column.to_owned(), fitter, missing_value_strategy }
}

impl InputFeature {
    /// The random changes of training rows.
    pub fn augmentation(&self) -> Augmentation {
        match self {
            Self::Image(it) if !it.augmentation.is_empty() => Augmentation::Image(it.augmentation.clone()),
            Self::Audio(it) if !it.augmentation.is_empty() => Augmentation::Audio(it.augmentation.clone()),
            Self::Image(_) | Self::Audio(_) | Self::Text(_) | Self::Timeseries(_) | Self::Number(_) => Augmentation::None,
            Self::Category(_) | Self::Binary(_) | Self::Set(_) | Self::Vector(_) | Self::Date(_) => Augmentation::None,
        }
    }
}

macro_rules! outputs {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $name:ident($preprocessing:ty, $decoder:ty = $decoder_default:expr, $loss:ty = $loss_default:expr);)+) => {
        settings! { $(
            $(#[$meta])*
            pub struct $name {
                /// The feature's name.
                name: String;
                /// The column; the name where not given.
                column: Option<String> = None;
                /// How cells are read.
                preprocessing: $preprocessing = defaults();
                /// How the fused vector is read.
                decoder: $decoder = $decoder_default;
                /// What training minimises.
                loss: $loss = $loss_default;
            }
        )+ }

        tagged! {
            /// One output.
            pub enum OutputFeature { $( $variant($name) = $word ),+ }
        }

        impl OutputFeature {
            /// The feature's name.
            pub fn name(&self) -> &str {
                match self { $( Self::$variant(it) => &it.name, )+ }
            }

            /// The column that it is compared with.
            pub fn column(&self) -> &str {
                match self { $( Self::$variant(it) => it.column.as_deref().unwrap_or(&it.name), )+ }
            }

            /// The feature before fitting.
            pub fn unfitted(&self) -> Unfitted {
                match self { $(
                    Self::$variant(it) => unfitted(self.name(), self.column(), it.preprocessing.fitter(), it.preprocessing.missing_value_strategy),
                )+ }
            }

            /// The decoder's settings.
            pub fn decoder(&self) -> DecoderSettings {
                match self { $( Self::$variant(it) => DecoderSettings::$variant(it.decoder.clone()), )+ }
            }
        }
    };
}

outputs! {
    /// One of several classes.
    Category = "category", CategoryOutput(CategoryPreprocessing, CategoryDecoder = CategoryDecoder::Classifier(defaults()), CategoryLoss = CategoryLoss::CrossEntropy(defaults()));
    /// Yes or no.
    Binary = "binary", BinaryOutput(BinaryPreprocessing, BinaryDecoder = BinaryDecoder::Regressor(defaults()), BinaryLoss = BinaryLoss::WeightedCrossEntropy(defaults()));
    /// A number.
    Number = "number", NumberOutput(NumberPreprocessing, NumberDecoder = NumberDecoder::Regressor(defaults()), NumberLoss = NumberLoss::MeanSquaredError(defaults()));
    /// Several labels at once.
    Set = "set", SetOutput(SetPreprocessing, SetDecoder = SetDecoder::Classifier(defaults()), SetLoss = SetLoss::SigmoidCrossEntropy(defaults()));
    /// A vector.
    Vector = "vector", VectorOutput(VectorPreprocessing, VectorDecoder = VectorDecoder::Projector(defaults()), NumberLoss = NumberLoss::MeanSquaredError(defaults()));
}

impl OutputFeature {
    /// The loss and its weight, with what it needs to know of the training rows of each class.
    ///
    /// # Errors
    /// `class_weights` of another number than the classes.
    pub fn loss(&self, class_counts: &[usize]) -> Result<(Loss, f64), Error> {
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
                        let message = format!(
                            "output '{}': class_weights has {} values for {} classes",
                            self.name(),
                            weights.len(),
                            class_counts.len()
                        );
                        return Err(Error::Unfit(message));
                    }
                    None => balanced(class_counts, it.balance_classes),
                };
                (Loss::CrossEntropy { class_weights, smoothing: it.label_smoothing, gamma: 0.0 }, it.weight)
            }
            Self::Category(CategoryOutput { loss: CategoryLoss::Focal(it), .. })
            | Self::Binary(BinaryOutput { loss: BinaryLoss::Focal(it), .. }) => (
                Loss::CrossEntropy { class_weights: balanced(class_counts, it.balance_classes), smoothing: 0.0, gamma: it.gamma },
                it.weight,
            ),
            Self::Binary(BinaryOutput { loss: BinaryLoss::WeightedCrossEntropy(it), .. }) if is_svm => (Loss::Hinge, it.weight),
            Self::Binary(BinaryOutput { loss: BinaryLoss::WeightedCrossEntropy(it), .. }) => {
                let mut class_weights = balanced(class_counts, it.balance_classes);
                class_weights[1] *= it.positive_class_weight as f32;
                (Loss::CrossEntropy { class_weights, smoothing: 0.0, gamma: 0.0 }, it.weight)
            }
            Self::Set(SetOutput { loss: SetLoss::SigmoidCrossEntropy(it), .. }) => (Loss::Sigmoid, it.weight),
            Self::Number(NumberOutput { loss, .. }) | Self::Vector(VectorOutput { loss, .. }) => match loss {
                NumberLoss::MeanSquaredError(it) => (Loss::Huber { delta: f64::INFINITY }, it.weight),
                NumberLoss::MeanAbsoluteError(it) => (Loss::Huber { delta: 0.0 }, it.weight),
                NumberLoss::Huber(it) => (Loss::Huber { delta: it.delta }, it.weight),
            },
        })
    }
}

/// `rows / (classes * rows of the class)`, scikit-learn's `balanced`; ones where not asked for.
fn balanced(class_counts: &[usize], is_asked: bool) -> Vec<f32> {
    let (n_rows, n_classes) = (class_counts.iter().sum::<usize>() as f32, class_counts.len() as f32);
    class_counts.iter().map(|count| if is_asked { n_rows / (n_classes * (*count).max(1) as f32) } else { 1.0 }).collect()
}
