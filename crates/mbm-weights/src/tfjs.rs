//! TensorFlow.js: `model.json` lists tensors in the order in which they are stored, back to back, in shards next to it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::file::{Opened, TensorInfo, Values};
use crate::folder::{read_json, sibling};
use crate::{Damage, Element, WeightFileError};

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "weightsManifest")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct Weight {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<serde_json::Value>,
}

/// The shards of each group with their sizes, and each tensor's group and its byte range in the group's shards.
struct Places {
    path: PathBuf,
    groups: Vec<Vec<(PathBuf, u64)>>,
    by_name: BTreeMap<String, (usize, u64, u64)>,
}

pub(crate) fn open(path: &Path) -> Result<Opened, WeightFileError> {
    let damaged = |damage: Damage| WeightFileError::damaged(path, damage);
    let text = read_json(path)?;
    let model: Model = serde_json::from_slice(&text).map_err(|error| damaged(Damage::NotTensorFlowJs(error)))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut places = Places { path: path.to_path_buf(), groups: Vec::new(), by_name: BTreeMap::new() };
    let (mut tensors, mut named) = (BTreeMap::new(), HashSet::new());
    for group in model.groups {
        let mut shards = Vec::with_capacity(group.paths.len());
        for name in &group.paths {
            let shard = sibling(folder, path, name)?;
            if !named.insert(shard.clone()) {
                return Err(damaged(Damage::DuplicateShard(name.clone())));
            }
            let n_bytes = std::fs::metadata(&shard).map_err(WeightFileError::io(&shard))?.len();
            shards.push((shard, n_bytes));
        }
        let mut end = 0u64;
        for weight in group.weights {
            let info = info(&weight).map_err(damaged)?;
            let size = info.shape.iter().try_fold(info.element.size() as u64, |size, extent| size.checked_mul(*extent as u64));
            let start = end;
            end = size
                .and_then(|size| start.checked_add(size))
                .ok_or_else(|| damaged(Damage::TensorTooLarge(weight.name.clone())))?;
            places.by_name.insert(weight.name.clone(), (places.groups.len(), start, end));
            if tensors.insert(weight.name.clone(), info).is_some() {
                return Err(damaged(Damage::DuplicateTensor(weight.name)));
            }
        }
        let n_held: u64 = shards.iter().map(|(_, n_bytes)| n_bytes).sum();
        if n_held != end {
            return Err(damaged(Damage::ShardSize { n_bytes: end, n_held }));
        }
        places.groups.push(shards);
    }
    let files = [path.to_path_buf()].into_iter().chain(places.groups.iter().flatten().map(|(shard, _)| shard.clone())).collect();
    Ok(Opened { format: "tensorflow.js", files, tensors, values: Box::new(places) })
}

fn info(weight: &Weight) -> Result<TensorInfo, Damage> {
    if weight.quantization.is_some() {
        return Err(Damage::Quantized(weight.name.clone()));
    }
    let element = match weight.dtype.as_str() {
        "float32" => Element::F32,
        "float16" => Element::F16,
        "int32" => Element::I32,
        "uint8" => Element::U8,
        "bool" => Element::Bool,
        other => return Err(Damage::UnsupportedType { tensor: weight.name.clone(), found: other.to_owned() }),
    };
    Ok(TensorInfo { element, shape: weight.shape.clone() })
}

impl Values for Places {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, WeightFileError> {
        let (group, mut from, to) = *self.by_name.get(name).ok_or_else(WeightFileError::no_tensor(&self.path, name))?;
        let mut bytes = Vec::with_capacity((to - from) as usize);
        let mut start = 0;
        for (shard, n_bytes) in &self.groups[group] {
            let end = start + n_bytes;
            if from < end.min(to) {
                let mut file = File::open(shard).map_err(WeightFileError::io(shard))?;
                file.seek(SeekFrom::Start(from - start)).map_err(WeightFileError::io(shard))?;
                file.take(end.min(to) - from).read_to_end(&mut bytes).map_err(WeightFileError::io(shard))?;
                from = end.min(to);
            }
            start = end;
        }
        Ok(bytes)
    }
}
