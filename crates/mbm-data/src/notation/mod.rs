//! How people write values in cells: numbers, dates, labels, and words for a missing value.
//!
//! Each file parses one kind of value, in one of several notations, and counts how many cells of a column only one notation
//! reads. [`crate::feature`] fits the notation on the training cells and stores it, so that a cell reads the same in prediction;
//! [`crate::infer_types`] uses the same parsers to recognize the type of a column.

mod currency;
pub(crate) mod date;
mod date_words;
pub(crate) mod labels;
pub(crate) mod null_values;
pub(crate) mod number;
mod time;
