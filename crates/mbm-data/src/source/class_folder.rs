//! A folder with one subfolder per class (the layout of ImageNet), or `train`, `val` and `test` folders of this form.

use std::path::{Path, PathBuf};

use super::{Source, TableFormat};
use crate::{CellRef, DataError, TableBuilder};

pub(super) struct ClassFolder {
    folder: PathBuf,
    columns: Vec<String>,
    splits: Vec<String>,
}

/// What is wrong with a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassFolderError {
    /// It has no subfolders.
    #[error(
        "no dataset in this folder: it holds neither tables such as .csv and .parquet files, nor a subfolder of images or sounds for each class"
    )]
    NoClasses,
    /// Its subfolders hold other files.
    #[error(
        "no dataset in this folder: it holds no tables such as .csv and .parquet files, and the files in its subfolders, such as {}, are neither images nor sounds", path.display()
    )]
    NoMedia {
        /// The path of one of them.
        path: PathBuf,
    },
    /// Its subfolders do not have the files of classes, and a table stands beside them.
    #[error("this folder holds the table {table} and subfolders that are not classes of images or sounds; choose the table: {}", path.display())]
    Table {
        /// The name of the first table.
        table: String,
        /// Its path.
        path: PathBuf,
    },
}

/// Maximum depth of nested folders: `train/class` is 2.
const MAX_DEPTH: usize = 8;

const SPLITS: [&str; 4] = ["train", "val", "validation", "test"];

impl ClassFolder {
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let names = entries(folder)?;
        if !names.iter().any(|name| folder.join(name).is_dir()) {
            return Err(DataError::malformed(folder, None, ClassFolderError::NoClasses));
        }
        if let Some(table) = names.iter().find(|name| TableFormat::of_name(Path::new(name)).is_some())
            && !has_classes(folder, &names)?
        {
            let error = ClassFolderError::Table { table: table.clone(), path: folder.join(table) };
            return Err(DataError::malformed(folder, None, error));
        }
        if let Some(path) = other_file(folder, &names, &SPLITS)? {
            return Err(DataError::malformed(folder, None, ClassFolderError::NoMedia { path }));
        }
        let splits: Vec<String> = names.iter().filter(|name| SPLITS.contains(&name.as_str())).cloned().collect();
        let media = if holds_audio(folder, MAX_DEPTH)? { "audio" } else { "image" };
        let columns = [media, "label"].into_iter().chain((!splits.is_empty()).then_some("split"));
        Ok(Self { folder: folder.to_path_buf(), columns: columns.map(str::to_owned).collect(), splits })
    }

    fn read_classes(&self, split: Option<&str>, table: &mut TableBuilder) -> Result<(), DataError> {
        let root = self.folder.join(split.unwrap_or(""));
        for class in entries(&root)?.into_iter().filter(|class| root.join(class).is_dir()) {
            for file in entries(&root.join(&class))? {
                let path = Path::new(split.unwrap_or("")).join(&class).join(&file);
                let path = path.display().to_string();
                let split = split.map(CellRef::Text);
                let row: Vec<CellRef> = [CellRef::Text(&path), CellRef::Text(&class)].into_iter().chain(split).collect();
                table.push(&row)?;
            }
        }
        Ok(())
    }
}

impl Source for ClassFolder {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        if self.splits.is_empty() {
            return self.read_classes(None, table);
        }
        self.splits.iter().try_for_each(|split| self.read_classes(Some(split), table))
    }
}

/// Returns the names in a folder, sorted, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<String>, DataError> {
    let read = std::fs::read_dir(folder).map_err(DataError::io(folder))?;
    let names = read.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_, _>>().map_err(DataError::io(folder))?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

/// Whether two or more subfolders of a folder, or of one of its splits, begin with an image or a sound.
fn has_classes(folder: &Path, names: &[String]) -> Result<bool, DataError> {
    let mut n_classes = 0;
    for name in names {
        let path = folder.join(name);
        if !path.is_dir() {
            continue;
        }
        if SPLITS.contains(&name.as_str()) && has_classes(&path, &entries(&path)?)? {
            return Ok(true);
        }
        let first = entries(&path)?.into_iter().find_map(|name| extension(&path.join(name)));
        n_classes += usize::from(first.is_some_and(|it| crate::audio::is_sound(&it) || crate::image::is_image(&it)));
    }
    Ok(n_classes > 1)
}

/// Returns a file in a subfolder of a folder, or of one of its splits, if none of them can be an image or a sound. A file without an
/// extension can be one.
fn other_file(folder: &Path, names: &[String], splits: &[&str]) -> Result<Option<PathBuf>, DataError> {
    let mut other = None;
    for path in names.iter().map(|name| folder.join(name)).filter(|path| path.is_dir()) {
        let own = entries(&path)?;
        for file in own.iter().map(|name| path.join(name)).filter(|path| !path.is_dir()) {
            match extension(&file) {
                Some(extension) if !crate::audio::is_sound(&extension) && !crate::image::is_image(&extension) => {
                    other = Some(file)
                }
                _ => return Ok(None),
            }
        }
        if path.file_name().is_some_and(|name| splits.iter().any(|split| name == *split)) {
            match other_file(&path, &own, &[])? {
                Some(file) => other = Some(file),
                None if own.iter().any(|name| path.join(name).is_dir()) => return Ok(None),
                None => {}
            }
        }
    }
    Ok(other)
}

/// Returns the extension of a file; `None` for folders and files without one.
fn extension(path: &Path) -> Option<String> {
    let extension = path.extension().filter(|_| !path.is_dir())?;
    Some(extension.to_string_lossy().into_owned())
}

/// Whether the first file found is in an audio format; descends at most `levels` levels.
fn holds_audio(folder: &Path, levels: usize) -> Result<bool, DataError> {
    for name in entries(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            return if levels == 0 { Ok(false) } else { holds_audio(&path, levels - 1) };
        }
        if let Some(extension) = extension(&path) {
            return Ok(crate::audio::is_sound(&extension));
        }
    }
    Ok(false)
}
