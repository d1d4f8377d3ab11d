//! A family: where the parameters of one kind of part lie in the files that others publish.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use mbm_weights::WeightFile;

use super::PretrainedError;
use super::grid::resampled;

/// The weights of one kind of part, as one publisher names them.
pub(super) struct Family {
    /// How errors call the part.
    pub part: &'static str,
    /// What every name may begin with.
    pub prefixes: &'static [&'static str],
    /// The rest of the name of a parameter's tensor, by the parameter's path in the part; none for parameters that have no counterpart.
    pub source: fn(&str) -> Option<Source>,
    /// Tensors that belong to what the part leaves out, such as the classifier above an encoder.
    pub is_elsewhere: fn(&str) -> bool,
}

/// Where a parameter's values lie.
pub(super) struct Source {
    /// The tensor's name.
    pub name: String,
    pub layout: Layout,
}

/// How a tensor lies in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// As here.
    Same,
    /// The same values in a vector.
    Flat,
    /// A matrix `[out, in]`, ours are `[in, out]`.
    Transposed,
    /// A kernel `[height, width, in, out]`, ours are `[out, in, height, width]`.
    ChannelsLast,
    /// One of three stacked: a vector's third, or a matrix `[3 out, in]`'s.
    Third(usize),
    /// A first row, then a square of places, brought to ours of rows and columns by bicubic interpolation.
    Places,
    /// The direction of a kernel whose length at each place is in the tensor of this name (Salimans and Kingma 2016).
    Direction(String),
    /// More than ours by the tensor of this name.
    Less(String),
    /// Less than ours by a number.
    Plus(f32),
}

impl Source {
    pub fn same(name: impl Into<String>) -> Self {
        Self { name: name.into(), layout: Layout::Same }
    }

    pub fn transposed(name: impl Into<String>) -> Self {
        Self { name: name.into(), layout: Layout::Transposed }
    }
}

/// A file seen as the weights of a family.
pub(super) struct Match<'a> {
    file: &'a WeightFile,
    family: &'a Family,
    prefix: &'static str,
    /// Names in the file by their plain form.
    names: BTreeMap<&'a str, &'a str>,
    /// Rows and columns of the places of the part, for images cut into patches.
    grid: Option<[usize; 2]>,
}

/// A part with the weights of a file, in whichever of the families and under whichever prefix the file has most of its names.
///
/// # Errors
/// A file that cannot be read, or whose tensors are not those of the part.
pub(super) fn fill<M: Module>(
    part: M,
    path: &Path,
    families: &[&Family],
    grid: Option<[usize; 2]>,
) -> Result<M, PretrainedError> {
    let file = WeightFile::open(path)?;
    let wanted = parameters(&part);
    let found = Match::best(&file, families, &wanted, grid);
    let diagnostics = found.diagnostics(&wanted);
    if !diagnostics.is_empty() {
        return Err(PretrainedError::Mismatch { path: path.into(), part: found.family.part, diagnostics });
    }
    let mut filling = Filling { found, path: Vec::new(), failed: None };
    let part = part.map(&mut filling);
    filling.failed.map_or(Ok(part), |error| Err(error.into()))
}

/// Whether a file has all that a part needs and nothing else.
pub(super) fn fits<M: Module>(part: &M, file: &WeightFile, families: &[&Family]) -> bool {
    let wanted = parameters(part);
    Match::best(file, families, &wanted, None).diagnostics(&wanted).is_empty()
}

/// Paths and shapes.
type Parameters = Vec<(String, Vec<usize>)>;

