//! Zip archives that hold a table.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::TableFormat;
use super::packing::ZipMember;
use crate::catch_panic::{DECODER_FAILED, catch_panic};

/// Maximum number of files in an archive.
const MAX_FILES: usize = 1 << 16;

/// A table in an archive.
#[derive(Debug)]
pub(super) struct ArchivedTable {
    /// Its name, with folders.
    pub name: String,
    pub member: ZipMember,
}

/// A zip archive from which no table can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// No file with the name of a table.
    #[error("the archive holds no table{}", if .0.is_empty() { String::new() } else { format!("; its files: {}", .0) })]
    NoTable(String),
    /// Several of them.
    #[error("the archive holds several tables: {0}; unpack it and name one of them")]
    SeveralTables(String),
    /// Too many files.
    #[error("the archive holds {0} files, the limit is {MAX_FILES}")]
    TooManyFiles(usize),
    /// A file with a password.
    #[error("the table in the archive is encrypted; unpack it first")]
    Encrypted,
    /// A file compressed with another method than Deflate.
    #[error("the table in the archive is compressed with {0}; unpack it first")]
    Method(String),
    /// A file without content.
    #[error("the archive does not say where its table begins")]
    NoData,
    /// Not a zip archive, or a damaged one.
    #[error("the zip archive cannot be read: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// The reader panicked.
    #[error("{DECODER_FAILED}")]
    Panicked,
}

/// Finds the only table of an archive: the file whose name ends as those of tables do, or with a known format, the only file.
pub(super) fn table(file: File, is_format_known: bool) -> Result<ArchivedTable, ArchiveError> {
    let mut archive = open(file)?;
    let names: Vec<(usize, String)> = (0..archive.len()).filter_map(|at| Some((at, name(&mut archive, at)?))).collect();
    let is_table = |name: &str| TableFormat::of_name(Path::new(name)).is_some();
    let mut tables: Vec<&(usize, String)> = names.iter().filter(|(_, name)| is_table(name)).collect();
    if tables.is_empty() && is_format_known {
        tables = names.iter().collect();
    }
    match tables.as_slice() {
        [(at, name)] => Ok(ArchivedTable { name: name.clone(), member: member(&mut archive, *at)? }),
        [] => Err(ArchiveError::NoTable(some_of(names.iter()))),
        several => Err(ArchiveError::SeveralTables(some_of(several.iter().copied()))),
    }
}

/// Opens an archive that has few enough files.
pub(super) fn open(file: File) -> Result<ZipArchive<BufReader<File>>, ArchiveError> {
    let archive = catch_panic(|| ZipArchive::new(BufReader::new(file))).ok_or(ArchiveError::Panicked)??;
    if archive.len() > MAX_FILES { Err(ArchiveError::TooManyFiles(archive.len())) } else { Ok(archive) }
}

/// Returns the name of a file, unless it is a folder, hidden, or one of those that macOS adds.
fn name(archive: &mut ZipArchive<BufReader<File>>, at: usize) -> Option<String> {
    let entry = archive.by_index_raw(at).ok()?;
    let name = entry.name().ok()?.into_owned();
    let is_hidden = name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    (!entry.is_dir() && !is_hidden).then_some(name)
}

/// Returns where a file lies in the archive.
pub(super) fn member(archive: &mut ZipArchive<BufReader<File>>, at: usize) -> Result<ZipMember, ArchiveError> {
    let entry = archive.by_index_raw(at)?;
    if entry.encrypted() {
        return Err(ArchiveError::Encrypted);
    }
    let is_deflated = match entry.compression() {
        CompressionMethod::Stored => false,
        method if method == CompressionMethod::DEFLATE => true,
        method => return Err(ArchiveError::Method(method.to_string())),
    };
    let start = entry.data_start().ok_or(ArchiveError::NoData)?;
    Ok(ZipMember { start, n_bytes: entry.compressed_size(), is_deflated, crc: entry.crc32() })
}

fn some_of<'a>(names: impl Iterator<Item = &'a (usize, String)>) -> String {
    mbm_config::some_of(&names.map(|(_, name)| name).collect::<Vec<_>>())
}
