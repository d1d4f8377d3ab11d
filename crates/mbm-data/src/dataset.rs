//! A table read as features: payloads row by row, computed once and kept in a temporary file.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::feature::Fitter;
use crate::spool::Spool;
use crate::{Cause, Cell, DataError, Fault, FaultReport, MissingValueStrategy, Payload, Preprocessor, Table};

/// A fitted feature and the column that it reads. Saved in the bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Field {
    /// The feature's name.
    pub name: String,
    /// The column.
    pub column: String,
    /// The fitted reader.
    pub preprocessor: Preprocessor,
    /// What becomes of rows without a readable cell.
    pub missing_value_strategy: MissingValueStrategy,
}

/// A feature before fitting.
pub struct Unfitted {
    /// The feature's name.
    pub name: String,
    /// The column.
    pub column: String,
    /// Sees the training cells.
    pub fitter: Box<dyn Fitter>,
    /// What becomes of rows without a readable cell.
    pub missing_value_strategy: MissingValueStrategy,
}

/// One row as payloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The row in the table.
    pub row_idx: usize,
    /// One a feature, inputs first, then targets.
    pub payloads: Vec<Payload>,
}

/// A table with its features.
#[derive(Debug)]
pub struct Dataset {
    /// The table.
    pub table: Table,
    /// Inputs first, then targets.
    pub fields: Vec<Field>,
    /// How many of the fields are inputs.
    pub n_inputs: usize,
    columns: Vec<Option<usize>>,
    cache: Option<Cache>,
    /// Steps of the longest input of each prepared row.
    lengths: Vec<u32>,
}

#[derive(Debug)]
struct Cache {
    samples: Spool,
    /// The record of each row of the table, if it has one.
    records: Vec<Option<u32>>,
}

/// What preparing found.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The rows that take part, in the order given.
    pub rows: Vec<usize>,
    /// Cells without payload.
    pub faults: FaultReport,
}

/// Rows that are read at once by all threads.
const CHUNK: usize = 512;

/// Fits features on training rows, all in one pass over the table.
///
/// # Errors
/// A column that is not there, a feature whose training cells cannot be used.
pub fn fit(table: &Table, rows: &[usize], features: Vec<Unfitted>) -> Result<Vec<Field>, DataError> {
    let columns = features.iter().map(|feature| table.require(&feature.column)).collect::<Result<Vec<_>, _>>()?;
    let mut features = features;
    for row_idx in rows {
        let row = table.row(*row_idx)?;
        features.iter_mut().zip(&columns).for_each(|(feature, at)| feature.fitter.observe(&row[*at], &table.folder));
    }
    let fitted = |feature: Unfitted| {
        let Unfitted { name, column, fitter, missing_value_strategy } = feature;
        let preprocessor = fitter.finish().map_err(|message| DataError::Fit { feature: name.clone(), message })?;
        Ok(Field { name, column, preprocessor, missing_value_strategy })
    };
    features.into_iter().map(fitted).collect()
}

impl Dataset {
    /// A table seen through fitted features; a column that the table lacks is a feature absent in every row.
    pub fn new(table: Table, inputs: Vec<Field>, targets: Vec<Field>) -> Self {
        let n_inputs = inputs.len();
        let fields: Vec<Field> = inputs.into_iter().chain(targets).collect();
        let columns = fields.iter().map(|field| table.position(&field.column)).collect();
        Self { table, fields, n_inputs, columns, cache: None, lengths: Vec::new() }
    }

    /// Reads rows once: counts their faults, applies each feature's strategy, and keeps payloads up to `max_bytes` on disk so
    /// that [`Dataset::sample`] need not read the media again.
    ///
    /// # Errors
    /// A bad cell of a feature with `missing_value_strategy: error`; a temporary file that fails.
    pub fn prepare(&mut self, rows: &[usize], max_bytes: u64) -> Result<Prepared, DataError> {
        let at_temporary = || DataError::io(std::env::temp_dir());
        let samples = Spool::new().map_err(at_temporary())?;
        let mut cache = Cache { samples, records: vec![None; self.table.n_rows()] };
        let mut prepared = Prepared::default();
        self.lengths = vec![0; self.table.n_rows()];
        let mut record = Vec::new();
        for chunk in rows.chunks(CHUNK) {
            let read: Vec<_> = chunk.par_iter().map(|row_idx| self.read(*row_idx)).collect();
            for (sample, faults) in read.into_iter().collect::<Result<Vec<_>, _>>()? {
                if self.judge(sample.row_idx, &faults, &mut prepared.faults)? {
                    prepared.rows.push(sample.row_idx);
                }
                let steps = sample.payloads[..self.n_inputs].iter().map(Payload::n_steps).max();
                self.lengths[sample.row_idx] = steps.unwrap_or(0) as u32;
                if cache.samples.n_bytes() < max_bytes {
                    record.clear();
                    sample.payloads.iter().for_each(|payload| payload.write(&mut record));
                    cache.records[sample.row_idx] = Some(cache.samples.len() as u32);
                    cache.samples.push(&record).map_err(at_temporary())?;
                }
            }
        }
        cache.samples.flush().map_err(at_temporary())?;
        self.cache = Some(cache);
        Ok(prepared)
    }

