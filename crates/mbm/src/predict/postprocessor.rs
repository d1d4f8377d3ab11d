//! Postprocessors, which turn the network's scores or fused vectors into predictions: probabilities, calibrated margins, exact
//! SVMs, ridge regression and boosted trees.

use mbm_algo::metric::SampleWeights;
use mbm_algo::svm::{Gamma, Sigmoid, Svc, SvcOptions, Svr, SvrOptions};
use mbm_algo::tree::BoostedTrees;
use mbm_algo::{ArrayMut, Matrix, Ridge, temperature};
use mbm_data::random::{rng, seed};
use mbm_data::{Payload, Preprocessor};
use mbm_model::decoder::{
    BinaryDecoder, BoostedTreesSettings, CategoryDecoder, DecoderSettings, NumberDecoder, SvmKernel, SvmSettings, SvmTraining,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::learn::store::Arrays;
use crate::learn::task::Task;
use crate::predict::prediction::Prediction;
use crate::predict::trees::FusedRows;

/// The last stage of an output. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Postprocessor {
    /// Softmax over classes.
    Softmax {
        /// Divides the scores; fitted on held-out rows.
        #[serde(default = "one")]
        temperature: f32,
    },
    /// An independent sigmoid per label.
    Sigmoid,
    /// Normalized numbers.
    Linear,
    /// Decision values of the network, calibrated with a sigmoid per class.
    Margins {
        /// Fitted on held-out rows.
        sigmoids: Vec<Sigmoid>,
    },
    /// A support vector classifier on the fused vector.
    Svc(Svc),
    /// Support vector regression on the fused vector.
    Svr(Svr),
    /// Ridge regression on the fused vector.
    Ridge(Ridge),
    /// Boosted trees on the fused vector.
    BoostedTrees(BoostedTrees),
    /// Unit vectors, one per aligned input.
    Embedding {
        /// The aligned inputs.
        align: Vec<String>,
    },
    /// One or several texts, best first.
    Texts {
        /// Number of texts.
        n_texts: usize,
    },
}

fn one() -> f32 {
    1.0
}

/// Maximum number of rows to fit on: beyond it, a seeded sample is used.
pub(crate) const MAX_ROWS: usize = 20_000;

/// Vectors, scores and targets that a postprocessor is fitted on.
pub(crate) struct Examples {
    /// Fused vectors `[rows, width]`.
    pub fused: Vec<f32>,
    /// Dimension of a fused vector.
    pub width: usize,
    /// Scores of the network `[rows, n_scores]`.
    pub scores: Vec<f32>,
    /// The targets.
    pub targets: Vec<Payload>,
    /// The weights of the rows.
    pub weights: SampleWeights,
}

impl Examples {
    fn classes(&self) -> Vec<usize> {
        self.targets
            .iter()
            .filter_map(|target| if let Payload::Class(class) = target { Some(*class as usize) } else { None })
            .collect()
    }

    /// Returns the calibration of the scores of each class.
    fn sigmoids(&self, n_scores: usize) -> Vec<Sigmoid> {
        let classes = self.classes();
        let sigmoid = |class: usize| {
            let decisions: Vec<f32> = self.scores.iter().skip(class).step_by(n_scores).copied().collect();
            let positive: Vec<bool> = classes.iter().map(|it| *it == class).collect();
            Sigmoid::fit(&decisions, &positive, &self.weights)
        };
        (0..n_scores).map(sigmoid).collect()
    }

    /// Returns the targets of trees, `[rows, task.n_fitted()]`.
    fn of_trees(&self, task: Task) -> Vec<f32> {
        match task {
            Task::Classes(2) => self.classes().into_iter().map(|class| class as f32).collect(),
            Task::Classes(n) => {
                let indicators = |class: usize| (0..n).map(move |at| f32::from(u8::from(at == class)));
                self.classes().into_iter().flat_map(indicators).collect()
            }
            Task::Number | Task::Labels(_) | Task::Vector(_) => self.numbers(),
        }
    }

    fn numbers(&self) -> Vec<f32> {
        self.targets
            .iter()
            .filter_map(|target| if let Payload::Vector(values) = target { values.first().copied() } else { None })
            .collect()
    }
}

/// The rows that a decoder's postprocessor is fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FittedOn {
    /// No rows: it needs no fitting.
    Nothing,
    /// Training rows.
    Train,
    /// Validation rows, or training rows if there are none.
    Validation,
    /// Validation rows; not fitted if there are none.
    ValidationOnly,
}

fn svm(decoder: &DecoderSettings) -> Option<&SvmSettings> {
    match decoder {
        DecoderSettings::Category(CategoryDecoder::Svm(svm)) | DecoderSettings::Binary(BinaryDecoder::Svm(svm)) => Some(svm),
        _ => None,
    }
}