impl<'a> Match<'a> {
    fn best(file: &'a WeightFile, families: &[&'a Family], wanted: &Parameters, grid: Option<[usize; 2]>) -> Self {
        let names: BTreeMap<&str, &str> = file.tensors().keys().map(|name| (plain(name), name.as_str())).collect();
        let all = families.iter().flat_map(|family| family.prefixes.iter().map(move |prefix| (*family, *prefix)));
        let n_found = |(family, prefix): &(&Family, &str)| {
            let is_there = |source: &Source| names.contains_key(format!("{prefix}{}", source.name).as_str());
            wanted.iter().filter_map(|(path, _)| (family.source)(path)).filter(is_there).count()
        };
        // Of equals the first: it is what is then said to be missing.
        let best = all.rev().max_by_key(n_found).expect("a part has one family at least, and a family one prefix");
        Self { file, family: best.0, prefix: best.1, names, grid }
    }

    fn source(&self, path: &str) -> Option<Source> {
        let Source { name, layout } = (self.family.source)(path)?;
        let layout = match layout {
            Layout::Direction(other) => Layout::Direction(format!("{}{other}", self.prefix)),
            Layout::Less(other) => Layout::Less(format!("{}{other}", self.prefix)),
            other => other,
        };
        Some(Source { name: format!("{}{name}", self.prefix), layout })
    }

    /// What is missing, of another shape, or left over.
    fn diagnostics(&self, wanted: &Parameters) -> Vec<String> {
        let (mut diagnostics, mut missing) = (Vec::new(), Vec::new());
        let mut left: BTreeSet<&str> = self.names.keys().copied().collect();
        for (path, dims) in wanted {
            let Some(source) = self.source(path) else { continue };
            for (name, shape) in source.tensors(dims) {
                left.remove(name.as_str());
                match self.names.get(name.as_str()).map(|full| &self.file.tensors()[*full].shape) {
                    None => missing.push(format!("{name} {}", shape.map_or(String::new(), |shape| format!("{shape:?}")))),
                    Some(found) if shape.as_ref().is_some_and(|shape| shape != found) => {
                        diagnostics.push(format!("{name} is {found:?} in the file and {:?} here", shape.unwrap_or_default()));
                    }
                    Some(_) => {}
                }
            }
        }
        left.retain(|name| !(self.family.is_elsewhere)(name) && !name.ends_with("num_batches_tracked"));
        let (n_wrong, left) = (diagnostics.len(), left.into_iter().map(str::to_owned).collect::<Vec<_>>());
        if n_wrong > MOST {
            diagnostics.truncate(MOST);
            diagnostics.push(format!("{} more of another shape", n_wrong - MOST));
        }
        diagnostics.extend((!missing.is_empty()).then(|| format!("missing: {}", listed(&missing))));
        diagnostics.extend((!left.is_empty()).then(|| format!("left over: {}", listed(&left))));
        diagnostics
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, mbm_weights::Error> {
        self.file.read(self.names.get(name).copied().unwrap_or(name))
    }

    /// The values of a parameter, if it has a counterpart.
    fn values(&self, path: &str, dims: &[usize]) -> Option<Result<Vec<f32>, mbm_weights::Error>> {
        let source = self.source(path)?;
        Some(self.read(&source.name).and_then(|values| self.arranged(values, &source.layout, dims)))
    }

    fn arranged(&self, mut values: Vec<f32>, layout: &Layout, dims: &[usize]) -> Result<Vec<f32>, mbm_weights::Error> {
        Ok(match layout {
            Layout::Same | Layout::Flat => values,
            Layout::Transposed => transposed(&values, dims),
            Layout::ChannelsLast => channels_first(&values, dims),
            Layout::Third(at) => {
                let third = values.len() / 3;
                let part = &values[at * third..(at + 1) * third];
                if dims.len() == 2 { transposed(part, dims) } else { part.to_vec() }
            }
            Layout::Places => resampled(values, dims, self.grid),
            Layout::Direction(name) => {
                scale_to(&mut values, &self.read(name)?);
                values
            }
            Layout::Less(name) => values.iter().zip(self.read(name)?).map(|(value, other)| value - other).collect(),
            Layout::Plus(number) => values.iter().map(|value| value + number).collect(),
        })
    }
}

