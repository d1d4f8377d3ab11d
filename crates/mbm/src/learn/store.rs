//! The arrays of an ensemble in a safetensors file; `bundle.json` holds the rest.

use std::collections::BTreeMap;
use std::path::Path;

use mbm_algo::ArrayMut;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};

use crate::error::Error;
use crate::learn::ensemble::Ensemble;

/// A file of arrays that does not fit its ensemble.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnerFileError {
    /// Not a safetensors file, or a damaged one.
    #[error("not a safetensors file: {0}")]
    Format(safetensors::SafeTensorError),
    /// An array that the ensemble needs and the file lacks, or has with other values.
    #[error("the array '{name}' is missing or not of type {expected}")]
    Array {
        /// The name of the array.
        name: String,
        /// The type of its values.
        expected: &'static str,
    },
}

/// Writes the arrays of an ensemble, and returns the ensemble without them.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write(ensemble: &Ensemble, path: &Path) -> Result<Ensemble, Error> {
    let mut skeleton = ensemble.clone();
    let mut arrays: BTreeMap<String, (Dtype, Vec<u8>)> = BTreeMap::new();
    skeleton
        .each_array(&mut |name, array| {
            let (dtype, bytes) = match array {
                ArrayMut::F32(values) => (Dtype::F32, std::mem::take(values).into_iter().flat_map(f32::to_le_bytes).collect()),
                ArrayMut::U32(values) => (Dtype::U32, std::mem::take(values).into_iter().flat_map(u32::to_le_bytes).collect()),
                ArrayMut::U8(values) => (Dtype::U8, std::mem::take(values)),
            };
            arrays.insert(name, (dtype, bytes));
            Ok::<(), LearnerFileError>(())
        })
        .map_err(|error| Error::damaged(path, error))?;
    let views = arrays.iter().map(|(name, (dtype, bytes))| {
        TensorView::new(*dtype, vec![bytes.len() * 8 / dtype.bitsize()], bytes).map(|view| (name.as_str(), view))
    });
    let failed = |error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::Io { path: path.to_path_buf(), source },
        other => Error::damaged(path, LearnerFileError::Format(other)),
    };
    serialize_to_file(views.collect::<Result<Vec<_>, _>>().map_err(failed)?, None, path).map_err(failed)?;
    Ok(skeleton)
}

/// Reads the arrays of an ensemble that was read without them.
///
/// # Errors
/// Fails if the file cannot be read or lacks an array.
pub(crate) fn read(ensemble: &mut Ensemble, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    fill(ensemble, &bytes).map_err(|error| Error::damaged(path, error))
}

fn fill(ensemble: &mut Ensemble, bytes: &[u8]) -> Result<(), LearnerFileError> {
    let file = SafeTensors::deserialize(bytes).map_err(LearnerFileError::Format)?;
    ensemble.each_array(&mut |name, array| {
        let (dtype, expected) = match array {
            ArrayMut::F32(_) => (Dtype::F32, "f32"),
            ArrayMut::U32(_) => (Dtype::U32, "u32"),
            ArrayMut::U8(_) => (Dtype::U8, "u8"),
        };
        let found = file.tensor(&name).ok().filter(|tensor| tensor.dtype() == dtype);
        let Some(tensor) = found else { return Err(LearnerFileError::Array { name, expected }) };
        let words = || tensor.data().as_chunks::<4>().0.iter();
        match array {
            ArrayMut::F32(values) => *values = words().map(|word| f32::from_le_bytes(*word)).collect(),
            ArrayMut::U32(values) => *values = words().map(|word| u32::from_le_bytes(*word)).collect(),
            ArrayMut::U8(values) => *values = tensor.data().to_vec(),
        }
        Ok(())
    })
}
