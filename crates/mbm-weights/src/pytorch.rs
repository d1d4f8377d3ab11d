//! What `torch.save` has written, in any of its forms: the zip, the pickles in a row before PyTorch 1.6, the tar before 0.1.10.
//!
//! The pickle is interpreted by an allow-list of operations and types; nothing that it names is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pytorch_reader::{DType, PytorchReader, Tensor};

use crate::file::{Opened, TensorInfo, Values};
use crate::{Element, Error};

struct Tensors {
    path: PathBuf,
    by_name: BTreeMap<String, Tensor>,
}

/// Where checkpoints keep the weights that are meant, in this order; tensors at the top where none of them is there.
const KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let reader = PytorchReader::new(path).map_err(|error| Error::damaged(path, error))?;
    let all = reader.into_tensors();
    let is_below = |key: &&str| all.keys().any(|name| name.strip_prefix(*key).is_some_and(|rest| rest.starts_with('.')));
    let prefix = KEYS.into_iter().find(is_below).map(|key| format!("{key}.")).unwrap_or_default();
    let own = |(name, tensor): (String, Tensor)| name.strip_prefix(&prefix).map(|name| (name.to_owned(), tensor));
    let by_name: BTreeMap<String, Tensor> = all.into_iter().filter_map(own).collect();
    if by_name.is_empty() {
        return Err(Error::damaged(path, "it holds no tensors"));
    }
    let info = |tensor: &Tensor| TensorInfo { element: element(tensor.dtype()), shape: tensor.shape().to_vec() };
    let tensors = by_name.iter().map(|(name, tensor)| (name.clone(), info(tensor))).collect();
    let values = Box::new(Tensors { path: path.to_path_buf(), by_name });
    Ok(Opened { format: "pytorch", files: vec![path.to_path_buf()], tensors, values })
}

fn element(dtype: DType) -> Element {
    match dtype {
        DType::F64 => Element::F64,
        DType::F32 => Element::F32,
        DType::F16 => Element::F16,
        DType::BF16 => Element::Bf16,
        DType::I64 => Element::I64,
        DType::I32 => Element::I32,
        DType::I16 => Element::I16,
        DType::I8 => Element::I8,
        DType::U64 => Element::U64,
        DType::U32 => Element::U32,
        DType::U16 => Element::U16,
        DType::U8 => Element::U8,
        DType::Bool => Element::Bool,
    }
}

impl Values for Tensors {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        let no_tensor = || Error::NoTensor { path: self.path.clone(), name: name.to_owned() };
        let bytes = self.by_name.get(name).ok_or_else(no_tensor)?.read();
        bytes.map_err(|error| Error::damaged(&self.path, error))
    }
}
