//! Datasets: a table read as features. Payloads are computed once per row and stored in a temporary file.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::feature::{Fitter, items, named};
use crate::media_files::{FileHash, MediaFiles};
use crate::missing::decide;
use crate::precomputed::{self, Precomputed};
use crate::sample_store::SampleStore;
use crate::{
    Batch, CacheKey, Cause, Cell, CellRef, DataError, Decision, Fault, FaultReport, FieldFault, MissingValueStrategy, Payload,
    Preprocessor, Table, Unreadable,
};

/// A fitted feature and the column that it reads; saved in the bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Field {
    /// The feature's name.
    pub name: String,
    /// The column.
    pub column: String,
    /// The fitted preprocessor.
    pub preprocessor: Preprocessor,
    /// How rows without a readable cell are handled.
    pub missing_value_strategy: MissingValueStrategy,
}

/// A feature before fitting.
pub struct Unfitted {
    /// The feature's name.
    pub name: String,
    /// The column.
    pub column: String,
    /// Fitted on the training cells.
    pub fitter: Box<dyn Fitter>,
    /// How rows without a readable cell are handled.
    pub missing_value_strategy: MissingValueStrategy,
    /// The text input that shares its vocabulary.
    pub shares_with: Option<String>,
}

/// One row as payloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The row index in the table.
    pub row_idx: usize,
    /// One payload per feature: inputs first, then targets.
    pub payloads: Vec<Payload>,
    /// Why payloads are missing or shortened, in the order of the features.
    pub faults: Vec<FieldFault>,
}

impl Sample {
    /// Sets the fault of a feature, in place of an earlier one.
    pub fn set_fault(&mut self, field: usize, fault: Fault) {
        self.faults.retain(|it| it.field != field);
        let at = self.faults.partition_point(|it| it.field < field);
        self.faults.insert(at, FieldFault { field, fault });
    }
}

/// A table with its features.
#[derive(Debug)]
pub struct Dataset {
    /// The table.
    pub table: Table,
    /// Inputs first, then targets.
    pub fields: Vec<Field>,
    /// Number of fields that are inputs.
    pub n_inputs: usize,
    /// How rows with unreadable cells are handled.
    pub unreadable: Unreadable,
    /// The weight of each row; `None` if all rows count the same.
    pub weights: Option<Vec<f32>>,
    columns: Vec<Option<usize>>,
    /// Whether each field is masked.
    hidden: Vec<bool>,
    stored: Option<SampleStore>,
    /// Steps of the longest feature of each prepared row.
    lengths: Vec<u32>,
}

/// The result of [`Dataset::prepare`].
#[derive(Debug, Default)]
pub struct Prepared {
    /// The rows that take part, in the given order.
    pub rows: Vec<usize>,
    /// Cells without a payload, and texts that were shortened.
    pub faults: FaultReport,
    /// Number of cells that were encoded ahead of training, including those found in the cache.
    pub n_encoded: usize,
    /// Number of those cells that were found in the cache.
    pub n_cached: usize,
    /// Why features were not cached for later runs, if they were not.
    pub cache_fault: Option<String>,
    /// The files that cells refer to.
    pub media: MediaFiles,
}

/// Number of rows that all threads read together; fewer if rows are encoded or wide, since all payloads of a chunk are in memory
/// at the same time.
const CHUNK: usize = 512;
const ENCODED_CHUNK: usize = 64;
const CHUNK_CELLS: usize = 1 << 19;

