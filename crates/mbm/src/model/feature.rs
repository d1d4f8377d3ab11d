//! An input or output of a model, as a program sees it.

use std::fmt;

use mbm_data::{Field, Preprocessor};

use crate::predict::prediction::class_names;

/// An input or output of a model.
///
/// ```
/// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
/// let inputs: Vec<(&str, &str)> = model.inputs().map(|input| (input.name(), input.type_name())).collect();
/// assert_eq!(inputs, [("image", "image"), ("text", "text")]);
/// let label = model.outputs().last().expect("two outputs");
/// assert_eq!((label.name(), label.classes()), ("label", vec!["bright".to_owned(), "dark".to_owned()]));
/// # Ok::<(), mbm::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Feature<'a>(pub(super) &'a Field);

impl<'a> Feature<'a> {
    /// Returns the name.
    pub fn name(self) -> &'a str {
        &self.0.name
    }

    /// Returns the name of its column in tables.
    pub fn column(self) -> &'a str {
        &self.0.column
    }

    /// Returns its type in the config, such as `image`.
    pub fn type_name(self) -> &'static str {
        self.0.preprocessor.type_name()
    }

    /// Returns the names of its classes or labels; empty for other types.
    pub fn classes(self) -> Vec<String> {
        class_names(&self.0.preprocessor)
    }

    /// Whether its cells are decoded from the bytes of a file.
    pub fn is_media(self) -> bool {
        matches!(self.0.preprocessor, Preprocessor::Image(_) | Preprocessor::Audio(_))
    }

    /// Whether its cells may take long to read, because a file is decoded, a text tokenized or a list of numbers parsed.
    pub fn is_costly(self) -> bool {
        match self.0.preprocessor {
            Preprocessor::Image(_)
            | Preprocessor::Audio(_)
            | Preprocessor::Text(_)
            | Preprocessor::TargetText(_)
            | Preprocessor::Timeseries(_)
            | Preprocessor::Vector(_)
            | Preprocessor::Embedding(_) => true,
            Preprocessor::Number(_)
            | Preprocessor::Category(_)
            | Preprocessor::Binary(_)
            | Preprocessor::Set(_)
            | Preprocessor::Date(_) => false,
        }
    }
}

impl fmt::Debug for Feature<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Feature");
        shown.field("name", &self.name()).field("column", &self.column()).field("type", &self.type_name());
        shown.finish_non_exhaustive()
    }
}
