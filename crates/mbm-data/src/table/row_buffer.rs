//! The rows of the next batch, one after the other, from which its columns are gathered when it is complete. Appending each cell to
//! its column at once would touch as many places in memory as the table has columns, for every row.

use crate::CellRef;

/// Bytes of a cell's tag and of the length of its content.
const HEADER: usize = 5;

/// Bytes of memory that are kept for the next batch.
const MAX_KEPT: usize = 128 << 20;

#[derive(Debug, Default)]
pub(super) struct RowBuffer {
    /// Cells in the form that is hashed ([`CellRef::write`]), except for lists of words.
    bytes: Vec<u8>,
    /// Where each cell ends.
    ends: Vec<usize>,
}

impl RowBuffer {
    /// Bytes that a cell takes in addition to the form that is hashed.
    pub const CELL_OVERHEAD: usize = size_of::<usize>();

    pub fn push(&mut self, cell: &CellRef) {
        match cell {
            CellRef::Words(_) => {
                self.bytes.extend(cell.header(0));
                cell.write_content(&mut self.bytes);
            }
            cell => cell.write(&mut self.bytes),
        }
        self.ends.push(self.bytes.len());
    }

    /// Returns the size of all cells, from which [`RowBuffer::since`] returns later ones.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn since(&self, n_bytes: usize) -> &[u8] {
        &self.bytes[n_bytes..]
    }

    /// Returns the tag and content of each cell of a column.
    pub fn column(&self, column: usize, n_columns: usize) -> impl Iterator<Item = (u8, &[u8])> + Clone {
        (column..self.ends.len()).step_by(n_columns).map(|at| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            (self.bytes[start], &self.bytes[start + HEADER..self.ends[at]])
        })
    }

    /// Removes all cells. The memory of usual batches is kept for the next one.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(MAX_KEPT);
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_the_cells_of_all_rows() {
        let rows = [
            [CellRef::Text("a"), CellRef::Number(1.0), CellRef::Words(vec!["b", "c"])],
            [CellRef::Empty, CellRef::Bool(true), CellRef::Words(vec![])],
        ];
        let mut buffer = RowBuffer::default();
        rows.iter().flatten().for_each(|cell| buffer.push(cell));
        for column in 0..3 {
            let want: Vec<&CellRef> = rows.iter().map(|row| &row[column]).collect();
            let found: Vec<_> = buffer.column(column, 3).collect();
            assert_eq!(
                found.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(),
                want.iter().map(|cell| cell.tag()).collect::<Vec<_>>()
            );
            let contents = want.iter().map(|cell| {
                let mut content = Vec::new();
                cell.write_content(&mut content);
                content
            });
            assert!(contents.eq(found.iter().map(|(_, content)| content.to_vec())));
        }
        let mut second_row = Vec::new();
        buffer.clear();
        buffer.push(&rows[0][0]);
        let start = buffer.n_bytes();
        rows[1][..2].iter().for_each(|cell| {
            buffer.push(cell);
            cell.write(&mut second_row);
        });
        assert_eq!(buffer.since(start), second_row);
    }
}
