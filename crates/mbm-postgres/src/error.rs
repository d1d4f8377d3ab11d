//! Errors of an index in PostgreSQL.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The database cannot be reached.
    #[error("PostgreSQL: {}", server_message(.0))]
    Connect(#[source] postgres::Error),
    /// The database rejected a statement.
    #[error("table '{table}': {}", server_message(source))]
    Refused {
        /// The table.
        table: String,
        /// The error of the database.
        source: postgres::Error,
    },
    /// The table already exists.
    #[error("table '{0}' already exists; choose another --index, or add rows with 'mbm index add'")]
    Exists(String),
    /// The table does not exist.
    #[error("table '{0}': no index found; create one with 'mbm index build'")]
    NoIndex(String),
    /// The table exists but does not hold an index.
    #[error("table '{0}' is not an index: it has no comment that describes an index")]
    NotAnIndex(String),
    /// The comment of the table does not describe an index.
    #[error("table '{table}' is not an index: {source}")]
    Foreign {
        /// The table.
        table: String,
        /// What is wrong with its comment.
        source: serde_json::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(rustls::Error),
    /// A column has the name of one that every index has.
    #[error("the column name '{0}' is reserved; rename it")]
    ReservedColumn(String),
    /// PostgreSQL has no such vectors.
    #[error("PostgreSQL stores vectors as f32 or f16")]
    Precision,
    /// The specification of an index cannot be represented.
    #[error(transparent)]
    Spec(serde_json::Error),
    /// A text with a NUL character.
    #[error("row {row}: PostgreSQL cannot store a text that contains a NUL character")]
    NulCharacter {
        /// The row, starting at 1.
        row: usize,
    },
    /// Rows could not be sent.
    #[error("PostgreSQL: {0}")]
    Send(#[source] std::io::Error),
    /// A filter or a vector does not fit the index.
    #[error(transparent)]
    Index(#[from] mbm_index::IndexError),
}

/// Returns the database's own message, which the error itself exposes only as its source.
fn server_message(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}{}", db.message(), db.hint().map_or(String::new(), |hint| format!(" ({hint})"))),
        None => std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}
