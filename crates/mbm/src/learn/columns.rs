//! The columns of a row that learners other than the network read.

use std::collections::HashSet;
use std::ops::Range;

use mbm_algo::linear::Rows;
use mbm_algo::series::{Series, summarize, summary_names};
use mbm_algo::tree::ColumnKind;
use mbm_algo::{AlgoError, SparseRows, TruncatedSvd};
use mbm_data::{Batch, BatchColumn, Field, Shape, Values, random};
use serde::{Deserialize, Serialize};

use crate::learn::convolutions::SeriesColumn;
use crate::learn::images::{ImageColumns, ImageFeatures, ImageInput, image_inputs};
use crate::learn::texts::{MaxTerms, N_STATISTICS, TextTerms, write_statistics};

/// How inputs become columns. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Columns {
    /// One group per input.
    groups: Vec<Group>,
    /// The n-grams of each input that is a text, in their order.
    terms: Vec<TextTerms>,
    /// The columns of all images, which follow those of the inputs.
    images: Option<ImageColumns>,
    /// The projection of all n-grams to a few columns (latent semantic analysis), which follow those of the images.
    projection: Option<TruncatedSvd>,
}

/// Number of columns that n-grams are projected to.
const N_PROJECTED: usize = 32;

/// How long the n-grams of a text and the features of an image take, in evaluations of one tree.
const COST_OF_TEXT: usize = 1_000;
const COST_OF_IMAGE: usize = 10_000;

/// The columns of an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Group {
    /// What the columns are.
    kind: GroupKind,
    /// Number of columns.
    width: usize,
}

/// What the columns of an input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupKind {
    /// The values of a vector.
    Values,
    /// The features of an encoder that has read the input ahead.
    Features,
    /// The code of a category.
    Code,
    /// Mean and standard deviation of each value over the steps, and the number of steps.
    StepStatistics,
    /// Statistics of a text; its n-grams are stored apart.
    Text,
    /// Summary statistics of a series.
    Series,
    /// None of its own: images share columns, and other inputs are left to the network.
    Nothing,
}

/// The columns of some rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Block {
    /// Number of rows.
    pub n_rows: usize,
    /// Number of columns.
    pub n_cols: usize,
    /// `[rows, columns]`; NaN where an input is absent.
    pub data: Vec<f32>,
    /// The n-grams of all texts; no columns if there are no texts.
    pub terms: SparseRows,
    /// The series of each input that is one.
    pub series: Vec<SeriesColumn>,
}

/// Maximum number of channels of a series that is summarized in detail.
const MAX_CHANNELS: usize = 8;

/// Maximum number of values of a vector, or of features of an encoder, that are used as they are.
pub(crate) const MAX_WIDTH: usize = 100_000;

/// Number of rows per category, on average, from which trees sort categories by their mean targets.
const MIN_ROWS_OF_CATEGORY: usize = 5;

impl Columns {
    /// Decides on the columns of each input. `first` is a batch of training rows, which shows the width of features that an encoder has
    /// computed, and whether texts are kept.
    pub fn new(inputs: &[Field], first: &Batch) -> Self {
        let images: Vec<usize> = image_inputs(inputs, first).iter().map(ImageInput::at).collect();
        let group = |(at, (field, column)): (usize, (&Field, &BatchColumn))| {
            let (kind, width) = match (field.preprocessor.get().shape(), &column.values) {
                _ if images.contains(&at) => (GroupKind::Nothing, 0),
                (_, Values::Encoded { width, lengths, .. }) if lengths.iter().all(|n_steps| *n_steps == 1) => {
                    (GroupKind::Features, *width)
                }
                (_, Values::Encoded { width, .. }) => (GroupKind::StepStatistics, 2 * width + 1),
                (Shape::Class { .. }, _) => (GroupKind::Code, 1),
                (Shape::Number { .. }, _) => (GroupKind::Values, 1),
                (Shape::Vector { width }, _) if width <= MAX_WIDTH => (GroupKind::Values, width),
                (Shape::Frames { width, .. }, _) if width <= MAX_CHANNELS => (GroupKind::Series, summary_names(width).len()),
                (Shape::Frames { width, .. }, _) => (GroupKind::StepStatistics, 2 * width + 1),
                (Shape::Tokens { .. }, _) => (GroupKind::Text, N_STATISTICS),
                _ => (GroupKind::Nothing, 0),
            };
            Group { kind, width }
        };
        Self {
            groups: inputs.iter().zip(&first.inputs).enumerate().map(group).collect(),
            terms: Vec::new(),
            images: None,
            projection: None,
        }
    }