fn boosted_trees(decoder: &DecoderSettings) -> Option<&BoostedTreesSettings> {
    match decoder {
        DecoderSettings::Category(CategoryDecoder::BoostedTrees(it))
        | DecoderSettings::Binary(BinaryDecoder::BoostedTrees(it))
        | DecoderSettings::Number(NumberDecoder::BoostedTrees(it)) => Some(it),
        _ => None,
    }
}

/// Returns what a decoder predicts from `n_scores` scores.
fn task(decoder: &DecoderSettings, n_scores: usize) -> Task {
    if matches!(decoder, DecoderSettings::Number(_)) { Task::Number } else { Task::Classes(n_scores) }
}

impl Arrays for Vec<Postprocessor> {
    fn each_array<E>(&mut self, visit: &mut dyn FnMut(String, ArrayMut) -> Result<(), E>) -> Result<(), E> {
        for (at, postprocessor) in self.iter_mut().enumerate() {
            let Postprocessor::BoostedTrees(trees) = postprocessor else { continue };
            for (name, array) in trees.trees.arrays() {
                visit(format!("{at}.{name}"), array)?;
            }
        }
        Ok(())
    }
}

impl Postprocessor {
    /// Whether it has arrays that are stored apart.
    pub(crate) fn has_arrays(&self) -> bool {
        matches!(self, Self::BoostedTrees(_))
    }

    /// Returns the rows that fitting needs; with `calibration`, a softmax is fitted, too.
    pub(crate) fn fitted_on(decoder: &DecoderSettings, calibration: bool) -> FittedOn {
        let plain = if calibration { FittedOn::ValidationOnly } else { FittedOn::Nothing };
        match decoder {
            DecoderSettings::Number(NumberDecoder::Svr(_) | NumberDecoder::Ridge(_)) => FittedOn::Train,
            _ if boosted_trees(decoder).is_some() => FittedOn::Train,
            _ => svm(decoder).map_or(plain, |svm| match svm.training {
                SvmTraining::Exact => FittedOn::Train,
                SvmTraining::EndToEnd => FittedOn::Validation,
            }),
        }
    }

    /// Returns the postprocessor of a decoder before fitting: the final one if it needs no fitting, else a stand-in during
    /// training.
    pub fn plain(decoder: &DecoderSettings, n_scores: usize) -> Self {
        match decoder {
            DecoderSettings::Set(_) => Self::Sigmoid,
            DecoderSettings::Embedding(it) => Self::Embedding { align: it.align.clone() },
            DecoderSettings::Text(it) => {
                Self::Texts { n_texts: it.decoder.get().decoding().map_or(1, |decoding| decoding.num_return_sequences) }
            }
            DecoderSettings::Number(_) | DecoderSettings::Vector(_) => Self::Linear,
            DecoderSettings::Category(_) | DecoderSettings::Binary(_) => svm(decoder)
                .map_or(Self::Softmax { temperature: 1.0 }, |_| Self::Margins {
                    sigmoids: vec![Sigmoid { a: -2.0, b: 0.0 }; n_scores],
                }),
        }
    }

    /// Fits the postprocessor of a decoder.
    ///
    /// # Errors
    /// Fails if the algorithm cannot be fitted to the examples.
    pub(crate) fn fit(
        output: &str,
        decoder: &DecoderSettings,
        examples: &Examples,
        n_scores: usize,
        run_seed: u64,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Postprocessor { output: output.to_owned(), source };
        let x = Matrix { data: &examples.fused, n_cols: examples.width };
        let sample_weights = examples.weights.as_slice();
        if let Some(it) = boosted_trees(decoder) {
            let task = task(decoder, n_scores);
            let rows = FusedRows { task, fused: x, targets: examples.of_trees(task), weights: &examples.weights };
            return Ok(Self::BoostedTrees(rows.fit(it, seed(run_seed, "boosted trees", 0, 0))));
        }
        match decoder {
            DecoderSettings::Number(NumberDecoder::Svr(it)) => {
                let options = SvrOptions { c: it.c, epsilon: it.epsilon, rbf: gamma(it.kernel), tolerance: 1e-3, sample_weights };
                Svr::fit(x, &examples.numbers(), options).map(Self::Svr).map_err(failed)
            }
            DecoderSettings::Number(NumberDecoder::Ridge(it)) => {
                Ridge::fit(x, &examples.numbers(), sample_weights, it.alpha).map(Self::Ridge).map_err(failed)
            }
            _ => match svm(decoder) {
                Some(svm) if svm.training == SvmTraining::Exact => {
                    let options = SvcOptions { c: svm.c, rbf: gamma(svm.kernel), tolerance: 1e-3, sample_weights };
                    Svc::fit(x, &examples.classes(), n_scores, options).map(Self::Svc).map_err(failed)
                }
                Some(_) => Ok(Self::Margins { sigmoids: examples.sigmoids(n_scores) }),
                None => match Self::plain(decoder, n_scores) {
                    Self::Softmax { .. } => {
                        let classes = examples.classes();
                        Ok(Self::Softmax { temperature: temperature(&examples.scores, n_scores, &classes, &examples.weights) })
                    }
                    plain => Ok(plain),
                },
            },
        }
    }

