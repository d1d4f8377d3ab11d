//! The `schema` command: the JSON Schema of configs, and their reference pages.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::Schema;
use crate::output::line;

/// Prints the JSON Schema, or writes the reference pages to a folder.
pub fn schema(args: &Schema) -> Result<()> {
    match &args.markdown {
        Some(folder) => write_pages(folder),
        None => line(&format!("{:#}", mbm::config_schema())),
    }
}

fn write_pages(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for page in mbm::reference_pages() {
        let path = folder.join(&page.name);
        std::fs::write(&path, &page.text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