    /// Returns the inputs whose n-grams are read.
    pub fn texts(&self) -> Vec<usize> {
        (0..self.groups.len()).filter(|at| self.groups[*at].kind == GroupKind::Text).collect()
    }

    /// Fits the columns of images to training rows.
    ///
    /// # Errors
    /// Fails if there are no rows.
    pub fn fit_images(&mut self, inputs: Vec<ImageInput>, features: &ImageFeatures, seed: u64) -> Result<(), AlgoError> {
        self.images = ImageColumns::fit(inputs, features, seed)?;
        Ok(())
    }

    /// Fits the n-grams to the texts of the training rows, `[inputs that are texts][rows]`.
    pub fn fit_terms(&mut self, texts: &[Vec<String>], max: MaxTerms) {
        self.terms = texts.iter().map(|texts| TextTerms::fit(texts, max)).collect();
    }

    /// Fits the projection of n-grams to the training rows, and adds its columns to them.
    ///
    /// # Errors
    /// Fails if there are no rows.
    pub fn fit_projection(&mut self, block: &mut Block, seed: u64) -> Result<(), AlgoError> {
        let n_components = N_PROJECTED.min(block.terms.n_cols() / 2).min(block.n_rows / 4);
        if n_components > 0 {
            let mut rng = random::rng(seed);
            let projection = TruncatedSvd::fit(Rows::from(&block.terms), n_components, &mut rng)?;
            // Fewer if the texts are few, or equal.
            let n_components = projection.n_components();
            if n_components > 0 {
                block.extend(&projection.transform(Rows::from(&block.terms)), n_components);
                self.projection = Some(projection);
            }
        }
        Ok(())
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_own() + self.n_of_images() + self.projection.as_ref().map_or(0, TruncatedSvd::n_components)
    }

    /// Returns the number of columns of the inputs by themselves.
    fn n_own(&self) -> usize {
        self.groups.iter().map(|group| group.width).sum()
    }

    fn n_of_images(&self) -> usize {
        self.images.as_ref().map_or(0, ImageColumns::n_cols)
    }

    /// Returns the number of columns that no text has a part in.
    pub fn n_without_texts(&self) -> usize {
        let of_inputs: usize = self.groups.iter().filter(|group| group.kind != GroupKind::Text).map(|group| group.width).sum();
        of_inputs + self.n_of_images()
    }

    /// Returns for each column whether it is one of an image, a sound, a series or a text.
    pub fn are_of_media(&self) -> Vec<bool> {
        let is_plain = |group: &Group| matches!(group.kind, GroupKind::Values | GroupKind::Code);
        let own = self.groups.iter().flat_map(|group| std::iter::repeat_n(!is_plain(group), group.width));
        own.chain(std::iter::repeat_n(true, self.n_cols() - self.n_own())).collect()
    }

    /// Returns the columns that are a projection of n-grams.
    pub fn projected(&self) -> Range<usize> {
        self.n_own() + self.n_of_images()..self.n_cols()
    }

    /// Returns the number of n-grams of all texts.
    pub fn n_terms(&self) -> usize {
        self.terms.iter().map(TextTerms::n_cols).sum()
    }

    /// Returns the type of each column.
    pub fn kinds(&self) -> Vec<ColumnKind> {
        let kind = |group: &Group| if group.kind == GroupKind::Code { ColumnKind::Category } else { ColumnKind::Number };
        let own = self.groups.iter().flat_map(|group| std::iter::repeat_n(kind(group), group.width));
        own.chain(std::iter::repeat_n(ColumnKind::Number, self.n_cols() - self.n_own())).collect()
    }

    /// Returns the type of each column for trees. Categories with few rows each are numbers in the order of their words, as an ordinal
    /// encoding has them: sorted by their mean targets, they would explain the noise.
    pub fn tree_kinds(&self, block: &Block) -> Vec<ColumnKind> {
        let n_categories = |at: usize| (0..block.n_rows).map(|row| block.row(row)[at].to_bits()).collect::<HashSet<u32>>().len();
        let is_rare = |at: usize| block.n_rows < MIN_ROWS_OF_CATEGORY * n_categories(at);
        let kind = |(at, kind): (usize, ColumnKind)| match kind {
            ColumnKind::Category if is_rare(at) => ColumnKind::Number,
            kind => kind,
        };
        self.kinds().into_iter().enumerate().map(kind).collect()
    }

