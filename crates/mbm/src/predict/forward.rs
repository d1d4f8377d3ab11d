//! Running the model on a batch: inputs are encoded and fused, outputs decoded and turned into predictions.

use std::borrow::Borrow;
use std::ops::ControlFlow;

use burn::tensor::Tensor;
use mbm_data::{Batch, Dataset, LoadOptions, Preprocessor, Sample, load};
use mbm_model::decoder::Decoding;
use mbm_model::{Fused, Sequence, Target, on_worker_pool};

use crate::error::Error;
use crate::learn::ensemble::Others;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;

/// A callback for text generation, called after each decoding step of a row with the output and its text so far (`None` if
/// several texts are searched in parallel). Returns whether to continue; after a break, texts are returned as far as they have
/// been generated.
pub type TextListener<'a> = dyn FnMut(usize, Option<&str>) -> ControlFlow<()> + Send + 'a;

/// Returns whether the result is still wanted.
pub type ShouldContinue<'a> = dyn Fn() -> bool + Sync + 'a;

/// As [`TextListener`], for batches. The text is passed as a closure, called only if there is a listener, since it costs as much as the
/// step itself.
type Observe<'a> = dyn FnMut(usize, &dyn Fn() -> Option<String>) -> ControlFlow<()> + 'a;

impl Predictor {
    /// Collates samples of the inputs into a batch.
    pub fn collate<S: Borrow<Sample>>(&self, samples: &[S]) -> Batch {
        Batch::collate(&self.inputs, self.inputs.len(), samples)
    }

    /// Predicts a batch: `[outputs][rows]`.
    pub fn predict_batch(&self, batch: &Batch) -> Vec<Vec<Prediction>> {
        self.predict_while(batch, &|| true)
    }

    /// As [`Predictor::predict_batch`]. Once `should_continue` returns false, texts are returned as far as they have been generated.
    pub fn predict_while(&self, batch: &Batch, should_continue: &ShouldContinue) -> Vec<Vec<Prediction>> {
        let others = self.others(batch, &[]);
        on_worker_pool(|| self.predict_fused(&self.fused_batch(batch), others.as_ref(), should_continue))
    }

    /// Encodes and fuses the inputs of a batch.
    pub(crate) fn fused_batch(&self, batch: &Batch) -> Fused {
        on_worker_pool(|| self.model.fused(batch, &self.device))
    }

    /// Fuses the inputs of a batch, which have been encoded already.
    pub(crate) fn fused_from(&self, encoded: &[Sequence], batch: &Batch) -> Fused {
        on_worker_pool(|| self.model.fused_from(encoded, batch, &self.device))
    }

    /// Encodes each input of a batch.
    pub(crate) fn encode(&self, batch: &Batch) -> Vec<Sequence> {
        on_worker_pool(|| self.model.encode(batch, &self.device))
    }

    /// Predicts rows whose inputs have been fused; `others` holds what the other members of the ensemble compute from the rows.
    pub(crate) fn predict_fused(
        &self,
        fused: &Fused,
        others: Option<&Others>,
        should_continue: &ShouldContinue,
    ) -> Vec<Vec<Prediction>> {
        self.predict_observed(fused, others, &mut |_, _| continue_while(should_continue))
    }

    /// Predicts one row: one prediction per output.
    pub fn predict_row(&self, row: &Sample, listener: &mut TextListener) -> Vec<Prediction> {
        let predictions = on_worker_pool(|| {
            let batch = self.collate(&[row]);
            let (fused, others) = (self.fused_batch(&batch), self.others(&batch, &[]));
            self.predict_observed(&fused, others.as_ref(), &mut |output, text| listener(output, text().as_deref()))
        });
        predictions.into_iter().map(|mut rows| rows.swap_remove(0)).collect()
    }

    fn predict_observed(&self, fused: &Fused, others: Option<&Others>, observe: &mut Observe) -> Vec<Vec<Prediction>> {
        let logits = self.model.decode(fused, None).into_iter().enumerate();
        logits.map(|(output, logits)| self.mixed(output, self.predictions(output, logits, fused, observe), others)).collect()
    }

    /// Returns the predictions of one output for a batch.
    fn predictions(&self, output: usize, logits: Tensor<2>, fused: &Fused, observe: &mut Observe) -> Vec<Prediction> {
        if let Some(decoding) = &self.decodings[output] {
            return self.write_texts(output, fused, decoding, observe).into_iter().map(Prediction::Texts).collect();
        }
        self.postprocess(output, logits, fused)
    }

    /// Returns the predictions of an output that is not a text.
    pub(crate) fn postprocess(&self, output: usize, logits: Tensor<2>, fused: &Fused) -> Vec<Prediction> {
        let ([_, width], [_, n_scores]) = (fused.pooled.dims(), logits.dims());
        let (vectors, scores) = (to_vec(fused.pooled.clone()), to_vec(logits));
        let rows = scores.chunks(n_scores).zip(vectors.chunks(width));
        let (postprocessor, field) = (&self.postprocessors[output], &self.outputs[output]);
        rows.map(|(scores, fused)| postprocessor.predict(scores, fused, &field.preprocessor)).collect()
    }

    /// Generates the texts of each row of an output with their scores, best first.
    pub(crate) fn generate(&self, output: usize, fused: &Fused) -> Vec<Vec<(String, f64)>> {
        let Some(decoding) = &self.decodings[output] else { return Vec::new() };
        on_worker_pool(|| self.write_texts(output, fused, decoding, &mut |_, _| ControlFlow::Continue(())))
    }

    fn write_texts(&self, output: usize, fused: &Fused, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<(String, f64)>> {
        let Preprocessor::TargetText(fitted) = &self.outputs[output].preprocessor else { return Vec::new() };
        let text = |tokens: &[u32]| fitted.tokenizer.decode(tokens);
        let found = self
            .model
            .generate(output, fused, decoding, &mut |grown| observe(output, &|| grown.first().map(|(_, tokens)| text(tokens))));
        found.into_iter().map(|texts| texts.into_iter().map(|it| (text(&it.tokens), it.score)).collect()).collect()
    }

    /// Returns the fused vector of each row of a dataset.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub(crate) fn fused(&self, dataset: &Dataset) -> Result<Vec<Vec<f32>>, Error> {
        let (mut vectors, rows) = (Vec::new(), (0..dataset.table.n_rows()).collect::<Vec<_>>());
        load::<Error>(&LoadOptions::plain(dataset, &rows, self.batch_size()), |_, batch| {
            let fused = self.fused_batch(&batch).pooled;
            let [_, width] = fused.dims();
            vectors.extend(to_vec(fused).chunks(width).map(<[f32]>::to_vec));
            Ok(())
        })?;
        Ok(vectors)
    }

    /// Returns the targets of a batch.
    pub(crate) fn targets(&self, batch: &Batch) -> Vec<Target> {
        Target::of_batch(batch, &self.device)
    }
}

fn continue_while(should_continue: &ShouldContinue) -> ControlFlow<()> {
    if should_continue() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Returns the values of a tensor in row-major order.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap_or_default()
}
