//! What commands that read a dataset share: where they write, the cache of features, the cells that could not be read.

use std::path::Path;

use anyhow::{Result, bail};
use mbm::FeatureCache;

use crate::args::CacheSize;
use crate::output::note;

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
