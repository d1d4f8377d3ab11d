//! The trained model with everything that prediction needs.

use burn::tensor::Device;
use mbm_data::{Dataset, Field, Preprocessor, RowStatus};
use mbm_model::Model;
use mbm_model::decoder::Decoding;

use crate::config::features::{InputFeature, OutputFeature};
use crate::config::plan::Plan;
use crate::learn::ensemble::Ensemble;
use crate::predict::postprocessor::Postprocessor;
use crate::predict::prediction::{Prediction, columns};
use crate::predict::writer::{OutputColumn, OutputValue};

/// A trained model, with everything that prediction needs.
#[derive(Clone)]
pub(crate) struct Predictor {
    /// The config it was trained with.
    pub plan: Plan,
    /// Fitted inputs.
    pub inputs: Vec<Field>,
    /// Fitted outputs.
    pub outputs: Vec<Field>,
    /// One per output.
    pub postprocessors: Vec<Postprocessor>,
    /// One per output: how its texts are decoded, if it is a text output.
    pub(crate) decodings: Vec<Option<Decoding>>,
    /// The learners that predict together with the network, if there are any.
    pub(crate) ensemble: Option<Ensemble>,
    pub(crate) model: Model,
    pub(crate) device: Device,
}

/// Maximum number of rows that are predicted together, and of values in them: more would exceed the processor's caches.
const MAX_ROWS: usize = 256;
const MAX_VALUES: usize = 1 << 21;

/// Minimum number of rows whose texts are generated together: a step for many takes little longer than a step for one.
const MIN_TEXTS: usize = 64;

impl Predictor {
    /// Returns the number of rows that are predicted together: the larger the rows, the fewer.
    pub fn batch_size(&self) -> usize {
        let n_values =
            |(feature, field): (&InputFeature, &Field)| feature.encoder().get().n_values(&field.preprocessor.get().shape());
        let n_values: usize = self.plan.config.input_features.iter().zip(&self.inputs).map(n_values).sum();
        (MAX_VALUES / n_values.max(1)).clamp(if self.writes() { MIN_TEXTS } else { 1 }, MAX_ROWS)
    }

    /// Whether any output is a text.
    pub(crate) fn writes(&self) -> bool {
        self.decodings.iter().any(Option::is_some)
    }

    /// Returns how the texts of an output are decoded, if it is a text output.
    pub fn decoding(&self, output: usize) -> Option<&Decoding> {
        self.decodings[output].as_ref()
    }

    /// Changes how texts of all outputs are decoded; a text never has more tokens than the model has positions.
    pub fn set_decoding(&mut self, change: &dyn Fn(&mut Decoding)) {
        for ((decoding, postprocessor), field) in self.decodings.iter_mut().zip(&mut self.postprocessors).zip(&self.outputs) {
            if let (Some(decoding), Preprocessor::TargetText(fitted)) = (decoding, &field.preprocessor) {
                change(decoding);
                decoding.max_length = decoding.max_length.clamp(1, fitted.max_steps);
                *postprocessor = Postprocessor::Texts { n_texts: decoding.settings.num_return_sequences };
            }
        }
    }

    /// Returns the postprocessors as the config has them, however many texts are generated now.
    pub(crate) fn configured_postprocessors(&self) -> Vec<Postprocessor> {
        let outputs = self.postprocessors.iter().zip(&self.plan.config.output_features);
        let configured = outputs.map(|(postprocessor, feature)| match postprocessor {
            Postprocessor::Texts { .. } => Postprocessor::plain(&feature.decoder(), 0),
            other => other.clone(),
        });
        configured.collect()
    }

    /// Returns the order in which rows are scored: for text outputs, rows of similar length are batched together.
    pub(crate) fn in_order(&self, dataset: &Dataset, rows: &[usize]) -> Vec<usize> {
        let mut rows = rows.to_vec();
        if self.writes() {
            rows.sort_by_key(|row_idx| dataset.length(*row_idx));
        }
        rows
    }

    /// Returns the columns that predictions are written to, `status` last.
    pub fn columns(&self) -> Vec<OutputColumn> {
        let outputs = self.outputs.iter().zip(&self.postprocessors);
        let outputs = outputs.flat_map(|(field, postprocessor)| columns(&field.name, &field.preprocessor, postprocessor));
        outputs.chain([OutputColumn::text("status")]).collect()
    }

    /// Returns the values of [`Predictor::columns`] without `status` for row `at` of predictions `[outputs][rows]`; nulls if it is
    /// skipped.
    pub fn values<P: AsRef<[Prediction]>>(&self, predictions: &[P], at: usize, status: &RowStatus) -> Vec<OutputValue> {
        let outputs = self.outputs.iter().zip(&self.postprocessors).zip(predictions);
        let values =
            outputs.flat_map(|((field, postprocessor), rows)| rows.as_ref()[at].values(&field.preprocessor, postprocessor));
        values.map(|value| if status.is_skipped() { OutputValue::Null } else { value }).collect()
    }
}

/// Returns how the texts of each output are decoded; `None` for other outputs.
pub(crate) fn decodings(plan: &Plan, outputs: &[Field]) -> Vec<Option<Decoding>> {
    let outputs = plan.config.output_features.iter().zip(outputs);
    outputs.map(|(feature, field)| decoding(feature, field, plan.config.random_seed)).collect()
}

fn decoding(feature: &OutputFeature, field: &Field, seed: u64) -> Option<Decoding> {
    let Preprocessor::TargetText(fitted) = &field.preprocessor else { return None };
    let settings = feature.decoder().get().decoding()?.clone();
    let max_length = settings.max_length.unwrap_or(fitted.longest).min(fitted.max_steps);
    Some(Decoding { settings, max_length, prefix: Vec::new(), seed, is_cached: true })
}
