//! Weight files: a single file or a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Damage, Element, WeightFileError, folder, hub, pytorch, safetensors, tfjs};

/// The type and shape of a tensor whose values have not been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of its elements.
    pub element: Element,
    /// The shape, outermost dimension first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Returns the number of elements.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Bytes that a file may expand to for each of its own: tensors may share storage or repeat values along a dimension, and
/// archives may be compressed, although `torch.save` stores values uncompressed.
const UNFOLDING: u64 = 16;

/// Bytes that any file may expand to, however small it is.
const UNFOLDING_FREE: u64 = 1 << 20;

/// Maximum number of dimensions of a tensor, as in PyTorch and NumPy.
const MAX_RANK: usize = 64;

/// Returns the number of bytes that a file of `n_bytes` may expand to.
pub(crate) fn max_expanded_size(n_bytes: u64) -> u64 {
    n_bytes.saturating_mul(UNFOLDING).saturating_add(UNFOLDING_FREE)
}

/// Weights whose names and shapes are known.
pub struct WeightFile {
    path: PathBuf,
    format: &'static str,
    files: Vec<PathBuf>,
    tensors: BTreeMap<String, TensorInfo>,
    values: Box<dyn Values + Send + Sync>,
}

/// Reads the values of tensors, implemented by each format.
pub(crate) trait Values {
    /// Returns the bytes of a tensor, row-major.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, WeightFileError>;
}

/// The contents of a file as found by the reader of its format.
pub(crate) struct Opened {
    pub format: &'static str,
    /// The files that it consists of.
    pub files: Vec<PathBuf>,
    pub tensors: BTreeMap<String, TensorInfo>,
    pub values: Box<dyn Values + Send + Sync>,
}

impl WeightFile {
    /// Opens a path, or a name on the Hugging Face Hub (see [`locate`](crate::locate)), and reads names and shapes.
    ///
    /// # Errors
    /// Fails if the path does not exist, the format is not supported, or the file is inconsistent or asks for code to be run.
    pub fn open(path: &Path) -> Result<Self, WeightFileError> {
        let path = &hub::locate(path)?;
        let Opened { format, files, tensors, values } = open(path)?;
        check_unfolding(path, &files, &tensors)?;
        Ok(Self { path: path.to_path_buf(), format, files, tensors, values })
    }

    /// Returns the path of the file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the format, such as `safetensors`.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// Returns all tensors, sorted by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// Reads the values of a tensor, row-major.
    ///
    /// # Errors
    /// Fails if there is no such tensor, or if the file ends early or has changed since it was opened.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, WeightFileError> {
        let info = self.tensors.get(name);
        let info = info.ok_or_else(|| WeightFileError::NoTensor { path: self.path.clone(), name: name.to_owned() })?;
        let values = info.element.to_f32(&self.bytes(name)?);
        if values.len() == info.n_values() {
            return Ok(values);
        }
        let damage = Damage::ValueCount { tensor: name.to_owned(), shape: info.shape.clone(), n_values: values.len() };
        Err(WeightFileError::damaged(&self.path, damage))
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, WeightFileError> {
        self.values.bytes(name)
    }

    /// Returns the SHA-256 of the bytes of all files, in hexadecimal.
    ///
    /// # Errors
    /// Fails if a file can no longer be read.
    pub fn hash(&self) -> Result<String, WeightFileError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        for path in &self.files {
            let mut file = File::open(path).map_err(WeightFileError::io(path))?;
            loop {
                let n_read = file.read(&mut buffer).map_err(WeightFileError::io(path))?;
                if n_read == 0 {
                    break;
                }
                hasher.update(&buffer[..n_read]);
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Rejects tensors that together are far larger than the files that they are read from.
fn check_unfolding(path: &Path, files: &[PathBuf], tensors: &BTreeMap<String, TensorInfo>) -> Result<(), WeightFileError> {
    let sizes = files.iter().map(|file| std::fs::metadata(file).map(|it| it.len()).map_err(WeightFileError::io(file)));
    let n_bytes = sizes.sum::<Result<u64, _>>()?;
    let mut n_unfolded = 0u64;
    for (name, TensorInfo { element, shape }) in tensors {
        if shape.len() > MAX_RANK {
            return Err(WeightFileError::damaged(
                path,
                Damage::Rank { tensor: name.clone(), rank: shape.len(), limit: MAX_RANK },
            ));
        }
        let size = shape.iter().fold(element.size() as u64, |size, extent| size.saturating_mul(*extent as u64));
        n_unfolded = n_unfolded.saturating_add(size);
        if n_unfolded > max_expanded_size(n_bytes) {
            let (tensor, shape, limit) = (name.clone(), shape.clone(), max_expanded_size(n_bytes));
            return Err(WeightFileError::damaged(path, Damage::TensorsTooLarge { tensor, shape, n_unfolded, n_bytes, limit }));
        }
    }
    Ok(())
}

/// Opens a path by its content, never by its name alone: a `.bin` may be either of two formats.
fn open(path: &Path) -> Result<Opened, WeightFileError> {
    if path.is_dir() {
        return folder::open(path);
    }
    let mut start = [0; 16];
    let mut file = File::open(path).map_err(WeightFileError::io(path))?;
    let n_read = file.read(&mut start).map_err(WeightFileError::io(path))?;
    let ends = |ending: &str| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(ending));
    match &start[..n_read] {
        [] => Err(WeightFileError::Unknown { path: path.to_path_buf(), found: "an empty file" }),
        // Eight bytes for the length of the header, then its JSON.
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::open(path),
        _ if ends("safetensors") => safetensors::open(path),
        [b'{', ..] if ends("json") => tfjs::open(path),
        // A zip, a pickle of protocol 2 or later, or a format that the reader detects itself.
        [b'P', b'K', ..] | [0x80, ..] => pytorch::open(path),
        _ if ["pt", "pth", "bin", "tar"].into_iter().any(ends) => pytorch::open(path),
        _ => Err(WeightFileError::Unknown { path: path.to_path_buf(), found: "not a weight file" }),
    }
}
