//! The steps of a prediction by themselves, for programs such as a server that prepare rows on some threads and gather them into
//! batches on others.

use mbm_data::{Cell, Fault, Payload, RowStatus, Sample, Unreadable};

use super::{Model, PredictedRow};
use crate::predict::cells::CellErrors;
use crate::predict::explain::Contribution;
use crate::predict::forward::{ShouldContinue, TextListener};
use crate::predict::prediction::Prediction;
use crate::predict::vectors::RowVectors;

/// A row whose cells have been read for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedRow(Sample);

impl PreparedRow {
    /// Sets the fault of an input, in place of an earlier one.
    pub fn set_fault(&mut self, input: usize, fault: Fault) {
        self.0.set_fault(input, fault);
    }
}

/// A row that has passed the checks for predictions or for queries, and may be run through the model.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedRow {
    sample: Sample,
    status: RowStatus,
}

impl CheckedRow {
    /// Returns which inputs are absent or shortened.
    pub fn status(&self) -> &RowStatus {
        &self.status
    }

    /// Whether all inputs are absent.
    pub fn is_empty(&self) -> bool {
        self.sample.payloads.iter().all(|payload| *payload == Payload::Missing)
    }

    /// Returns the number of tokens of its texts.
    pub fn n_tokens(&self) -> usize {
        self.sample.payloads.iter().filter_map(Payload::tokens).map(Vec::len).sum()
    }
}

/// The steps of a prediction by themselves. Rows are prepared on any thread, checked, and run through the model in batches.
///
/// ```
/// use mbm::{Cell, Unreadable};
///
/// let model = mbm::Model::open("tests/fixtures/form-2/writer")?;
/// let rows: Vec<_> = ["red green", "small cat"].map(|text| model.prepare(&[Cell::text(text)])).into();
/// let checked = rows.into_iter().map(|row| model.check(row, Unreadable::Missing)).collect::<Result<Vec<_>, _>>()?;
/// for batch in checked.chunks(model.batch_size()) {
///     for row in model.predict_batch(&batch.iter().collect::<Vec<_>>(), &|| true) {
///         println!("{}", row["caption"]);
///     }
/// }
/// # Ok::<(), mbm::Error>(())
/// ```
impl Model {
    /// Returns the number of rows that are predicted together at most: the larger the rows, the fewer.
    pub fn batch_size(&self) -> usize {
        self.predictor.batch_size()
    }

    /// Reads one cell per input, in the order of the inputs. Unreadable cells become absent.
    pub fn prepare(&self, cells: &[Cell]) -> PreparedRow {
        self.prepare_while(cells, &mut |_| true)
    }

    /// As [`Model::prepare`]; `begin` is called with the position of each input before its cell is read, and returns whether to
    /// read it.
    pub fn prepare_while(&self, cells: &[Cell], begin: &mut dyn FnMut(usize) -> bool) -> PreparedRow {
        PreparedRow(self.predictor.read_cells_while(cells, begin))
    }

    /// Returns a row in which all inputs are absent, even those that the model requires.
    pub fn empty_row(&self) -> CheckedRow {
        let PreparedRow(sample) = self.prepare(&vec![Cell::Empty; self.predictor.inputs.len()]);
        CheckedRow { sample, status: RowStatus::Complete }
    }

    /// Decides whether a row gets a prediction.
    ///
    /// # Errors
    /// Returns every rejected cell.
    pub fn check(&self, row: PreparedRow, unreadable: Unreadable) -> Result<CheckedRow, CellErrors> {
        let status = self.predictor.row_status(&row.0, unreadable)?;
        Ok(CheckedRow { sample: row.0, status })
    }

    /// Checks that every cell of a query was read.
    ///
    /// # Errors
    /// Returns every cell that is present and unreadable.
    pub fn check_query(&self, row: PreparedRow) -> Result<CheckedRow, CellErrors> {
        self.predictor.check_query(&row.0)?;
        Ok(CheckedRow { sample: row.0, status: RowStatus::Complete })
    }

    /// Predicts rows as one batch. Once `should_continue` returns false, texts are returned as far as they have been generated.
    pub fn predict_batch(&self, rows: &[&CheckedRow], should_continue: &ShouldContinue) -> Vec<PredictedRow> {
        let predictions = self.predictor.predict_while(&self.predictor.collate(&samples(rows)), should_continue);
        self.predicted(rows, &predictions)
    }

    /// As [`Model::predict_batch`], with the contribution of each input to the prediction of each row; none for a skipped row.
    pub fn explain_batch(
        &self,
        rows: &[&CheckedRow],
        should_continue: &ShouldContinue,
    ) -> Vec<(PredictedRow, Vec<Contribution>)> {
        let (predictions, contributions) = self.predictor.explain_batch(&samples(rows), should_continue);
        let explained = self.predicted(rows, &predictions).into_iter().zip(contributions);
        explained
            .map(|(row, contributions)| if row.status.is_skipped() { (row, Vec::new()) } else { (row, contributions) })
            .collect()
    }

    /// Predicts one row, and passes generated texts to `listener` as they grow.
    pub fn predict_streaming(&self, row: &CheckedRow, listener: &mut TextListener) -> PredictedRow {
        let predictions = self.predictor.predict_row(&row.sample, listener);
        let predictions: Vec<Vec<Prediction>> = predictions.into_iter().map(|prediction| vec![prediction]).collect();
        self.predicted(&[row], &predictions).swap_remove(0)
    }

    /// Returns the vectors of rows, one per [`Model::towers`]; they are computed as one batch.
    pub fn embed_batch(&self, rows: &[&CheckedRow]) -> Vec<RowVectors> {
        self.predictor.embed_batch(&self.predictor.collate(&samples(rows)))
    }

    /// Returns the rows of predictions `[outputs][rows]`.
    fn predicted(&self, rows: &[&CheckedRow], predictions: &[Vec<Prediction>]) -> Vec<PredictedRow> {
        let row =
            |(at, row): (usize, &&CheckedRow)| self.row(self.predictor.values(predictions, at, &row.status), row.status.clone());
        rows.iter().enumerate().map(row).collect()
    }
}

fn samples<'a>(rows: &[&'a CheckedRow]) -> Vec<&'a Sample> {
    rows.iter().map(|row| &row.sample).collect()
}
