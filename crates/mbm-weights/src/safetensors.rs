//! Safetensors: a JSON header of names, shapes and offsets, followed by the values.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::file::{Opened, TensorInfo, Values};
use crate::{Damage, Element, WeightFileError};

/// Maximum size of a header in bytes, as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

struct Places {
    path: PathBuf,
    /// The offset of the values.
    start: u64,
    metadata: Metadata,
}

pub(crate) fn open(path: &Path) -> Result<Opened, WeightFileError> {
    let damaged = |damage: Damage| WeightFileError::damaged(path, damage);
    let mut file = File::open(path).map_err(WeightFileError::io(path))?;
    let n_bytes = file.metadata().map_err(WeightFileError::io(path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged(Damage::NoHeader { n_bytes }))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER.min(n_bytes.saturating_sub(8)) {
        return Err(damaged(Damage::LongHeader { length, n_bytes }));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(WeightFileError::io(path))?;
    // Rejects shapes that do not match their byte ranges, gaps and overlaps.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(Damage::Header(error)))?;
    let start = 8 + length;
    if start.checked_add(metadata.data_len() as u64) != Some(n_bytes) {
        return Err(damaged(Damage::Size { n_bytes, start, n_data: metadata.data_len() }));
    }
    let mut tensors = std::collections::BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let element = element(info.dtype).ok_or_else(|| {
            let found = format!("{:?}", info.dtype);
            damaged(Damage::UnsupportedType { tensor: name.clone(), found })
        })?;
        tensors.insert(name, TensorInfo { element, shape: info.shape.clone() });
    }
    let values = Box::new(Places { path: path.to_path_buf(), start, metadata });
    Ok(Opened { format: "safetensors", files: vec![path.to_path_buf()], tensors, values })
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U64 => Element::U64,
        Dtype::U32 => Element::U32,
        Dtype::U16 => Element::U16,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}

impl Values for Places {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, WeightFileError> {
        let (from, to) = self.metadata.info(name).ok_or_else(WeightFileError::no_tensor(&self.path, name))?.data_offsets;
        let mut file = File::open(&self.path).map_err(WeightFileError::io(&self.path))?;
        file.seek(SeekFrom::Start(self.start + from as u64)).map_err(WeightFileError::io(&self.path))?;
        let mut bytes = vec![0; to - from];
        file.read_exact(&mut bytes).map_err(WeightFileError::io(&self.path))?;
        Ok(bytes)
    }
}
