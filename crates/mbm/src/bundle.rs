//! The saved model: one folder with `bundle.json` and `weights.safetensors`, all that prediction needs and nothing that runs, and
//! `manifest.json` with their hashes.

use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mbm_data::{DataError, Field, MANIFEST, Manifest, Preprocessor, standing, write_folder};
use mbm_model::{load_weights, save_weights};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::plan::Plan;
use crate::postprocessor::Postprocessor;
use crate::predictor::{Predictor, decodings};

/// The form of `bundle.json`; a reader refuses what it does not know.
const FORM: u32 = 2;

/// The form before, which is the same but for the manifest beside it.
const WITHOUT_MANIFEST: u32 = 1;

/// The files of a bundle.
const BUNDLE: &str = "bundle.json";
const WEIGHTS: &str = "weights.safetensors";

/// Times that a reader looks again at a bundle that a run has just replaced.
const TRIES: usize = 20;

/// What a model is, whatever its folder is called: SHA-256 of its files, in hexadecimal.
///
/// # Errors
/// A folder that is no bundle.
pub fn model_hash(path: &Path) -> Result<String, Error> {
    Bundle::read(path)?.hash()
}

/// A bundle that has been read, its weights still in their file.
pub(crate) struct Bundle {
    pub folder: PathBuf,
    pub plan: Plan,
    pub saved: Saved,
}

/// `bundle.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The form of this file.
    pub form: u32,
    /// The version of mbm that wrote it.
    pub version: String,
    /// The run's seed.
    pub seed: u64,
    /// The whole config.
    pub config: serde_json::Value,
    /// Fitted inputs.
    pub inputs: Vec<Field>,
    /// Fitted outputs.
    pub outputs: Vec<Field>,
    /// One an output.
    #[serde(rename = "heads")]
    pub postprocessors: Vec<Postprocessor>,
}

impl Bundle {
    /// Writes a predictor as a folder that is complete or absent.
    pub fn write(predictor: &Predictor, folder: &Path) -> Result<(), Error> {
        let saved = Saved {
            form: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: predictor.plan.config.random_seed,
            config: predictor.plan.to_json(),
            inputs: predictor.inputs.clone(),
            outputs: predictor.outputs.clone(),
            postprocessors: predictor.postprocessors.clone(),
        };
        write_folder(folder, |aside| {
            let path = aside.join(BUNDLE);
            let unreadable = |error: serde_json::Error| Error::Damaged {
                path: path.clone(),
                message: format!("what was fitted has values that cannot be written: {error}"),
            };
            let json = serde_json::to_vec_pretty(&saved).map_err(unreadable)?;
            // JSON has no NaN: a model that could not be read again is better known now.
            serde_json::from_slice::<Saved>(&json).map_err(unreadable)?;
            std::fs::write(&path, json).map_err(Error::io(&path))?;
            Ok(save_weights(&predictor.model, &aside.join(WEIGHTS))?)
        })
    }

    /// Reads a bundle with its weights, whatever replaces it meanwhile.
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

    /// Reads `bundle.json` of a bundle, or of the run folder around one, once every file is found to be as it was written.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let folder = folder_of(path).ok_or_else(|| Error::Damaged {
            path: path.to_path_buf(),
            message: "no bundle.json here nor in model/ below; name a run folder of 'mbm train' or its model folder".to_owned(),
        })?;
        let manifest = Manifest::read(&folder)?;
        manifest.as_ref().map_or(Ok(()), |manifest| manifest.verify(&folder, &[BUNDLE, WEIGHTS]))?;
        let path = folder.join(BUNDLE);
        let damaged = |message: String| Error::Damaged { path: path.clone(), message };
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        let saved: Saved = serde_json::from_slice(&text).map_err(|error| damaged(format!("not a bundle: {error}")))?;
        if saved.form == FORM && manifest.is_none() {
            let message = "it is missing, and with it the hashes of the model's files; bring back a copy, or train anew";
            return Err(DataError::Damaged { path: folder.join(MANIFEST), message: message.to_owned() }.into());
        }
        if ![FORM, WITHOUT_MANIFEST].contains(&saved.form) {
            return Err(damaged(format!(
                "a bundle of form {}, this mbm {} reads forms {WITHOUT_MANIFEST} and {FORM}",
                saved.form,
                env!("CARGO_PKG_VERSION")
            )));
        }
        let plan =
            Plan::from_node(&mbm_config::Node::from(&saved.config)).map_err(|diagnostics| damaged(diagnostics.to_string()))?;
        let config = &plan.config;
        let inputs = config.input_features.iter().map(|feature| (feature.name(), feature.column(), feature.type_name()));
        let outputs = config.output_features.iter().map(|feature| (feature.name(), feature.column(), feature.type_name()));
        let fields = saved.inputs.iter().chain(&saved.outputs);
        let own = fields.clone().map(|field| (field.name.as_str(), field.column.as_str(), field.preprocessor.type_name()));
        if !own.eq(inputs.chain(outputs)) || saved.outputs.len() != saved.postprocessors.len() {
            return Err(damaged("its features are not those of its config".to_owned()));
        }
        // Texts that are read and texts that are written have the same type in the config.
        let writes = |field: &Field| matches!(field.preprocessor, Preprocessor::TargetText(_));
        let reads = |field: &Field| matches!(field.preprocessor, Preprocessor::Text(_));
        if saved.inputs.iter().any(writes) || saved.outputs.iter().any(reads) {
            return Err(damaged("a text is written where one is read".to_owned()));
        }
        for field in fields {
            let checked = field.preprocessor.get().check();
            checked.map_err(|message| damaged(format!("feature '{}': {message}", field.name)))?;
        }
        Ok(Self { folder, plan, saved })
    }

    fn hash(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        for name in [BUNDLE, WEIGHTS] {
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

    /// Loads the weights.
    pub fn into_predictor(self, device: Device) -> Result<Predictor, Error> {
        let spec = self.plan.model_spec(&self.saved.inputs, &self.saved.outputs, &[])?;
        let model = load_weights(spec.init(&device, 0), &self.folder.join(WEIGHTS))?;
        let Saved { inputs, outputs, postprocessors, .. } = self.saved;
        for (output, postprocessor) in spec.outputs.iter().zip(&postprocessors) {
            if !postprocessor.suits(&output.decoder, output.width, model.width()) {
                let message = format!("the head of output '{}' is not one of its decoder", output.name);
                return Err(Error::Damaged { path: self.folder.join(BUNDLE), message });
            }
        }
        let decodings = decodings(&self.plan, &outputs);
        Ok(Predictor { plan: self.plan, inputs, outputs, postprocessors, decodings, model, device })
    }
}

/// The folder of a bundle, which may be named by the run folder around it.
fn folder_of(path: &Path) -> Option<PathBuf> {
    [standing(&path.join("model")), path.to_path_buf()].into_iter().find(|folder| folder.join(BUNDLE).is_file())
}

/// Which files are the bundle now, if that can be told.
fn manifest(path: &Path) -> Option<Manifest> {
    Manifest::read(&folder_of(path)?).ok().flatten()
}