/// Fits all features on the training rows in a single pass over the table.
///
/// # Errors
/// Fails if a column does not exist or the training cells of a feature cannot be used.
pub fn fit(table: &Table, rows: &[usize], features: Vec<Unfitted>) -> Result<Vec<Field>, DataError> {
    let columns = features.iter().map(|it| it.fitter.has_column().then(|| table.require(&it.column)).transpose());
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let positions: HashMap<&str, usize> = features.iter().enumerate().rev().map(|(at, it)| (it.name.as_str(), at)).collect();
    let shared: Vec<Option<usize>> =
        features.iter().map(|feature| positions.get(feature.shares_with.as_deref()?).copied()).collect();
    let mut features = features;
    for rows in rows.chunk_by(|row_idx, next| table.batch_of(*row_idx) == table.batch_of(*next)) {
        for ((feature, at), shared) in features.iter_mut().zip(&columns).zip(&shared) {
            let shared_column = shared.and_then(|shared| columns[shared]);
            for row_idx in rows {
                let row = table.row_ref(*row_idx)?;
                at.iter().for_each(|at| feature.fitter.observe(&row.cell(*at).into_owned(), &table.folder));
                let shared_cell = shared_column.map(|at| row.cell(at).into_owned());
                shared_cell.iter().for_each(|cell| feature.fitter.observe_shared(cell, &table.folder));
            }
        }
    }
    let mut fields = features.into_iter().map(Unfitted::finish).collect::<Result<Vec<_>, DataError>>()?;
    for (target, input) in shared.iter().enumerate().filter_map(|(target, input)| Some((target, (*input)?))) {
        share_vocabulary(&mut fields, target, input);
    }
    Ok(fields)
}

impl Unfitted {
    fn finish(self) -> Result<Field, DataError> {
        let Self { name, column, fitter, missing_value_strategy, .. } = self;
        let preprocessor = fitter.finish().map_err(|source| DataError::Fit { feature: name.clone(), source })?;
        Ok(Field { name, column, preprocessor, missing_value_strategy })
    }
}

/// Gives a text input the tokenizer of a text target.
fn share_vocabulary(fields: &mut [Field], target: usize, input: usize) {
    let Preprocessor::TargetText(text) = &fields[target].preprocessor else { return };
    let tokenizer = text.tokenizer.clone();
    if let Preprocessor::Text(text) = &mut fields[input].preprocessor {
        text.tokenizer = tokenizer;
    }
}

impl Dataset {
    /// Creates a dataset from a table and fitted features; a feature whose column the table lacks is absent from every row.
    pub fn new(table: Table, inputs: Vec<Field>, targets: Vec<Field>) -> Self {
        let n_inputs = inputs.len();
        let fields: Vec<Field> = inputs.into_iter().chain(targets).collect();
        let columns = fields.iter().map(|field| table.position(&field.column)).collect();
        let (unreadable, hidden) = (Unreadable::Missing, vec![false; fields.len()]);
        Self { table, fields, n_inputs, unreadable, weights: None, columns, hidden, stored: None, lengths: Vec::new() }
    }

    /// Masks an input: it is absent from every row, whatever the table holds, and this is not reported as a fault.
    pub fn mask_input(&mut self, input: usize) {
        self.columns[input] = None;
        self.hidden[input] = true;
    }

    /// Reads rows once: counts their faults, applies each feature's missing value strategy, and stores up to `max_bytes` of
    /// payloads on disk so that [`Dataset::sample`] need not read the media again. Inputs in `ahead` are encoded, and then stored
    /// whatever their size. `observe` is called with the number of rows done.
    ///
    /// # Errors
    /// Fails on a bad cell of a feature with `missing_value_strategy: error`, on any unreadable cell if all cells must be
    /// readable, or if the temporary file cannot be used.
    pub fn prepare(
        &mut self,
        rows: &[usize],
        max_bytes: u64,
        ahead: &mut [Precomputed],
        observe: &mut dyn FnMut(usize),
    ) -> Result<Prepared, DataError> {
        let mut stored = SampleStore::new(self.table.n_rows()).map_err(at_temporary)?;
        let mut prepared = Prepared::default();
        self.lengths = vec![0; self.table.n_rows()];
        let mut n_done = 0;
        let n_fitting = CHUNK_CELLS / self.fields.len().max(1);
        for chunk in rows.chunks(n_fitting.clamp(1, if ahead.is_empty() { CHUNK } else { ENCODED_CHUNK })) {
            for sample in self.read_ahead(chunk, ahead, &mut prepared)? {
                if self.decide(sample.row_idx, &sample.faults, &mut prepared.faults)? == Decision::Use {
                    prepared.rows.push(sample.row_idx);
                }
                let steps = sample.payloads.iter().map(Payload::n_steps).max();
                self.lengths[sample.row_idx] = steps.unwrap_or(0) as u32;
                if stored.n_bytes() < max_bytes || !ahead.is_empty() {
                    stored.push(&sample).map_err(at_temporary)?;
                }
            }
            n_done += chunk.len();
            observe(n_done);
        }
        prepared.flush(ahead);
        stored.finish().map_err(at_temporary)?;
        self.stored = Some(stored);
        Ok(prepared)
    }