    /// Whether this postprocessor fits a decoder with fused vectors of dimension `width`.
    pub(crate) fn suits(&self, decoder: &DecoderSettings, n_scores: usize, width: usize) -> bool {
        match self {
            Self::Svc(svc) => {
                Self::fitted_on(decoder, false) == FittedOn::Train && svm(decoder).is_some() && svc.suits(width, n_scores)
            }
            Self::Svr(svr) => matches!(decoder, DecoderSettings::Number(NumberDecoder::Svr(_))) && svr.suits(width),
            Self::Ridge(ridge) => matches!(decoder, DecoderSettings::Number(NumberDecoder::Ridge(_))) && ridge.suits(width),
            Self::BoostedTrees(trees) => {
                let task = task(decoder, n_scores);
                let is_valid = trees.check(width, task.n_fitted()).is_ok() && trees.objective == task.objective();
                boosted_trees(decoder).is_some() && is_valid
            }
            Self::Margins { sigmoids } => svm(decoder).is_some() && sigmoids.len() == n_scores,
            Self::Softmax { temperature } => {
                matches!(Self::plain(decoder, n_scores), Self::Softmax { .. }) && temperature.is_finite() && *temperature > 0.0
            }
            Self::Sigmoid | Self::Linear | Self::Embedding { .. } | Self::Texts { .. } => *self == Self::plain(decoder, n_scores),
        }
    }

    /// Predicts one row from its scores `[n_scores]` and fused vector `[width]`. Texts are empty here; they are generated by
    /// decoding.
    pub fn predict(&self, scores: &[f32], fused: &[f32], preprocessor: &Preprocessor) -> Prediction {
        let number = |normalized: f32| match preprocessor {
            Preprocessor::Number(fitted) => Prediction::Number(fitted.restore(normalized)),
            _ => Prediction::Vector(vec![normalized]),
        };
        match self {
            Self::Softmax { temperature } => Prediction::Classes(softmax(scores, *temperature)),
            Self::Sigmoid => Prediction::Labels(scores.iter().map(|score| 1.0 / (1.0 + (-score).exp())).collect()),
            Self::Linear if matches!(preprocessor, Preprocessor::Number(_)) => number(scores[0]),
            Self::Linear => Prediction::Vector(scores.to_vec()),
            Self::Margins { sigmoids } => {
                let each: Vec<f32> = scores.iter().zip(sigmoids).map(|(score, sigmoid)| sigmoid.probability(*score)).collect();
                let sum = each.iter().sum::<f32>().max(f32::MIN_POSITIVE);
                Prediction::Classes(each.iter().map(|p| p / sum).collect())
            }
            Self::Svc(svc) => Prediction::Classes(svc.probabilities(fused)),
            Self::Svr(svr) => number(svr.predict(fused)),
            Self::Ridge(ridge) => number(ridge.predict(fused)),
            Self::BoostedTrees(trees) if matches!(preprocessor, Preprocessor::Number(_)) => number(trees.predict(fused)[0]),
            Self::BoostedTrees(trees) => Prediction::Classes(Task::Classes(scores.len()).completed(trees.predict(fused))),
            Self::Texts { .. } => Prediction::Texts(Vec::new()),
            Self::Embedding { align } => Prediction::Embeddings(
                scores
                    .chunks(scores.len() / align.len())
                    .map(|vector| if vector.iter().any(|x| *x != 0.0) { vector.to_vec() } else { Vec::new() })
                    .collect(),
            ),
        }
    }
}

fn gamma(kernel: SvmKernel) -> Option<Gamma> {
    (kernel == SvmKernel::Rbf).then_some(Gamma::Scale)
}

fn softmax(scores: &[f32], temperature: f32) -> Vec<f32> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| ((score - top) / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// Returns at most [`MAX_ROWS`] of the rows, sampled with the run's seed, in their original order.
pub(crate) fn sampled(rows: &[usize], run_seed: u64) -> Vec<usize> {
    let mut sample = rows.to_vec();
    sample.shuffle(&mut rng(seed(run_seed, "head", 0, 0)));
    sample.truncate(MAX_ROWS);
    sample.sort_unstable();
    sample
}
