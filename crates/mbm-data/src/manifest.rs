//! Manifests: the files of a folder with their sizes and hashes. Any changed byte is an error that names its file.
//!
//! The manifest itself is hashed, too, over its own JSON without that hash. The hashes detect damage; they do not protect against
//! someone who writes their own folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::DataError;

/// The name of the manifest file in its folder.
pub const MANIFEST: &str = "manifest.json";

/// The version of the format; a reader rejects any other.
const FORM: u32 = 1;

/// Maximum size of a manifest in bytes: 4,000 files of 250 bytes each, while a checkpoint has about ten.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes that are hashed at a time; a file's hash is the hash of its chunks' hashes.
const CHUNK: usize = 1 << 20;

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    form: u32,
    /// Sizes and hashes by file name.
    files: BTreeMap<String, Entry>,
    /// The hash of `form` and `files`.
    hash: String,
}

/// What is wrong with a folder that has a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A manifest that is too large.
    #[error("{n_bytes} bytes are too many for a manifest, at most {MAX_BYTES} are allowed")]
    TooLarge {
        /// Its size.
        n_bytes: u64,
    },
    /// A manifest that is not JSON of the expected form.
    #[error("{0}; {ADVICE}")]
    Json(#[source] serde_json::Error),
    /// A manifest with another hash or version.
    #[error("its content does not match its hash, or its version is unknown; {ADVICE}")]
    Hash,
    /// A manifest without a file that is needed.
    #[error("it does not list {0}; {ADVICE}")]
    NotListed(String),
    /// A manifest that lists something else than a file of its folder.
    #[error("'{0}' is not a file in this folder; {ADVICE}")]
    NotInFolder(String),
    /// A file of another size.
    #[error("{found} bytes, expected {expected}; {ADVICE}")]
    Size {
        /// Its size.
        found: u64,
        /// The size in the manifest.
        expected: u64,
    },
    /// A file with another hash.
    #[error("its content differs from what was written; {ADVICE}")]
    Content,
}

const ADVICE: &str = "restore a copy or retrain the model";

/// The size and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    n_bytes: u64,
    /// 64-bit XXH3 of the hashes of the file's chunks of one mebibyte, in hexadecimal.
    xxh3: String,
}

impl Manifest {
    /// Hashes the files of a folder, gives all of them the same permissions, and writes their manifest, which is synced to disk.
    ///
    /// # Errors
    /// Fails if a file cannot be read or the disk is full.
    pub fn seal(folder: &Path) -> Result<Self, DataError> {
        let mut files = BTreeMap::new();
        for path in files_of(folder).map_err(DataError::io(folder))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name != MANIFEST {
                files.insert(name, entry(&path).map_err(DataError::io(&path))?);
            }
        }
        let manifest = Self { form: FORM, hash: hash_list(FORM, &files), files };
        let path = folder.join(MANIFEST);
        manifest.write(folder, &path).map_err(DataError::io(&path))?;
        Ok(manifest)
    }

    fn write(&self, folder: &Path, path: &Path) -> io::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        File::open(path)?.sync_all()?;
        // Files written by other libraries may start as private temporary files; this one has the permissions of the user's
        // umask.
        let permissions = std::fs::metadata(path)?.permissions();
        self.files.keys().try_for_each(|name| std::fs::set_permissions(folder.join(name), permissions.clone()))
    }

    /// Reads the manifest of a folder; `None` if the folder has none.
    ///
    /// # Errors
    /// Fails if the manifest is not as it was written.
    pub fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let path = folder.join(MANIFEST);
        let n_bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(DataError::io(&path))?.len(),
        };
        if n_bytes > MAX_BYTES {
            return Err(DataError::damaged(path, ManifestError::TooLarge { n_bytes }));
        }
        let text = std::fs::read(&path).map_err(DataError::io(&path))?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| DataError::damaged(&path, ManifestError::Json(error)))?;
        if manifest.form != FORM || manifest.hash != hash_list(manifest.form, &manifest.files) {
            return Err(DataError::damaged(path, ManifestError::Hash));
        }
        Ok(Some(manifest))
    }

    /// Returns whether the manifest lists a file.
    pub fn names(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Reads every file and compares it with the manifest, which must list all of `needed`.
    ///
    /// # Errors
    /// Fails on the first file that is missing or not as it was written.
    pub fn verify(&self, folder: &Path, needed: &[&str]) -> Result<(), DataError> {
        if let Some(name) = needed.iter().find(|name| !self.names(name)) {
            return Err(not_listed(folder, name));
        }
        self.files.keys().try_for_each(|name| self.verify_file(folder, name))
    }

    /// Reads one file and compares it with the manifest.
    ///
    /// # Errors
    /// Fails if the file is not listed in the manifest, is missing, or is not as it was written.
    pub fn verify_file(&self, folder: &Path, name: &str) -> Result<(), DataError> {
        let expected = self.files.get(name).ok_or_else(|| not_listed(folder, name))?;
        let path = inside(folder, name)?;
        let n_bytes = std::fs::metadata(&path).map_err(DataError::io(&path))?.len();
        if n_bytes != expected.n_bytes {
            return Err(DataError::damaged(path, ManifestError::Size { found: n_bytes, expected: expected.n_bytes }));
        }
        match entry(&path) {
            Ok(found) if found == *expected => Ok(()),
            Ok(_) => Err(DataError::damaged(path, ManifestError::Content)),
            Err(source) => Err(DataError::Io { path, source }),
        }
    }
}