    /// Whether the columns are those of these inputs; checks what was read from a file.
    pub fn suits(&self, inputs: &[Field]) -> bool {
        let suits = |(group, field): (&Group, &Field)| match (group.kind, field.preprocessor.get().shape()) {
            (GroupKind::Values, Shape::Vector { width }) => group.width == width,
            (GroupKind::Values, Shape::Number { .. }) | (GroupKind::Code, Shape::Class { .. }) => group.width == 1,
            (GroupKind::Features, _) => group.width <= MAX_WIDTH,
            (GroupKind::StepStatistics, _) => group.width % 2 == 1 && group.width <= 2 * MAX_WIDTH + 1,
            (GroupKind::Text, Shape::Tokens { .. }) => group.width == N_STATISTICS,
            (GroupKind::Series, Shape::Frames { width, .. }) => {
                width <= MAX_CHANNELS && group.width == summary_names(width).len()
            }
            (GroupKind::Nothing, _) => group.width == 0,
            (GroupKind::Values | GroupKind::Code | GroupKind::Text | GroupKind::Series, _) => false,
        };
        self.groups.len() == inputs.len()
            && self.groups.iter().zip(inputs).all(suits)
            && self.terms.len() == self.texts().len()
            && self.images.as_ref().is_none_or(|images| images.suits(inputs))
            && self.projection.as_ref().is_none_or(|projection| projection.suits(self.n_terms()))
    }

    /// Returns the columns of a batch. Inputs in `absent` are absent from every row.
    pub fn block(&self, batch: &Batch, absent: &[bool]) -> Block {
        let (n_rows, n_cols) = (batch.len(), self.n_own());
        let mut data = vec![f32::NAN; n_rows * n_cols];
        let mut start = 0;
        let mut texts = Vec::new();
        for (at, (group, column)) in self.groups.iter().zip(&batch.inputs).enumerate() {
            let is_absent = absent.get(at).is_some_and(|is_absent| *is_absent);
            let rows: Vec<usize> = if is_absent { Vec::new() } else { present(column) };
            for (present, row) in rows.iter().enumerate() {
                let from = row * n_cols + start;
                group.write(&column.values, present, &mut data[from..from + group.width]);
            }
            if let (GroupKind::Text, Values::Tokens { texts: own, .. }) = (group.kind, &column.values) {
                let mut of_rows = vec![""; n_rows];
                rows.iter().zip(own).for_each(|(row, text)| of_rows[*row] = text);
                texts.push(of_rows);
            }
            start += group.width;
        }
        let series = self.series(batch, absent);
        let mut block = Block { n_rows, n_cols, data, terms: self.terms(&texts, n_rows), series };
        if let Some(images) = &self.images {
            block.extend(&images.transform(batch, absent), images.n_cols());
        }
        if let Some(projection) = &self.projection {
            block.extend(&projection.transform(Rows::from(&block.terms)), projection.n_components());
        }
        block
    }

    /// Returns about how long the columns of a row take, in evaluations of one tree.
    pub fn cost(&self) -> usize {
        self.terms.len() * COST_OF_TEXT + if self.images.is_some() { COST_OF_IMAGE } else { 0 }
    }

    /// Returns the series of each input that is one.
    fn series(&self, batch: &Batch, absent: &[bool]) -> Vec<SeriesColumn> {
        let of_input = |(at, column): (usize, &BatchColumn)| {
            let Values::Frames { steps, width, lengths, data } = &column.values else { return None };
            let mut rows = vec![Vec::new(); batch.len()];
            if !absent.get(at).is_some_and(|is_absent| *is_absent) {
                for (at, row) in present(column).into_iter().enumerate() {
                    rows[row] = data[at * steps * width..(at * steps + lengths[at]) * width].to_vec();
                }
            }
            Some(SeriesColumn { n_channels: *width, rows })
        };
        batch.inputs.iter().enumerate().filter_map(of_input).collect()
    }

    /// Returns the n-grams of all texts, side by side.
    fn terms(&self, texts: &[Vec<&str>], n_rows: usize) -> SparseRows {
        let of_inputs: Vec<SparseRows> = self.terms.iter().zip(texts).map(|(terms, texts)| terms.transform(texts)).collect();
        let mut joined = SparseRows::new(self.n_terms());
        for row in 0..n_rows {
            let mut pairs = Vec::new();
            let mut first = 0;
            for own in &of_inputs {
                pairs.extend(own.pairs(row).map(|(column, value)| ((first + column) as u32, value)));
                first += own.n_cols();
            }
            joined.push_row(pairs);
        }
        joined
    }
}

/// Returns the texts of an input in a batch, one per row; empty where it is absent.
pub(crate) fn texts_of(column: &BatchColumn) -> Vec<String> {
    let mut texts = vec![String::new(); column.present.len()];
    if let Values::Tokens { texts: own, .. } = &column.values {
        present(column).into_iter().zip(own).for_each(|(row, text)| texts[row].clone_from(text));
    }
    texts
}

