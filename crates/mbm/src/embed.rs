//! Rows as vectors: those of an embedding's inputs, or the fused vector of a model that has no embedding.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mbm_data::{Batch, Cell, Dataset, FaultReport, FeatureCache, Field, Lock, Precomputed, Prepared, Sample, Table, write_file};
use mbm_model::FrozenEncoder;

use crate::error::Error;
use crate::matching::check_columns;
use crate::postprocessor::Postprocessor;
use crate::prediction::Prediction;
use crate::predictor::{Predictor, to_vec};
use crate::retriever::QueryPart;
use crate::write::{Column, Format, Value, Writer};

/// One kind of vector that a model makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tower {
    /// The input that it is made from; all inputs together where none is named.
    pub input: Option<String>,
    /// Values of a vector.
    pub width: usize,
}

/// Vectors of a row, one a tower; none where what it is made from is absent.
pub type Vectors = Vec<Option<Vec<f32>>>;

/// Rows of a part, which is written at once.
const PART: usize = 4096;

impl Predictor {
    /// The vectors that this model makes of a row, those of the first embedding, or the fused one.
    pub fn towers(&self) -> Vec<Tower> {
        match self.embedding() {
            Some((_, align, width)) => align.iter().map(|input| Tower { input: Some(input.clone()), width }).collect(),
            None => vec![Tower { input: None, width: self.model.width() }],
        }
    }

    /// The inputs that vectors are made from, each with its type as the config names it.
    pub fn embedded_inputs(&self) -> Vec<(&str, &'static str)> {
        let towers = self.towers();
        let is_embedded = |name: &str| towers.iter().any(|tower| tower.input.as_deref().is_none_or(|input| input == name));
        let fields = self.inputs.iter().filter(|field| is_embedded(&field.name));
        fields.map(|field| (field.name.as_str(), field.preprocessor.type_name())).collect()
    }

    /// The one of them that has a type such as `text`.
    ///
    /// # Errors
    /// A model that has none or several of that type.
    pub fn input_of(&self, type_name: &str) -> Result<String, Error> {
        let inputs = self.embedded_inputs();
        let found: Vec<&str> = inputs.iter().filter(|(_, kind)| *kind == type_name).map(|(name, _)| *name).collect();
        match found[..] {
            [one] => Ok(one.to_owned()),
            [] => {
                let there: Vec<String> = inputs.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
                Err(Error::Incompatible(format!(
                    "the model cannot be asked with {type_name}; its inputs are: {}",
                    there.join(", ")
                )))
            }
            _ => Err(Error::Incompatible(format!(
                "the model has several inputs of type {type_name}: {}; name one",
                found.join(", ")
            ))),
        }
    }

    /// A cell for each input: what is asked, and nothing for the others.
    ///
    /// # Errors
    /// An input that no vector is made from, or an empty cell.
    pub fn asked_cells(&self, parts: &[QueryPart]) -> Result<Vec<Cell>, Error> {
        let mut cells = vec![Cell::Empty; self.inputs.len()];
        let inputs = self.embedded_inputs();
        let embedded: HashSet<&str> = inputs.iter().map(|(name, _)| *name).collect();
        let places = self.inputs.iter().enumerate().map(|(at, field)| (field.name.as_str(), at));
        let places: HashMap<&str, usize> = places.filter(|(name, _)| embedded.contains(name)).collect();
        for part in parts {
            let Some(&at) = places.get(part.input.as_str()) else {
                let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
                return Err(Error::Incompatible(format!(
                    "'{}' cannot be asked with; there are: {}",
                    part.input,
                    names.join(", ")
                )));
            };
            if part.cell == Cell::Empty {
                return Err(Error::Incompatible(format!("{}: empty", part.input)));
            }
            cells[at] = part.cell.clone();
        }
        Ok(cells)
    }

    /// The first embedding output: its position, what it aligns, and the width of its vectors.
    fn embedding(&self) -> Option<(usize, &[String], usize)> {
        let outputs = self.postprocessors.iter().zip(&self.plan.config.output_features).enumerate();
        outputs.into_iter().find_map(|(at, (postprocessor, feature))| match postprocessor {
            Postprocessor::Embedding { align } => Some((at, align.as_slice(), feature.n_embedded() / align.len())),
            _ => None,
        })
    }

