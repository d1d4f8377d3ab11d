//! Folders and files that are complete or absent: written aside, synced, renamed. A kill at any moment leaves the one before or the new one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::manifest::files_of;
use crate::{DataError, Manifest};

/// Makes a folder that is complete or absent, with a [`Manifest`] of its files.
///
/// # Errors
/// What `fill` answers, or the file system; the folder before stays.
pub fn write_folder<E: From<DataError>>(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let at_folder = || DataError::io(folder);
    let aside = with_ending(folder, ".tmp");
    remove(&aside).map_err(at_folder())?;
    fs::create_dir_all(&aside).map_err(DataError::io(&aside))?;
    fill(&aside)?;
    Manifest::seal(&aside)?;
    Ok(replace(folder, &aside).map_err(at_folder())?)
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

/// Where a folder of [`write_folder`] is to be read: a kill between two renames leaves the one before beside its place.
pub fn standing(folder: &Path) -> PathBuf {
    if folder.is_dir() { folder.to_path_buf() } else { with_ending(folder, ".old") }
}

/// Tidies up after a process that was killed in [`write_folder`]; only for the one process that writes there.
///
/// # Errors
/// What the file system says.
pub fn recover(folder: &Path) -> Result<(), DataError> {
    let old = with_ending(folder, ".old");
    let tidy = || {
        remove(&with_ending(folder, ".tmp"))?;
        if exists(folder) {
            remove(&old)
        } else if exists(&old) {
            fs::rename(&old, folder)
        } else {
            Ok(())
        }
    };
    tidy().map_err(DataError::io(folder))
}

/// Writes a file that is complete or absent.
///
/// # Errors
/// What the file system says, such as a disk that is full; the file before stays.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), DataError> {
    let aside = with_ending(path, ".tmp");
    let write = || {
        fs::write(&aside, content)?;
        sync(&aside)?;
        fs::rename(&aside, path)
    };
    write().map_err(|source| {
        // The error that is told is the first one.
        let _ = fs::remove_file(&aside);
        DataError::Io { path: path.to_path_buf(), source }
    })
}

/// Gives a file that was written aside its name, once it lies on the disk.
///
/// # Errors
/// What the file system says; the file before stays.
pub fn put_in_place(aside: &Path, path: &Path) -> Result<(), DataError> {
    sync(aside).and_then(|()| fs::rename(aside, path)).map_err(DataError::io(path))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Whether there is something, a link to nothing included.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a folder or file if it is there, and of a link the link alone.
///
/// # Errors
/// What the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    // The parent of a relative name is an empty path.
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
        fs::read_to_string(standing(folder).join("a")).unwrap()
    }

    #[test]
    fn a_folder_is_replaced_whole_or_stays() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("last.v1");
        write(&folder, "one").unwrap();
        write(&folder, "two").unwrap();
        assert_eq!(content(&folder), "two");
        let failed = write_folder(&folder, |_| Err(DataError::Split("no".into())));
        assert!(failed.is_err() && content(&folder) == "two");
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "the file and its manifest: {names:?}");
    }

    #[test]
    fn what_a_kill_between_the_renames_leaves_is_read_and_tidied_up() {
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
    fn a_file_is_replaced_whole_and_an_error_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a.json");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let nowhere = parent.path().join("no/a.json");
        assert!(write_file(&nowhere, b"x").unwrap_err().to_string().starts_with(&nowhere.display().to_string()));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