fn not_listed(folder: &Path, name: &str) -> DataError {
    DataError::damaged(folder.join(MANIFEST), ManifestError::NotListed(name.to_owned()))
}

/// Returns the path of a file directly in the folder: an untrusted manifest may name anything, such as a device that never ends.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    let path = folder.join(name);
    let is_plain = matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    match is_plain && (path.is_file() || !path.exists()) {
        true => Ok(path),
        false => Err(DataError::damaged(folder.join(MANIFEST), ManifestError::NotInFolder(name.to_owned()))),
    }
}

/// Lists the regular files of a folder, sorted.
pub(crate) fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

fn entry(path: &Path) -> io::Result<Entry> {
    let file = File::open(path)?;
    let n_bytes = file.metadata()?.len();
    Ok(Entry { n_bytes, xxh3: format!("{:016x}", hash_file(&file, n_bytes)?) })
}

/// Returns the hash of a file, whose chunks are read and hashed in parallel.
fn hash_file(file: &File, n_bytes: u64) -> io::Result<u64> {
    let n_chunks = n_bytes.div_ceil(CHUNK as u64) as usize;
    let hashes = (0..n_chunks).into_par_iter().map_init(
        || vec![0; n_bytes.min(CHUNK as u64) as usize],
        |buffer, chunk| {
            let start = (chunk * CHUNK) as u64;
            let piece = &mut buffer[..(n_bytes - start).min(CHUNK as u64) as usize];
            file.read_exact_at(piece, start)?;
            Ok(xxh3_64(piece).to_le_bytes())
        },
    );
    Ok(xxh3_64(hashes.collect::<io::Result<Vec<[u8; 8]>>>()?.as_flattened()))
}

/// Returns the 64-bit XXH3 of bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

fn hash_list(form: u32, files: &BTreeMap<String, Entry>) -> String {
    format!("{:016x}", xxh3_64(&serde_json::to_vec(&(form, files)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), vec![7; 2 * CHUNK + 5]).unwrap();
        std::fs::write(folder.path().join("b.json"), "{}").unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        folder
    }

    fn checked(folder: &Path) -> Result<(), DataError> {
        Manifest::read(folder)?.unwrap().verify(folder, &["a.bin", "b.json"])
    }

    #[test]
    fn any_flipped_bit_is_an_error_that_names_the_file() {
        let folder = folder();
        Manifest::seal(folder.path()).unwrap();
        checked(folder.path()).unwrap();
        for name in ["a.bin", "b.json", MANIFEST] {
            let path = folder.path().join(name);
            let whole = std::fs::read(&path).unwrap();
            let step = if name == "a.bin" { 262_147 } else { 1 };
            for at in (0..whole.len()).step_by(step) {
                for bit in 0..8 {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 1 << bit;
                    std::fs::write(&path, &bytes).unwrap();
                    let error = checked(folder.path()).unwrap_err().to_string();
                    assert!(error.contains(name), "{name}, byte {at}, bit {bit}: {error}");
                }
            }
            std::fs::write(&path, &whole).unwrap();
        }
    }

    #[test]
    fn missing_shorter_or_unlisted_files_are_errors() {
        let folder = folder();
        let path = folder.path().join("b.json");
        let manifest = Manifest::seal(folder.path()).unwrap();
        std::fs::write(&path, "{").unwrap();
        let error = checked(folder.path()).unwrap_err().to_string();
        assert!(error.contains("b.json: 1 bytes, expected 2"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(checked(folder.path()).unwrap_err().to_string().contains("b.json: No such file"));
        assert!(manifest.verify(folder.path(), &["c"]).unwrap_err().to_string().contains("it does not list c"));
        assert!(Manifest::read(tempfile::tempdir().unwrap().path()).unwrap().is_none());
    }

    #[test]
    fn manifest_cannot_refer_to_files_outside_its_folder() {
        let folder = folder();
        for name in ["../x", "/dev/zero", "..", "a/b", ""] {
            let files = BTreeMap::from([(name.to_owned(), Entry { n_bytes: 0, xxh3: String::new() })]);
            let manifest = Manifest { form: FORM, hash: hash_list(FORM, &files), files };
            std::fs::write(folder.path().join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
            let manifest = Manifest::read(folder.path()).unwrap().unwrap();
            let error = manifest.verify(folder.path(), &[]).unwrap_err().to_string();
            assert!(error.contains("is not a file in this folder"), "{name}: {error}");
        }
    }

    #[test]
    fn private_files_get_the_permissions_of_the_manifest() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        std::fs::set_permissions(folder.path().join("a.bin"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Manifest::seal(folder.path()).unwrap();
        assert_eq!(mode("a.bin"), mode(MANIFEST));
        assert_eq!(mode("a.bin"), mode("b.json"));
    }
}
