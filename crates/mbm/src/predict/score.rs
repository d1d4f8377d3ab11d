//! Predictions collected with their targets, and the metrics of each output.

use std::collections::BTreeMap;
use std::iter::repeat_n;

use mbm_algo::metric::{
    CLASSIFICATION, ClassificationSamples, Direction, MultiLabelSamples, REGRESSION, RETRIEVAL, RegressionSamples, SETS, TEXTS,
    evaluate,
};
use mbm_data::{BatchColumn, Preprocessor, Values};

use crate::predict::embedded_rows::EmbeddedRows;
use crate::predict::postprocessor::Postprocessor;
use crate::predict::prediction::Prediction;
use crate::predict::text_rows::TextRows;

/// Predictions and targets of one output, for the rows that have its target.
#[derive(Debug, Clone)]
pub enum MetricSamples {
    /// For a category or binary output.
    Classes(ClassificationSamples),
    /// For a set output.
    Labels(MultiLabelSamples),
    /// For a number or vector output.
    Numbers(RegressionSamples),
    /// For an embedding output.
    Embeddings(EmbeddedRows),
    /// For a text output.
    Texts(TextRows),
}

impl MetricSamples {
    /// Creates an empty collection; `inputs` are the names of all inputs.
    pub fn new(preprocessor: &Preprocessor, postprocessor: &Postprocessor, inputs: &[&str]) -> Self {
        if let Postprocessor::Embedding { align } = postprocessor {
            return Self::Embeddings(EmbeddedRows::new(align, inputs));
        }
        match preprocessor {
            Preprocessor::Category(fitted) => {
                Self::Classes(ClassificationSamples { n_classes: fitted.classes.len(), ..ClassificationSamples::default() })
            }
            Preprocessor::Binary(_) => Self::Classes(ClassificationSamples { n_classes: 2, ..ClassificationSamples::default() }),
            Preprocessor::TargetText(_) => Self::Texts(TextRows::default()),
            Preprocessor::Set(fitted) => {
                Self::Labels(MultiLabelSamples { n_labels: fitted.labels.len(), ..MultiLabelSamples::default() })
            }
            _ => Self::Numbers(RegressionSamples::default()),
        }
    }

    /// Adds the rows of a batch that have the target, with their weights. Texts are added elsewhere, since rows share them.
    pub fn add(
        &mut self,
        predictions: &[Prediction],
        target: &BatchColumn,
        weights: Option<&[f32]>,
        preprocessor: &Preprocessor,
    ) {
        let present = predictions.iter().zip(&target.present).filter(|(_, is)| **is).map(|(prediction, _)| prediction);
        self.add_weights(target, weights);
        match (self, &target.values) {
            (Self::Classes(scored), Values::Classes(classes)) => {
                for (prediction, class) in present.zip(classes) {
                    let Prediction::Classes(probabilities) = prediction else { continue };
                    scored.truth.push(*class as usize);
                    scored.probabilities.extend(probabilities);
                }
            }
            (Self::Labels(scored), Values::Vectors { width, data }) => {
                for (prediction, labels) in present.zip(data.chunks((*width).max(1))) {
                    let Prediction::Labels(probabilities) = prediction else { continue };
                    scored.truth.extend(labels.iter().map(|value| *value > 0.5));
                    scored.probabilities.extend(probabilities);
                }
            }
            (Self::Numbers(scored), Values::Vectors { width, data }) => {
                for (prediction, values) in present.zip(data.chunks((*width).max(1))) {
                    match (prediction, preprocessor) {
                        (Prediction::Number(value), Preprocessor::Number(fitted)) => {
                            scored.truth.push(fitted.restore(values[0]));
                            scored.predicted.push(*value);
                        }
                        (Prediction::Vector(predicted), _) => {
                            scored.truth.extend(values.iter().map(|value| f64::from(*value)));
                            scored.predicted.extend(predicted.iter().map(|value| f64::from(*value)));
                        }
                        (_, _) => {}
                    }
                }
            }
            (Self::Embeddings(scored), Values::ContentIds(items)) => {
                for (prediction, items) in present.zip(items) {
                    let Prediction::Embeddings(vectors) = prediction else { continue };
                    scored.add(vectors, items);
                }
            }
            (Self::Classes(_) | Self::Labels(_) | Self::Numbers(_) | Self::Embeddings(_) | Self::Texts(_), _) => {}
        }
    }

    /// Adds the weights of the rows of a batch that have the target: one per row, or per value of a vector.
    fn add_weights(&mut self, target: &BatchColumn, weights: Option<&[f32]>) {
        let present =
            weights.map(|weights| weights.iter().zip(&target.present).filter(|(_, is)| **is).map(|(weight, _)| *weight));
        match (self, &target.values) {
            (Self::Classes(ClassificationSamples { weights, .. }) | Self::Labels(MultiLabelSamples { weights, .. }), _) => {
                weights.extend(present);
            }
            (Self::Numbers(scored), Values::Vectors { width, .. }) => {
                scored.weights.extend(present.map(|present| present.flat_map(|weight| repeat_n(weight, *width))));
            }
            (Self::Numbers(_) | Self::Embeddings(_) | Self::Texts(_), _) => {}
        }
    }

    /// Computes every metric that is defined on these rows.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let values = match self {
            Self::Classes(scored) => evaluate(CLASSIFICATION, scored),
            Self::Labels(scored) => evaluate(SETS, scored),
            Self::Numbers(scored) => evaluate(REGRESSION, scored),
            Self::Texts(scored) => evaluate(TEXTS, &scored.written),
            Self::Embeddings(scored) => return scored.metrics(),
        };
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Returns the name of the headline metric.
    pub fn main_metric(&self) -> &'static str {
        match self {
            Self::Classes(_) => "accuracy",
            Self::Labels(_) => "f1_micro",
            Self::Numbers(_) => "r2",
            Self::Embeddings(_) => "recall_at_10",
            Self::Texts(_) => "bleu",
        }
    }

    /// Whether higher values of a metric are better.
    pub fn is_higher_better(&self, name: &str) -> bool {
        let better = match self {
            Self::Classes(_) => CLASSIFICATION.iter().find(|metric| metric.name == name).map(|metric| metric.better),
            Self::Labels(_) => SETS.iter().find(|metric| metric.name == name).map(|metric| metric.better),
            Self::Numbers(_) => REGRESSION.iter().find(|metric| metric.name == name).map(|metric| metric.better),
            Self::Texts(_) => TEXTS.iter().find(|metric| metric.name == name).map(|metric| metric.better),
            Self::Embeddings(_) => {
                let name = name.rsplit('.').next().unwrap_or(name);
                RETRIEVAL.iter().find(|metric| metric.name == name).map(|metric| metric.better)
            }
        };
        better == Some(Direction::Higher)
    }
}
