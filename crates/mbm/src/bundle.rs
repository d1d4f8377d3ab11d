//! The saved model: a folder with `bundle.json` and `weights.safetensors`, which hold everything that prediction needs and no
//! code, and `manifest.json` with their hashes.

use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mbm_data::feature::InvalidFit;
use mbm_data::{Field, MANIFEST, Manifest, Preprocessor, latest_complete, write_folder};
use mbm_model::{load_weights, save_weights};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::plan::Plan;
use crate::error::Error;
use crate::learn::ensemble::{Ensemble, MAX_NETWORKS};
use crate::learn::store;
use crate::predict::postprocessor::Postprocessor;
use crate::predict::predictor::{Predictor, decodings};
use crate::run::folder::DESCRIPTION;

/// The format version of `bundle.json`; unknown versions are rejected.
const FORM: u32 = 2;

/// The previous format version, which differs only in that it has no manifest.
const WITHOUT_MANIFEST: u32 = 1;

/// The files of a bundle.
const BUNDLE: &str = "bundle.json";
const WEIGHTS: &str = "weights.safetensors";
const LEARNERS: &str = "learners.safetensors";
const DECODERS: &str = "decoders.safetensors";

/// Maximum number of attempts to read a bundle that is being replaced by a run.
const TRIES: usize = 20;

