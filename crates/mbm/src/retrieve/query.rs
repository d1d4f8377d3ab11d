//! The parts of a query: a cell for each of some inputs.

use mbm_data::Cell;

/// A part of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPart {
    /// The input that it is for.
    pub input: String,
    /// A text, a path, or the bytes of a file.
    pub cell: Cell,
    /// The weight of the part in the query.
    pub weight: f32,
}
