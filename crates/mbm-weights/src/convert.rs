//! Converts weights in any supported format to safetensors.

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::{Damage, Element, WeightFile, WeightFileError};

impl WeightFile {
    /// Writes every tensor with its name and type to a safetensors file, atomically.
    ///
    /// # Errors
    /// Fails if a tensor cannot be read or the file cannot be written.
    pub fn write_safetensors(&self, target: &Path) -> Result<(), WeightFileError> {
        let bytes = self.tensors().keys().map(|name| self.bytes(name)).collect::<Result<Vec<_>, _>>()?;
        let mut views = Vec::with_capacity(bytes.len());
        for ((name, info), bytes) in self.tensors().iter().zip(&bytes) {
            let view = TensorView::new(dtype(info.element), info.shape.clone(), bytes)
                .map_err(|source| WeightFileError::damaged(self.path(), Damage::Tensor { tensor: name.clone(), source }))?;
            views.push((name, view));
        }
        let aside = temporary_sibling(target);
        safetensors::serialize_to_file(views, None, &aside)
            .map_err(|error| WeightFileError::Io { path: target.to_path_buf(), source: std::io::Error::other(error) })?;
        make_readable(&aside).map_err(WeightFileError::io(target))?;
        std::fs::rename(&aside, target).map_err(WeightFileError::io(target))
    }
}

/// Gives a file that was created as a private temporary file the permissions of any other new file.
fn make_readable(path: &Path) -> std::io::Result<()> {
    let fresh = temporary_sibling(path);
    let permissions = std::fs::File::create(&fresh)?.metadata()?.permissions();
    std::fs::remove_file(&fresh)?;
    std::fs::set_permissions(path, permissions)
}

fn temporary_sibling(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn dtype(element: Element) -> Dtype {
    match element {
        Element::F64 => Dtype::F64,
        Element::F32 => Dtype::F32,
        Element::F16 => Dtype::F16,
        Element::Bf16 => Dtype::BF16,
        Element::I64 => Dtype::I64,
        Element::I32 => Dtype::I32,
        Element::I16 => Dtype::I16,
        Element::I8 => Dtype::I8,
        Element::U64 => Dtype::U64,
        Element::U32 => Dtype::U32,
        Element::U16 => Dtype::U16,
        Element::U8 => Dtype::U8,
        Element::Bool => Dtype::BOOL,
    }
}