    /// Vectors of a batch: `[rows][towers]`.
    pub fn embed_batch(&self, batch: &Batch) -> Vec<Vectors> {
        let Some((output, ..)) = self.embedding() else {
            let fused = self.fused_batch(batch).pooled;
            let [_, width] = fused.dims();
            return to_vec(fused).chunks(width).map(|row| vec![Some(row.to_vec())]).collect();
        };
        let row = |prediction: Prediction| match prediction {
            Prediction::Embeddings(vectors) => vectors.into_iter().map(|it| Some(it).filter(|it| !it.is_empty())).collect(),
            other => unreachable!("an embedding predicts {other:?}"),
        };
        self.predict_batch(batch).swap_remove(output).into_iter().map(row).collect()
    }

    /// A table through the inputs that are named, or through all where none is.
    ///
    /// # Errors
    /// A name that is no input, or whose column the table lacks.
    pub fn encoder_output(&self, table: Table, inputs: &[String]) -> Result<Dataset, Error> {
        let names: Vec<&str> = self.inputs.iter().map(|field| field.name.as_str()).collect();
        if let Some(unknown) = inputs.iter().find(|input| !names.contains(&input.as_str())) {
            return Err(Error::Incompatible(format!("'{unknown}' is no input of the model; there are: {}", names.join(", "))));
        }
        check_columns(&self.inputs, &table)?;
        let mut dataset = Dataset::new(table, self.inputs.clone(), Vec::new());
        for (at, field) in self.inputs.iter().enumerate().filter(|_| !inputs.is_empty()) {
            if inputs.contains(&field.name) {
                dataset.table.require(&field.column)?;
            } else {
                dataset.mask_input(at);
            }
        }
        Ok(dataset)
    }

    /// The encoders that training has not changed, by input: what they make of a cell may be known from an earlier run.
    ///
    /// # Errors
    /// Settings that do not fit the features.
    pub fn frozen_encoders(&self) -> Result<Vec<(usize, FrozenEncoder)>, Error> {
        let spec = self.plan.model_spec(&self.inputs, &self.outputs, &[])?;
        let frozen = |(at, field): (usize, &Field)| {
            Some((at, FrozenEncoder::of_model(&self.model, &spec, at, &field.preprocessor, &self.device)?))
        };
        Ok(self.inputs.iter().enumerate().filter_map(frozen).collect())
    }

    /// Vectors of some rows, inputs in `ahead` encoded once for equal cells; what could not be read or kept is told in `prepared`.
    ///
    /// # Errors
    /// A temporary file that fails.
    pub fn embed(
        &self,
        dataset: &Dataset,
        rows: &[usize],
        ahead: &mut [Precomputed],
        prepared: &mut Prepared,
    ) -> Result<Vec<Vectors>, Error> {
        let mut vectors = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.batch_size()) {
            let read = dataset.read_ahead(rows, ahead, prepared)?;
            for (sample, row_faults) in &read {
                for (field, fault) in dataset.fields.iter().zip(row_faults) {
                    fault.iter().for_each(|fault| prepared.faults.add(&field.name, sample.row_idx + 1, fault));
                }
            }
            let samples: Vec<Sample> = read.into_iter().map(|(sample, _)| sample).collect();
            vectors.extend(self.embed_batch(&Batch::collate(dataset, &samples)));
        }
        Ok(vectors)
    }
}

/// A table of vectors on its way into a file: rows already embedded lie in parts beside it, so that a run that was stopped goes on.
pub struct Embedding<'a> {
    /// The model.
    pub predictor: &'a Predictor,
    /// What the model is, as [`crate::model_hash`] says.
    pub model_hash: &'a str,
    /// The inputs that are read.
    pub inputs: &'a [String],
    /// Where features of encoders that training has not changed are kept.
    pub cache: Option<&'a FeatureCache>,
    /// The file: `.parquet`, `.jsonl`, `.csv` with the table's columns beside the vectors, or `.npy`.
    pub output: &'a Path,
}

/// What embedding a table came to.
#[derive(Debug)]
pub struct Embedded {
    /// Rows of the file.
    pub n_rows: usize,
    /// Of these, rows that an earlier run had embedded.
    pub n_found: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
    /// Cells whose features an earlier run had kept.
    pub n_cached: usize,
    /// Why features are not kept for later runs, if they are not.
    pub cache_fault: Option<String>,
}

