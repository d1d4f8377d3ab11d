//! What a source reads: a file or a stream, decompressed, with the options of its reader.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{NamedTempFile, TempPath};

use super::archive;
use super::encoding::{self, Text};
use super::options::TableOptions;
use super::packing::{Packing, is_zip};
use super::peeked::Peeked;
use crate::DataError;

/// A file to read, perhaps compressed, perhaps the copy of a stream.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// The path, as errors name it.
    pub path: PathBuf,
    /// The folder that relative paths in cells are resolved against.
    pub folder: PathBuf,
    /// How it is read.
    pub options: TableOptions,
    /// The size of the file, by which the work of reading it is limited.
    pub n_bytes: u64,
    location: Location,
    packing: Packing,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
enum Location {
    File(PathBuf),
    /// A copy of a stream or of an unpacked file, which is deleted with the last source that reads it.
    Copy(Arc<TempPath>),
}

/// The part of every workbook and document that other programs call a zip archive.
const PACKAGE: &str = "_rels/.rels";

/// Number of bytes by which formats and compressions are recognized.
const N_START: u64 = 64;

impl Input {
    /// Opens a file, which may be compressed.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub(super) fn of_file(path: &Path, options: &TableOptions) -> Result<Self, DataError> {
        let mut input = Self {
            path: path.to_owned(),
            folder: super::parent(path),
            options: options.clone(),
            n_bytes: std::fs::metadata(path).map_err(DataError::io(path))?.len(),
            location: Location::File(path.to_owned()),
            packing: Packing::Plain,
        };
        input.packing = Packing::of(&input.start()?);
        Ok(input)
    }

    /// Copies a stream to a temporary file, because tables are read more than once. Errors name it by `name`.
    ///
    /// # Errors
    /// Fails if the stream cannot be read, or the temporary file cannot be written.
    pub(super) fn of_stream(stream: impl Read, name: &Path, options: &TableOptions) -> Result<Self, DataError> {
        let copy = copied(stream, name)?;
        let input = Self::of_file(&copy, options)?;
        let location = Location::Copy(Arc::new(copy));
        Ok(Self { path: name.to_owned(), folder: PathBuf::from("."), location, ..input })
    }

    /// Returns the table of a zip archive; any other file, and a workbook, as it is.
    ///
    /// # Errors
    /// Fails if an archive has no table or several.
    pub(super) fn of_archive(self) -> Result<Self, DataError> {
        if !is_zip(&self.start()?) || self.is_package()? {
            return Ok(self);
        }
        let input = self.unpacked()?;
        let is_format_known = input.options.format.is_some();
        let table = archive::table(input.stored()?, is_format_known).map_err(|error| input.malformed(None, error))?;
        Ok(Self { path: input.path.join(table.name), packing: Packing::Zip(table.member), ..input })
    }

    /// Whether it is a zip archive with the parts of a document, such as an Excel workbook.
    pub(super) fn is_package(&self) -> Result<bool, DataError> {
        if !is_zip(&self.start()?) {
            return Ok(false);
        }
        Ok(archive::open(self.random_access()?).is_ok_and(|archive| archive.index_for_name(PACKAGE).is_some()))
    }

    /// Unpacks a compressed file to a temporary one.
    fn unpacked(self) -> Result<Self, DataError> {
        if self.packing == Packing::Plain {
            return Ok(self);
        }
        let copy = copied(self.open()?, &self.path)?;
        Ok(Self { location: Location::Copy(Arc::new(copy)), packing: Packing::Plain, ..self })
    }

    /// Returns the first bytes of the decompressed content.
    pub(super) fn start(&self) -> Result<Vec<u8>, DataError> {
        Ok(Peeked::new(self.open()?, N_START).start().to_vec())
    }

    /// Opens the decompressed content from its beginning.
    ///
    /// # Errors
    /// Fails if the file cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read>, DataError> {
        self.packing.open(self.stored()?, self.n_bytes).map_err(DataError::io(&self.path))
    }

    /// Opens the content as text.
    pub(super) fn text(&self) -> Result<Text, DataError> {
        Ok(encoding::decoded(self.open()?))
    }

    /// Opens the content as a file with random access; a compressed one is unpacked to a temporary file first.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or unpacked.
    pub fn random_access(&self) -> Result<File, DataError> {
        match self.packing {
            Packing::Plain => self.stored(),
            Packing::Gzip | Packing::Zstandard | Packing::Zip(_) => {
                let copy = copied(self.open()?, &self.path)?;
                File::open(&copy).map_err(DataError::io(&self.path))
            }
        }
    }

    /// Whether the content is stored as it is.
    pub(super) fn is_plain(&self) -> bool {
        self.packing == Packing::Plain
    }

    pub(super) fn malformed(
        &self,
        row: impl Into<Option<usize>>,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DataError {
        DataError::malformed(&self.path, row, error)
    }

    fn stored(&self) -> Result<File, DataError> {
        let path: &Path = match &self.location {
            Location::File(path) => path,
            Location::Copy(copy) => copy,
        };
        File::open(path).map_err(DataError::io(&self.path))
    }
}

/// Copies a stream to a temporary file.
fn copied(mut stream: impl Read, name: &Path) -> Result<TempPath, DataError> {
    let folder = std::env::temp_dir();
    let mut copy = NamedTempFile::new().map_err(|error| DataError::temporary(&folder, error))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(copy.into_temp_path()),
            Ok(n_bytes) => copy.write_all(&buffer[..n_bytes]).map_err(|error| DataError::temporary(&folder, error))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DataError::io(name)(error)),
        }
    }
}
