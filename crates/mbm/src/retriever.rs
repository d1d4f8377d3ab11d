//! Finding rows by a picture, a text, a sound, or several at once: an index of a model's vectors, and the model that it is asked through.

use std::path::Path;

use mbm_data::{Batch, Cell, Dataset, Preprocessor, Table};
use mbm_index::{Column, Filter, Hit, Index, Search};

use crate::bundle::model_hash;
use crate::error::Error;
use crate::indexing::Origin;
use crate::predictor::Predictor;

/// Part of what is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The input that it is for.
    pub input: String,
    /// A text, a path, or a file's bytes.
    pub cell: Cell,
    /// How much it counts among the parts.
    pub weight: f32,
}

/// An open index and the model that it is asked through.
pub struct Retriever {
    /// The index.
    pub index: Index,
    /// Where its vectors come from.
    pub origin: Origin,
    /// The model.
    pub predictor: Predictor,
}

impl Retriever {
    /// Opens an index and its model, which lies where it lay unless another folder is named.
    ///
    /// # Errors
    /// A folder that is no index, a model that is not the one of the index.
    pub fn open(folder: &Path, model: Option<&Path>) -> Result<Self, Error> {
        let index = Index::open(folder)?;
        let origin = Origin::of(&index.spec.origin, folder)?;
        let path = model.or(origin.model.as_deref()).ok_or_else(|| {
            Error::Unfit(format!(
                "{}: its vectors came from a file; name the model that made them with --model-path",
                folder.display()
            ))
        })?;
        if !path.exists() {
            return Err(Error::Unfit(format!(
                "the model of the index was at {}; say with --model-path where it is now",
                path.display()
            )));
        }
        if origin.model_hash.as_ref().is_some_and(|hash| model_hash(path).is_ok_and(|found| found != *hash)) {
            return Err(Error::Unfit(format!("{} is not the model that {} was made with", path.display(), folder.display())));
        }
        let predictor = Predictor::open(path)?;
        let towers = predictor.towers();
        if towers.iter().all(|tower| tower.width != index.spec.width) {
            let message = format!("the model makes vectors of {} values, the index has {}", towers[0].width, index.spec.width);
            return Err(Error::Unfit(message));
        }
        Ok(Self { index, origin, predictor })
    }

    /// The inputs that can be asked with, each with its type as the config names it.
    pub fn inputs(&self) -> Vec<(&str, &'static str)> {
        let towers = self.predictor.towers();
        let is_asked = |name: &str| towers.iter().any(|tower| tower.input.as_deref().is_none_or(|input| input == name));
        let fields = self.predictor.inputs.iter().filter(|field| is_asked(&field.name));
        fields.map(|field| (field.name.as_str(), field.preprocessor.type_name())).collect()
    }

    /// The one input of a type such as `text`.
    ///
    /// # Errors
    /// A model that has none or several of that type.
    pub fn input_of(&self, type_name: &str) -> Result<String, Error> {
        let inputs = self.inputs();
        let found: Vec<&str> = inputs.iter().filter(|(_, kind)| *kind == type_name).map(|(name, _)| *name).collect();
        match found[..] {
            [one] => Ok(one.to_owned()),
            [] => {
                let there: Vec<String> = inputs.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
                Err(Error::Unfit(format!("the model cannot be asked with {type_name}; its inputs are: {}", there.join(", "))))
            }
            _ => Err(Error::Unfit(format!(
                "the model has several inputs of type {type_name}: {}; name one with --row",
                found.join(", ")
            ))),
        }
    }

    /// The direction of what is asked: the weighted sum of its parts' vectors, or the fused vector of all parts.
    ///
    /// # Errors
    /// A part that cannot be read.
    pub fn query(&self, asked: &[Asked]) -> Result<Vec<f32>, Error> {
        let towers = self.predictor.towers();
        if towers[0].input.is_none() {
            let vectors = self.embed(asked)?;
            return vectors.into_iter().next().flatten().ok_or_else(|| Error::Unfit("nothing was asked".to_owned()));
        }
        let mut sum = vec![0.0; self.index.spec.width];
        for part in asked {
            let tower = towers.iter().position(|tower| tower.input.as_ref() == Some(&part.input));
            let vector =
                tower.and_then(|at| self.embed(std::slice::from_ref(part)).map(|mut row| row.swap_remove(at)).transpose());
            let vector = vector.ok_or_else(|| Error::Unfit(format!("'{}' cannot be asked with", part.input)))??;
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += part.weight * x);
        }
        Ok(sum)
    }

    /// The vectors of a row that has these cells alone.
    fn embed(&self, asked: &[Asked]) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let column = |part: &Asked| {
            let field = self.predictor.inputs.iter().find(|field| field.name == part.input);
            field
                .map(|field| field.column.clone())
                .ok_or_else(|| Error::Unfit(format!("'{}' is no input of the model", part.input)))
        };
        let columns = asked.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let table = Table::from_rows(columns, vec![asked.iter().map(|part| part.cell.clone()).collect()], ".".into())?;
        let dataset = Dataset::new(table, self.predictor.inputs.clone(), Vec::new());
        let (sample, faults) = dataset.sample_with_faults(0)?;
        for (field, fault) in self.predictor.inputs.iter().zip(&faults) {
            if let Some(fault) = fault.as_ref().filter(|_| asked.iter().any(|part| part.input == field.name)) {
                return Err(Error::Unfit(format!("{}: {fault}", field.name)));
            }
        }
        Ok(self.predictor.embed_batch(&Batch::collate(&dataset, &[sample])).swap_remove(0))
    }

    /// The nearest rows to what is asked.
    ///
    /// # Errors
    /// As [`Retriever::query`] and [`Index::search`].
    pub fn search(&self, asked: &[Asked], search: Search) -> Result<Vec<Hit>, Error> {
        let query = self.query(asked)?;
        Ok(self.index.search(&[query], search)?.swap_remove(0))
    }

    /// The columns that hold pictures, by position, with the most pixels that they may have.
    pub fn pictures(&self) -> Vec<(usize, usize)> {
        let picture = |(at, column): (usize, &Column)| {
            let field = self.predictor.inputs.iter().find(|field| field.column == column.name)?;
            if let Preprocessor::Image(fitted) = &field.preprocessor { Some((at, fitted.max_pixels)) } else { None }
        };
        self.index.spec.columns.iter().enumerate().filter_map(picture).collect()
    }
}

/// Reads a condition such as `split = 'train'`.
///
/// # Errors
/// What is wrong, with its place.
pub fn parse_filter(text: &str) -> Result<Filter, Error> {
    Ok(Filter::parse(text)?)
}
