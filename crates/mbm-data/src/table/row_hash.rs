//! The hash of a table: SHA-256 of its column names and of its cells, row by row, whatever the source and the batches.

use sha2::{Digest, Sha256};

use crate::CellRef;

/// Cells are gathered up to this size before they are hashed; larger ones are hashed where they are.
const N_GATHERED: usize = 1 << 14;

pub(super) struct RowHash {
    hash: Sha256,
    gathered: Vec<u8>,
    /// Memory for the content of a cell.
    content: Vec<u8>,
}

impl RowHash {
    pub fn new(columns: &[String]) -> Self {
        let mut hash = Sha256::new();
        hash.update(columns.join("\0"));
        Self { hash, gathered: Vec::with_capacity(2 * N_GATHERED + 5), content: Vec::new() }
    }

    /// Adds the next cell and returns the size of what was hashed for it.
    pub fn add(&mut self, cell: &CellRef) -> u64 {
        match cell {
            CellRef::Text(text) | CellRef::Json(text) => self.add_content(cell.tag(), text.as_bytes()),
            CellRef::Bytes(bytes) | CellRef::NotUtf8(bytes) => self.add_content(cell.tag(), bytes),
            CellRef::Number(value) => self.add_content(cell.tag(), &value.to_le_bytes()),
            CellRef::Words(words) => self.add_content(cell.tag(), words.join("\0").as_bytes()),
            CellRef::Empty | CellRef::Bool(_) | CellRef::Numbers(_) => {
                let mut content = std::mem::take(&mut self.content);
                content.clear();
                cell.write_content(&mut content);
                let n_bytes = self.add_content(cell.tag(), &content);
                self.content = content;
                n_bytes
            }
        }
    }

    /// Adds cells in the form of [`CellRef::write`], and returns their size.
    pub fn add_cells(&mut self, cells: &[u8]) -> u64 {
        self.flush();
        self.hash.update(cells);
        cells.len() as u64
    }

    /// Adds a cell by its tag and content.
    fn add_content(&mut self, tag: u8, content: &[u8]) -> u64 {
        let [a, b, c, d] = (content.len() as u32).to_le_bytes();
        self.gathered.extend([tag, a, b, c, d]);
        if content.len() < N_GATHERED {
            self.gathered.extend(content);
        }
        if self.gathered.len() >= N_GATHERED || content.len() >= N_GATHERED {
            self.flush();
        }
        if content.len() >= N_GATHERED {
            self.hash.update(content);
        }
        content.len() as u64 + 5
    }

    fn flush(&mut self) {
        self.hash.update(&self.gathered);
        self.gathered.clear();
    }

    pub fn finish(mut self) -> String {
        self.flush();
        crate::cache::hexadecimal(&self.hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_any_size_are_hashed_in_the_same_form() {
        let long = "x".repeat(N_GATHERED + 1);
        let cells = [
            CellRef::Text("a"),
            CellRef::Text(&long),
            CellRef::Bytes(long.as_bytes()),
            CellRef::Number(1.0),
            CellRef::Words(vec!["a", "b"]),
            CellRef::Empty,
            CellRef::Numbers(vec![1.0; N_GATHERED].into()),
            CellRef::Bool(true),
        ];
        let mut want = b"a\0b".to_vec();
        cells.iter().for_each(|cell| cell.write(&mut want));
        let mut hash = RowHash::new(&["a".to_owned(), "b".to_owned()]);
        let n_bytes: u64 = cells.iter().map(|cell| hash.add(cell)).sum();
        assert_eq!(n_bytes, want.len() as u64 - 3);
        assert_eq!(hash.finish(), crate::cache::hexadecimal(&Sha256::digest(want)));
    }
}