    /// Steps of the longest input of a row, for batches of rows alike in length; 0 where it was not prepared.
    pub fn length(&self, row_idx: usize) -> u32 {
        self.lengths.get(row_idx).copied().unwrap_or(0)
    }

    /// Counts a row's faults; whether it takes part.
    fn judge(&self, row_idx: usize, faults: &[Option<Fault>], report: &mut FaultReport) -> Result<bool, DataError> {
        let mut stays = true;
        for (field, fault) in self.fields.iter().zip(faults) {
            let Some(fault) = fault else { continue };
            report.add(&field.name, row_idx + 1, fault);
            match field.missing_value_strategy {
                MissingValueStrategy::Absent => {}
                MissingValueStrategy::DropRow => stays = false,
                MissingValueStrategy::Error => {
                    return Err(DataError::BadCell { row: row_idx + 1, column: field.column.clone(), fault: fault.to_string() });
                }
            }
        }
        Ok(stays)
    }

    /// The payloads of a row: from the temporary file if it was prepared, else read anew.
    ///
    /// # Errors
    /// A temporary file that fails.
    pub fn sample(&self, row_idx: usize) -> Result<Sample, DataError> {
        let cached = self.cache.as_ref().and_then(|cache| Some((cache, cache.records[row_idx]?)));
        let Some((cache, record)) = cached else { return Ok(self.read(row_idx)?.0) };
        let bytes = cache.samples.read(record as usize).map_err(DataError::io(std::env::temp_dir()))?;
        let mut rest = bytes.as_slice();
        let payloads = self.fields.iter().map(|_| Payload::read(&mut rest)).collect();
        Ok(Sample { row_idx, payloads })
    }

    /// Reads a row from the table: its payloads, and for each field why it has none.
    ///
    /// # Errors
    /// A temporary file that fails.
    pub fn read(&self, row_idx: usize) -> Result<(Sample, Vec<Option<Fault>>), DataError> {
        let row = self.table.row(row_idx)?;
        let (mut payloads, mut faults) = (Vec::with_capacity(self.fields.len()), Vec::with_capacity(self.fields.len()));
        for (field, column) in self.fields.iter().zip(&self.columns) {
            match self.payload(field, column.map(|at| &row[at])) {
                Ok(payload) => (payloads.push(payload), faults.push(None)),
                Err(fault) => (payloads.push(Payload::Missing), faults.push(Some(fault))),
            };
        }
        Ok((Sample { row_idx, payloads }, faults))
    }

    fn payload(&self, field: &Field, cell: Option<&Cell>) -> Result<Payload, Fault> {
        match cell {
            None => Err(Fault::new(Cause::NoColumn, "")),
            Some(Cell::Empty) => Err(Fault::new(Cause::Empty, "")),
            Some(cell) => field.preprocessor.get().payload(cell, &self.table.folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::NumberPreprocessing;

    fn dataset(strategy: MissingValueStrategy) -> Dataset {
        let rows = ["1", "x", "", "4"].map(|text| vec![Cell::text(text)]).to_vec();
        let table = Table::from_rows(vec!["a".into()], rows, ".".into()).unwrap();
        let settings: NumberPreprocessing = mbm_config::defaults();
        let unfitted = |name: &str| Unfitted {
            name: name.into(),
            column: "a".into(),
            fitter: settings.fitter(),
            missing_value_strategy: strategy,
        };
        let inputs = fit(&table, &[0, 1, 2, 3], vec![unfitted("a")]).unwrap();
        Dataset::new(table, inputs, vec![])
    }

    #[test]
    fn a_bad_cell_is_absent_dropped_or_an_error_as_the_feature_says() {
        let mut absent = dataset(MissingValueStrategy::Absent);
        let prepared = absent.prepare(&[0, 1, 2, 3], 1 << 20).unwrap();
        assert_eq!(prepared.rows, [0, 1, 2, 3]);
        assert_eq!(prepared.faults.lines(), ["a: 1 empty (row 3)", "a: 1 malformed (row 2: 'x' is not a number)"]);
        assert_eq!(absent.sample(1).unwrap().payloads, [Payload::Missing]);
        assert_eq!(dataset(MissingValueStrategy::DropRow).prepare(&[0, 1, 2, 3], 0).unwrap().rows, [0, 3]);
        let error = dataset(MissingValueStrategy::Error).prepare(&[0, 1], 0).unwrap_err().to_string();
        assert_eq!(error, "row 2, column 'a': malformed: 'x' is not a number (missing_value_strategy: error)");
    }

    #[test]
    fn a_cached_sample_equals_one_read_anew() {
        let mut cached = dataset(MissingValueStrategy::Absent);
        let fresh: Vec<Sample> = (0..4).map(|row_idx| cached.sample(row_idx).unwrap()).collect();
        cached.prepare(&[3, 1, 0, 2], 1 << 20).unwrap();
        assert_eq!((0..4).map(|row_idx| cached.sample(row_idx).unwrap()).collect::<Vec<_>>(), fresh);
    }
}
