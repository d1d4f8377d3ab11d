//! An open table: connecting, searching and size statistics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mbm_index::{
    Cancellation, Hit, IndexColumn, IndexError, IndexInfo, IndexSpec, IndexValue, Precision, Search, quoted_name, unit,
};
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls, Row, Transaction};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresError;

/// A filter that leaves at most this many rows is searched exactly, because a graph search also visits the other rows.
const FEW: i64 = 10_000;

/// An index in a table.
pub struct PostgresIndex {
    /// The name of the table.
    pub table: String,
    /// The specification of the index.
    pub spec: IndexSpec,
    url: String,
    client: Mutex<Client>,
}

/// Connects to a database. With `sslmode=require` in the address the connection uses TLS and verifies the server's certificate
/// against Mozilla's root authorities.
pub(crate) fn connect(url: &str) -> Result<Client, PostgresError> {
    let mut address: Config = url.parse().map_err(PostgresError::Connect)?;
    if address.get_ssl_mode() != SslMode::Require {
        return address.ssl_mode(SslMode::Disable).connect(NoTls).map_err(PostgresError::Connect);
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(PostgresError::Tls)?.with_root_certificates(roots);
    address.connect(MakeRustlsConnect::new(config.with_no_client_auth())).map_err(PostgresError::Connect)
}

pub(crate) fn refused(table: &str) -> impl Fn(postgres::Error) -> PostgresError {
    let table = table.to_owned();
    move |source| match source.code() {
        Some(&SqlState::QUERY_CANCELED) => IndexError::Cancelled.into(),
        _ => PostgresError::Refused { table: table.clone(), source },
    }
}

/// The SQL type of the vector column.
pub(crate) fn vector_type(spec: &IndexSpec) -> Result<String, PostgresError> {
    match spec.precision {
        Precision::F32 => Ok(format!("vector({})", spec.width)),
        Precision::F16 => Ok(format!("halfvec({})", spec.width)),
        Precision::I8 => Err(PostgresError::Precision),
    }
}

/// Formats a vector for pgvector.
pub(crate) fn vector_text(vector: &[f32]) -> String {
    format!("[{}]", vector.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
}

/// Reads the specification of an index from the comment of its table.
pub(crate) fn spec_of(client: &mut Client, table: &str) -> Result<IndexSpec, PostgresError> {
    let sql = "SELECT obj_description(to_regclass($1), 'pg_class'), to_regclass($1) IS NULL";
    let row = client.query_one(sql, &[&quoted_name(table)]).map_err(refused(table))?;
    match (row.get::<_, Option<String>>(0), row.get(1)) {
        (_, true) => Err(PostgresError::NoIndex(table.to_owned())),
        (None, false) => Err(PostgresError::NotAnIndex(table.to_owned())),
        (Some(comment), false) => {
            serde_json::from_str(&comment).map_err(|source| PostgresError::Foreign { table: table.to_owned(), source })
        }
    }
}

/// Lists columns for SQL, each preceded by a comma.
pub(crate) fn listed(columns: &[IndexColumn]) -> String {
    columns.iter().map(|column| format!(", {}", quoted_name(&column.name))).collect()
}

impl PostgresIndex {
    /// Opens an index in a table of a database, given by an address such as `postgres://user@host/database`.
    ///
    /// # Errors
    /// If the database cannot be reached or the table is not an index.
    pub fn open(url: &str, table: &str) -> Result<Self, PostgresError> {
        let mut client = connect(url)?;
        let spec = spec_of(&mut client, table)?;
        Ok(Self { table: table.to_owned(), spec, url: url.to_owned(), client: Mutex::new(client) })
    }

    /// Returns the connection, reconnecting if the database has closed it.
    fn client(&self) -> Result<MutexGuard<'_, Client>, PostgresError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.is_closed() {
            *client = connect(&self.url)?;
        }
        Ok(client)
    }

    /// Returns, for each query, the rows whose vectors have the highest cosine similarity to it, nearest first. Searches run one
    /// at a time; the database aborts a search that exceeds its time limit, even within a statement.
    ///
    /// # Errors
    /// If a query has the wrong width or no direction, if the filter does not fit the columns, if the database fails, or
    /// [`IndexError::Cancelled`].
    pub fn search(&self, queries: &[Vec<f32>], search: Search) -> Result<Vec<Vec<Hit>>, PostgresError> {
        let condition = search.filter.map(|filter| filter.to_sql(&self.spec.columns)).transpose()?;
        let mut client = self.client()?;
        let never = Cancellation::default();
        let cancellation = search.cancellation.unwrap_or(&never);
        cancellation.check()?;
        let mut transaction = client.transaction().map_err(refused(&self.table))?;
        self.limit(&mut transaction, cancellation)?;
        self.prepare(&mut transaction, search, condition.as_deref())?;
        let sql = self.nearest(condition.as_deref())?;
        let statement = transaction.prepare(&sql).map_err(refused(&self.table))?;
        let mut found = Vec::with_capacity(queries.len());
        for (at, query) in queries.iter().enumerate() {
            cancellation.check()?;
            if query.len() != self.spec.width {
                return Err(IndexError::Width { expected: self.spec.width, found: query.len() }.into());
            }
            let query = unit(query).ok_or(IndexError::NoDirection { row: at + 1 })?;
            let rows =
                transaction.query(&statement, &[&vector_text(&query), &(search.k as i64)]).map_err(refused(&self.table))?;
            found.push(rows.iter().map(|row| self.hit(row)).collect());
        }
        Ok(found)
    }

    /// Limits each statement to the remaining time.
    fn limit(&self, transaction: &mut Transaction, cancellation: &Cancellation) -> Result<(), PostgresError> {
        let Some(remaining) = cancellation.remaining() else { return Ok(()) };
        // Zero would mean no limit; the upper bound is that of the setting.
        let milliseconds = remaining.as_millis().clamp(1, i32::MAX as u128);
        transaction.batch_execute(&format!("SET LOCAL statement_timeout = {milliseconds}")).map_err(refused(&self.table))
    }

    /// Chooses how the table is searched: with its graph or exactly.
    fn prepare(&self, transaction: &mut Transaction, search: Search, condition: Option<&str>) -> Result<(), PostgresError> {
        let mut is_exact = search.width.is_none();
        if let (Some(condition), false) = (condition, is_exact) {
            let table = quoted_name(&self.table);
            let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {condition} LIMIT {}) AS few", FEW + 1);
            is_exact = transaction.query_one(&sql, &[]).map_err(refused(&self.table))?.get::<_, i64>(0) <= FEW;
        }
        let width = search.width.unwrap_or(1).max(search.k).clamp(1, 1000);
        let settings = match is_exact {
            true => "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off".to_owned(),
            // A filter removes rows that the graph search has found; an iterative scan then continues the search.
            false => format!("SET LOCAL hnsw.ef_search = {width}; SET LOCAL hnsw.iterative_scan = strict_order"),
        };
        transaction.batch_execute(&settings).map_err(refused(&self.table))
    }

    /// Returns the SQL of the search: `$1` is the vector, `$2` the number of rows.
    fn nearest(&self, condition: Option<&str>) -> Result<String, PostgresError> {
        let columns = listed(&self.spec.columns);
        let condition = condition.map_or(String::new(), |condition| format!("WHERE {condition}"));
        // For unit vectors the inner product is the cosine, and <#> is its negative.
        Ok(format!(
            "SELECT distance{columns} FROM (SELECT mbm_id, mbm_embedding <#> $1::text::{} AS distance{columns} FROM {} {condition} \
             ORDER BY distance LIMIT $2) AS found ORDER BY distance, mbm_id",
            vector_type(&self.spec)?,
            quoted_name(&self.table)
        ))
    }

    fn hit(&self, row: &Row) -> Hit {
        let values = self.spec.columns.iter().enumerate().map(|(at, column)| match column.is_number {
            true => row.get::<_, Option<f64>>(at + 1).map_or(IndexValue::Null, IndexValue::Number),
            false => row.get::<_, Option<String>>(at + 1).map_or(IndexValue::Null, IndexValue::Text),
        });
        Hit { similarity: -row.get::<_, f64>(0) as f32, values: values.collect() }
    }

    /// Returns size statistics; the size of the columns is included in that of the vectors.
    ///
    /// # Errors
    /// If the database fails.
    pub fn info(&self) -> Result<IndexInfo, PostgresError> {
        let sql = format!(
            "SELECT count(*), pg_table_size($1::text::regclass), pg_indexes_size($1::text::regclass) FROM {0}",
            quoted_name(&self.table)
        );
        let row = self.client()?.query_one(&sql, &[&quoted_name(&self.table)]).map_err(refused(&self.table))?;
        let number = |at: usize| row.get::<_, i64>(at) as u64;
        Ok(IndexInfo {
            n_rows: number(0) as usize,
            n_removed: 0,
            n_segments: 1,
            n_graphs: usize::from(self.spec.graph.is_some()),
            vector_bytes: number(1),
            graph_bytes: number(2),
            column_bytes: 0,
        })
    }
}
