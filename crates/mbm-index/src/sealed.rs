//! Sealed files, which are written once and then only read: a body, a JSON footer that describes it, and a hash of both.
//!
//! ```text
//! body | footer | length of the footer u64 | hash u64 | "MBMIDX01"
//! ```
//!
//! Numbers are little-endian. The body starts at the first byte of the file, so its numbers are aligned and can be read from a
//! memory map in place.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Damage, IndexError};

const MAGIC: &[u8; 8] = b"MBMIDX01";

/// Bytes after the footer.
const TAIL: usize = 24;

/// Bytes hashed at a time; the hash of the file is the hash of these hashes.
const CHUNK: usize = 1 << 20;

/// Writes a sealed file.
pub(crate) struct SealedWriter {
    path: PathBuf,
    out: BufWriter<File>,
    chunk: Vec<u8>,
    hashes: Vec<u8>,
    n_bytes: u64,
}

/// A sealed file that has been verified.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub path: PathBuf,
    map: Mmap,
    footer: Range<usize>,
}

impl SealedWriter {
    pub fn create(path: &Path) -> Result<Self, IndexError> {
        let out = BufWriter::new(File::create(path).map_err(IndexError::io(path))?);
        Ok(Self { path: path.to_path_buf(), out, chunk: Vec::new(), hashes: Vec::new(), n_bytes: 0 })
    }

    /// Bytes written so far.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), IndexError> {
        self.out.write_all(bytes).map_err(IndexError::io(&self.path))?;
        self.n_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend(now);
            bytes = later;
            if self.chunk.len() == CHUNK {
                self.hash_chunk();
            }
        }
        Ok(())
    }

    fn hash_chunk(&mut self) {
        self.hashes.extend(xxh3_64(&self.chunk).to_le_bytes());
        self.chunk.clear();
    }

    /// Completes the file and waits until it is on disk.
    pub fn finish(mut self, footer: &impl Serialize) -> Result<(), IndexError> {
        let footer = serde_json::to_vec(footer).unwrap_or_default();
        self.write(&footer)?;
        self.write(&(footer.len() as u64).to_le_bytes())?;
        if !self.chunk.is_empty() {
            self.hash_chunk();
        }
        let failed = IndexError::io(&self.path);
        self.out.write_all(&xxh3_64(&self.hashes).to_le_bytes()).map_err(&failed)?;
        self.out.write_all(MAGIC).map_err(&failed)?;
        self.out.flush().map_err(&failed)?;
        self.out.get_ref().sync_all().map_err(&failed)
    }
}

impl Sealed {
    /// Maps a file into memory and verifies its hash.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let file = File::open(path).map_err(IndexError::io(path))?;
        // SAFETY: files of an index are never modified once they are listed; as with any memory map, the process dies if another
        // program truncates a file while it is mapped.
        let map = unsafe { Mmap::map(&file) }.map_err(IndexError::io(path))?;
        let damaged = |damage: Damage| IndexError::damaged(path, damage);
        let tail = map.len().checked_sub(TAIL).ok_or_else(|| damaged(Damage::TooShort))?;
        let word = |at: usize| map[at..at + 8].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if &map[tail + 16..] != MAGIC {
            return Err(damaged(Damage::NotAnIndexFile));
        }
        let hashed = &map[..tail + 8];
        let hashes: Vec<[u8; 8]> = hashed.par_chunks(CHUNK).map(|chunk| xxh3_64(chunk).to_le_bytes()).collect();
        if xxh3_64(hashes.as_flattened()) != word(tail + 8) {
            return Err(damaged(Damage::Hash));
        }
        let start = usize::try_from(word(tail)).ok().and_then(|length| tail.checked_sub(length));
        let start = start.ok_or_else(|| damaged(Damage::LongFooter))?;
        Ok(Self { path: path.to_path_buf(), map, footer: start..tail })
    }

    pub fn footer<T: DeserializeOwned>(&self) -> Result<T, IndexError> {
        serde_json::from_slice(&self.map[self.footer.clone()]).map_err(|error| IndexError::damaged(&self.path, error))
    }

    /// Returns `n` numbers of the body, starting at a byte offset.
    pub fn numbers<T: bytemuck::AnyBitPattern>(&self, start: usize, n: usize) -> Result<&[T], IndexError> {
        let bytes =
            n.checked_mul(size_of::<T>()).and_then(|length| self.map[..self.footer.start].get(start..start.checked_add(length)?));
        let numbers = bytes.and_then(|bytes| bytemuck::try_cast_slice(bytes).ok());
        numbers.ok_or_else(|| IndexError::damaged(&self.path, Damage::Numbers { n, start }))
    }

    /// Size of the whole file in bytes.
    pub fn n_bytes(&self) -> u64 {
        self.map.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(n: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut writer = SealedWriter::create(&path).unwrap();
        let numbers: Vec<u32> = (0..n as u32).collect();
        writer.write(bytemuck::cast_slice(&numbers)).unwrap();
        writer.finish(&vec!["footer"]).unwrap();
        (folder, path)
    }

    #[test]
    fn files_of_any_size_round_trip() {
        for n in [0, 3, CHUNK / 4, CHUNK / 4 + 1, CHUNK] {
            let (_folder, path) = written(n);
            let sealed = Sealed::open(&path).unwrap();
            assert_eq!(sealed.footer::<Vec<String>>().unwrap(), ["footer"]);
            let numbers: &[u32] = sealed.numbers(0, n).unwrap();
            assert!(numbers.iter().enumerate().all(|(at, number)| at as u32 == *number));
            assert!(sealed.numbers::<u32>(0, n + 1).is_err() && sealed.numbers::<u32>(4, usize::MAX).is_err());
        }
    }

    #[test]
    fn every_changed_byte_and_every_truncation_is_detected() {
        let (_folder, path) = written(9);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(Sealed::open(&path), Err(IndexError::Damaged { .. })), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Sealed::open(&path).is_err(), "length {at}");
        }
    }
}
