//! Embeds a table into a file. Embedded rows are stored in parts next to the file, so that a stopped run can be resumed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mbm_data::{Cell, Dataset, FaultReport, FeatureCache, Lock, Precomputed, Prepared, write_file};

use crate::error::Error;
use crate::into_table::IntoTable;
use crate::model::Model;
use crate::predict::vectors::{RowVectors, Tower};
use crate::predict::writer::{OutputColumn, OutputFormat, OutputValue, TableWriter};

/// Rows per part, the unit that is written to disk.
const PART: usize = 4096;

/// Embeds a table into a file. Embedded rows are stored in parts next to the file, so that a stopped run can be resumed.
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// # let folder = tempfile::tempdir()?;
/// # let output = folder.path().join("texts.npy");
/// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
/// let embedding = mbm::Embedding::new(&model, &output).inputs(["text"]);
/// let stop = AtomicBool::new(false);
/// let embedded = embedding.run("tests/fixtures/form-2/rows.csv", &stop, &mut |n_done, n_rows| println!("{n_done}/{n_rows}"))?;
/// assert_eq!(embedded.map(|it| it.n_rows), Some(40));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    model: Model,
    inputs: Vec<String>,
    cache: Option<FeatureCache>,
    output: PathBuf,
}

/// The result of embedding a table.
#[derive(Debug)]
#[non_exhaustive]
pub struct Embedded {
    /// Rows in the file.
    pub n_rows: usize,
    /// Of these, rows embedded by an earlier run.
    pub n_found: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
    /// Cells whose features were cached by an earlier run.
    pub n_cached: usize,
    /// Why features are not cached for later runs, if caching failed.
    pub cache_fault: Option<String>,
}

impl Embedding {
    /// Embeds all inputs into a file: `.parquet`, `.jsonl` or `.csv` with the table's columns next to the vectors, or `.npy` with
    /// vectors only.
    pub fn new(model: &Model, output: impl Into<PathBuf>) -> Self {
        Self { model: model.clone(), inputs: Vec::new(), cache: None, output: output.into() }
    }

