//! Sources of rows. A new source takes one file here and one line in the list below: CONTRIBUTING.md shows how.
//!
//! ```text
//! path --open--> folder of tables (parts), folder of classes, or a file
//!                file or stream --Input: decompressed, decoded--> Source --rows--> TableBuilder
//! ```

mod archive;
mod arrow_error;
mod arrow_message;
mod arrow_stream;
mod class_folder;
mod coco;
mod deltas;
mod encoding;
mod format;
mod header;
mod input;
mod json_columns;
mod json_values;
mod nearby;
mod options;
mod packing;
mod page_error;
mod pages;
mod parquet_schema;
mod parts;
mod peeked;
mod quotes;
mod ragged;
mod sniff;
mod unfolding;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::archive::ArchiveError;
pub use self::arrow_error::{ArrowFileError, MessageError};
pub use self::class_folder::ClassFolderError;
pub use self::coco::CocoError;
pub use self::delimited::DelimitedError;
pub use self::excel::ExcelError;
pub use self::format::TableFormat;
pub use self::header::DuplicateColumn;
pub use self::idx::IdxError;
use self::input::Input;
pub use self::json_lines::JsonLinesError;
pub use self::json_values::JsonValuesError;
pub use self::options::{Delimiter, DuplicateColumns, OptionError, RaggedRows, TableOptions};
pub use self::page_error::PageError;
pub use self::parquet::ParquetFileError;
pub use self::parts::PartsError;
pub use self::quotes::{Position, QuoteError};
pub use self::ragged::RaggedError;
use crate::{DataError, Row, TableBuilder};

/// Declares the kinds of files: for each file here, the endings of the names that it reads, and the function that opens them.
macro_rules! sources {
    ($( $file:ident { $( $($ending:literal),+ => $open:expr; )+ } )+) => {
        $( mod $file; )+

        /// Endings of file names, in lower case, and the functions that open such files.
        const KINDS: &[(&[&str], Open)] = &[$( $( (&[$($ending),+], $open) ),+ ),+];
    };
}

/// Opens a file.
type Open = fn(&Input) -> Result<Box<dyn Source>, DataError>;

sources! {
    delimited {
        ".csv" => |input| Ok(Box::new(delimited::Delimited::open(input, None)?));
        ".txt" => |input| Ok(Box::new(delimited::Delimited::open(input, None)?));
        ".tsv", ".tab" => |input| Ok(Box::new(delimited::Delimited::open(input, Some(b'\t'))?));
        ".psv" => |input| Ok(Box::new(delimited::Delimited::open(input, Some(b'|'))?));
    }
    json_lines { ".jsonl", ".ndjson" => json_lines::open; }
    json_file { ".json" => json_file::open; }
    arrow_ipc { ".arrow", ".feather", ".ipc" => |input| Ok(Box::new(arrow_ipc::ArrowIpc::open(input)?)); }
    parquet { ".parquet" => |input| Ok(Box::new(parquet::Parquet::open(input)?)); }
    excel { ".xlsx", ".xlsm" => |input| Ok(Box::new(excel::Excel::open(input)?)); }
    idx { "-ubyte", ".idx" => |input| Ok(Box::new(idx::Idx::open(input)?)); }
}

/// Maximum number of columns, the same as the maximum number of values of a vector in a single cell.
const MAX_COLUMNS: usize = 1_000_000;

/// Maximum size of a record of a text file in bytes, the same as for a media file: one record at a time is held in memory.
const MAX_RECORD: u64 = 1 << 29;

/// A stream of rows with named columns.
pub trait Source {
    /// Returns the column names, which are known before the first row.
    fn columns(&self) -> &[String];

    /// Returns the folder that relative paths in cells are resolved against.
    fn folder(&self) -> &Path;

    /// Appends every row to `table`, in order, and notes what was assumed about the file.
    ///
    /// # Errors
    /// Malformed rows, or an error of the table.
    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError>;
}

/// Opens a file, a folder, or all files that match a pattern such as `part-*.parquet`, with the source for their kind.
///
/// # Errors
/// A path that does not exist, or a file of unknown kind.
pub fn open(path: &Path, options: &TableOptions) -> Result<Box<dyn Source>, DataError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => open_folder(path, options),
        Ok(metadata) if metadata.is_file() => open_input(Input::of_file(path, options)?),
        Ok(_) => Ok(open_stream(std::fs::File::open(path).map_err(DataError::io(path))?, path, options)?.0),
        Err(error) => match parts::matching(path)? {
            Some(files) => Ok(Box::new(parts::Parts::open(files, parts::folder(path), options)?)),
            None if error.kind() == std::io::ErrorKind::NotFound => Err(nearby::not_found(path, error)),
            None => Err(DataError::io(path)(error)),
        },
    }
}

/// Opens a stream such as standard input; errors name it by `name`, whose ending declares the format. Without one, the first bytes
/// tell, and the note says what was found.
///
/// # Errors
/// A stream that cannot be read or has an unknown format.
pub fn open_stream(
    stream: impl Read,
    name: &Path,
    options: &TableOptions,
) -> Result<(Box<dyn Source>, Option<String>), DataError> {
    let input = Input::of_stream(stream, name, options)?.of_archive()?;
    let declared = declared_format(&input)?;
    let format = declared.map_or_else(|| TableFormat::of_content(&input), Ok)?;
    let note = declared.is_none().then(|| format!("{} is read as {}", name.display(), format.name()));
    Ok((format.open(&input)?, note))
}

fn open_folder(path: &Path, options: &TableOptions) -> Result<Box<dyn Source>, DataError> {
    match parts::in_folder(path)? {
        Some(files) => Ok(Box::new(parts::Parts::open(files, path.to_owned(), options)?)),
        None => Ok(Box::new(class_folder::ClassFolder::open(path)?)),
    }
}

fn open_input(input: Input) -> Result<Box<dyn Source>, DataError> {
    let input = input.of_archive()?;
    let format = declared_format(&input)?.ok_or_else(|| DataError::UnknownKind(input.path.clone()))?;
    format.open(&input)
}

/// Returns the format that the options or the name declare; a workbook declares itself.
fn declared_format(input: &Input) -> Result<Option<TableFormat>, DataError> {
    if input.is_package()? {
        return Ok(Some(TableFormat::workbook()));
    }
    Ok(input.options.format.or_else(|| TableFormat::of_name(&input.path)))
}

/// Rows in memory.
pub struct Memory {
    /// The column names.
    pub columns: Vec<String>,
    /// The rows, each of which is read once.
    pub rows: Vec<Row>,
}

impl Source for Memory {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        Path::new(".")
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        std::mem::take(&mut self.rows).into_iter().try_for_each(|row| table.push_row(&row))
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
