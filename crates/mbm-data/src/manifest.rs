//! Which files a folder is made of, with their sizes and hashes: a byte that changes anywhere is an error that names its file.
//!
//! The manifest is hashed, too, over its own JSON without that hash. Hashes tell damage; they are no protection against someone who
//! writes a folder of their own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::DataError;

/// The file's name in its folder.
pub const MANIFEST: &str = "manifest.json";

/// The form of the file; a reader refuses what it does not know.
const FORM: u32 = 1;

/// The largest manifest that is read: 4,000 files of 250 bytes each, where a checkpoint has about ten.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes that are hashed at once; a file's hash is that of the hashes.
const CHUNK: usize = 1 << 20;

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    form: u32,
    /// By name.
    files: BTreeMap<String, Entry>,
    /// Of form and files.
    hash: String,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    n_bytes: u64,
    /// XXH3 in 64 bits of the hashes of the file's pieces of a mebibyte, in hexadecimal.
    xxh3: String,
}

impl Manifest {
    /// Hashes the files of a folder, waits until they lie on the disk, gives all of them the same permissions and writes their list.
    ///
    /// # Errors
    /// A file that cannot be read; a disk that is full.
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
        let write = || {
            std::fs::write(&path, serde_json::to_vec_pretty(&manifest)?)?;
            File::open(&path)?.sync_all()?;
            // Files that others write may begin as private temporary files; this one is as readable as the user's mask says.
            let permissions = std::fs::metadata(&path)?.permissions();
            manifest.files.keys().try_for_each(|name| std::fs::set_permissions(folder.join(name), permissions.clone()))
        };
        write().map_err(DataError::io(&path))?;
        Ok(manifest)
    }

    /// Reads the list of a folder; none where the folder has none.
    ///
    /// # Errors
    /// A list that is not as it was written.
    pub fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let path = folder.join(MANIFEST);
        let n_bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(DataError::io(&path))?.len(),
        };
        if n_bytes > MAX_BYTES {
            return Err(DataError::damaged(
                path,
                format!("{n_bytes} bytes are too many for a list of files, {MAX_BYTES} are allowed"),
            ));
        }
        let text = std::fs::read(&path).map_err(DataError::io(&path))?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| changed(&path, &error.to_string()))?;
        if manifest.form != FORM || manifest.hash != hash_list(manifest.form, &manifest.files) {
            return Err(changed(&path, "it is not the list that was written"));
        }
        Ok(Some(manifest))
    }

    /// Whether the list has a file.
    pub fn names(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Reads every file and compares it with the list; `needed` must be among them.
    ///
    /// # Errors
    /// The first file that is missing or is not as it was written.
    pub fn verify(&self, folder: &Path, needed: &[&str]) -> Result<(), DataError> {
        if let Some(name) = needed.iter().find(|name| !self.names(name)) {
            return Err(changed(&folder.join(MANIFEST), &format!("it does not name {name}")));
        }
        self.files.keys().try_for_each(|name| self.verify_file(folder, name))
    }

    /// Reads one of the files and compares it with the list.
    ///
    /// # Errors
    /// A file that the list does not name, that is missing or is not as it was written.
    pub fn verify_file(&self, folder: &Path, name: &str) -> Result<(), DataError> {
        let expected =
            self.files.get(name).ok_or_else(|| changed(&folder.join(MANIFEST), &format!("it does not name {name}")))?;
        let path = inside(folder, name)?;
        let n_bytes = std::fs::metadata(&path).map_err(DataError::io(&path))?.len();
        if n_bytes != expected.n_bytes {
            return Err(changed(&path, &format!("{n_bytes} bytes, {} were written", expected.n_bytes)));
        }
        match entry(&path) {
            Ok(found) if found == *expected => Ok(()),
            Ok(_) => Err(changed(&path, "its bytes are not those that were written")),
            Err(source) => Err(DataError::Io { path, source }),
        }
    }
}

fn changed(path: &Path, what: &str) -> DataError {
    DataError::damaged(path, format!("{what}; bring back a copy, or train anew"))
}

/// A file that lies in the folder itself: a list from elsewhere may name anything, such as a device that never ends.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    let path = folder.join(name);
    let is_plain = matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    match is_plain && (path.is_file() || !path.exists()) {
        true => Ok(path),
        false => Err(changed(&folder.join(MANIFEST), &format!("'{name}' is no file of this folder"))),
    }
}

/// The plain files of a folder, sorted.
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

/// The hash of a file's pieces, each read and hashed by one thread.
fn hash_file(file: &File, n_bytes: u64) -> io::Result<u64> {
    let n_chunks = n_bytes.div_ceil(CHUNK as u64) as usize;
    let of_chunk = |buffer: &mut Vec<u8>, chunk: usize| {
        let start = (chunk * CHUNK) as u64;
        let piece = &mut buffer[..(n_bytes - start).min(CHUNK as u64) as usize];
        file.read_exact_at(piece, start)?;
        Ok::<_, io::Error>(xxh3_64(piece).to_le_bytes())
    };
    let buffer = || vec![0; n_bytes.min(CHUNK as u64) as usize];
    let hashes = (0..n_chunks).into_par_iter().map_init(buffer, of_chunk).collect::<io::Result<Vec<[u8; 8]>>>()?;
    Ok(xxh3_64(hashes.as_flattened()))
}

/// XXH3 in 64 bits.
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
        Manifest::read(folder)?.ok_or_else(|| changed(folder, "no list"))?.verify(folder, &["a.bin", "b.json"])
    }

    #[test]
    fn a_bit_that_flips_anywhere_is_an_error_that_names_the_file() {
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
    fn a_file_that_is_missing_shorter_or_not_named_is_an_error() {
        let folder = folder();
        let path = folder.path().join("b.json");
        let manifest = Manifest::seal(folder.path()).unwrap();
        std::fs::write(&path, "{").unwrap();
        let error = checked(folder.path()).unwrap_err().to_string();
        assert!(error.contains("b.json: 1 bytes, 2 were written"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(checked(folder.path()).unwrap_err().to_string().contains("b.json: No such file"));
        assert!(manifest.verify(folder.path(), &["c"]).unwrap_err().to_string().contains("it does not name c"));
        assert!(Manifest::read(tempfile::tempdir().unwrap().path()).unwrap().is_none());
    }

    #[test]
    fn a_list_from_elsewhere_leads_to_no_file_outside_its_folder() {
        let folder = folder();
        for name in ["../x", "/dev/zero", "..", "a/b", ""] {
            let files = BTreeMap::from([(name.to_owned(), Entry { n_bytes: 0, xxh3: String::new() })]);
            let manifest = Manifest { form: FORM, hash: hash_list(FORM, &files), files };
            std::fs::write(folder.path().join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
            let manifest = Manifest::read(folder.path()).unwrap().unwrap();
            let error = manifest.verify(folder.path(), &[]).unwrap_err().to_string();
            assert!(error.contains("is no file of this folder"), "{name}: {error}");
        }
    }

    #[test]
    fn files_that_were_private_are_as_readable_as_the_list() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        std::fs::set_permissions(folder.path().join("a.bin"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Manifest::seal(folder.path()).unwrap();
        assert_eq!(mode("a.bin"), mode(MANIFEST));
        assert_eq!(mode("a.bin"), mode("b.json"));
    }
}