/// Returns the identity of a model, independent of its location: SHA-256 of its files, in hexadecimal.
///
/// # Errors
/// Fails if the folder is not a bundle.
pub(crate) fn model_hash(path: &Path) -> Result<String, Error> {
    Bundle::read(path)?.hash()
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A folder without a bundle.
    #[error("no bundle.json here or in model/; specify a run folder of 'mbm train' or its model folder")]
    NotFound,
    /// A run that was stopped before it had a model.
    #[error("the run has not finished, so there is no model yet; continue it with 'mbm train --resume'")]
    Unfinished,
    /// A file that is not JSON of the expected form.
    #[error("not a bundle: {0}")]
    Json(#[source] serde_json::Error),
    /// A bundle without hashes.
    #[error("it is missing, so the model's files cannot be verified; restore it from a copy, or train again")]
    NoManifest,
    /// An unknown version.
    #[error("bundle format {0} is not supported; mbm {version} reads formats {WITHOUT_MANIFEST} and {FORM}", version = env!("CARGO_PKG_VERSION"))]
    Format(u32),
    /// A config with mistakes.
    #[error(transparent)]
    Config(mbm_config::Diagnostics),
    /// Features other than those of the config.
    #[error("its features do not match its config")]
    Features,
    /// A text that is read as one that is generated, or the reverse.
    #[error("a text input is stored as a text output, or the reverse")]
    TextRole,
    /// A fitted value that fitting cannot have produced.
    #[error("feature '{feature}': {source}")]
    Feature {
        /// The feature.
        feature: String,
        /// What is wrong.
        source: InvalidFit,
    },
    /// Learners that fitting cannot have produced.
    #[error("its learners: {0}")]
    Ensemble(&'static str),
    /// A fitted algorithm of another decoder.
    #[error("the postprocessor of output '{0}' does not fit its decoder")]
    Postprocessor(String),
}

/// A bundle that has been read, except for its weights.
pub(crate) struct Bundle {
    pub folder: PathBuf,
    pub plan: Plan,
    pub saved: Saved,
}

/// The content of `bundle.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The format version of this file.
    pub form: u32,
    /// The version of mbm that wrote it.
    pub version: String,
    /// The run's seed.
    pub seed: u64,
    /// The complete config.
    pub config: serde_json::Value,
    /// Fitted inputs.
    pub inputs: Vec<Field>,
    /// Fitted outputs.
    pub outputs: Vec<Field>,
    /// One per output.
    #[serde(rename = "heads")]
    pub postprocessors: Vec<Postprocessor>,
    /// The learners that predict together with the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<Ensemble>,
}

impl Bundle {
    /// Writes a predictor to a folder that is either complete or absent.
    pub fn write(predictor: &Predictor, folder: &Path) -> Result<(), Error> {
        let mut saved = Saved {
            form: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: predictor.plan.config.random_seed,
            config: predictor.plan.to_json(),
            inputs: predictor.inputs.clone(),
            outputs: predictor.outputs.clone(),
            postprocessors: predictor.configured_postprocessors(),
            ensemble: None,
        };
        write_folder(folder, |aside| {
            if let Some(ensemble) = &predictor.ensemble {
                saved.ensemble = Some(store::write(ensemble, &aside.join(LEARNERS))?);
                for (at, network) in ensemble.networks.iter().enumerate() {
                    save_weights(network, &aside.join(network_file(at)))?;
                }
            }
            if saved.postprocessors.iter().any(Postprocessor::has_arrays) {
                saved.postprocessors = store::write(&saved.postprocessors, &aside.join(DECODERS))?;
            }
            let path = aside.join(BUNDLE);
            let unreadable = |source| Error::Unrepresentable { path: path.clone(), source };
            let json = serde_json::to_vec_pretty(&saved).map_err(unreadable)?;
            // JSON has no NaN: fail now rather than save a model that cannot be read.
            serde_json::from_slice::<Saved>(&json).map_err(unreadable)?;
            std::fs::write(&path, json).map_err(Error::io(&path))?;
            Ok(save_weights(&predictor.model, &aside.join(WEIGHTS))?)
        })
    }

    /// Reads a bundle with its weights, even if it is replaced meanwhile.
    pub fn open(path: &Path, device: &Device) -> Result<Predictor, Error> {
        let mut before = manifest(path);
        for _ in 0..TRIES {
            let opened = Self::read(path).and_then(|bundle| bundle.into_predictor(device.clone()));
            let now = manifest(path);
            if now == before {
                return opened;
            }
            before = now;
        }
        Self::read(path)?.into_predictor(device.clone())
    }

    /// Reads `bundle.json` of a bundle, or of the bundle in a run folder, after verifying the hash of every file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let folder = folder_of(path).ok_or_else(|| {
            let is_run = path.join(DESCRIPTION).is_file();
            Error::damaged(path, if is_run { BundleError::Unfinished } else { BundleError::NotFound })
        })?;
        let manifest = Manifest::read(&folder)?;
        manifest.as_ref().map_or(Ok(()), |manifest| manifest.verify(&folder, &[BUNDLE, WEIGHTS]))?;
        let path = folder.join(BUNDLE);
        let damaged = |error: BundleError| Error::damaged(&path, error);
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        let mut saved: Saved = serde_json::from_slice(&text).map_err(|error| damaged(BundleError::Json(error)))?;
        if saved.form == FORM && manifest.is_none() {
            return Err(Error::damaged(folder.join(MANIFEST), BundleError::NoManifest));
        }
        if ![FORM, WITHOUT_MANIFEST].contains(&saved.form) {
            return Err(damaged(BundleError::Format(saved.form)));
        }
        let files = saved.further_files();
        let listed = |manifest: &Manifest| files.iter().try_for_each(|file| manifest.verify_file(&folder, file));
        manifest.as_ref().map_or(Ok(()), listed)?;
        if let Some(ensemble) = &mut saved.ensemble {
            store::read(ensemble, &folder.join(LEARNERS))?;
        }
        if saved.postprocessors.iter().any(Postprocessor::has_arrays) {
            store::read(&mut saved.postprocessors, &folder.join(DECODERS))?;
        }
        let plan = Plan::from_node(&mbm_config::Node::from(&saved.config))
            .map_err(|diagnostics| damaged(BundleError::Config(diagnostics)))?;
        let config = &plan.config;
        let inputs = config.input_features.iter().map(|feature| (feature.name(), feature.column(), feature.type_name()));
        let outputs = config.output_features.iter().map(|feature| (feature.name(), feature.column(), feature.type_name()));
        let fields = saved.inputs.iter().chain(&saved.outputs);
        let own = fields.clone().map(|field| (field.name.as_str(), field.column.as_str(), field.preprocessor.type_name()));
        if !own.eq(inputs.chain(outputs)) || saved.outputs.len() != saved.postprocessors.len() {
            return Err(damaged(BundleError::Features));
        }
        // Text inputs and text outputs have the same type name in the config.
        if saved.inputs.iter().any(|field| matches!(field.preprocessor, Preprocessor::TargetText(_)))
            || saved.outputs.iter().any(|field| matches!(field.preprocessor, Preprocessor::Text(_)))
        {
            return Err(damaged(BundleError::TextRole));
        }
        let ensemble = saved.ensemble.as_ref().map_or(Ok(()), |ensemble| ensemble.check(&saved.inputs, &saved.outputs));
        ensemble.map_err(|what| damaged(BundleError::Ensemble(what)))?;
        for field in fields {
            let checked = field.preprocessor.get().check();
            checked.map_err(|source| damaged(BundleError::Feature { feature: field.name.clone(), source }))?;
        }
        Ok(Self { folder, plan, saved })
    }

    fn hash(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        for name in [BUNDLE.to_owned(), WEIGHTS.to_owned()].into_iter().chain(self.saved.further_files()) {
            let path = self.folder.join(name);
            let mut file = std::fs::File::open(&path).map_err(Error::io(&path))?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer).map_err(Error::io(&path))? {
                    0 => break,
                    n => hash.update(&buffer[..n]),
                }
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Loads the weights and returns the predictor.
    pub fn into_predictor(self, device: Device) -> Result<Predictor, Error> {
        let spec = self.plan.model_spec(&self.saved.inputs, &self.saved.outputs, &[])?;
        let model = load_weights(spec.init(&device, 0), &self.folder.join(WEIGHTS))?;
        let Saved { inputs, outputs, postprocessors, mut ensemble, .. } = self.saved;
        if let Some(ensemble) = &mut ensemble {
            let load = |at| load_weights(spec.init(&device, 0), &self.folder.join(network_file(at)));
            ensemble.networks = (0..ensemble.n_networks).map(load).collect::<Result<_, _>>()?;
        }
        for (output, postprocessor) in spec.outputs.iter().zip(&postprocessors) {
            if !postprocessor.suits(&output.decoder, output.width, model.width()) {
                let error = BundleError::Postprocessor(output.name.clone());
                return Err(Error::damaged(self.folder.join(BUNDLE), error));
            }
        }
        let decodings = decodings(&self.plan, &outputs);
        Ok(Predictor { plan: self.plan, inputs, outputs, postprocessors, decodings, ensemble, model, device })
    }
}

