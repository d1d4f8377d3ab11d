//! The bytes of a media cell: stored in the table, or in the file that the cell names.

use std::path::Path;

use super::text_of;
use crate::{Cause, Cell, Fault};

/// Maximum size of a media file that is read into memory, in bytes.
const MAX_BYTES: u64 = 1 << 29;

/// Reads the media of a cell; a relative path is resolved against `folder`.
pub(super) fn bytes_of(cell: &Cell, folder: &Path) -> Result<Vec<u8>, Fault> {
    if let Cell::Bytes(bytes) = cell {
        return Ok(bytes.clone());
    }
    let name = text_of(cell)?;
    let path = folder.join(name.trim());
    let metadata = std::fs::metadata(&path).map_err(|error| cannot_read(&name, &error))?;
    if !metadata.is_file() {
        return Err(Fault::new(Cause::FileNotFound, format!("{name} is not a file")));
    }
    if metadata.len() > MAX_BYTES {
        return Err(Fault::new(Cause::TooLarge, format!("{name}: {} bytes, the limit is {MAX_BYTES}", metadata.len())));
    }
    std::fs::read(&path).map_err(|error| cannot_read(&name, &error))
}

fn cannot_read(name: &str, error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Fault::new(Cause::FileNotFound, name),
        _ => Fault::new(Cause::Unreadable, format!("{name}: {error}")),
    }
}

/// Prefixes a decoder's fault with the file name.
pub(crate) fn named(cell: &Cell, fault: Fault) -> Fault {
    match cell {
        Cell::Text(name) => Fault::new(fault.cause, format!("{name}: {}", fault.detail)),
        _ => fault,
    }
}
