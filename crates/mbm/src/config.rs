//! The file that a user writes, as typed: the names of Ludwig's ECD configs.

use mbm_algo::metric::WordCut;
use mbm_config::{choices, defaults, settings, tagged};
use mbm_data::feature::{
    AudioPreprocessing, BinaryPreprocessing, CategoryPreprocessing, DatePreprocessing, EmbeddingPreprocessing,
    ImagePreprocessing, NumberPreprocessing, SetPreprocessing, TargetTextPreprocessing, TextPreprocessing,
    TimeseriesPreprocessing, VectorPreprocessing,
};
use mbm_data::split::SplitSettings;
use mbm_data::{AudioAugmentation, Augmentation, ImageAugmentation, Unfitted};
use mbm_model::ProjectionSettings;
use mbm_model::combiner::CombinerSettings;
use mbm_model::decoder::Loss;
use mbm_model::decoder::{
    BinaryDecoder, BinaryLoss, CategoryDecoder, CategoryLoss, DecoderSettings, EmbeddingDecoder, EmbeddingLoss, EmbeddingSpec,
    GeneratorSpec, NumberDecoder, NumberLoss, SetDecoder, SetLoss, TextDecoder, TextLoss, VectorDecoder,
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
        /// Megabytes of features kept on disk while training, so that media are decoded once; rows beyond are read every epoch. What
        /// encoders that are not trained have made is kept whatever its size.
        cache_size_in_mb: usize = 4096 => 0..=10_000_000;
    }
}

