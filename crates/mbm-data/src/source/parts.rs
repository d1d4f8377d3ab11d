//! A table in several files of one format: all of a folder, or those that match a pattern. Rows are in the order of the names.

use std::path::{Path, PathBuf};

use super::{Source, TableFormat, TableOptions, nearby, open, parent};
use crate::{DataError, TableBuilder};

/// Maximum number of files.
const MAX_FILES: usize = 100_000;

pub(super) struct Parts {
    files: Vec<PathBuf>,
    folder: PathBuf,
    options: TableOptions,
    columns: Vec<String>,
}

/// Files that are not the parts of one table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// A pattern with a mistake.
    #[error("not a pattern of file names: {0}")]
    Pattern(#[from] glob::PatternError),
    /// Too many files.
    #[error("more than {MAX_FILES} files")]
    TooManyFiles,
    /// Files of several formats in a folder.
    #[error("the folder holds tables of several formats, such as {first} and {other}; choose by a pattern, such as '*.{format}'")]
    SeveralFormats {
        /// A file of one format.
        first: String,
        /// A file of another.
        other: String,
        /// The format of the first.
        format: &'static str,
    },
    /// A file with other columns than the first one.
    #[error("its columns are not those of {first}: {difference}; the files of one table have the same columns in the same order")]
    OtherColumns {
        /// The first file.
        first: String,
        /// The first difference.
        difference: String,
    },
}

/// Returns the tables in a folder without subfolders, which are the parts of one table; `None` if there are none.
///
/// # Errors
/// Fails if they have several formats, or the folder cannot be read.
pub(super) fn in_folder(folder: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        // Writers of parts add files such as _SUCCESS and .part-0.parquet.crc.
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']));
        match (is_hidden, path.is_dir()) {
            (true, _) => {}
            (false, true) => return Ok(None),
            (false, false) => files.extend(TableFormat::of_name(&path).filter(|it| it.is_divisible()).map(|it| (path, it))),
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let Some((first, format)) = files.first() else { return Ok(None) };
    if let Some((other, _)) = files.iter().find(|(_, other)| other != format) {
        let error = PartsError::SeveralFormats { first: name(first), other: name(other), format: format.name() };
        return Err(DataError::malformed(folder, None, error));
    }
    limited(folder, files.into_iter().map(|(path, _)| path).collect()).map(Some)
}

/// Returns the files that match a pattern with `*`, `?` or `[..]`, sorted; `None` for a path without these.
///
/// # Errors
/// Fails if no file matches.
pub(super) fn matching(path: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let Some(pattern) = path.to_str().filter(|text| text.contains(is_wildcard)) else { return Ok(None) };
    let malformed = |error: PartsError| DataError::malformed(path, None, error);
    let found = glob::glob(pattern).map_err(|error| malformed(error.into()))?;
    let files: Vec<PathBuf> = found.flatten().filter(|path| path.is_file()).take(MAX_FILES + 1).collect();
    if files.is_empty() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no file matches this pattern");
        return Err(DataError::NotFound { path: path.to_owned(), source, nearby: nearby::nearby(&fixed(path).join("*")) });
    }
    limited(path, files).map(Some)
}

/// Returns the folder that relative paths in the cells of matching files are resolved against.
pub(super) fn folder(pattern: &Path) -> PathBuf {
    parent(&fixed(pattern).join("*"))
}

/// Returns the part of a pattern before the first name with a wildcard.
fn fixed(pattern: &Path) -> PathBuf {
    pattern.iter().take_while(|part| !part.to_string_lossy().contains(is_wildcard)).collect()
}

fn is_wildcard(character: char) -> bool {
    matches!(character, '*' | '?' | '[')
}

fn limited(path: &Path, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, DataError> {
    if files.len() > MAX_FILES { Err(DataError::malformed(path, None, PartsError::TooManyFiles)) } else { Ok(files) }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Parts {
    /// Opens the first file; the others are opened one after the other when they are read.
    pub fn open(files: Vec<PathBuf>, folder: PathBuf, options: &TableOptions) -> Result<Self, DataError> {
        let columns = files.first().map_or(Ok(Vec::new()), |first| open(first, options).map(|first| first.columns().to_vec()))?;
        Ok(Self { files, folder, options: options.clone(), columns })
    }

    fn check(&self, path: &Path, columns: &[String]) -> Result<(), DataError> {
        if columns == self.columns {
            return Ok(());
        }
        let missing = self.columns.iter().find(|column| !columns.contains(column));
        let new = columns.iter().find(|column| !self.columns.contains(column));
        let difference = match (missing, new) {
            (Some(column), _) => format!("it lacks '{column}'"),
            (None, Some(column)) => format!("it has '{column}' as well"),
            (None, None) => "they are in another order".to_owned(),
        };
        let first = self.files.first().map(|path| name(path)).unwrap_or_default();
        Err(DataError::malformed(path, None, PartsError::OtherColumns { first, difference }))
    }
}

impl Source for Parts {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        if let [first, .., last] = self.files.as_slice() {
            table.note(format!("{} files in the order of their names: {} to {}", self.files.len(), name(first), name(last)));
        }
        for path in &self.files {
            let mut part = open(path, &self.options)?;
            self.check(path, part.columns())?;
            part.read(table)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Table;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn folder_and_pattern_read_the_same_rows_in_the_order_of_names() {
        let files = [("b.csv", "x,y\n3,c\n"), ("a.csv", "x,y\n1,a\n2,b\n"), ("_SUCCESS", ""), ("README.txt", "no table\n")];
        let folder = folder(&files);
        let want = [["1", "a"], ["2", "b"], ["3", "c"]];
        for path in [folder.path().to_owned(), folder.path().join("*.csv"), folder.path().join("[ab].c?v")] {
            let table = Table::read(&path).unwrap();
            let rows: Vec<Vec<String>> =
                (0..table.n_rows()).map(|at| table.row(at).unwrap().iter().map(|cell| cell.to_text()).collect()).collect();
            assert_eq!(rows, want, "{path:?}");
            assert_eq!(table.folder, folder.path());
            assert_eq!(table.notes, ["2 files in the order of their names: a.csv to b.csv"]);
        }
    }

    #[test]
    fn files_with_other_columns_are_an_error_that_names_the_difference() {
        for (header, want) in [("x", "it lacks 'y'"), ("x,y,z", "it has 'z' as well"), ("y,x", "they are in another order")] {
            let folder = folder(&[("a.csv", "x,y\n1,a\n"), ("b.csv", &format!("{header}\n"))]);
            let error = Table::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("b.csv: its columns are not those of a.csv: {want}")), "{error}");
        }
    }

    #[test]
    fn formats_are_not_mixed_and_patterns_without_files_are_an_error() {
        let folder = folder(&[("a.csv", "x\n1\n"), ("b.jsonl", "{\"x\": 1}\n")]);
        let error = Table::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("such as a.csv and b.jsonl; choose by a pattern, such as '*.csv'"), "{error}");
        assert_eq!(Table::read(&folder.path().join("*")).unwrap().n_rows(), 2);
        let error = Table::read(&folder.path().join("*.parquet")).unwrap_err().to_string();
        assert!(error.contains("*.parquet: no file matches this pattern; tables in"), "{error}");
        let error = Table::read(&folder.path().join("***")).unwrap_err().to_string();
        assert!(error.contains("not a pattern"), "{error}");
    }

    #[test]
    fn a_file_whose_name_has_brackets_is_read_as_it_is() {
        let folder = folder(&[("a[1].csv", "x\n1\n")]);
        assert_eq!(Table::read(&folder.path().join("a[1].csv")).unwrap().n_rows(), 1);
    }
}
