//! A check of how deeply the groups of a Parquet file are nested, from its footer: the `parquet` crate recurses once per level,
//! without a limit, and 100,000 levels take less than a megabyte.
//!
//! The footer is a struct in Thrift's compact protocol; its second field lists the schema in depth-first order, each element with
//! the number of its children (`parquet.thrift`, `FileMetaData` and `SchemaElement`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use mbm_config::MAX_DEPTH;

/// The field of `FileMetaData` that holds the schema.
const SCHEMA: i64 = 2;
/// The field of `SchemaElement` that holds the number of children.
const N_CHILDREN: i64 = 5;

const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// Returns whether the groups of a file are nested at most [`MAX_DEPTH`] levels deep.
///
/// # Errors
/// A file that cannot be read. A file that is not Parquet passes and is left to the reader to reject.
pub(super) fn is_shallow(file: &mut File) -> io::Result<bool> {
    let n_bytes = file.seek(SeekFrom::End(0))?;
    let Some(tail) = n_bytes.checked_sub(8) else { return Ok(true) };
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(tail))?;
    file.read_exact(&mut length)?;
    let Some(start) = tail.checked_sub(u32::from_le_bytes(length).into()) else { return Ok(true) };
    let mut footer = vec![0; (tail - start) as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut footer)?;
    Ok(Footer { bytes: &footer }.is_shallow().unwrap_or(true))
}

/// The unread rest of a footer; its methods return `None` if it ends early.
struct Footer<'a> {
    bytes: &'a [u8],
}

impl Footer<'_> {
    fn is_shallow(&mut self) -> Option<bool> {
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            if id == SCHEMA && kind == LIST {
                return self.schema_is_shallow();
            }
            self.skip(kind, MAX_DEPTH)?;
        }
        Some(true)
    }

    fn schema_is_shallow(&mut self) -> Option<bool> {
        let (kind, n_elements) = self.list()?;
        // For each open group, the number of children still to come.
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..n_elements {
            if kind != STRUCT {
                return Some(true);
            }
            open.push(self.n_children()?);
            if open.len() > MAX_DEPTH {
                return Some(false);
            }
            while open.last().is_some_and(|n_children| *n_children <= 0) {
                open.pop();
                if let Some(parent) = open.last_mut() {
                    *parent -= 1;
                }
            }
        }
        Some(true)
    }

    fn n_children(&mut self) -> Option<i64> {
        let (mut id, mut n_children) = (0, 0);
        while let Some(kind) = self.field(&mut id)? {
            if id == N_CHILDREN {
                n_children = self.integer()?;
            } else {
                self.skip(kind, MAX_DEPTH)?;
            }
        }
        Some(n_children)
    }

    /// Returns the type of a struct's next field and stores its id in `id`; `Some(None)` at the end of the struct.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.integer()?,
            step => id.checked_add(step.into())?,
        };
        Some(Some(byte & 15))
    }

    fn list(&mut self) -> Option<(u8, u64)> {
        let byte = self.byte()?;
        let n_items = if byte >> 4 == 15 { self.number()? } else { u64::from(byte >> 4) };
        Some((byte & 15, n_items))
    }

    fn skip(&mut self, kind: u8, levels: usize) -> Option<()> {
        let below = levels.checked_sub(1)?;
        match kind {
            // The type itself holds the value of a boolean.
            1 | 2 => Some(()),
            3 => self.byte().map(|_| ()),
            4..=6 => self.number().map(|_| ()),
            7 => self.take(8),
            8 => self.number().and_then(|n_bytes| self.take(n_bytes)),
            LIST | SET => {
                let (kind, n_items) = self.list()?;
                // In a list, a boolean takes a byte.
                (0..n_items).try_for_each(|_| if kind <= 2 { self.take(1) } else { self.skip(kind, below) })
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, below)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn take(&mut self, n_bytes: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(n_bytes).ok()?..)?;
        Some(())
    }

    /// Reads a varint: groups of seven bits, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(number);
            }
        }
        None
    }

    /// Reads a zigzag varint, whose lowest bit is the sign.
    fn integer(&mut self) -> Option<i64> {
        self.number().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::Table;

    /// A file without rows whose only column is nested in `n` groups.
    fn nested(n: usize) -> Vec<u8> {
        // Fields by the difference of their ids and their type: name (4), repetition (3), num_children (5), type (1).
        let root = [0x48, 1, b'r', 0x15, 2, 0];
        let group = [0x35, 0, 0x18, 1, b'a', 0x15, 2, 0];
        let leaf = [0x15, 2, 0x25, 0, 0x18, 1, b'x', 0];
        let n_elements = n + 2;
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut rest = n_elements;
        while rest >= 128 {
            footer.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        footer.push(rest as u8);
        footer.extend(root);
        (0..n).for_each(|_| footer.extend(group));
        footer.extend(leaf);
        // num_rows 0, no row groups.
        footer.extend([0x16, 0, 0x19, 0x0c, 0]);
        let mut file = b"PAR1".to_vec();
        file.extend(&footer);
        file.extend((footer.len() as u32).to_le_bytes());
        file.extend(b"PAR1");
        file
    }

    fn read(bytes: Vec<u8>) -> Result<usize, String> {
        let work = move || {
            let mut file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            Table::read(file.path()).map(|table| table.n_rows()).map_err(|error| error.to_string())
        };
        std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn deeply_nested_groups_are_rejected_on_a_small_stack() {
        assert_eq!(read(nested(3)), Ok(0));
        assert_eq!(read(nested(62)), Ok(0));
        for n in [63, 200_000] {
            assert!(read(nested(n)).unwrap_err().contains("groups nested deeper than 64 levels"), "{n}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_footers_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Footer { bytes: &bytes }.is_shallow();
        }
    }
}