    /// Reads rows in parallel, with the inputs in `ahead` encoded. `prepared` counts how many cells were encoded and how many were
    /// found in the cache.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn read_ahead(
        &self,
        rows: &[usize],
        ahead: &mut [Precomputed],
        prepared: &mut Prepared,
    ) -> Result<Vec<Sample>, DataError> {
        let read = rows.par_iter().map(|row_idx| self.read_known(*row_idx, ahead)).collect::<Result<Vec<_>, _>>()?;
        read.iter().for_each(|row| prepared.media.set(row.sample.row_idx, &row.files));
        Ok(precomputed::encode(read, ahead, prepared))
    }

    /// Returns the number of steps of the longest feature of a row, for batches of rows of similar length; 0 if the row was not
    /// prepared.
    pub fn length(&self, row_idx: usize) -> u32 {
        self.lengths.get(row_idx).copied().unwrap_or(0)
    }

    /// Returns content ids of a row's cells, one per input: equal cells have equal ids, an empty cell has 0.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn items(&self, row_idx: usize) -> Result<Vec<u64>, DataError> {
        let row = self.table.row_ref(row_idx)?;
        Ok(self.columns[..self.n_inputs].iter().map(|at| at.map_or(0, |at| row.cell(at).item())).collect())
    }

    /// Collates samples into a batch.
    pub fn collate(&self, samples: &[Sample]) -> Batch {
        let batch = Batch::collate(&self.fields, self.n_inputs, samples);
        Batch { weights: self.weights_of(&batch.rows), ..batch }
    }

    /// Returns the weights of some rows; `None` if all rows count the same.
    pub fn weights_of(&self, rows: &[usize]) -> Option<Vec<f32>> {
        let weights = self.weights.as_ref()?;
        Some(rows.iter().map(|row_idx| weights[*row_idx]).collect())
    }

    /// Records the faults of a row and decides whether it takes part.
    ///
    /// # Errors
    /// Fails with the first cell that is an error.
    pub fn decide(&self, row_idx: usize, faults: &[FieldFault], report: &mut FaultReport) -> Result<Decision, DataError> {
        report.add_row(&self.fields, row_idx, faults);
        decide(&self.fields, faults, self.unreadable)
            .map_err(|mut rejected| rejected.swap_remove(0).into_error(&self.fields, row_idx))
    }

    /// Returns a row: from the temporary file if the row was prepared, otherwise from the table.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn sample(&self, row_idx: usize) -> Result<Sample, DataError> {
        match self.stored(row_idx)? {
            Some(sample) => Ok(sample),
            None => self.read(row_idx),
        }
    }

    /// Returns the payload of one feature of a row without reading the others.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn payload_at(&self, row_idx: usize, field: usize) -> Result<Payload, DataError> {
        let payload = match &self.fields[field].preprocessor {
            Preprocessor::Embedding(_) => self.content_ids(&self.cells(row_idx)?),
            _ => {
                let cell = self.columns[field].map(|at| self.table.cell(row_idx, at)).transpose()?;
                self.payload(&self.fields[field], cell.as_ref())
            }
        };
        Ok(payload.unwrap_or(Payload::Missing))
    }

    /// Returns the target of an embedding: the content ids of the inputs' cells.
    fn content_ids(&self, cells: &[Option<Cell>]) -> Result<Payload, Fault> {
        items(cells[..self.n_inputs].iter().map(Option::as_ref))
    }

    /// Returns the cells of a row, one per feature; other columns of the table are not read.
    fn cells(&self, row_idx: usize) -> Result<Vec<Option<Cell>>, DataError> {
        let row = self.table.row_ref(row_idx)?;
        Ok(self.columns.iter().map(|at| at.map(|at| row.cell(at).into_owned())).collect())
    }

    fn stored(&self, row_idx: usize) -> Result<Option<Sample>, DataError> {
        let Some(stored) = &self.stored else { return Ok(None) };
        stored.read(row_idx, self.fields.len()).map_err(at_temporary)
    }

    /// Reads a row from the table.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn read(&self, row_idx: usize) -> Result<Sample, DataError> {
        Ok(self.read_known(row_idx, &[])?.sample)
    }

    /// Reads a row; an input whose features are cached is not decoded.
    fn read_known(&self, row_idx: usize, ahead: &[Precomputed]) -> Result<ReadRow, DataError> {
        let cells = self.cells(row_idx)?;
        let mut read = ReadRow {
            sample: Sample { row_idx, payloads: Vec::with_capacity(self.fields.len()), faults: Vec::new() },
            keys: vec![None; ahead.len()],
            files: Vec::new(),
        };
        for (at, (field, cell)) in self.fields.iter().zip(&cells).enumerate() {
            let cell = cell.as_ref();
            // Each file is read once, so that the hash is that of the decoded content.
            let file = cell.filter(|_| is_media(field)).and_then(|cell| self.file(field, cell));
            if is_media(field) {
                read.files.push(file_hash(file.as_ref()));
            }
            let known = ahead.iter().position(|ahead| ahead.input() == at).and_then(|which| {
                let key = self.key(field, file.as_ref().and_then(|file| file.as_ref().ok()).or(cell)?)?;
                read.keys[which] = Some(key);
                ahead[which].known(&key)
            });
            let payload = match (known, &field.preprocessor, &file, cell) {
                (Some(features), ..) => Ok(Payload::Encoded(features)),
                (_, Preprocessor::Embedding(_), ..) => self.content_ids(&cells),
                (_, _, Some(Ok(file)), Some(cell)) => self.payload(field, Some(file)).map_err(|fault| named(cell, fault)),
                (_, _, Some(Err(fault)), _) => Err(fault.clone()),
                _ => self.payload(field, cell),
            };
            let (payload, fault) = match payload {
                Ok(payload) => {
                    let fault = cell.and_then(|cell| field.preprocessor.get().shortened(cell, &payload));
                    (payload, fault)
                }
                Err(fault) => (Payload::Missing, Some(fault).filter(|_| !self.hidden[at])),
            };
            read.sample.payloads.push(payload);
            read.sample.faults.extend(fault.map(|fault| FieldFault { field: at, fault }));
        }
        Ok(read)
    }

    /// Reads the files that the cells of rows refer to, without decoding them.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn media_files(&self, rows: &[usize]) -> Result<MediaFiles, DataError> {
        let each = rows.par_iter().map(|row_idx| self.file_hashes(*row_idx)).collect::<Result<Vec<_>, DataError>>()?;
        let mut files = MediaFiles::default();
        rows.iter().zip(each).for_each(|(row_idx, of_row)| files.set(*row_idx, &of_row));
        Ok(files)
    }

    /// Returns the hashes of the files of a row, one per feature that is read from files.
    fn file_hashes(&self, row_idx: usize) -> Result<Vec<FileHash>, DataError> {
        let row = self.table.row_ref(row_idx)?;
        let media = self.fields.iter().zip(&self.columns).filter(|(field, _)| is_media(field));
        let files = media.map(|(field, column)| match column.map(|at| row.cell(at)) {
            // A cell that holds the content itself refers to no file, and need not be copied.
            None | Some(CellRef::Bytes(_)) => None,
            Some(cell) => self.file(field, &cell.into_owned()),
        });
        Ok(files.map(|file| file_hash(file.as_ref())).collect())
    }

    /// Returns the content of the file that a cell refers to; `None` if the cell is empty or holds the content itself.
    fn file(&self, field: &Field, cell: &Cell) -> Option<Result<Cell, Fault>> {
        match cell {
            Cell::Empty | Cell::Bytes(_) => None,
            cell => Some(field.preprocessor.get().content(cell, &self.table.folder).map(Cell::Bytes)),
        }
    }

    /// Returns the cache key of a cell's features: the hash of its content.
    fn key(&self, field: &Field, cell: &Cell) -> Option<CacheKey> {
        match cell {
            Cell::Bytes(content) => Some(Sha256::digest(content).into()),
            cell => Some(Sha256::digest(field.preprocessor.get().content(cell, &self.table.folder).ok()?).into()),
        }
    }

    /// Returns the columns of features that are read from files; `None` for a column that the table lacks.
    pub(crate) fn media_columns(&self) -> Vec<Option<usize>> {
        self.fields.iter().zip(&self.columns).filter(|(field, _)| is_media(field)).map(|(_, at)| *at).collect()
    }

    /// Returns the row and the file name in its cell of media feature number `feature`, such as `row 17: photos/3.png`.
    pub(crate) fn media_cell(&self, row_idx: usize, feature: usize) -> Result<String, DataError> {
        let column = self.media_columns().get(feature).copied().flatten();
        let name = match column {
            Some(at) if row_idx < self.table.n_rows() => self.table.cell(row_idx, at)?.to_text(),
            _ => "a file".to_owned(),
        };
        Ok(format!("row {}: {name}", row_idx + 1))
    }

    fn payload(&self, field: &Field, cell: Option<&Cell>) -> Result<Payload, Fault> {
        match cell {
            None => Err(Fault::new(Cause::NoColumn, "")),
            Some(Cell::Empty) => Err(Fault::new(Cause::Empty, "")),
            Some(cell) => field.preprocessor.get().payload(cell, &self.table.folder),
        }
    }
}