impl Embedding<'_> {
    /// Embeds and writes; `observe` hears how many rows are done, of how many. Stops early where `stop` says so, and then writes no file.
    ///
    /// # Errors
    /// A table without the inputs, a disk that is full.
    pub fn run(&self, table: Table, stop: &AtomicBool, observe: &mut dyn FnMut(usize, usize)) -> Result<Option<Embedded>, Error> {
        let dataset = self.predictor.encoder_output(table, self.inputs)?;
        let towers = self.shown();
        let n_rows = dataset.table.n_rows();
        let (parts, _lock) = self.parts(&dataset)?;
        // A name that cannot be written is better known now.
        let aside = aside(self.output, ".tmp");
        let writer = Writer::create_as(&aside, Format::of(self.output)?, self.columns(&dataset, &towers))?;
        let frozen = self.predictor.frozen_encoders()?;
        let mut ahead: Vec<Precomputed> =
            frozen.iter().map(|(input, encoder)| Precomputed::new(*input, encoder, self.cache)).collect();
        let mut prepared = Prepared::default();
        let mut n_found = 0;
        for start in (0..n_rows).step_by(PART) {
            let path = parts.join(format!("{start:09}.f32"));
            let rows: Vec<usize> = (start..(start + PART).min(n_rows)).collect();
            if self.is_found(&path, &dataset, &rows, &towers)? {
                n_found += rows.len();
            } else {
                let mut vectors = Vec::with_capacity(rows.len());
                for rows in rows.chunks(self.predictor.batch_size()) {
                    if stop.load(Ordering::Relaxed) {
                        std::fs::remove_file(&aside).map_err(Error::io(&aside))?;
                        return Ok(None);
                    }
                    vectors.extend(self.predictor.embed(&dataset, rows, &mut ahead, &mut prepared)?);
                    observe(start + vectors.len(), n_rows);
                }
                write_part(&path, &vectors, &towers, prepared.media.hash_of(&rows)).map_err(Error::io(&path))?;
            }
            observe(start + rows.len(), n_rows);
        }
        flush(&mut ahead, &mut prepared);
        self.join(writer, &dataset, &towers, &parts)?;
        std::fs::rename(&aside, self.output).map_err(Error::io(self.output))?;
        std::fs::remove_dir_all(&parts).map_err(Error::io(&parts))?;
        let Prepared { faults, n_cached, cache_fault, .. } = prepared;
        Ok(Some(Embedded { n_rows, n_found, faults, n_cached, cache_fault }))
    }

    /// The towers whose inputs are read, by their position.
    fn shown(&self) -> Vec<(usize, Tower)> {
        let reads =
            |tower: &Tower| tower.input.as_ref().is_none_or(|input| self.inputs.is_empty() || self.inputs.contains(input));
        self.predictor.towers().into_iter().enumerate().filter(|(_, tower)| reads(tower)).collect()
    }

    /// The table's columns, unless the file has room for vectors alone, and a column for each tower.
    fn columns(&self, dataset: &Dataset, towers: &[(usize, Tower)]) -> Vec<Column> {
        let vectors = towers.iter().map(|(_, tower)| Column::vector(tower.column(), tower.width));
        match Format::of(self.output) {
            Ok(Format::Npy) => vectors.collect(),
            _ => dataset.table.columns.iter().map(Column::text).chain(vectors).collect(),
        }
    }

    /// Whether an earlier run left the vectors of rows, and the files that these name are the same ones still.
    fn is_found(&self, path: &Path, dataset: &Dataset, rows: &[usize], towers: &[(usize, Tower)]) -> Result<bool, Error> {
        if !path.is_file() {
            return Ok(false);
        }
        let media = dataset.media_files(rows)?.hash_of(rows);
        Ok(read_part(path, rows.len(), towers, Some(media))?.is_some())
    }

    /// The folder of parts: what an earlier run left, if it was of the same model, table and inputs; else a new one. Nobody else writes
    /// there.
    fn parts(&self, dataset: &Dataset) -> Result<(PathBuf, Lock), Error> {
        let folder = aside(self.output, ".parts");
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let lock = Lock::of(&folder)?;
        let path = folder.join("parts.json");
        let of =
            serde_json::json!({ "model": self.model_hash, "dataset": dataset.table.hash, "inputs": self.inputs }).to_string();
        if std::fs::read_to_string(&path).is_ok_and(|found| found == of) {
            return Ok((folder, lock));
        }
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let part = entry.map_err(Error::io(&folder))?.path();
            if part.extension().is_some_and(|ending| ending == "f32") {
                std::fs::remove_file(&part).map_err(Error::io(&part))?;
            }
        }
        write_file(&path, of.as_bytes())?;
        Ok((folder, lock))
    }

    fn join(&self, mut writer: Writer, dataset: &Dataset, towers: &[(usize, Tower)], parts: &Path) -> Result<(), Error> {
        let has_columns = Format::of(self.output)? != Format::Npy;
        for start in (0..dataset.table.n_rows()).step_by(PART) {
            let path = parts.join(format!("{start:09}.f32"));
            let n_rows = PART.min(dataset.table.n_rows() - start);
            let part = read_part(&path, n_rows, towers, None)?.ok_or_else(|| Error::Damaged {
                path: path.clone(),
                message: "its bytes are not those that were written; run the same command again".to_owned(),
            })?;
            for (at, vectors) in part.into_iter().enumerate() {
                let row = if has_columns { dataset.table.row(start + at)? } else { Vec::new() };
                let vectors = vectors.into_iter().map(|it| it.map_or(Value::Null, Value::Vector));
                writer.write(row.iter().map(text_value).chain(vectors).collect())?;
            }
        }
        writer.finish()
    }
}

