//! The parts of a query: a cell for each of some inputs.

use mbm_data::Cell;

/// A part of a query: a cell for one input.
///
/// ```
/// let part = mbm::QueryPart::from(("caption", "a dog")).weight(0.5);
/// assert_eq!((part.input.as_str(), part.weight), ("caption", 0.5));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueryPart {
    /// The input that it is for.
    pub input: String,
    /// A text, a path, or the bytes of a file.
    pub cell: Cell,
    /// The weight of the part in the query.
    pub weight: f32,
}

impl<N: Into<String>, C: Into<Cell>> From<(N, C)> for QueryPart {
    fn from((input, cell): (N, C)) -> Self {
        Self { input: input.into(), cell: cell.into(), weight: 1.0 }
    }
}

impl QueryPart {
    /// Sets the weight of the part in the query; it is 1 by default.
    pub fn weight(self, weight: f32) -> Self {
        Self { weight, ..self }
    }
}

/// An input or a query that a model computes no vector for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The model has no embedded input of a type.
    #[error("the model has no embedded input of type {type_name}; its inputs are: {available}")]
    NoInputOfType {
        /// The requested type.
        type_name: String,
        /// The embedded inputs with their types.
        available: String,
    },
    /// The model has several embedded inputs of a type.
    #[error("the model has several inputs of type {type_name}: {found}; specify one by name")]
    SeveralInputsOfType {
        /// The requested type.
        type_name: String,
        /// The inputs of that type.
        found: String,
    },
    /// A name that is not an embedded input.
    #[error("'{input}' is not an embedded input of the model; available inputs: {available}")]
    NotEmbedded {
        /// The name.
        input: String,
        /// The embedded inputs.
        available: String,
    },
    /// A name that is not an input.
    #[error("'{input}' is not an input of the model; available inputs: {available}")]
    UnknownInput {
        /// The name.
        input: String,
        /// The inputs.
        available: String,
    },
    /// An empty cell.
    #[error("{0}: the cell is empty")]
    EmptyCell(String),
    /// A part that the model computes no vector for.
    #[error("'{0}' has no vector")]
    NoVector(String),
    /// A query without a direction.
    #[error("the query is empty, or its weights are zero or too large")]
    Empty,
}