choices! {
    /// How BLEU cuts texts into words, in sacrebleu's names.
    pub enum BleuTokenizer {
        /// For languages with spaces between words.
        Mteval13a = "13a",
        /// For Chinese.
        Zh = "zh",
        /// Every character.
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

/// The features of one side: a struct each, with what all share and what it adds, and the enum that holds them.
macro_rules! features {
    ($(#[$of_all:meta])* $all:ident { $($(#[$meta:meta])* $word:literal = $variant:ident($name:ident, $preprocessing:ty) { $($own:tt)* })+ }) => {
        settings! { $(
            $(#[$meta])*
            pub struct $name {
                /// The feature's name.
                name: String;
                /// The column; the name where not given.
                column: Option<String> = None;
                /// How cells are read.
                preprocessing: $preprocessing = defaults();
                $($own)*
            }
        )+ }

        tagged! {
            $(#[$of_all])*
            pub enum $all { $( $variant($name) = $word ),+ }
        }

        impl $all {
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
                let (fitter, missing_value_strategy) = match self { $(
                    Self::$variant(it) => (it.preprocessing.fitter(), it.preprocessing.missing_value_strategy),
                )+ };
                let (name, column) = (self.name().to_owned(), self.column().to_owned());
                Unfitted { name, column, fitter, missing_value_strategy, shares_with: None }
            }
        }
    };
}

features! {
    /// One input.
    InputFeature {
        /// An image.
        "image" = Image(ImageInput, ImagePreprocessing) {
            /// How they become vectors.
            encoder: ImageEncoder = ImageEncoder::StackedCnn(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
            /// Random changes in training.
            augmentation: Vec<ImageAugmentation> = Vec::new();
        }
        /// A text.
        "text" = Text(TextInput, TextPreprocessing) {
            /// How they become vectors.
            encoder: TextEncoder = TextEncoder::ParallelCnn(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// A sound.
        "audio" = Audio(AudioInput, AudioPreprocessing) {
            /// How they become vectors.
            encoder: AudioEncoder = AudioEncoder::ParallelCnn(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
            /// Random changes in training.
            augmentation: Vec<AudioAugmentation> = Vec::new();
        }
        /// A series of numbers.
        "timeseries" = Timeseries(TimeseriesInput, TimeseriesPreprocessing) {
            /// How they become vectors.
            encoder: TimeseriesEncoder = TimeseriesEncoder::ParallelCnn(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// A number.
        "number" = Number(NumberInput, NumberPreprocessing) {
            /// How they become vectors.
            encoder: NumberEncoder = NumberEncoder::Passthrough(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// One of several classes.
        "category" = Category(CategoryInput, CategoryPreprocessing) {
            /// How they become vectors.
            encoder: CategoryEncoder = CategoryEncoder::Dense(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// Yes or no.
        "binary" = Binary(BinaryInput, BinaryPreprocessing) {
            /// How they become vectors.
            encoder: CategoryEncoder = CategoryEncoder::OneHot(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// Several labels at once.
        "set" = Set(SetInput, SetPreprocessing) {
            /// How they become vectors.
            encoder: VectorEncoder = VectorEncoder::Dense(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// A vector.
        "vector" = Vector(VectorInput, VectorPreprocessing) {
            /// How they become vectors.
            encoder: VectorEncoder = VectorEncoder::Dense(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
        /// A date or a time.
        "date" = Date(DateInput, DatePreprocessing) {
            /// How they become vectors.
            encoder: DateEncoder = DateEncoder::Cyclic(defaults());
            /// A layer between the encoder and the combiner.
            projection: Option<ProjectionSettings> = None;
        }
    }
}

features! {
    /// One output.
    OutputFeature {
        /// One of several classes.
        "category" = Category(CategoryOutput, CategoryPreprocessing) {
            /// How the fused vector is read.
            decoder: CategoryDecoder = CategoryDecoder::Classifier(defaults());
            /// What training minimises.
            loss: CategoryLoss = CategoryLoss::CrossEntropy(defaults());
            /// Whether probabilities are calibrated on the validation rows after training.
            calibration: bool = true;
        }
        /// Yes or no.
        "binary" = Binary(BinaryOutput, BinaryPreprocessing) {
            /// How the fused vector is read.
            decoder: BinaryDecoder = BinaryDecoder::Regressor(defaults());
            /// What training minimises.
            loss: BinaryLoss = BinaryLoss::WeightedCrossEntropy(defaults());
            /// Whether probabilities are calibrated on the validation rows after training.
            calibration: bool = true;
        }
        /// A number.
        "number" = Number(NumberOutput, NumberPreprocessing) {
            /// How the fused vector is read.
            decoder: NumberDecoder = NumberDecoder::Regressor(defaults());
            /// What training minimises.
            loss: NumberLoss = NumberLoss::MeanSquaredError(defaults());
        }
        /// Several labels at once.
        "set" = Set(SetOutput, SetPreprocessing) {
            /// How the fused vector is read.
            decoder: SetDecoder = SetDecoder::Classifier(defaults());
            /// What training minimises.
            loss: SetLoss = SetLoss::SigmoidCrossEntropy(defaults());
        }
        /// A vector.
        "vector" = Vector(VectorOutput, VectorPreprocessing) {
            /// How the fused vector is read.
            decoder: VectorDecoder = VectorDecoder::Projector(defaults());
            /// What training minimises.
            loss: NumberLoss = NumberLoss::MeanSquaredError(defaults());
        }
        /// A text that is written.
        "text" = Text(TextOutput, TargetTextPreprocessing) {
            /// What writes it.
            decoder: TextDecoder = TextDecoder::Generator(defaults());
            /// What training minimises.
            loss: TextLoss = TextLoss::TokenCrossEntropy(defaults());
            /// More columns with texts that would be right, for the metrics. Rows whose inputs are the same share their texts anyway.
            reference_columns: Vec<String> = Vec::new();
            /// How BLEU cuts texts into words.
            bleu_tokenizer: BleuTokenizer = BleuTokenizer::Mteval13a;
        }
        /// One space for several inputs, in which what belongs together is near.
        "embedding" = Embedding(EmbeddingOutput, EmbeddingPreprocessing) {
            /// The inputs that share the space.
            align: Vec<String>;
            /// Values of a vector.
            embedding_size: usize = 256 => 1..=65_536;
            /// How an input becomes a vector.
            decoder: EmbeddingDecoder = EmbeddingDecoder::Projector(defaults());
            /// What training minimises.
            loss: EmbeddingLoss = EmbeddingLoss::InfoNce(defaults());
        }
    }
}

impl InputFeature {
    /// The encoder's settings.
    pub fn encoder(&self) -> EncoderSettings {
        match self {
            Self::Image(it) => EncoderSettings::Image(it.encoder.clone()),
            Self::Text(it) => EncoderSettings::Text(it.encoder.clone()),
            Self::Audio(it) => EncoderSettings::Audio(it.encoder.clone()),
            Self::Timeseries(it) => EncoderSettings::Timeseries(it.encoder.clone()),
            Self::Number(it) => EncoderSettings::Number(it.encoder.clone()),
            Self::Category(it) => EncoderSettings::Category(it.encoder.clone()),
            Self::Binary(it) => EncoderSettings::Category(it.encoder.clone()),
            Self::Set(it) => EncoderSettings::Vector(it.encoder.clone()),
            Self::Vector(it) => EncoderSettings::Vector(it.encoder.clone()),
            Self::Date(it) => EncoderSettings::Date(it.encoder.clone()),
        }
    }

    /// The layer between the encoder and the combiner, if there is one.
    pub fn projection(&self) -> Option<&ProjectionSettings> {
        match self {
            Self::Image(it) => it.projection.as_ref(),
            Self::Text(it) => it.projection.as_ref(),
            Self::Audio(it) => it.projection.as_ref(),
            Self::Timeseries(it) => it.projection.as_ref(),
            Self::Number(it) => it.projection.as_ref(),
            Self::Category(it) => it.projection.as_ref(),
            Self::Binary(it) => it.projection.as_ref(),
            Self::Set(it) => it.projection.as_ref(),
            Self::Vector(it) => it.projection.as_ref(),
            Self::Date(it) => it.projection.as_ref(),
        }
    }

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

impl OutputFeature {
    /// The decoder's settings.
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
                match it.decoder.clone() {
                    TextDecoder::Generator(settings) => {
                        DecoderSettings::Generator(GeneratorSpec { settings, max_steps, label_smoothing })
                    }
                    TextDecoder::Ctc(settings) => DecoderSettings::Ctc(settings),
                }
            }
            Self::Embedding(it) => DecoderSettings::Embedding(EmbeddingSpec {
                decoder: it.decoder.clone(),
                align: it.align.clone(),
                loss: it.loss.clone(),
            }),
        }
    }

    /// The feature before fitting, with the text input whose vocabulary it shares.
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

    /// Values of the vectors of all aligned inputs together; none for outputs that are no embedding.
    pub fn n_embedded(&self) -> usize {
        if let Self::Embedding(it) = self { it.embedding_size * it.align.len() } else { 0 }
    }

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
                        return Err(Error::Incompatible(message));
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

/// `rows / (classes * rows of the class)`, scikit-learn's `balanced`; ones where not asked for.
fn balanced(class_counts: &[usize], is_asked: bool) -> Vec<f32> {
    let (n_rows, n_classes) = (class_counts.iter().sum::<usize>() as f32, class_counts.len() as f32);
    class_counts.iter().map(|count| if is_asked { n_rows / (n_classes * (*count).max(1) as f32) } else { 1.0 }).collect()
}
