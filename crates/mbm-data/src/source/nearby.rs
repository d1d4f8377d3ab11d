//! The error for a dataset that does not exist: what was meant, and what the folder holds instead.

use std::io;
use std::path::Path;

use super::{TableFormat, parent};
use crate::DataError;

/// Names that are looked at in a folder; an answer to a typing error must not take long.
const MAX_NAMES: usize = 10_000;

/// Returns the error for a path that does not exist.
pub(super) fn not_found(path: &Path, source: io::Error) -> DataError {
    DataError::NotFound { path: path.to_owned(), source, nearby: nearby(path) }
}

/// Names the first folder of the path that does not exist, or a similar name and the tables in the folder.
pub(super) fn nearby(path: &Path) -> String {
    let folder = parent(path);
    if let Some(missing) = path.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty() && !it.exists()).last() {
        return format!("; there is no folder '{}'", missing.display());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (tables, others) = names(&folder);
    let all = tables.iter().chain(&others).map(String::as_str);
    let meant =
        mbm_config::closest(&name, all).map(|meant| format!("; did you mean '{}'?", path.with_file_name(meant).display()));
    let found = (!tables.is_empty()).then(|| format!("; tables in {}: {}", folder.display(), mbm_config::some_of(&tables)));
    [meant, found].into_iter().flatten().collect()
}

/// Returns the names of the tables in a folder and those of its folders, sorted.
fn names(folder: &Path) -> (Vec<String>, Vec<String>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(MAX_NAMES).flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let (folders, files): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| folder.join(name).is_dir());
    (files.into_iter().filter(|name| TableFormat::of_name(Path::new(name)).is_some()).collect(), folders)
}

#[cfg(test)]
mod tests {
    use crate::Table;

    #[test]
    fn error_names_the_path_and_what_is_nearby() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("houses.csv"), "a\n1\n").unwrap();
        std::fs::write(path("notes.md"), "").unwrap();
        std::fs::create_dir(path("photos")).unwrap();
        let error = |name: &str| Table::read(&path(name)).unwrap_err().to_string();
        let here = folder.path().display();
        let want = format!(
            "{here}/hose.csv: No such file or directory (os error 2); did you mean '{here}/houses.csv'?; tables in {here}: houses.csv"
        );
        assert_eq!(error("hose.csv"), want);
        assert!(error("photo").contains(&format!("did you mean '{here}/photos'?")), "{}", error("photo"));
        assert!(error("no/such/d.csv").ends_with(&format!("; there is no folder '{here}/no'")), "{}", error("no/such/d.csv"));
    }
}
