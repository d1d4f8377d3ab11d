//! The temporary file of a table, mapped into memory. The only `unsafe` of the tables.

use std::fs::File;
use std::io;

use arrow_buffer::Buffer;
use memmap2::Mmap;

/// Maps an unnamed temporary file into memory.
///
/// # Errors
/// Fails if the operating system cannot map the file.
pub(super) fn map(file: &File) -> io::Result<Buffer> {
    // SAFETY: the file has no name and its descriptor stays in this process, so nobody else can change or truncate it, and this
    // process does not write to it any more.
    let map = unsafe { Mmap::map(file)? };
    Ok(Buffer::from(bytes::Bytes::from_owner(map)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn mapped_file_equals_what_was_written() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        assert_eq!(map(&file).unwrap().as_slice(), [7; 10_000]);
    }
}