/// Returns the rows that have an input.
fn present(column: &BatchColumn) -> Vec<usize> {
    (0..column.present.len()).filter(|row| column.present[*row]).collect()
}

impl Group {
    /// Writes the columns of the row at position `present` among those that have the input.
    fn write(&self, values: &Values, present: usize, out: &mut [f32]) {
        match (self.kind, values) {
            (GroupKind::Values, Values::Vectors { width, data }) if *width == out.len() => {
                out.copy_from_slice(&data[present * width..(present + 1) * width]);
            }
            (GroupKind::Features, Values::Encoded { width, data, .. }) if *width == out.len() => {
                out.copy_from_slice(&data[present * width..(present + 1) * width]);
            }
            (GroupKind::Code, Values::Classes(classes)) => out[0] = classes[present] as f32,
            (GroupKind::StepStatistics, Values::Frames { steps, width, lengths, data })
            | (GroupKind::StepStatistics, Values::Encoded { steps, width, lengths, data })
                if 2 * width + 1 == out.len() =>
            {
                let from = present * steps * width;
                step_statistics(&data[from..from + lengths[present] * width], *width, out);
            }
            (GroupKind::Text, Values::Tokens { texts, .. }) => {
                texts.get(present).iter().for_each(|text| write_statistics(text, out))
            }
            (GroupKind::Series, Values::Frames { steps, width, lengths, data }) => {
                let from = present * steps * width;
                let series = Series { values: &data[from..from + lengths[present] * width], n_channels: *width };
                out.copy_from_slice(&summarize(&[series], *width));
            }
            (
                GroupKind::Nothing
                | GroupKind::Values
                | GroupKind::Features
                | GroupKind::Code
                | GroupKind::StepStatistics
                | GroupKind::Text
                | GroupKind::Series,
                _,
            ) => {}
        }
    }
}

/// Writes the mean and the standard deviation of each value over the steps, then the number of steps.
fn step_statistics(steps: &[f32], width: usize, out: &mut [f32]) {
    let n_steps = (steps.len() / width.max(1)).max(1) as f64;
    for at in 0..width {
        let values = || steps.iter().skip(at).step_by(width).map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / n_steps;
        let variance = values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n_steps;
        (out[at], out[width + at]) = (mean as f32, variance.sqrt() as f32);
    }
    out[2 * width] = n_steps as f32;
}

impl Block {
    /// Appends the rows of another block of the same columns.
    pub fn append(&mut self, other: Self) {
        if self.n_rows == 0 {
            *self = other;
            return;
        }
        self.n_rows += other.n_rows;
        self.data.extend(other.data);
        self.series.iter_mut().zip(other.series).for_each(|(own, other)| own.rows.extend(other.rows));
        for row in 0..other.n_rows {
            self.terms.push_row(other.terms.pairs(row).map(|(column, value)| (column as u32, value)));
        }
    }

    /// Appends columns `[rows, n_cols]`.
    fn extend(&mut self, columns: &[f32], n_cols: usize) {
        let own = (0..self.n_rows).map(|row| self.row(row));
        self.data = own.zip(columns.chunks(n_cols.max(1))).flat_map(|(own, more)| [own, more].concat()).collect();
        self.n_cols += n_cols;
    }

    /// Returns the columns with zeros in place of some, so that they keep their positions.
    pub fn without(&self, is_left_out: &[bool]) -> Self {
        let value = |(at, value): (usize, &f32)| if is_left_out[at % self.n_cols] { 0.0 } else { *value };
        let data = self.data.iter().enumerate().map(value).collect();
        Self { n_rows: self.n_rows, n_cols: self.n_cols, data, ..Self::default() }
    }

    /// Returns the columns of every `stride`-th row; `None` if those are all.
    pub fn strided(&self, stride: usize) -> Option<Self> {
        let rows: Vec<usize> = (0..self.n_rows).step_by(stride).collect();
        let data = || rows.iter().flat_map(|row| self.row(*row)).copied().collect();
        (stride > 1).then(|| Self { n_rows: rows.len(), n_cols: self.n_cols, data: data(), ..Self::default() })
    }

    /// Returns some columns of some rows.
    pub fn select(&self, rows: &[usize], columns: &[usize]) -> Self {
        let data = rows.iter().flat_map(|row| columns.iter().map(|at| self.row(*row)[*at])).collect();
        Self { n_rows: rows.len(), n_cols: columns.len(), data, ..Self::default() }
    }

    /// Returns a row, `[columns]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.n_cols..(row + 1) * self.n_cols]
    }
}
