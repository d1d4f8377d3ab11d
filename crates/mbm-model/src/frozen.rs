//! Frozen encoders, whose features are computed once before training.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use mbm_data::{BatchColumn, CacheKey, Featurize, Frames, Payload, Preprocessor};
use sha2::{Digest, Sha256};

use crate::encoder::Encoder;
use crate::pretrained::{PretrainedError, fill_encoder};
use crate::{Model, ModelSpec, Steps, Tensors, autodiff_lock, on_worker_pool};

/// A frozen pretrained encoder with the fitted preprocessor of its input.
pub struct FrozenEncoder {
    encoder: Encoder,
    preprocessor: Preprocessor,
    device: Device,
    key: CacheKey,
}

/// Rows per encoded batch.
const BATCH: usize = 16;

impl FrozenEncoder {
    /// Loads the encoder of an input, if it has pretrained weights and is frozen.
    ///
    /// # Errors
    /// If the weights cannot be read or do not match the encoder.
    pub fn of(
        spec: &ModelSpec,
        input: usize,
        preprocessor: &Preprocessor,
        device: &Device,
    ) -> Result<Option<Self>, PretrainedError> {
        let settings = &spec.inputs[input].encoder;
        let Some(path) = settings.get().origin().file().filter(|_| settings.get().is_computed_once()) else { return Ok(None) };
        // Loading a parameter initializes it first.
        let _alone = autodiff_lock();
        let fresh = settings.get().init(&spec.inputs[input].shape, spec.encoder_output(), device);
        let encoder = fill_encoder(fresh, path, &spec.inputs[input].vocabulary)?;
        Ok(Some(Self::new(encoder, spec, input, preprocessor, device)))
    }

    /// Returns the encoder of an input of a trained model, if it was frozen.
    pub fn of_model(model: &Model, spec: &ModelSpec, input: usize, preprocessor: &Preprocessor, device: &Device) -> Option<Self> {
        let encoder = model.encoder(input).filter(|_| spec.inputs[input].encoder.get().is_computed_once())?;
        Some(Self::new(encoder.clone(), spec, input, preprocessor, device))
    }

    fn new(encoder: Encoder, spec: &ModelSpec, input: usize, preprocessor: &Preprocessor, device: &Device) -> Self {
        let (settings, encoder_output) = (&spec.inputs[input].encoder, spec.encoder_output());
        let mut parameters = Parameters(Sha256::new());
        encoder.visit(&mut parameters);
        let mut hasher = parameters.0;
        // The key also covers what the parameters do not determine: how cells are preprocessed, and what the encoder does with
        // its steps. The path of the weights is irrelevant.
        let mut settings = serde_json::to_value(settings).unwrap_or_default();
        settings.as_object_mut().map(|keys| keys.remove("weights"));
        hasher.update(serde_json::to_vec(preprocessor).unwrap_or_default());
        hasher.update(format!("{settings} {encoder_output:?} {}", env!("CARGO_PKG_VERSION")));
        let (preprocessor, device, key) = (preprocessor.clone(), device.clone(), hasher.finalize().into());
        Self { encoder, preprocessor, device, key }
    }
}

/// Visitor that hashes parameters in the model's order.
struct Parameters(Sha256);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.update(param.val().into_data().as_bytes());
    }
}

impl Featurize for FrozenEncoder {
    fn key(&self) -> CacheKey {
        self.key
    }

    fn features(&self, payloads: &[&Payload]) -> Vec<Frames> {
        // Batching rows of similar length keeps padding small.
        let mut order: Vec<usize> = (0..payloads.len()).collect();
        order.sort_by_key(|at| payloads[*at].n_steps());
        let mut features = vec![Frames { width: 1, data: Vec::new() }; payloads.len()];
        for rows in order.chunks(BATCH) {
            let column = BatchColumn::collate(&self.preprocessor, &rows.iter().map(|at| payloads[*at]).collect::<Vec<_>>());
            let steps = on_worker_pool(|| self.encoder.get().encode(Tensors::new(&column, &self.device)));
            rows.iter().zip(rows_of(steps)).for_each(|(at, frames)| features[*at] = frames);
        }
        features
    }
}

/// Returns the valid steps of each row.
fn rows_of(steps: Steps) -> Vec<Frames> {
    let [_, n_steps, width] = steps.values.dims();
    let lengths = steps.mask.int().sum_dim(1).into_data();
    let lengths = lengths.iter::<i64>().collect::<Vec<_>>();
    let values = steps.values.into_data().try_into_vec::<f32>().unwrap_or_default();
    values
        .chunks(n_steps * width)
        .zip(lengths)
        .map(|(values, length)| Frames { width, data: values[..length as usize * width].to_vec() })
        .collect()
}