impl Source {
    /// The tensors that make a parameter of a shape, with their shapes where these are known.
    fn tensors(&self, dims: &[usize]) -> Vec<(String, Option<Vec<usize>>)> {
        let own = match &self.layout {
            Layout::Same | Layout::Direction(_) | Layout::Less(_) | Layout::Plus(_) => Some(dims.to_vec()),
            Layout::Flat => Some(vec![dims.iter().product()]),
            Layout::Transposed => Some(dims.iter().rev().copied().collect()),
            Layout::ChannelsLast => Some(vec![dims[2], dims[3], dims[1], dims[0]]),
            Layout::Third(_) if dims.len() == 2 => Some(vec![3 * dims[1], dims[0]]),
            Layout::Third(_) => Some(vec![3 * dims[0]]),
            Layout::Places => None,
        };
        let other = match &self.layout {
            Layout::Direction(name) => Some((name.clone(), Some(vec![1, 1, dims[dims.len() - 1]]))),
            Layout::Less(name) => Some((name.clone(), Some(dims.to_vec()))),
            _ => None,
        };
        std::iter::once((self.name.clone(), own)).chain(other).collect()
    }
}

/// A name without what training on several devices puts before it.
pub(super) fn plain(name: &str) -> &str {
    name.strip_prefix("module.").unwrap_or(name)
}

/// Names that a message holds.
const MOST: usize = 8;

/// The first few names.
fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST);
    let shown = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// `[out, in]` to `dims`, `[in, out]`.
fn transposed(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let (n_in, n_out) = (dims[0], dims[1]);
    (0..n_in * n_out).map(|at| values[at % n_out * n_in + at / n_out]).collect()
}

/// `[height, width, in, out]` to `dims`, `[out, in, height, width]`.
fn channels_first(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let (n_out, n_in, n_places) = (dims[0], dims[1], dims[2] * dims[3]);
    let mut out = Vec::with_capacity(values.len());
    for channel in 0..n_out {
        for from in 0..n_in {
            out.extend((0..n_places).map(|place| values[(place * n_in + from) * n_out + channel]));
        }
    }
    out
}

/// Brings a kernel `[.., places]` to a length at each place.
fn scale_to(kernel: &mut [f32], lengths: &[f32]) {
    let n_places = lengths.len();
    let mut squares = vec![0.0f64; n_places];
    for row in kernel.chunks(n_places) {
        squares.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    for row in kernel.chunks_mut(n_places) {
        let factors = lengths.iter().zip(&squares).map(|(length, square)| (f64::from(*length) / square.sqrt()) as f32);
        row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    }
}

/// A walk that fills each parameter.
struct Filling<'a> {
    found: Match<'a>,
    path: Vec<String>,
    failed: Option<mbm_weights::Error>,
}

impl ModuleMapper for Filling<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims: [usize; D] = param.dims();
        match self.found.values(&self.path.join("."), &dims) {
            Some(Ok(values)) => param.map(|tensor| {
                let is_trained = tensor.is_require_grad();
                let filled = Tensor::from_data(TensorData::new(values, dims), &tensor.device());
                if is_trained { filled.require_grad() } else { filled }
            }),
            Some(Err(error)) => {
                self.failed.get_or_insert(error);
                param
            }
            None => param,
        }
    }
}

fn parameters<M: Module>(part: &M) -> Parameters {
    #[derive(Default)]
    struct Looking {
        path: Vec<String>,
        found: Parameters,
    }
    impl ModuleVisitor for Looking {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.path.join("."), param.lazy_shape().to_vec()));
        }
    }
    let mut looking = Looking::default();
    part.visit(&mut looking);
    looking.found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_and_kernels_are_turned_round() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        // One place, two channels in, three out.
        assert_eq!(channels_first(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2, 1, 1]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        // Two places, one channel each way.
        assert_eq!(channels_first(&[1.0, 2.0], &[1, 1, 1, 2]), [1.0, 2.0]);
    }

    #[test]
    fn a_kernel_is_brought_to_its_length_at_each_place() {
        let mut kernel = [3.0, 1.0, 4.0, 0.0];
        scale_to(&mut kernel, &[10.0, 2.0]);
        assert_eq!(kernel, [6.0, 2.0, 8.0, 0.0]);
    }
}
