//! The columns of a row that learners other than the network read.

use mbm_algo::tree::ColumnKind;
use mbm_data::{Batch, BatchColumn, Field, Shape, Values};
use serde::{Deserialize, Serialize};

/// How inputs become columns. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Columns {
    /// One group per input.
    groups: Vec<Group>,
}

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
    /// The code of a category.
    Code,
    /// Mean and standard deviation of each value over the steps, and the number of steps.
    StepStatistics,
    /// Nothing: the input is left to the network.
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
}

/// Maximum number of steps of a vector that is used as it is.
const MAX_WIDTH: usize = 100_000;

impl Columns {
    /// Decides on the columns of each input. `first` is a batch of training rows, which shows the width of features that an encoder has
    /// computed.
    pub fn new(inputs: &[Field], first: &Batch) -> Self {
        let group = |(field, column): (&Field, &BatchColumn)| {
            let (kind, width) = match (field.preprocessor.get().shape(), &column.values) {
                (_, Values::Encoded { width, .. }) => (GroupKind::StepStatistics, 2 * width + 1),
                (Shape::Class { .. }, _) => (GroupKind::Code, 1),
                (Shape::Number { .. }, _) => (GroupKind::Values, 1),
                (Shape::Vector { width }, _) if width <= MAX_WIDTH => (GroupKind::Values, width),
                (Shape::Frames { width, .. }, _) => (GroupKind::StepStatistics, 2 * width + 1),
                _ => (GroupKind::Nothing, 0),
            };
            Group { kind, width }
        };
        Self { groups: inputs.iter().zip(&first.inputs).map(group).collect() }
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.groups.iter().map(|group| group.width).sum()
    }

    /// Returns the type of each column.
    pub fn kinds(&self) -> Vec<ColumnKind> {
        let kind = |group: &Group| if group.kind == GroupKind::Code { ColumnKind::Category } else { ColumnKind::Number };
        self.groups.iter().flat_map(|group| std::iter::repeat_n(kind(group), group.width)).collect()
    }

    /// Whether the columns are those of these inputs; checks what was read from a file.
    pub fn suits(&self, inputs: &[Field]) -> bool {
        let suits = |(group, field): (&Group, &Field)| match (group.kind, field.preprocessor.get().shape()) {
            (GroupKind::Values, Shape::Vector { width }) => group.width == width,
            (GroupKind::Values, Shape::Number { .. }) | (GroupKind::Code, Shape::Class { .. }) => group.width == 1,
            (GroupKind::StepStatistics, _) => group.width % 2 == 1 && group.width <= 2 * MAX_WIDTH + 1,
            (GroupKind::Nothing, _) => group.width == 0,
            (GroupKind::Values | GroupKind::Code, _) => false,
        };
        self.groups.len() == inputs.len() && self.groups.iter().zip(inputs).all(suits)
    }

    /// Returns the columns of a batch. Inputs in `absent` are absent from every row.
    pub fn block(&self, batch: &Batch, absent: &[bool]) -> Block {
        let (n_rows, n_cols) = (batch.len(), self.n_cols());
        let mut data = vec![f32::NAN; n_rows * n_cols];
        let mut start = 0;
        for (at, (group, column)) in self.groups.iter().zip(&batch.inputs).enumerate() {
            if !absent.get(at).is_some_and(|is_absent| *is_absent) {
                let rows = column.present.iter().enumerate().filter(|(_, is)| **is).map(|(row, _)| row);
                for (present, row) in rows.enumerate() {
                    let from = row * n_cols + start;
                    group.write(&column.values, present, &mut data[from..from + group.width]);
                }
            }
            start += group.width;
        }
        Block { n_rows, n_cols, data }
    }
}

impl Group {
    /// Writes the columns of the row at position `present` among those that have the input.
    fn write(&self, values: &Values, present: usize, out: &mut [f32]) {
        match (self.kind, values) {
            (GroupKind::Values, Values::Vectors { width, data }) if *width == out.len() => {
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
            (GroupKind::Nothing | GroupKind::Values | GroupKind::Code | GroupKind::StepStatistics, _) => {}
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
        self.n_cols = other.n_cols;
        self.n_rows += other.n_rows;
        self.data.extend(other.data);
    }

    /// Returns a row, `[columns]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.n_cols..(row + 1) * self.n_cols]
    }
}
