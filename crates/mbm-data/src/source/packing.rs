//! How the content of a file is compressed: gzip, Zstandard, or a table in a zip archive. The first bytes tell, not the name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::CrcReader;
use flate2::read::{DeflateDecoder, MultiGzDecoder};

use super::unfolding::Unfolding;

/// Endings of the names of compressed files.
const ENDINGS: [&str; 4] = [".gz", ".zst", ".zstd", ".zip"];

/// Maximum size of the window that a Zstandard file may ask for, as a power of two: the limit of the `zstd` command.
const MAX_WINDOW: u32 = 27;

/// How the content of a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all.
    Plain,
    /// Gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstandard,
    /// A file in a zip archive.
    Zip(ZipMember),
}

/// Where a file lies in a zip archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ZipMember {
    /// The offset of its first byte.
    pub start: u64,
    /// Its compressed size.
    pub n_bytes: u64,
    /// Whether it is compressed with Deflate; stored as it is otherwise.
    pub is_deflated: bool,
    /// Its checksum.
    pub crc: u32,
}

impl Packing {
    /// Recognizes a compressed file by its first bytes. Zip archives are recognized by [`is_zip`], and opened with their directory.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstandard,
            _ => Self::Plain,
        }
    }

    /// Returns the content, which may have at most a multiple of `n_bytes`.
    pub fn open(self, mut file: File, n_bytes: u64) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Plain => Ok(Box::new(file)),
            Self::Gzip => Ok(Box::new(Unfolding::new(MultiGzDecoder::new(file), n_bytes))),
            Self::Zstandard => {
                let mut decoder = zstd::Decoder::new(file)?;
                decoder.window_log_max(MAX_WINDOW)?;
                Ok(Box::new(Unfolding::new(decoder, n_bytes)))
            }
            Self::Zip(member) => {
                file.seek(SeekFrom::Start(member.start))?;
                let packed = file.take(member.n_bytes);
                match member.is_deflated {
                    true => Ok(Box::new(Checked::new(Unfolding::new(DeflateDecoder::new(packed), n_bytes), member.crc))),
                    false => Ok(Box::new(Checked::new(packed, member.crc))),
                }
            }
        }
    }
}

/// Whether a file starts as a zip archive with files, or without any.
pub(super) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// Returns a file's name without the ending of compressed files.
pub(super) fn without_ending(name: &str) -> &str {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Checks a file of a zip archive against its checksum at the end.
struct Checked<R: Read> {
    inner: CrcReader<R>,
    crc: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("damaged: the file in the archive does not have its checksum")]
struct OtherChecksum;

impl<R: Read> Checked<R> {
    fn new(inner: R, crc: u32) -> Self {
        Self { inner: CrcReader::new(inner), crc }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(buffer)?;
        if n_bytes == 0 && !buffer.is_empty() && self.inner.crc().sum() != self.crc {
            return Err(io::Error::new(io::ErrorKind::InvalidData, OtherChecksum));
        }
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::super::testing::{gzip, zip, zstandard};
    use crate::source::TableOptions;

    #[test]
    fn content_that_expands_beyond_all_proportion_is_an_error() {
        let zeros = vec![0; (1 << 28) + 1];
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("gz", gzip(&zeros)), ("zst", zstandard(&zeros)), ("zip", zip(&[("t.csv", &zeros)]))] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let input = Input::of_file(&path, &TableOptions::default()).unwrap().of_archive().unwrap();
            let error = std::io::copy(&mut input.open().unwrap(), &mut std::io::sink()).unwrap_err().to_string();
            assert!(error.contains("more than 200 times its size"), "{name}: {error}");
        }
    }

    #[test]
    fn compressed_files_of_several_parts_are_read_to_their_end() {
        let folder = tempfile::tempdir().unwrap();
        for (name, part) in [("gz", gzip as fn(&[u8]) -> Vec<u8>), ("zst", zstandard)] {
            let path = folder.path().join(name);
            std::fs::write(&path, [part(b"a,b\n"), part(b"1,2\n")].concat()).unwrap();
            let input = Input::of_file(&path, &TableOptions::default()).unwrap();
            assert_eq!(std::io::read_to_string(input.open().unwrap()).unwrap(), "a,b\n1,2\n", "{name}");
        }
    }
}
