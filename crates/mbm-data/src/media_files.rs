//! Sizes and hashes of the image and audio files that a table refers to, as they were read. A resumed run compares them.
//!
//! A cell's text names the file, so a hash per row and feature is enough to name the first file that has changed; a million files
//! take 16 MB. Modification times are not stored: a copy of the same files is equally good.
//!
//! The format: `mbmmedi1`, number of rows, number of features, for each row and feature size and XXH3 (zeros if the cell names no
//! readable file), and the XXH3 of all that; numbers are 64-bit little-endian.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::{CellRef, DataError, Dataset};

const MAGIC: &[u8; 8] = b"mbmmedi1";
/// Size in bytes of the header before the files, and of the hash after them.
const HEAD: usize = 24;
const TAIL: usize = 8;

/// Sizes and hashes of the files that a table refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaFiles {
    /// Number of features that are read from files.
    n_features: usize,
    /// By row, then by feature.
    files: Vec<FileHash>,
}

/// The size and hash of a file's content; zeros if there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileHash {
    n_bytes: u64,
    hash: u64,
}

/// A file of hashes that is not as it was written.
#[derive(Debug, thiserror::Error)]
#[error("its content differs from what was written; restart the run with --overwrite")]
struct ChangedHashes;

impl FileHash {
    pub fn of(content: &[u8]) -> Self {
        Self { n_bytes: content.len() as u64, hash: xxh3_64(content) }
    }
}

impl MediaFiles {
    /// Returns whether no cell refers to a file.
    pub fn is_empty(&self) -> bool {
        self.files.iter().all(|file| *file == FileHash::default())
    }

    /// Stores the files of a row, one per feature that is read from files.
    pub(crate) fn set(&mut self, row_idx: usize, files: &[FileHash]) {
        self.n_features = files.len();
        let start = row_idx * files.len();
        self.files.resize(self.files.len().max(start + files.len()), FileHash::default());
        self.files[start..start + files.len()].copy_from_slice(files);
    }

    /// Returns a hash that changes with any of the files.
    pub fn hash(&self) -> u64 {
        xxh3_64(&self.body())
    }

    /// Returns a hash of the files of some rows.
    pub fn hash_of(&self, rows: &[usize]) -> u64 {
        let files = rows.iter().flat_map(|row_idx| {
            let start = row_idx * self.n_features;
            self.files.get(start..start + self.n_features).unwrap_or_default()
        });
        xxh3_64(&files.flat_map(|file| [file.n_bytes, file.hash]).flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }

    fn body(&self) -> Vec<u8> {
        let n_rows = self.files.len() / self.n_features.max(1);
        let numbers = [n_rows as u64, self.n_features as u64].into_iter();
        let numbers = numbers.chain(self.files.iter().flat_map(|file| [file.n_bytes, file.hash]));
        MAGIC.iter().copied().chain(numbers.flat_map(u64::to_le_bytes)).collect()
    }

    /// Writes the hashes to a file.
    ///
    /// # Errors
    /// Fails if the file cannot be written, for example on a full disk.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let mut bytes = self.body();
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        crate::write_file(path, &bytes)
    }

    /// Reads a file written by [`MediaFiles::write`].
    ///
    /// # Errors
    /// Fails if the file does not exist or is not as it was written.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(DataError::io(path))?;
        parse(&bytes).ok_or_else(|| DataError::damaged(path, ChangedHashes))
    }

    /// Returns the first file that differs from the one of a previous run, such as `row 17: photos/3.png`.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn first_change(&self, before: &Self, dataset: &Dataset) -> Result<Option<String>, DataError> {
        let n_features = before.n_features.max(self.n_features);
        let at = |files: &Self, at: usize| files.files.get(at).copied().unwrap_or_default();
        let changed = (0..before.files.len().max(self.files.len())).find(|idx| at(self, *idx) != at(before, *idx));
        changed.map(|idx| dataset.media_cell(idx / n_features, idx % n_features)).transpose()
    }

    /// Returns the first file that has a different size now or no longer exists, without opening any file.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn first_of_other_size(&self, dataset: &Dataset) -> Result<Option<String>, DataError> {
        let columns = dataset.media_columns();
        if columns.len() != self.n_features {
            return Ok(None);
        }
        for (row_idx, files) in self.files.chunks(self.n_features.max(1)).enumerate().take(dataset.table.n_rows()) {
            let row = dataset.table.row_ref(row_idx)?;
            for (feature, (column, file)) in columns.iter().zip(files).enumerate() {
                let cell = column.filter(|_| *file != FileHash::default()).map(|at| row.cell(at));
                let Some(CellRef::Text(name)) = cell else { continue };
                let metadata = std::fs::metadata(dataset.table.folder.join(name.trim()));
                if metadata.map_or(true, |metadata| metadata.len() != file.n_bytes) {
                    return dataset.media_cell(row_idx, feature).map(Some);
                }
            }
        }
        Ok(None)
    }
}

fn parse(bytes: &[u8]) -> Option<MediaFiles> {
    let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (body, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL)?)?;
    if !body.starts_with(MAGIC) || xxh3_64(body).to_le_bytes() != *tail {
        return None;
    }
    let (n_rows, n_features) = (usize::try_from(word(8)?).ok()?, usize::try_from(word(16)?).ok()?);
    let files = body.get(HEAD..)?;
    if n_rows.checked_mul(n_features)?.checked_mul(16)? != files.len() {
        return None;
    }
    Some(MediaFiles {
        n_features,
        files: files
            .as_chunks::<8>()
            .0
            .chunks(2)
            .map(|pair| FileHash { n_bytes: u64::from_le_bytes(pair[0]), hash: u64::from_le_bytes(pair[1]) })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> MediaFiles {
        let mut files = MediaFiles::default();
        files.set(0, &[FileHash::of(b"a"), FileHash::default()]);
        files.set(2, &[FileHash::of(b"b"), FileHash::of(b"c")]);
        files
    }

    #[test]
    fn files_round_trip_and_any_changed_byte_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("media.hashes");
        files().write(&path).unwrap();
        assert_eq!(MediaFiles::read(&path).unwrap(), files());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), None, "byte {at}");
            assert_eq!(parse(&whole[..at]), None, "{at} bytes");
        }
        assert!(!files().is_empty() && MediaFiles::default().is_empty());
    }
}
