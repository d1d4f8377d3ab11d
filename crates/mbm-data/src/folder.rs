//! Atomic writes of folders and files: written under a temporary name, synced, renamed. A kill at any moment leaves either the
//! previous or the new version.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::files_of;
use crate::{DataError, Manifest};

/// Writes a folder atomically, with a [`Manifest`] of its files.
///
/// # Errors
/// Fails with the error of `fill` or of the file system; the previous folder is kept.
pub fn write_folder<E: From<DataError>>(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let aside = with_ending(folder, ".tmp");
    remove(&aside).map_err(DataError::io(folder))?;
    fs::create_dir_all(&aside).map_err(DataError::io(&aside))?;
    fill(&aside)?;
    Manifest::seal(&aside)?;
    Ok(replace(folder, &aside).map_err(DataError::io(folder))?)
}

fn replace(folder: &Path, aside: &Path) -> io::Result<()> {
    let old = with_ending(folder, ".old");
    for path in files_of(aside)? {
        sync(&path)?;
    }
    sync(aside)?;
    if exists(folder) {
        remove(&old)?;
        fs::rename(folder, &old)?;
    }
    fs::rename(aside, folder)?;
    folder.parent().map_or(Ok(()), sync)?;
    remove(&old)
}

/// Returns where to read a folder of [`write_folder`]: a kill between its two renames leaves the previous version under a
/// temporary name next to it.
pub fn latest_complete(folder: &Path) -> PathBuf {
    if folder.is_dir() { folder.to_path_buf() } else { with_ending(folder, ".old") }
}

/// Cleans up after a process that was killed in [`write_folder`]; only to be called by the one process that writes there.
///
/// # Errors
/// Fails on a file system error.
pub fn recover(folder: &Path) -> Result<(), DataError> {
    tidy(folder).map_err(DataError::io(folder))
}

/// Removes an unfinished version; removes the previous version if there is a current one, otherwise renames it back.
fn tidy(folder: &Path) -> io::Result<()> {
    let old = with_ending(folder, ".old");
    remove(&with_ending(folder, ".tmp"))?;
    if exists(folder) {
        remove(&old)
    } else if exists(&old) {
        fs::rename(&old, folder)
    } else {
        Ok(())
    }
}

/// Writes a file atomically.
///
/// # Errors
/// Fails on a file system error, such as a full disk; the previous file is kept.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), DataError> {
    let aside = with_ending(path, ".tmp");
    let written = fs::write(&aside, content).and_then(|()| sync(&aside)).and_then(|()| fs::rename(&aside, path));
    written.map_err(|source| {
        // The first error is the one to report.
        let _ = fs::remove_file(&aside);
        DataError::Io { path: path.to_path_buf(), source }
    })
}

/// Syncs a file that was written under a temporary name to disk and renames it.
///
/// # Errors
/// Fails on a file system error; the previous file is kept.
pub fn sync_and_rename(aside: &Path, path: &Path) -> Result<(), DataError> {
    sync(aside).and_then(|()| fs::rename(aside, path)).map_err(DataError::io(path))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Returns whether the path exists, even as a dangling symlink.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a folder or file if it exists; of a symlink, only the link itself.
///
/// # Errors
/// Fails on a file system error.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    // The parent of a bare file name is an empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, content: &str) -> Result<(), DataError> {
        write_folder(folder, |aside| fs::write(aside.join("a"), content).map_err(DataError::io(aside)))
    }

    fn content(folder: &Path) -> String {
        fs::read_to_string(latest_complete(folder).join("a")).unwrap()
    }

    #[test]
    fn folder_is_replaced_completely_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("last.v1");
        write(&folder, "one").unwrap();
        write(&folder, "two").unwrap();
        assert_eq!(content(&folder), "two");
        let failed = write_folder(&folder, |_| Err(DataError::UnknownKind("no".into())));
        assert!(failed.is_err() && content(&folder) == "two");
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "the file and its manifest: {names:?}");
    }

    #[test]
    fn kill_between_renames_is_recovered_from() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("last");
        let [aside, old] = [".tmp", ".old"].map(|ending| with_ending(&folder, ending));
        write(&folder, "one").unwrap();
        fs::rename(&folder, &old).unwrap();
        fs::create_dir(&aside).unwrap();
        assert_eq!(content(&folder), "one");
        recover(&folder).unwrap();
        assert!(content(&folder) == "one" && folder.is_dir() && !old.exists() && !aside.exists());
        fs::create_dir(&old).unwrap();
        recover(&folder).unwrap();
        assert!(content(&folder) == "one" && !old.exists());
    }

    #[test]
    fn file_is_replaced_completely_and_errors_name_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a.json");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let nowhere = parent.path().join("no/a.json");
        assert!(write_file(&nowhere, b"x").unwrap_err().to_string().starts_with(&nowhere.display().to_string()));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
