//! What can go wrong with a table of vectors.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The database cannot be reached.
    #[error("PostgreSQL: {}", said(.0))]
    Connect(#[source] postgres::Error),
    /// The database refuses.
    #[error("table '{table}': {}", said(source))]
    Refused {
        /// The table.
        table: String,
        /// What the database said.
        source: postgres::Error,
    },
    /// A table that is there already.
    #[error("table '{0}' exists already; name another --index, or add to it with 'mbm index add'")]
    Exists(String),
    /// No such table.
    #[error("table '{0}': no index here; 'mbm index build' makes one")]
    NoIndex(String),
    /// A table that no index was written to.
    #[error("table '{table}' is no index: {message}")]
    Foreign {
        /// The table.
        table: String,
        /// What is wrong.
        message: String,
    },
    /// What a table cannot hold.
    #[error("{0}")]
    Incompatible(String),
    /// A filter or a vector that does not fit.
    #[error(transparent)]
    Index(#[from] mbm_index::IndexError),
}

/// The database's own words, which the error shows only as its cause.
fn said(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}{}", db.message(), db.hint().map_or(String::new(), |hint| format!(" ({hint})"))),
        None => std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}
