//! Stores the payloads of rows in a temporary file; a large payload that several rows share, such as an image with five captions,
//! is stored once.

use std::collections::HashMap;
use std::io;

use sha2::{Digest, Sha256};

use crate::record_file::RecordFile;
use crate::{CacheKey, Cause, Fault, FieldFault, Payload, Sample};

/// Samples, stored by row.
#[derive(Debug)]
pub(crate) struct SampleStore {
    record_file: RecordFile,
    /// The record of each row of the table, if the row is stored.
    rows: Vec<Option<usize>>,
    /// The records of large payloads, by the hash of their bytes.
    large: HashMap<CacheKey, usize>,
}

/// Size in bytes above which a payload has its own record. A shared number or short text is not worth a hash.
const LARGE: usize = 4096;

/// Maximum number of large payloads whose hashes are in memory while rows are pushed; later ones are not deduplicated.
const REMEMBERED: usize = 1 << 20;

/// Tags that precede a payload in a row's record: stored inline, or in a record of its own.
const HERE: u8 = 0;
const ELSEWHERE: u8 = 1;

impl SampleStore {
    pub fn new(n_rows: usize) -> io::Result<Self> {
        Ok(Self { record_file: RecordFile::new()?, rows: vec![None; n_rows], large: HashMap::new() })
    }

    /// Returns the size of the file in bytes.
    pub fn n_bytes(&self) -> u64 {
        self.record_file.n_bytes()
    }

    pub fn push(&mut self, sample: &Sample) -> io::Result<()> {
        let mut record = Vec::new();
        for payload in &sample.payloads {
            let start = record.len();
            record.push(HERE);
            payload.write(&mut record);
            if record.len() - start > LARGE {
                let record_idx = self.push_large(&record[start + 1..])?;
                record.truncate(start);
                record.push(ELSEWHERE);
                record.extend((record_idx as u64).to_le_bytes());
            }
        }
        sample.faults.iter().for_each(|fault| write_fault(fault, &mut record));
        self.rows[sample.row_idx] = Some(self.record_file.push(&record)?);
        Ok(())
    }

    fn push_large(&mut self, payload: &[u8]) -> io::Result<usize> {
        let key = Sha256::digest(payload).into();
        if let Some(record_idx) = self.large.get(&key) {
            return Ok(*record_idx);
        }
        let record_idx = self.record_file.push(payload)?;
        if self.large.len() < REMEMBERED {
            self.large.insert(key, record_idx);
        }
        Ok(record_idx)
    }

    /// Finishes writing: no rows can be pushed afterwards, and all can be read.
    pub fn finish(&mut self) -> io::Result<()> {
        self.large = HashMap::new();
        self.record_file.flush()
    }

    /// Returns a row with one payload per field, if the row was pushed.
    pub fn read(&self, row_idx: usize, n_fields: usize) -> io::Result<Option<Sample>> {
        let Some(record_idx) = self.rows[row_idx] else { return Ok(None) };
        let record = self.record_file.read(record_idx)?;
        let mut rest = record.as_slice();
        let payloads = (0..n_fields).map(|_| self.read_payload(&mut rest)).collect::<io::Result<_>>()?;
        let faults = std::iter::from_fn(|| read_fault(&mut rest)).collect();
        Ok(Some(Sample { row_idx, payloads, faults }))
    }

    fn read_payload(&self, rest: &mut &[u8]) -> io::Result<Payload> {
        let kind = rest[0];
        *rest = &rest[1..];
        if kind == HERE {
            return Ok(Payload::read(rest));
        }
        let (record_idx, tail) = rest.split_at(8);
        *rest = tail;
        let record_idx = record_idx.iter().rev().fold(0, |record_idx, byte| record_idx << 8 | usize::from(*byte));
        Ok(Payload::read(&mut self.record_file.read(record_idx)?.as_slice()))
    }
}

/// Appends the field in four bytes, the cause in one, and the detail with its length in four.
fn write_fault(FieldFault { field, fault }: &FieldFault, out: &mut Vec<u8>) {
    out.extend((*field as u32).to_le_bytes());
    out.push(fault.cause as u8);
    out.extend((fault.detail.len() as u32).to_le_bytes());
    out.extend(fault.detail.as_bytes());
}

/// Reads a fault from the end of a row's record; `None` if no more are left.
fn read_fault(rest: &mut &[u8]) -> Option<FieldFault> {
    let (field, tail) = rest.split_first_chunk::<4>()?;
    let ([cause], tail) = tail.split_first_chunk::<1>()?;
    let (length, tail) = tail.split_first_chunk::<4>()?;
    let (detail, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    let fault = Fault { cause: *Cause::ALL.get(usize::from(*cause))?, detail: String::from_utf8_lossy(detail).into_owned() };
    Some(FieldFault { field: u32::from_le_bytes(*field) as usize, fault })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_round_trip_and_large_payloads_are_stored_once(rows in vec((0usize..3, any::<bool>()), 1..20)) {
            let sample = |(row_idx, (which, is_large)): (usize, &(usize, bool))| {
                let large = Payload::Vector(vec![*which as f32; if *is_large { 2000 } else { 20 }]);
                let fault = |cause, detail: &str| FieldFault { field: 2, fault: Fault::new(cause, detail) };
                let faults = [vec![fault(Cause::Empty, "")], vec![fault(Cause::Malformed, "x"), fault(Cause::Shortened, "")]];
                let payloads = vec![Payload::Class(row_idx as u32), large, Payload::Missing];
                Sample { row_idx, payloads, faults: faults[usize::from(*is_large)].clone() }
            };
            let samples: Vec<Sample> = rows.iter().enumerate().map(sample).collect();
            let mut store = SampleStore::new(rows.len() + 1).unwrap();
            samples.iter().for_each(|sample| store.push(sample).unwrap());
            prop_assert!(store.n_bytes() <= 3 * 8100 + 140 * rows.len() as u64, "{}", store.n_bytes());
            store.finish().unwrap();
            for sample in samples {
                prop_assert_eq!(store.read(sample.row_idx, 3).unwrap(), Some(sample));
            }
            prop_assert_eq!(store.read(rows.len(), 3).unwrap(), None);
        }
    }
}
