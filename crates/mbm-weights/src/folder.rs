//! Hugging Face folders: `model.safetensors`, its shards, or `pytorch_model.bin`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::file::{Opened, Values};
use crate::{Damage, WeightFileError, pytorch, safetensors};

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards of a model, and for each tensor the shard that holds it.
struct Shards {
    shards: Vec<Opened>,
    places: BTreeMap<String, usize>,
    path: PathBuf,
}

/// Maximum number of shards of a model.
const MAX_SHARDS: usize = 1000;

/// Maximum size of a JSON file in bytes.
const MAX_JSON: u64 = 100_000_000;

pub(crate) fn open(folder: &Path) -> Result<Opened, WeightFileError> {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    if let Some(path) = file("model.safetensors") {
        return safetensors::open(&path);
    }
    if let Some(path) = file("model.safetensors.index.json") {
        return open_shards(folder, &path);
    }
    if let Some(path) = file("pytorch_model.bin") {
        return pytorch::open(&path);
    }
    if let Some(path) = file("model.json") {
        return crate::tfjs::open(&path);
    }
    let found = "a folder without model.safetensors, model.safetensors.index.json, pytorch_model.bin or model.json";
    Err(WeightFileError::Unknown { path: folder.to_path_buf(), found })
}

/// Reads a JSON file, limited to the size of a safetensors header.
pub(crate) fn read_json(path: &Path) -> Result<Vec<u8>, WeightFileError> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(WeightFileError::io(path))?;
    file.take(MAX_JSON + 1).read_to_end(&mut text).map_err(WeightFileError::io(path))?;
    if text.len() as u64 > MAX_JSON {
        return Err(WeightFileError::damaged(path, Damage::LongJson { limit: MAX_JSON }));
    }
    Ok(text)
}

fn open_shards(folder: &Path, index: &Path) -> Result<Opened, WeightFileError> {
    let text = read_json(index)?;
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|error| WeightFileError::damaged(index, Damage::Index(error)))?;
    let mut names: Vec<&String> = weight_map.values().collect();
    names.sort();
    names.dedup();
    if names.len() > MAX_SHARDS {
        return Err(WeightFileError::damaged(index, Damage::TooManyShards { found: names.len(), limit: MAX_SHARDS }));
    }
    let shards = names.iter().map(|name| safetensors::open(&sibling(folder, index, name)?)).collect::<Result<Vec<_>, _>>()?;
    let (mut tensors, mut places) = (BTreeMap::new(), BTreeMap::new());
    for (tensor, shard) in &weight_map {
        let at = names.binary_search(&shard).unwrap_or_default();
        let info = shards[at].tensors.get(tensor).ok_or_else(|| {
            WeightFileError::damaged(index, Damage::NotInShard { tensor: tensor.clone(), shard: shard.clone() })
        })?;
        tensors.insert(tensor.clone(), info.clone());
        places.insert(tensor.clone(), at);
    }
    let files = shards.iter().flat_map(|shard| shard.files.clone()).collect();
    let values = Box::new(Shards { shards, places, path: index.to_path_buf() });
    Ok(Opened { format: "safetensors", files, tensors, values })
}

/// Returns the path of a file in the folder itself; a name that leads elsewhere is rejected.
pub(crate) fn sibling(folder: &Path, index: &Path, name: &str) -> Result<PathBuf, WeightFileError> {
    let is_plain = !name.is_empty() && name != ".." && !name.contains(['/', '\\']);
    if is_plain { Ok(folder.join(name)) } else { Err(WeightFileError::damaged(index, Damage::OutsideFolder(name.to_owned()))) }
}

impl Values for Shards {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, WeightFileError> {
        let shard = self.places.get(name).ok_or_else(WeightFileError::no_tensor(&self.path, name))?;
        self.shards[*shard].values.bytes(name)
    }
}
