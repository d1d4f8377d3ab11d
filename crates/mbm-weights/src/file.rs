//! One file, or one folder, of weights.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Element, Error, folder, hub, pytorch, safetensors, tfjs};

/// A tensor before its values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of its numbers.
    pub element: Element,
    /// Extents, outermost first; none for a single number.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// How many numbers it holds.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Bytes that a file may unfold to for each of its own: tensors may share their values or repeat one along an extent, and an archive may be
/// compressed, but what `torch.save` writes is stored as it is.
const UNFOLDING: u64 = 16;

/// Bytes that any file may unfold to, however short it is.
const UNFOLDING_FREE: u64 = 1 << 20;

/// The most extents of a tensor, as in PyTorch and NumPy.
const MAX_RANK: usize = 64;

/// Bytes that a file of so many may unfold to.
pub(crate) fn may_unfold_to(n_bytes: u64) -> u64 {
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

/// What a format's reader keeps to read values with.
pub(crate) trait Values {
    /// The bytes of a tensor, row-major.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, Error>;
}

/// What a format's reader says of a file.
pub(crate) struct Opened {
    pub format: &'static str,
    /// The files that it is made of.
    pub files: Vec<PathBuf>,
    pub tensors: BTreeMap<String, TensorInfo>,
    pub values: Box<dyn Values + Send + Sync>,
}

impl WeightFile {
    /// Reads names and shapes, of a path or of a name on the hub (see [`locate`](crate::locate)).
    ///
    /// # Errors
    /// A path to nothing; a file of another kind; a file that contradicts itself or asks for code to be run.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = &hub::locate(path)?;
        let Opened { format, files, tensors, values } = open(path)?;
        check_unfolding(path, &files, &tensors)?;
        Ok(Self { path: path.to_path_buf(), format, files, tensors, values })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of file, such as `safetensors`.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// Every tensor by name, sorted.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The values of a tensor, row-major.
    ///
    /// # Errors
    /// A name that is not there; a file that ends early or has changed since it was opened.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let info = self.tensors.get(name);
        let info = info.ok_or_else(|| Error::NoTensor { path: self.path.clone(), name: name.to_owned() })?;
        let values = info.element.to_f32(&self.bytes(name)?);
        if values.len() == info.n_values() {
            return Ok(values);
        }
        let message = format!("tensor '{name}' of shape {:?} holds {} values", info.shape, values.len());
        Err(Error::damaged(&self.path, message))
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.values.bytes(name)
    }

    /// SHA-256 of all its files' bytes, in hexadecimal.
    ///
    /// # Errors
    /// A file that can no longer be read.
    pub fn hash(&self) -> Result<String, Error> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        for path in &self.files {
            let mut file = File::open(path).map_err(Error::io(path))?;
            loop {
                let n_read = file.read(&mut buffer).map_err(Error::io(path))?;
                if n_read == 0 {
                    break;
                }
                hasher.update(&buffer[..n_read]);
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Refuses tensors that are far larger together than the files that they are read from.
fn check_unfolding(path: &Path, files: &[PathBuf], tensors: &BTreeMap<String, TensorInfo>) -> Result<(), Error> {
    let sizes = files.iter().map(|file| std::fs::metadata(file).map(|it| it.len()).map_err(Error::io(file)));
    let n_bytes = sizes.sum::<Result<u64, _>>()?;
    let mut n_unfolded = 0u64;
    for (name, TensorInfo { element, shape }) in tensors {
        if shape.len() > MAX_RANK {
            return Err(Error::damaged(
                path,
                format!("tensor '{name}' has {} extents, at most {MAX_RANK} are read", shape.len()),
            ));
        }
        let size = shape.iter().fold(element.size() as u64, |size, extent| size.saturating_mul(*extent as u64));
        n_unfolded = n_unfolded.saturating_add(size);
        if n_unfolded > may_unfold_to(n_bytes) {
            let message = format!(
                "with tensor '{name}' of shape {shape:?} its tensors take {n_unfolded} bytes; a file of {n_bytes} may unfold to {}",
                may_unfold_to(n_bytes)
            );
            return Err(Error::damaged(path, message));
        }
    }
    Ok(())
}

/// By what the path is, never by its name alone: a `.bin` may be either of two formats.
fn open(path: &Path) -> Result<Opened, Error> {
    if path.is_dir() {
        return folder::open(path);
    }
    let mut start = [0; 16];
    let mut file = File::open(path).map_err(Error::io(path))?;
    let n_read = file.read(&mut start).map_err(Error::io(path))?;
    let ends = |ending: &str| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(ending));
    match &start[..n_read] {
        [] => Err(Error::Unknown { path: path.to_path_buf(), found: "an empty file".to_owned() }),
        // Eight bytes of the header's length, then its JSON.
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::open(path),
        _ if ends("safetensors") => safetensors::open(path),
        [b'{', ..] if ends("json") => tfjs::open(path),
        // A zip, a pickle of protocol 2 or later, or what the reader tells apart itself.
        [b'P', b'K', ..] | [0x80, ..] => pytorch::open(path),
        _ if ["pt", "pth", "bin", "tar"].into_iter().any(ends) => pytorch::open(path),
        _ => Err(Error::Unknown { path: path.to_path_buf(), found: "not a file of weights".to_owned() }),
    }
}
