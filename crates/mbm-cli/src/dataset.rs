//! What commands that read a dataset share: how they read it, where they write, the cache of features, the cells that could not be
//! read.

use std::io::stdin;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use mbm::{FeatureCache, Model, Table, Unreadable};

use crate::args::{CacheSize, Reading};
use crate::output::note;

/// Whether a dataset is standard input.
pub fn is_stdin(dataset: &Path) -> bool {
    dataset == Path::new("-")
}

/// Reads a dataset, without showing notes on it.
pub fn read_silently(dataset: &Path, reading: &Reading) -> Result<Table> {
    let options = reading.options();
    match is_stdin(dataset) {
        true => Ok(Table::read_stream(stdin().lock(), "standard input", &options)?),
        false => Ok(Table::read_with(dataset, &options)?),
    }
}

/// Reads a dataset, and shows what its reader assumed.
pub fn read(dataset: &Path, reading: &Reading) -> Result<Table> {
    let table = read_silently(dataset, reading)?;
    table.notes.iter().for_each(|text| note(text));
    Ok(table)
}

/// Returns the run folder of a dataset: it has the name of the file, or of the folder of a pattern.
pub fn default_folder(dataset: &Path) -> PathBuf {
    let has_wildcard = |path: &Path| path.to_string_lossy().contains(['*', '?', '[']);
    let is_compressed = |path: &Path| path.extension().is_some_and(|it| ["gz", "zst", "zip"].iter().any(|ending| it == *ending));
    let named = dataset.ancestors().find(|path| !has_wildcard(path)).and_then(|path| {
        let stem = path.file_stem()?;
        if is_compressed(path) { Path::new(stem).file_stem() } else { Some(stem) }
    });
    match is_stdin(dataset) {
        true => PathBuf::from("results/stdin"),
        false => Path::new("results").join(named.unwrap_or("tables".as_ref())),
    }
}

/// Returns the user's feature cache, unless its size limit is 0.
pub fn feature_cache(size: CacheSize) -> Option<FeatureCache> {
    let folder = FeatureCache::default_folder().filter(|_| size.cache_size > 0)?;
    Some(FeatureCache { folder, max_bytes: size.cache_size })
}

/// Refuses to overwrite the dataset that is read.
pub fn check_output(output: &Path, dataset: &Path) -> Result<()> {
    let is_same = std::fs::canonicalize(output).is_ok_and(|output| std::fs::canonicalize(dataset).is_ok_and(|it| it == output));
    if is_same { bail!("{} is the dataset itself; choose another file", output.display()) } else { Ok(()) }
}

/// Notes that features are not cached for later runs, and why.
pub fn show_cache_fault(fault: Option<&str>) {
    fault.iter().for_each(|fault| note(&format!("features are not cached for later runs: {fault}")));
}

/// Counts the cells that had no value or were read only in part.
pub fn show_faults(faults: &mbm::FaultReport) {
    let lines = faults.lines();
    if !lines.is_empty() {
        note("cells without a value, or read only in part:");
        lines.iter().for_each(|text| note(&format!("  {text}")));
    }
}

/// Notes the columns that the dataset has under a similar name, whose cells are absent.
pub fn show_misspelled(model: &Model, table: &Table) {
    for (column, found) in model.misspelled_columns(table) {
        note(&format!("the dataset has no column '{column}', whose cells are absent; rename '{found}' to '{column}'?"));
    }
}

/// How cells that cannot be read are treated.
pub fn unreadable(is_strict: bool) -> Unreadable {
    if is_strict { Unreadable::Error } else { Unreadable::Missing }
}

/// Adds the location of the dataset to an error about its cells.
pub fn in_dataset(error: mbm::Error, dataset: &Path) -> anyhow::Error {
    let is_of_data = matches!(error, mbm::Error::Data(_));
    let place = if is_stdin(dataset) { "standard input".to_owned() } else { dataset.display().to_string() };
    if is_of_data { anyhow::Error::new(error).context(place) } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_folder_has_the_name_of_the_file_or_folder() {
        let folder = |dataset: &str| default_folder(Path::new(dataset)).display().to_string();
        assert_eq!(
            ["houses.csv", "a/photos/", "a/*.parquet", "a/*/b.csv", "b.jsonl.gz", "c.zip"].map(folder),
            ["results/houses", "results/photos", "results/a", "results/a", "results/b", "results/c"]
        );
        assert_eq!(["-", "*.csv"].map(folder), ["results/stdin", "results/tables"]);
    }
}
