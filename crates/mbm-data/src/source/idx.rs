//! MNIST's idx files, plain or gzip: pictures, with the labels beside them if their file is there.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Source, open_file, parent};
use crate::{Cell, DataError, Row};

pub(super) struct Idx {
    path: PathBuf,
    folder: PathBuf,
    columns: Vec<String>,
    labels: Option<Vec<u8>>,
}

impl Idx {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let labels = labels_beside(path).map(|path| read_labels(&path)).transpose()?;
        let columns = ["image"].into_iter().chain(labels.is_some().then_some("label")).map(str::to_owned).collect();
        Ok(Self { path: path.to_path_buf(), folder: parent(path), columns, labels })
    }
}

impl Source for Idx {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, sink: &mut dyn FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError> {
        let mut file = open_file(&self.path)?;
        let [n_images, height, width] = read_header::<3>(&self.path, &mut file)?;
        if self.labels.as_ref().is_some_and(|labels| labels.len() != n_images) {
            return Err(DataError::malformed(
                &self.path,
                None,
                format!("{n_images} images, but the labels' file holds another number"),
            ));
        }
        let n_pixels = height.checked_mul(width).filter(|n| (1..=1 << 24).contains(n));
        let n_pixels =
            n_pixels.ok_or_else(|| DataError::malformed(&self.path, None, format!("images of {height} x {width} pixels")))?;
        let mut pixels = vec![0; n_pixels];
        for idx in 0..n_images {
            read_exact(&self.path, &mut file, &mut pixels)?;
            let picture = [format!("P5 {width} {height} 255\n").as_bytes(), &pixels].concat();
            let label = self.labels.as_ref().map(|labels| Cell::Text(labels[idx].to_string()));
            sink(std::iter::once(Cell::Bytes(picture)).chain(label).collect())?;
        }
        Ok(())
    }
}

/// `...-images-idx3-ubyte[.gz]` has its labels in `...-labels-idx1-ubyte[.gz]`.
fn labels_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let plain = labels.trim_end_matches(".gz");
    let candidates = [plain.to_owned(), format!("{plain}.gz")];
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| path.with_file_name(candidate))
        .find(|path| path.is_file())
}

fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut file = open_file(path)?;
    let [n_labels] = read_header::<1>(path, &mut file)?;
    let mut labels = Vec::new();
    file.take(n_labels as u64).read_to_end(&mut labels).map_err(DataError::io(path))?;
    if labels.len() != n_labels {
        return Err(DataError::malformed(
            path,
            None,
            format!("the file ends early: {n_labels} labels promised, {} there", labels.len()),
        ));
    }
    Ok(labels)
}

/// Checks the magic number (unsigned bytes, `RANK` dimensions) and reads the dimensions.
fn read_header<const RANK: usize>(path: &Path, file: &mut dyn Read) -> Result<[usize; RANK], DataError> {
    let mut magic = [0; 4];
    read_exact(path, file, &mut magic)?;
    if magic != [0, 0, 8, RANK as u8] {
        return Err(DataError::malformed(
            path,
            None,
            format!("not an idx file of bytes in {RANK} dimensions: it starts with {magic:?}"),
        ));
    }
    let mut dims = [0; RANK];
    for dim in &mut dims {
        let mut bytes = [0; 4];
        read_exact(path, file, &mut bytes)?;
        *dim = u32::from_be_bytes(bytes) as usize;
    }
    Ok(dims)
}

fn read_exact(path: &Path, file: &mut dyn Read, buffer: &mut [u8]) -> Result<(), DataError> {
    file.read_exact(buffer).map_err(|error| DataError::malformed(path, None, format!("the file ends early: {error}")))
}