impl Predictor {
    /// Opens a bundle, or the run folder that holds one.
    ///
    /// # Errors
    /// Fails if the folder is not a bundle, or the bundle is damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Bundle::open(path, &mbm_model::device())
    }
}

/// Returns the name of the file with the weights of a further network.
fn network_file(at: usize) -> String {
    format!("network_{}.safetensors", at + 2)
}

impl Saved {
    /// Returns the names of the files next to `bundle.json` and the weights of the network: those of the ensemble and of decoders.
    fn further_files(&self) -> Vec<String> {
        let n_networks = self.ensemble.as_ref().map_or(0, |ensemble| ensemble.n_networks.min(MAX_NETWORKS));
        let learners = self.ensemble.is_some().then(|| LEARNERS.to_owned());
        let decoders = self.postprocessors.iter().any(Postprocessor::has_arrays).then(|| DECODERS.to_owned());
        learners.into_iter().chain((0..n_networks).map(network_file)).chain(decoders).collect()
    }
}

/// Returns the folder of a bundle, given that folder or the run folder around it.
fn folder_of(path: &Path) -> Option<PathBuf> {
    [latest_complete(&path.join("model")), path.to_path_buf()].into_iter().find(|folder| folder.join(BUNDLE).is_file())
}

/// Returns the manifest of the current bundle, if it can be read.
fn manifest(path: &Path) -> Option<Manifest> {
    Manifest::read(&folder_of(path)?).ok().flatten()
}
