//! Learners on disk: their arrays in a safetensors file, the rest as JSON. Those of an ensemble belong to the bundle, whose `bundle.json`
//! holds the rest; those of a run in progress are kept until it ends.

use std::collections::BTreeMap;
use std::path::Path;

use mbm_algo::ArrayMut;
use mbm_data::write_file;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};

use crate::error::Error;
use crate::learn::fitted::Fitted;

/// Learners with arrays.
pub(crate) trait Arrays: Clone {
    /// Passes every array to `visit`, with a name of its own.
    ///
    /// # Errors
    /// Fails with the first error of `visit`.
    fn each_array<E>(&mut self, visit: &mut dyn FnMut(String, ArrayMut) -> Result<(), E>) -> Result<(), E>;
}

impl Arrays for Vec<Fitted> {
    fn each_array<E>(&mut self, visit: &mut dyn FnMut(String, ArrayMut) -> Result<(), E>) -> Result<(), E> {
        for (at, fitted) in self.iter_mut().enumerate() {
            for (name, array) in fitted.arrays() {
                visit(format!("{at}.{name}"), array)?;
            }
        }
        Ok(())
    }
}

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

/// Writes the arrays of learners, and returns the learners without them.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write<T: Arrays>(learners: &T, path: &Path) -> Result<T, Error> {
    let mut skeleton = learners.clone();
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

/// Reads the arrays of learners that were read without them.
///
/// # Errors
/// Fails if the file cannot be read or lacks an array.
pub(crate) fn read<T: Arrays>(learners: &mut T, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    fill(learners, &bytes).map_err(|error| Error::damaged(path, error))
}

/// Keeps the learners of a run in progress. The JSON file is written last, so what it describes is complete.
///
/// # Errors
/// Fails if the files cannot be written.
pub(crate) fn keep(fitted: &Vec<Fitted>, path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let skeleton = write(fitted, &path.with_extension("safetensors"))?;
    let path = path.with_extension("json");
    Ok(write_file(&path, &serde_json::to_vec(&skeleton).unwrap_or_default())?)
}

/// Returns the learners that a run kept before it was stopped; `None` if there are none, or not `n` valid ones.
///
/// # Errors
/// Fails if the files cannot be read.
pub(crate) fn kept(path: &Path, n: usize, is_valid: impl Fn(&Fitted) -> bool) -> Result<Option<Vec<Fitted>>, Error> {
    let json = path.with_extension("json");
    if !json.exists() {
        return Ok(None);
    }
    let text = std::fs::read(&json).map_err(Error::io(&json))?;
    let Ok(mut fitted) = serde_json::from_slice::<Vec<Fitted>>(&text) else { return Ok(None) };
    let is_read = read(&mut fitted, &path.with_extension("safetensors")).is_ok();
    Ok(Some(fitted).filter(|fitted| is_read && fitted.len() == n && fitted.iter().all(is_valid)))
}

fn fill<T: Arrays>(learners: &mut T, bytes: &[u8]) -> Result<(), LearnerFileError> {
    let file = SafeTensors::deserialize(bytes).map_err(LearnerFileError::Format)?;
    learners.each_array(&mut |name, array| {
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