impl Tower {
    /// The column that its vectors are written in.
    pub fn column(&self) -> String {
        self.input.as_ref().map_or("embedding".to_owned(), |input| format!("{input}_embedding"))
    }
}

/// Writes what caches have not got yet; one that cannot be written ends no run.
pub(crate) fn flush(ahead: &mut [Precomputed], prepared: &mut Prepared) {
    for ahead in ahead {
        ahead.flush().unwrap_or_else(|error| prepared.cache_fault = Some(error.to_string()));
    }
}

fn text_value(cell: &Cell) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        other => Value::Text(other.to_text()),
    }
}

fn aside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// For each row and tower, 1 and its values, or 0 and as many zeros; then a hash of the media files that these were made from, and one
/// of all that.
fn write_part(path: &Path, vectors: &[Vectors], towers: &[(usize, Tower)], media: u64) -> std::io::Result<()> {
    let aside = aside(path, ".tmp");
    let mut out = Vec::new();
    for row in vectors {
        for (at, tower) in towers {
            let absent = vec![0.0; tower.width];
            let values = row[*at].as_ref().unwrap_or(&absent);
            let there = f32::from(u8::from(row[*at].is_some()));
            for value in [&there].into_iter().chain(values) {
                out.extend(value.to_le_bytes());
            }
        }
    }
    out.extend(media.to_le_bytes());
    out.extend(mbm_data::hash(&out).to_le_bytes());
    let mut file = File::create(&aside)?;
    file.write_all(&out)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)
}

/// The vectors of a part; none where it is not as it was written, or was made from other media files than `media` says.
fn read_part(path: &Path, n_rows: usize, towers: &[(usize, Tower)], media: Option<u64>) -> Result<Option<Vec<Vectors>>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let width: usize = towers.iter().map(|(_, tower)| tower.width + 1).sum();
    let Some((hashed, hash)) = bytes.split_last_chunk::<8>() else { return Ok(None) };
    let Some((values, of_media)) = hashed.split_last_chunk::<8>() else { return Ok(None) };
    let is_whole = mbm_data::hash(hashed).to_le_bytes() == *hash && values.len() == 4 * n_rows * width;
    if !is_whole || media.is_some_and(|media| media.to_le_bytes() != *of_media) {
        return Ok(None);
    }
    let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let row = |values: &[f32]| {
        let mut rest = values;
        let tower = |(_, tower): &(usize, Tower)| {
            let (own, behind) = rest.split_at(tower.width + 1);
            rest = behind;
            (own[0] == 1.0).then(|| own[1..].to_vec())
        };
        towers.iter().map(tower).collect()
    };
    Ok(Some(values.chunks(width).map(row).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_damaged_or_was_made_from_other_files_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.f32");
        let towers = [(0, Tower { input: None, width: 2 })];
        let vectors = vec![vec![Some(vec![0.5, -1.0])], vec![None]];
        write_part(&path, &vectors, &towers, 7).unwrap();
        let read = |media| read_part(&path, 2, &towers, media).unwrap();
        assert_eq!((read(Some(7)), read(None), read(Some(8))), (Some(vectors.clone()), Some(vectors), None));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(Some(7)), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(read(None), None, "{at} bytes");
        }
    }
}
