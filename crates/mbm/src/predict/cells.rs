//! Rows from memory: one cell per input, read into a sample.

use std::path::Path;

use mbm_data::{Cause, Cell, Fault, FieldFault, Payload, RowStatus, Rule, Sample, Unreadable, decide};

use crate::predict::predictor::Predictor;

/// An input cell that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input}: {fault}{}", if *.is_required { " (required by the model)" } else { "" })]
pub struct CellError {
    /// The input.
    pub input: String,
    /// What is wrong with its cell.
    pub fault: Fault,
    /// Whether the model requires this input in every row.
    pub is_required: bool,
}

/// The input cells of a row that are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(CellError::to_string).collect::<Vec<_>>().join("; "))]
pub struct CellErrors(pub Vec<CellError>);

impl Predictor {
    /// Reads one cell per input, in input order. Unreadable cells become absent.
    pub fn read_cells(&self, cells: &[Cell]) -> Sample {
        self.read_cells_while(cells, &mut |_| true)
    }

    /// As [`Predictor::read_cells`]; `begin` is called with the index of each input before it is read, and returns whether to read it.
    pub fn read_cells_while(&self, cells: &[Cell], begin: &mut dyn FnMut(usize) -> bool) -> Sample {
        let mut sample = Sample { row_idx: 0, payloads: Vec::with_capacity(cells.len()), faults: Vec::new() };
        for (at, (field, cell)) in self.inputs.iter().zip(cells).enumerate() {
            let read = match cell {
                Cell::Empty => Err(Fault::new(Cause::Empty, "")),
                _ if !begin(at) => Err(Fault::new(Cause::Empty, "cancelled")),
                cell => field.preprocessor.get().payload(cell, Path::new("")),
            };
            let shortened = read.as_ref().ok().and_then(|payload| field.preprocessor.get().shortened(cell, payload));
            let (payload, fault) = read.map_or_else(|fault| (Payload::Missing, Some(fault)), |payload| (payload, shortened));
            sample.payloads.push(payload);
            sample.faults.extend(fault.map(|fault| FieldFault { field: at, fault }));
        }
        sample
    }

    /// Decides whether a row gets a prediction.
    ///
    /// # Errors
    /// Returns every rejected cell.
    pub fn row_status(&self, sample: &Sample, unreadable: Unreadable) -> Result<RowStatus, CellErrors> {
        match decide(&self.inputs, &sample.faults, unreadable) {
            Ok(decision) => Ok(RowStatus::new(&self.inputs, &sample.faults, decision)),
            Err(rejected) => {
                let error = rejected.into_iter().map(|it| self.cell_error(it.fault, it.rule == Rule::Required));
                Err(CellErrors(error.collect()))
            }
        }
    }

    /// Reads the cells of a query. Unreadable cells are errors, even if the model could do without them.
    ///
    /// # Errors
    /// Returns every cell that is present and unreadable.
    pub fn read_query(&self, cells: &[Cell]) -> Result<Sample, CellErrors> {
        let sample = self.read_cells(cells);
        self.check_query(&sample)?;
        Ok(sample)
    }

    /// Checks that every cell of a query was read.
    ///
    /// # Errors
    /// Returns every cell that is present and unreadable.
    pub fn check_query(&self, sample: &Sample) -> Result<(), CellErrors> {
        let unread = sample.faults.iter().filter(|it| it.fault.cause.is_unreadable());
        let errors: Vec<CellError> = unread.map(|it| self.cell_error(it.clone(), false)).collect();
        if errors.is_empty() { Ok(()) } else { Err(CellErrors(errors)) }
    }

    fn cell_error(&self, FieldFault { field, fault }: FieldFault, is_required: bool) -> CellError {
        CellError { input: self.inputs[field].name.clone(), fault, is_required }
    }
}