/// A row that has been read but not stored.
pub(crate) struct ReadRow {
    pub sample: Sample,
    /// For each input that is encoded ahead of training, the hash of its cell's content.
    pub keys: Vec<Option<CacheKey>>,
    /// For each feature that is read from files, the hash of the file.
    files: Vec<FileHash>,
}

/// Returns the hash of a file's content; the default hash if there is none.
fn file_hash(file: Option<&Result<Cell, Fault>>) -> FileHash {
    match file {
        Some(Ok(Cell::Bytes(content))) => FileHash::of(content),
        _ => FileHash::default(),
    }
}

fn at_temporary(error: std::io::Error) -> DataError {
    DataError::temporary(&std::env::temp_dir(), error)
}

/// Returns whether cells of a feature refer to files.
fn is_media(field: &Field) -> bool {
    matches!(field.preprocessor, Preprocessor::Image(_) | Preprocessor::Audio(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{NumberPreprocessing, TextPreprocessing};

    fn dataset(strategy: MissingValueStrategy) -> Dataset {
        of(["1", "x", "", "4"], strategy)
    }

    fn of(cells: [&str; 4], strategy: MissingValueStrategy) -> Dataset {
        let rows = cells.map(|text| vec![Cell::text(text)]).to_vec();
        let table = Table::from_rows(vec!["a".into()], rows, ".".into()).unwrap();
        let settings: NumberPreprocessing = mbm_config::defaults();
        let unfitted = |name: &str| Unfitted {
            name: name.into(),
            column: "a".into(),
            fitter: settings.fitter(),
            missing_value_strategy: strategy,
            shares_with: None,
        };
        let inputs = fit(&table, &[0, 1, 2, 3], vec![unfitted("a")]).unwrap();
        Dataset::new(table, inputs, vec![])
    }

    #[test]
    fn bad_cells_follow_the_missing_value_strategy() {
        let mut absent = dataset(MissingValueStrategy::Absent);
        let prepared = absent.prepare(&[0, 1, 2, 3], 1 << 20, &mut [], &mut |_| ()).unwrap();
        assert_eq!(prepared.rows, [0, 1, 2, 3]);
        assert_eq!(prepared.faults.lines(), ["a: 1 empty (row 3)", "a: 1 malformed (row 2: 'x' is not a number)"]);
        assert_eq!(absent.sample(1).unwrap().payloads, [Payload::Missing]);
        assert_eq!(dataset(MissingValueStrategy::DropRow).prepare(&[0, 1, 2, 3], 0, &mut [], &mut |_| ()).unwrap().rows, [0, 3]);
        let error = dataset(MissingValueStrategy::Error).prepare(&[0, 1], 0, &mut [], &mut |_| ()).unwrap_err().to_string();
        assert_eq!(error, "row 2, column 'a': malformed: 'x' is not a number (missing_value_strategy: error)");
    }

    #[test]
    fn shortened_texts_are_counted_and_kept() {
        let rows = ["a b c d", "a b"].map(|text| vec![Cell::text(text)]).to_vec();
        let table = Table::from_rows(vec!["a".into()], rows, ".".into()).unwrap();
        let unfitted = Unfitted {
            name: "a".into(),
            column: "a".into(),
            fitter: TextPreprocessing { max_sequence_length: 2, ..mbm_config::defaults() }.fitter(),
            missing_value_strategy: MissingValueStrategy::DropRow,
            shares_with: None,
        };
        let fields = fit(&table, &[0, 1], vec![unfitted]).unwrap();
        let mut dataset = Dataset::new(table, fields, Vec::new());
        let prepared = dataset.prepare(&[0, 1], 1 << 20, &mut [], &mut |_| ()).unwrap();
        assert_eq!(prepared.rows, [0, 1]);
        assert_eq!(prepared.faults.lines(), ["a: 1 shortened (row 1: 4 tokens, 2 of them read)"]);
        let causes =
            |row_idx| -> Vec<Cause> { dataset.sample(row_idx).unwrap().faults.iter().map(|it| it.fault.cause).collect() };
        assert_eq!((causes(0), causes(1)), (vec![Cause::Shortened], Vec::new()));
    }

    #[test]
    fn sixty_thousand_columns_are_prepared_in_seconds() {
        let n_columns = 60_000;
        let names: Vec<String> = (0..n_columns).map(|at| format!("a column with a long name {at}")).collect();
        let row = |row_idx: usize| (0..n_columns).map(|at| Cell::Number((at * row_idx) as f64)).collect();
        let start = std::time::Instant::now();
        let table = Table::from_rows(names.clone(), (0..3).map(row).collect(), ".".into()).unwrap();
        let settings: NumberPreprocessing = mbm_config::defaults();
        let unfitted = |name: String| Unfitted {
            column: name.clone(),
            name,
            fitter: settings.fitter(),
            missing_value_strategy: MissingValueStrategy::Absent,
            shares_with: None,
        };
        let fields = fit(&table, &[0, 1, 2], names.into_iter().map(unfitted).collect()).unwrap();
        let mut dataset = Dataset::new(table, fields, Vec::new());
        (0..n_columns).step_by(2).for_each(|input| dataset.mask_input(input));
        let prepared = dataset.prepare(&[0, 1, 2], 1 << 30, &mut [], &mut |_| ()).unwrap();
        assert!(prepared.rows == [0, 1, 2] && prepared.faults.0.is_empty());
        // Linear time takes two seconds; a search by name for each column and each masked cell would take minutes.
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }

    #[test]
    fn stored_samples_equal_freshly_read_ones() {
        let mut cached = dataset(MissingValueStrategy::Absent);
        let fresh: Vec<Sample> = (0..4).map(|row_idx| cached.sample(row_idx).unwrap()).collect();
        assert!(fresh.iter().all(|sample| cached.payload_at(sample.row_idx, 0).unwrap() == sample.payloads[0]));
        cached.prepare(&[3, 1, 0, 2], 1 << 20, &mut [], &mut |_| ()).unwrap();
        assert_eq!((0..4).map(|row_idx| cached.sample(row_idx).unwrap()).collect::<Vec<_>>(), fresh);
    }
}
