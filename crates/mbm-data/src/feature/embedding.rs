//! Training targets of an embedding: which rows share the same image, text or audio clip.

use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for embeddings. A row with fewer than two of the inputs counts as empty.
    pub struct EmbeddingPreprocessing {}
}

/// Identifies the cells of the inputs by content: `ContentIds [inputs]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedEmbedding {}

struct EmbeddingFitter;

impl EmbeddingPreprocessing {
    /// Returns a fitter, which ignores all cells.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(EmbeddingFitter)
    }
}

impl Fitter for EmbeddingFitter {
    fn has_column(&self) -> bool {
        false
    }

    fn observe(&mut self, _cell: &Cell, _folder: &Path) {}

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        Ok(Preprocessor::Embedding(FittedEmbedding {}))
    }
}

/// Returns a content id for each input's cell, 0 for an empty one; equal cells have equal ids.
///
/// # Errors
/// [`Cause::Empty`] for a row with fewer than two non-empty cells.
pub(crate) fn items<'a>(cells: impl Iterator<Item = Option<&'a Cell>>) -> Result<Payload, Fault> {
    let items: Vec<u64> = cells.map(|cell| cell.map_or(0, Cell::item)).collect();
    let n_present = items.iter().filter(|item| **item != 0).count();
    if n_present < 2 { Err(Fault::new(Cause::Empty, "")) } else { Ok(Payload::ContentIds(items)) }
}

impl Preprocess for FittedEmbedding {
    /// A single cell does not make a pair.
    fn payload(&self, _cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        Err(Fault::new(Cause::Empty, ""))
    }

    fn shape(&self) -> Shape {
        Shape::ContentIds
    }

    fn check(&self) -> Result<(), InvalidFit> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_cells_share_an_id_and_a_single_cell_is_empty() {
        let row = |image: &str, caption: &str| {
            let cells = [Cell::text(image), Cell::text(caption)];
            items(cells.iter().map(Some))
        };
        let (Ok(Payload::ContentIds(a)), Ok(Payload::ContentIds(b))) = (row("1.png", "a dog"), row("1.png", "a cat")) else {
            panic!()
        };
        assert_eq!((a[0] == b[0], a[1] == b[1], a[0] == a[1]), (true, false, false));
        assert!(row("1.png", "").is_err());
    }
}