    /// Sets the inputs to embed; all if there are none.
    pub fn inputs<S: Into<String>>(self, inputs: impl IntoIterator<Item = S>) -> Self {
        Self { inputs: inputs.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets the cache for features of encoders that training left unchanged.
    pub fn cache(self, cache: Option<FeatureCache>) -> Self {
        Self { cache, ..self }
    }

    /// Embeds the table and writes the file. `observe` is called with the number of rows done and the total. If `stop` is set,
    /// returns `None` without writing the file.
    ///
    /// # Errors
    /// Fails if the table lacks the inputs, or on I/O errors such as a full disk.
    pub fn run(
        &self,
        data: impl IntoTable,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(usize, usize),
    ) -> Result<Option<Embedded>, Error> {
        let predictor = &self.model.predictor;
        let dataset = predictor.encoder_output(data.into_table()?, &self.inputs)?;
        let towers = self.shown();
        let n_rows = dataset.table.n_rows();
        let (parts, _lock) = self.parts(&dataset)?;
        // Fails early if the output cannot be created.
        let aside = aside(&self.output, ".tmp");
        let writer =
            TableWriter::create_as(&aside, &self.output, OutputFormat::of(&self.output)?, self.columns(&dataset, &towers))?;
        let frozen = predictor.frozen_encoders()?;
        let mut ahead = Precomputed::all(&frozen, self.cache.as_ref());
        let mut prepared = Prepared::default();
        let mut n_found = 0;
        for start in (0..n_rows).step_by(PART) {
            let path = parts.join(format!("{start:09}.f32"));
            let rows: Vec<usize> = (start..(start + PART).min(n_rows)).collect();
            if self.is_found(&path, &dataset, &rows, &towers)? {
                n_found += rows.len();
            } else {
                let mut vectors = Vec::with_capacity(rows.len());
                for rows in rows.chunks(predictor.batch_size()) {
                    if stop.load(Ordering::Relaxed) {
                        std::fs::remove_file(&aside).map_err(Error::io(&aside))?;
                        return Ok(None);
                    }
                    vectors.extend(predictor.embed(&dataset, rows, &mut ahead, &mut prepared)?);
                    observe(start + vectors.len(), n_rows);
                }
                write_part(&path, &vectors, &towers, prepared.media.hash_of(&rows)).map_err(Error::io(&path))?;
            }
            observe(start + rows.len(), n_rows);
        }
        prepared.flush(&mut ahead);
        self.join(writer, &dataset, &towers, &parts)?;
        std::fs::rename(&aside, &self.output).map_err(Error::io(&self.output))?;
        std::fs::remove_dir_all(&parts).map_err(Error::io(&parts))?;
        let Prepared { faults, n_cached, cache_fault, .. } = prepared;
        Ok(Some(Embedded { n_rows, n_found, faults, n_cached, cache_fault }))
    }

    /// Returns the towers whose inputs are embedded, with their indices.
    fn shown(&self) -> Vec<(usize, Tower)> {
        let reads =
            |tower: &Tower| tower.input.as_ref().is_none_or(|input| self.inputs.is_empty() || self.inputs.contains(input));
        self.model.predictor.towers().into_iter().enumerate().filter(|(_, tower)| reads(tower)).collect()
    }

    /// Returns the columns of the file: those of the table, unless the format holds vectors only, and one per tower.
    fn columns(&self, dataset: &Dataset, towers: &[(usize, Tower)]) -> Vec<OutputColumn> {
        let vectors = towers.iter().map(|(_, tower)| OutputColumn::vector(tower.column(), tower.width));
        match OutputFormat::of(&self.output) {
            Ok(OutputFormat::Npy) => vectors.collect(),
            _ => dataset.table.columns.iter().map(OutputColumn::text).chain(vectors).collect(),
        }
    }

    /// Whether an earlier run stored the vectors of these rows, and the media files they name are unchanged.
    fn is_found(&self, path: &Path, dataset: &Dataset, rows: &[usize], towers: &[(usize, Tower)]) -> Result<bool, Error> {
        if !path.is_file() {
            return Ok(false);
        }
        let media = dataset.media_files(rows)?.hash_of(rows);
        Ok(read_part(path, rows.len(), towers, Some(media))?.is_some())
    }

    /// Opens and locks the folder of parts. Parts of an earlier run are kept if it had the same model, table and inputs, and
    /// deleted otherwise.
    fn parts(&self, dataset: &Dataset) -> Result<(PathBuf, Lock), Error> {
        let folder = aside(&self.output, ".parts");
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let lock = Lock::of(&folder)?;
        let path = folder.join("parts.json");
        let key =
            serde_json::json!({ "model": self.model.hash()?, "dataset": dataset.table.hash, "inputs": self.inputs }).to_string();
        if std::fs::read_to_string(&path).is_ok_and(|found| found == key) {
            return Ok((folder, lock));
        }
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let part = entry.map_err(Error::io(&folder))?.path();
            if part.extension().is_some_and(|ending| ending == "f32") {
                std::fs::remove_file(&part).map_err(Error::io(&part))?;
            }
        }
        write_file(&path, key.as_bytes())?;
        Ok((folder, lock))
    }

    fn join(&self, mut writer: TableWriter, dataset: &Dataset, towers: &[(usize, Tower)], parts: &Path) -> Result<(), Error> {
        let has_columns = OutputFormat::of(&self.output)? != OutputFormat::Npy;
        for start in (0..dataset.table.n_rows()).step_by(PART) {
            let path = parts.join(format!("{start:09}.f32"));
            let n_rows = PART.min(dataset.table.n_rows() - start);
            let part = read_part(&path, n_rows, towers, None)?
                .ok_or_else(|| Error::damaged(&path, "its contents do not match its checksum; run the same command again"))?;
            for (at, vectors) in part.into_iter().enumerate() {
                let row = if has_columns { dataset.table.row(start + at)? } else { Vec::new() };
                let vectors = vectors.into_iter().map(|it| it.map_or(OutputValue::Null, OutputValue::Vector));
                writer.write(row.iter().map(text_value).chain(vectors).collect())?;
            }
        }
        writer.finish()
    }
}

fn text_value(cell: &Cell) -> OutputValue {
    match cell {
        Cell::Empty => OutputValue::Null,
        other => OutputValue::Text(other.to_text()),
    }
}

fn aside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes a part: for each row and tower a 1 followed by its vector, or a 0 followed by zeros; then a hash of the media files
/// that the vectors were computed from, and a hash of everything before it.
fn write_part(path: &Path, vectors: &[RowVectors], towers: &[(usize, Tower)], media: u64) -> std::io::Result<()> {
    let aside = aside(path, ".tmp");
    let mut out = Vec::new();
    for row in vectors {
        for (at, tower) in towers {
            let absent = vec![0.0; tower.width];
            let values = row[*at].as_ref().unwrap_or(&absent);
            let present = f32::from(u8::from(row[*at].is_some()));
            for value in [&present].into_iter().chain(values) {
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

/// Reads the vectors of a part; `None` if it is damaged, or was computed from media files other than those of `media`.
fn read_part(
    path: &Path,
    n_rows: usize,
    towers: &[(usize, Tower)],
    media: Option<u64>,
) -> Result<Option<Vec<RowVectors>>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let width: usize = towers.iter().map(|(_, tower)| tower.width + 1).sum();
    let Some((hashed, hash)) = bytes.split_last_chunk::<8>() else { return Ok(None) };
    let Some((values, of_media)) = hashed.split_last_chunk::<8>() else { return Ok(None) };
    let is_whole = mbm_data::hash(hashed).to_le_bytes() == *hash && values.len() == 4 * n_rows * width;
    if !is_whole || media.is_some_and(|media| media.to_le_bytes() != *of_media) {
        return Ok(None);
    }
    let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let rows = values.chunks(width).map(|row| {
        let mut rest = row;
        let vectors = towers.iter().map(|(_, tower)| {
            let (own, tail) = rest.split_at(tower.width + 1);
            rest = tail;
            (own[0] == 1.0).then(|| own[1..].to_vec())
        });
        vectors.collect()
    });
    Ok(Some(rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_or_outdated_parts_are_rejected() {
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
