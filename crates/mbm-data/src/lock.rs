//! Exclusive write locks on folders, held by one process at a time. The operating system releases a lock when the process ends,
//! however it ends.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::DataError;

/// A lock on a folder, which no other process writes to until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks a folder through a file in it, which is created if it does not exist.
    ///
    /// # Errors
    /// [`DataError::Busy`] if another process holds the lock; also fails if the folder cannot be written to.
    pub fn of(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("lock");
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(DataError::io(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(DataError::Busy { path: folder.to_path_buf() }),
                Err(TryLockError::Error(source)) => return Err(DataError::Io { path, source }),
            }
            // The previous holder may have removed the folder in the meantime, and this file with it.
            let is_current = std::fs::metadata(&path).and_then(|now| Ok(now.ino() == file.metadata()?.ino()));
            if is_current.unwrap_or(false) {
                return Ok(Self { _file: file });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused_until_the_first_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::of(folder.path()).unwrap();
        let error = Lock::of(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::Busy { .. }), "{error}");
        assert!(error.to_string().contains("another process is writing here"), "{error}");
        drop(first);
        Lock::of(folder.path()).unwrap();
    }
}
