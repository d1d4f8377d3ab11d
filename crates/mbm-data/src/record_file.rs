//! Byte records in an unnamed temporary file, appended once and read by index; they take eight bytes of memory per record.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Records of any length in a file in `TMPDIR`, which is deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct RecordFile {
    file: File,
    ends: Vec<u64>,
    pending: Vec<u8>,
}

/// Bytes that are buffered before they are written.
const BUFFER: usize = 1 << 20;

impl RecordFile {
    pub fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, ends: Vec::new(), pending: Vec::new() })
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the total size of all records in bytes.
    pub fn n_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Appends a record and returns its index.
    pub fn push(&mut self, record: &[u8]) -> io::Result<usize> {
        let start = self.n_bytes();
        self.ends.push(start + record.len() as u64);
        if record.len() >= BUFFER {
            // The pending bytes end where the record starts.
            self.file.write_all_at(&self.pending, start - self.pending.len() as u64)?;
            self.pending.clear();
            self.file.write_all_at(record, start)?;
            return Ok(self.len() - 1);
        }
        self.pending.extend_from_slice(record);
        if self.pending.len() >= BUFFER {
            self.flush()?;
        }
        Ok(self.len() - 1)
    }

    /// Writes pending records, which cannot be read before.
    pub fn flush(&mut self) -> io::Result<()> {
        let start = self.n_bytes() - self.pending.len() as u64;
        self.file.write_all_at(&self.pending, start)?;
        self.pending = Vec::new();
        Ok(())
    }

    pub fn read(&self, idx: usize) -> io::Result<Vec<u8>> {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        let mut record = vec![0; (self.ends[idx] - start) as usize];
        self.file.read_exact_at(&mut record, start)?;
        Ok(record)
    }
}
