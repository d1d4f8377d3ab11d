//! Adding rows to a table and removing them.

use std::fmt::Write as _;
use std::io::Write as _;

use mbm_index::{Filter, GraphSettings, IndexError, IndexSpec, IndexValue, Precision, quoted_name, quoted_text, unit};
use postgres::Client;
use postgres::error::SqlState;

use crate::PostgresError;
use crate::table::{connect, listed, refused, spec_of, vector_text, vector_type};

/// Bytes sent to the database at a time.
const CHUNK: usize = 4 << 20;

/// Rows being added to a table; none of them is visible before [`PostgresWriter::finish`], and none remains if it is never
/// called.
pub struct PostgresWriter {
    client: Client,
    table: String,
    spec: IndexSpec,
    /// Rows in COPY format that have not been sent yet.
    waiting: String,
    n_rows: usize,
    is_new: bool,
}

impl PostgresWriter {
    /// Creates a table and starts adding rows to it.
    ///
    /// # Errors
    /// If the table already exists or the database lacks pgvector.
    pub fn create(url: &str, table: &str, spec: IndexSpec) -> Result<Self, PostgresError> {
        let reserved = spec.columns.iter().find(|column| ["mbm_id", "mbm_embedding"].contains(&column.name.as_str()));
        if let Some(column) = reserved {
            return Err(PostgresError::ReservedColumn(column.name.clone()));
        }
        let columns: String = spec
            .columns
            .iter()
            .map(|column| {
                format!(", {} {}", quoted_name(&column.name), if column.is_number { "double precision" } else { "text" })
            })
            .collect();
        let name = quoted_name(table);
        let comment = serde_json::to_string(&spec).map_err(PostgresError::Spec)?;
        // The lock keeps concurrent sessions from creating the extension at the same time.
        let sql = format!(
            "BEGIN; SELECT pg_advisory_xact_lock(hashtext('mbm')); CREATE EXTENSION IF NOT EXISTS vector; COMMIT; BEGIN;
             CREATE TABLE {name} (mbm_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mbm_embedding {} NOT NULL{columns});
             COMMENT ON TABLE {name} IS {}",
            vector_type(&spec)?,
            quoted_text(&comment)
        );
        let mut client = connect(url)?;
        client.batch_execute(&sql).map_err(|error| match error.code() {
            Some(&SqlState::DUPLICATE_TABLE) => PostgresError::Exists(table.to_owned()),
            _ => refused(table)(error),
        })?;
        Ok(Self { client, table: table.to_owned(), spec, waiting: String::new(), n_rows: 0, is_new: true })
    }

    /// Starts adding rows to an existing table.
    ///
    /// # Errors
    /// If the table is not an index.
    pub fn open(url: &str, table: &str) -> Result<Self, PostgresError> {
        let mut client = connect(url)?;
        let spec = spec_of(&mut client, table)?;
        client.batch_execute("BEGIN").map_err(refused(table))?;
        Ok(Self { client, table: table.to_owned(), spec, waiting: String::new(), n_rows: 0, is_new: false })
    }

    /// The specification of the index.
    pub fn spec(&self) -> &IndexSpec {
        &self.spec
    }

    /// Adds a row: its vector, normalized to unit length, and one value per column.
    ///
    /// # Errors
    /// If the vector has the wrong width or no direction, or the database cannot store a text.
    pub fn push(&mut self, vector: &[f32], values: &[IndexValue]) -> Result<(), PostgresError> {
        if vector.len() != self.spec.width {
            return Err(IndexError::Width { expected: self.spec.width, found: vector.len() }.into());
        }
        self.n_rows += 1;
        let vector = unit(vector).ok_or(IndexError::NoDirection { row: self.n_rows })?;
        self.waiting.push_str(&vector_text(&vector));
        for (column, value) in self.spec.columns.iter().zip(values) {
            self.waiting.push('\t');
            match value {
                IndexValue::Number(number) if number.is_nan() => self.waiting.push_str("\\N"),
                IndexValue::Number(number) => write!(self.waiting, "{number}").expect("writing to a string cannot fail"),
                IndexValue::Text(text) if column.is_number => match text.trim().parse::<f64>() {
                    Ok(number) => write!(self.waiting, "{number}").expect("writing to a string cannot fail"),
                    Err(_) => self.waiting.push_str("\\N"),
                },
                IndexValue::Text(text) if !text.is_empty() => escape(text, &mut self.waiting, self.n_rows)?,
                IndexValue::Null | IndexValue::Text(_) => self.waiting.push_str("\\N"),
            }
        }
        self.waiting.push('\n');
        if self.waiting.len() >= CHUNK { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), PostgresError> {
        let sql = format!("COPY {} (mbm_embedding{}) FROM STDIN", quoted_name(&self.table), listed(&self.spec.columns));
        let refused = refused(&self.table);
        let mut writer = self.client.copy_in(&sql).map_err(&refused)?;
        writer.write_all(self.waiting.as_bytes()).map_err(PostgresError::Send)?;
        writer.finish().map_err(refused)?;
        self.waiting.clear();
        Ok(())
    }

    /// Makes the rows part of the table and returns their number.
    ///
    /// # Errors
    /// If the database rejects them; the table is then unchanged.
    pub fn finish(mut self) -> Result<usize, PostgresError> {
        self.send()?;
        if let (true, Some(GraphSettings { links, candidates })) = (self.is_new, self.spec.graph) {
            let operators = if self.spec.precision == Precision::F16 { "halfvec_ip_ops" } else { "vector_ip_ops" };
            let sql = format!(
                "CREATE INDEX ON {} USING hnsw (mbm_embedding {operators}) WITH (m = {links}, ef_construction = {candidates})",
                quoted_name(&self.table)
            );
            self.client.batch_execute(&sql).map_err(refused(&self.table))?;
        }
        self.client.batch_execute("COMMIT").map_err(refused(&self.table))?;
        Ok(self.n_rows)
    }
}

/// Escapes a text for COPY.
fn escape(text: &str, out: &mut String, row: usize) -> Result<(), PostgresError> {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => {
                return Err(PostgresError::NulCharacter { row });
            }
            c => out.push(c),
        }
    }
    Ok(())
}

/// Removes the rows that meet a condition and returns their number.
///
/// # Errors
/// If the table is not an index or the filter does not fit its columns.
pub fn remove(url: &str, table: &str, filter: &Filter) -> Result<usize, PostgresError> {
    let mut client = connect(url)?;
    let condition = filter.to_sql(&spec_of(&mut client, table)?.columns)?;
    let sql = format!("DELETE FROM {} WHERE {condition}", quoted_name(table));
    client.execute(&sql, &[]).map(|n_rows| n_rows as usize).map_err(refused(table))
}
